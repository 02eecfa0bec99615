package kurrentlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// ErrForgets is returned by Guard for a log whose server forgets, or may have
// forgotten, some of its events.
var ErrForgets = errors.New("the log's server does not keep every event for ever")

// The system events that Guard reads.
const (
	typeMetadata = "$metadata"
	typeDeleted  = "$streamDeleted"
	typeScavenge = "$scavenge" // the beginning of several
)

// maxFaults bounds what one error names.
const maxFaults = 20

// Guard refuses, with ErrForgets, a log that a regulated site cannot stand on: a
// stream of ours has $maxAge, $maxCount or $tb in its metadata, is deleted, or was
// either when a scavenge began, which removes what those hide. It names each
// with its value. What an earlier scavenge has taken away together with the
// metadata that asked for it cannot be seen here: twinlog verify finds the holes.
func (l *Log) Guard(ctx context.Context) error {
	g, _, err := do(ctx, l.link, l.inspect)
	if err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	return g.verdict()
}

// inspect reads the server's system events up to the end.
func (l *Log) inspect(ctx context.Context, c *esdb.Client) (*guard, error) {
	g := &guard{log: l, limits: map[eventlog.StreamID]string{}}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sub, err := c.SubscribeToAll(ctx, esdb.SubscribeToAllOptions{
		From: esdb.Start{}, MaxSearchWindow: 4096, CheckpointInterval: 1, RequiresLeader: true,
		Filter: &esdb.SubscriptionFilter{Type: esdb.EventFilterType, Prefixes: []string{typeMetadata, typeDeleted, typeScavenge}},
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Close() }()
	for {
		e, err := guarded(ctx, func() (*esdb.SubscriptionEvent, error) { return sub.Recv(), nil })
		switch {
		case err != nil:
			return nil, err
		case e == nil || e.SubscriptionDropped != nil:
			return nil, fmt.Errorf("the server ends the reading of its system events: %w", errGone)
		case e.CaughtUp != nil:
			return g, nil
		case e.EventAppeared != nil && e.EventAppeared.OriginalEvent() != nil:
			if err := g.see(e.EventAppeared.OriginalEvent()); err != nil {
				return nil, err
			}
		}
	}
}

// guard is what the server's system events say about our streams so far.
type guard struct {
	log    *Log
	limits map[eventlog.StreamID]string // in force now
	past   []string                     // what a scavenge may have taken
}

func (g *guard) see(e *esdb.RecordedEvent) error {
	switch {
	case e.EventType == typeMetadata:
		id, ok := g.log.streamID(strings.TrimPrefix(e.StreamID, "$$"))
		if !ok {
			return nil
		}
		set, err := limitsIn(e.Data)
		if err != nil {
			return fmt.Errorf("metadata of %s, event %d: %w", id, e.EventNumber, err)
		}
		if delete(g.limits, id); set != "" {
			g.limits[id] = set
		}
	case e.EventType == typeDeleted:
		if id, ok := g.log.streamID(e.StreamID); ok {
			g.limits[id] = "is deleted"
		}
	case strings.HasPrefix(e.EventType, typeScavenge):
		for id, set := range g.limits {
			if fault := fmt.Sprintf("stream %s: a scavenge (%s@%d) ran while it %s", id, e.StreamID, e.EventNumber, set); !g.told(id) {
				g.past = append(g.past, fault)
			}
		}
	}
	return nil
}

// told reports whether a scavenge of the stream is noted already.
func (g *guard) told(id eventlog.StreamID) bool {
	return slices.ContainsFunc(g.past, func(s string) bool { return strings.HasPrefix(s, fmt.Sprintf("stream %s: ", id)) })
}

// limitsIn says which limits a stream's metadata sets, "" for none.
func limitsIn(data []byte) (string, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return "", fmt.Errorf("expected a JSON object: %w", err)
	}
	var set []string
	for _, name := range []string{"$maxAge", "$maxCount", "$tb"} {
		if v, ok := all[name]; ok && string(v) != "null" {
			set = append(set, fmt.Sprintf("%s=%s", name, v))
		}
	}
	if len(set) == 0 {
		return "", nil
	}
	return "has " + strings.Join(set, ", "), nil
}

func (g *guard) verdict() error {
	var faults []string
	for id, set := range g.limits {
		faults = append(faults, fmt.Sprintf("stream %s %s", id, set))
	}
	slices.Sort(faults)
	slices.Sort(g.past)
	faults = append(faults, g.past...)
	if len(faults) == 0 {
		return nil
	}
	if more := len(faults) - maxFaults; more > 0 {
		faults = append(faults[:maxFaults], fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("%w: %s", ErrForgets, strings.Join(faults, "; "))
}
