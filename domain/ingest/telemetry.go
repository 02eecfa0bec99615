package ingest

import (
	"context"
	"strings"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// newSource returns the queue of k with the rules of its kind.
func newSource(g *Ingester, k key) *source {
	s := &source{g: g, key: k}
	subject := k.source
	switch k.kind {
	case keyStatus:
		s.rules = statusRules{}
	case keyDeadLetter:
		s.stream = eventlog.Stream("deadletter", k.source)
		s.rules = deadLetterRules{}
	case keyTelemetry:
		s.stream = telemetry.Stream(k.source, k.incarnation)
		if k.incarnation == telemetry.Unordered {
			s.rules = &unorderedRules{}
		} else {
			s.rules = &orderedRules{}
		}
	}
	s.env = eventlog.Envelope{Actor: actor(utf8(subject))}
	return s
}

// The counts of the usual fates. They are functions so that an item is counted
// when its append is durable and not when it was decided.
func countStored(c *Counters, it *item) {
	switch it.kind {
	case Telemetry:
		c.Recorded.Add(1)
		c.Samples.Add(uint64(it.samples))
		if it.assumed > 0 {
			c.AssumedQuality.Add(uint64(it.assumed))
		}
	case Loss:
		c.Lost.Add(it.lost)
	case Unknown:
		c.Refused.Add(1)
	default: // a start, and a status, are counted by nobody
	}
}

func countStoredAfterGap(c *Counters, it *item) {
	countStored(c, it)
	c.Gaps.Add(1)
}

func countRefused(c *Counters, _ *item)    { c.Refused.Add(1) }
func countDuplicate(c *Counters, _ *item)  { c.Duplicates.Add(1) }
func countDeadLetter(c *Counters, _ *item) { c.DeadLetters.Add(1) }
func countCloned(c *Counters, _ *item)     { c.Cloned.Add(1) }
func countAhead(c *Counters, _ *item)      { c.Ahead.Add(1) }

// register makes sure that the devices an item speaks of are in the log before
// what they measured.
func (s *source) register(ctx context.Context, it *item) error {
	id := it.device.Device
	if s.isRegistered(id) || !validName(id) {
		return nil
	}
	if err := s.g.register(ctx, it.device); err != nil {
		return err
	}
	s.device = strings.Clone(id) // it may be a part of a payload
	return nil
}

// isRegistered reports whether register has nothing to do for a device.
func (s *source) isRegistered(id string) bool { return id == s.device || s.g.registered(id) }

// deadLetterRules append whatever comes.
type deadLetterRules struct{}

func (deadLetterRules) load(ctx context.Context, s *source) error {
	for rec, err := range s.g.log.Read(ctx, s.stream, eventlog.LastRevision, eventlog.Backwards) {
		if err != nil {
			return err
		}
		s.at = eventlog.At(rec.Revision)
		break
	}
	return nil
}

func (deadLetterRules) decide(_ context.Context, s *source, it *item) (fate, error) {
	return fate{outcome: Outcome{Ack: true}, event: s.add(it.event), refused: true, count: countDeadLetter}, nil
}

func (deadLetterRules) appended() {}

// statusRules pass status messages to the device's own decider.
type statusRules struct{}

func (statusRules) load(context.Context, *source) error { return nil }

func (statusRules) decide(ctx context.Context, s *source, it *item) (fate, error) {
	g := s.g
	id := g.arrivals.id(g.log.Origin(), it.message)
	call := eventlog.Call{Key: eventlog.FreshKey(id), Envelope: s.env}
	if _, err := g.devices.Execute(ctx, deviceStream(it), call, *it.status); err != nil {
		return fate{}, err
	}
	return fate{outcome: Outcome{Ack: true}, event: -1, count: func(c *Counters, _ *item) { c.Status.Add(1) }}, nil
}

func (statusRules) appended() {}
