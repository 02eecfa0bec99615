package esdbgrpc

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/twinlog/twinlog/domain/eventlog"
)

const (
	failedPrecondition = codes.FailedPrecondition
	// ledgerCategory holds what persistent subscriptions remember, in the log
	// itself. Their consumers do not get these events.
	ledgerCategory = "subscription"
	allStreams     = "$all"
)

// Configured records that a persistent subscription was made or changed.
type Configured struct {
	Source   string   `json:"source"` // "$all" or a stream
	Group    string   `json:"group"`
	Settings settings `json:"settings"`
	After    *place   `json:"after,omitempty"` // where to begin; none: at the start
}

// EventType implements eventlog.Event.
func (Configured) EventType() string { return "subscription.configured.v1" }

// Checkpointed records that everything up to an event has been seen to.
type Checkpointed place

// EventType implements eventlog.Event.
func (Checkpointed) EventType() string { return "subscription.checkpointed.v1" }

// Parked records that an event waits for somebody to look into it.
type Parked struct {
	place
	Reason string `json:"reason,omitempty"`
}

// EventType implements eventlog.Event.
func (Parked) EventType() string { return "subscription.parked.v1" }

// Unparked records that a parked event was replayed and taken.
type Unparked place

// EventType implements eventlog.Event.
func (Unparked) EventType() string { return "subscription.unparked.v1" }

// Removed records that the persistent subscription is no more.
type Removed struct{}

// EventType implements eventlog.Event.
func (Removed) EventType() string { return "subscription.removed.v1" }

const (
	strategyRobin  = "RoundRobin"
	strategySingle = "DispatchToSingle"
	strategyPinned = "Pinned"
)

// settings of a group; times are in milliseconds.
type settings struct {
	TimeoutMS       int64    `json:"timeoutMs"` // 0: never
	MaxRetries      int      `json:"maxRetries"`
	MinCheckpoint   int      `json:"minCheckpoint"`
	MaxCheckpoint   int      `json:"maxCheckpoint"`
	CheckpointMS    int64    `json:"checkpointMs"`
	MaxSubscribers  int      `json:"maxSubscribers"` // 0: any number
	Buffer          int      `json:"buffer"`         // events fetched and not seen to
	Strategy        string   `json:"strategy"`
	ResolveLinks    bool     `json:"resolveLinks,omitempty"`
	ExtraStatistics bool     `json:"extraStatistics,omitempty"`
	ByType          bool     `json:"byType,omitempty"` // the filter is on types
	Regex           string   `json:"regex,omitempty"`
	Prefixes        []string `json:"prefixes,omitempty"`
}

func (s settings) timeout() time.Duration { return time.Duration(s.TimeoutMS) * time.Millisecond }

// compile makes the sieve of a group.
func (s settings) compile(source string) (sieve, error) {
	if source != allStreams {
		id := eventlog.StreamID(source)
		if err := id.Check(); err != nil {
			return sieve{}, err
		}
		return sieve{log: eventlog.Filter{Categories: []string{id.Category()}}}, nil
	}
	if s.Regex == "" && len(s.Prefixes) == 0 {
		return sieve{}, nil
	}
	return expression{s.ByType, s.Regex, s.Prefixes}.compile()
}

func randomID() (id eventlog.EventID) {
	_, _ = rand.Read(id[:]) // it does not fail
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}

// groups are all persistent subscriptions.
type groups struct {
	log eventlog.Log

	// mu guards the rest; a group's own lock may be taken while it is held.
	mu    sync.Mutex
	byKey map[groupKey]*group
	ended map[groupKey]eventlog.Expected // ledgers of removed ones
	life  context.Context                //nolint:containedctx // what Serve runs under
}

type groupKey struct{ source, name string }

func newGroups(log eventlog.Log) *groups {
	return &groups{log: log, byKey: map[groupKey]*group{}, ended: map[groupKey]eventlog.Expected{}}
}

func (k groupKey) ledger() eventlog.StreamID {
	sum := sha256.Sum256([]byte(k.source + "\x00" + k.name))
	return eventlog.StreamID(ledgerCategory + "-" + hex.EncodeToString(sum[:16]))
}

func (a *groups) newGroup(k groupKey, cfg settings) (*group, error) {
	s, err := cfg.compile(k.source)
	if err != nil {
		return nil, err
	}
	return &group{
		log: a.log, source: k.source, name: k.name, ledger: k.ledger(), cfg: cfg, sieve: s, next: a.ended[k],
		flying: map[eventlog.EventID]*message{}, room: make(chan struct{}, 1),
	}, nil
}

// load reads all ledgers.
func (a *groups) load(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.life = ctx
	clear(a.byKey)
	clear(a.ended)
	keys := map[eventlog.StreamID]groupKey{}
	for r, err := range a.log.ReadAll(ctx, 0, eventlog.Forwards, eventlog.Filter{Categories: []string{ledgerCategory}}) {
		if err != nil {
			return err
		}
		if err := a.apply(keys, r); err != nil {
			return fmt.Errorf("event %d of %s: %w", r.Revision, r.Stream, err)
		}
	}
	return nil
}

func (a *groups) apply(keys map[eventlog.StreamID]groupKey, r eventlog.Record) error {
	if r.Type == (Configured{}).EventType() {
		var e Configured
		if err := json.Unmarshal(r.Data, &e); err != nil {
			return err
		}
		k := groupKey{e.Source, e.Group}
		if k.ledger() != r.Stream {
			return nil // a client's own stream of that category
		}
		keys[r.Stream] = k
		g, err := a.newGroup(k, e.Settings)
		if err != nil {
			return err
		}
		if old := a.byKey[k]; old != nil {
			g.parked = old.parked
		}
		if e.After != nil {
			g.after, g.isAfter = *e.After, true
		}
		a.byKey[k], g.next = g, eventlog.At(r.Revision)
		return nil
	}
	k, ok := keys[r.Stream]
	g := a.byKey[k]
	if !ok || g == nil {
		return nil
	}
	g.next = eventlog.At(r.Revision)
	var p place
	if err := json.Unmarshal(r.Data, &p); err != nil {
		return err
	}
	switch r.Type {
	case Checkpointed{}.EventType():
		g.after, g.isAfter = p, true
	case Parked{}.EventType():
		g.parked = append(g.parked, p)
	case Unparked{}.EventType():
		for i := range g.parked {
			if g.parked[i] == p {
				g.parked = append(g.parked[:i], g.parked[i+1:]...)
				break
			}
		}
	case Removed{}.EventType():
		delete(a.byKey, k)
		a.ended[k] = g.next
	}
	return nil
}

// run looks after the groups until ctx ends, and then writes down how far each has got.
func (a *groups) run(ctx context.Context) {
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			for _, g := range a.all() {
				_ = g.tick(ctx, now) // what could not be written is told again
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			for _, g := range a.all() {
				g.end(errors.New("the server is stopping"))
				g.mu.Lock()
				_ = g.checkpoint(last, 1) // else some events come twice
				g.mu.Unlock()
			}
			return
		}
	}
}

func (a *groups) all() []*group {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]*group, 0, len(a.byKey))
	for _, g := range a.byKey {
		all = append(all, g)
	}
	return all
}
