package esdbgrpc

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// place names an event for good; positions are for one store only.
type place struct {
	Stream   eventlog.StreamID `json:"stream"`
	Revision eventlog.Revision `json:"revision"`
}

// message is an event on its way to a consumer and back.
type message struct {
	rec      eventlog.Record
	retries  int
	to       *consumer
	deadline time.Time
	done     bool
	replayed bool // it was parked, and is until somebody takes it
}

// delivery is what a consumer's connection sends; the message itself belongs to the group.
type delivery struct {
	rec     eventlog.Record
	retries int
}

// consumer is one connection to a group.
type consumer struct {
	out      chan delivery // see free: a send never waits
	slots    int
	inFlight int
	gone     chan struct{} // closed when the group has ended it
	why      error         // read it after gone
}

// free reports whether one more can be sent. Timed-out messages may still lie
// in out, so both are asked.
func (c *consumer) free() bool { return c.inFlight < c.slots && len(c.out) < cap(c.out) }

// group is a persistent subscription: consumers that compete for the events
// behind a checkpoint. At least once, in no promised order.
type group struct {
	log    eventlog.Log
	source string // "$all" or a stream
	name   string
	ledger eventlog.StreamID // where it remembers

	// mu guards the rest. The log is not called while it is held, but for the ledger.
	mu        sync.Mutex
	cfg       settings
	sieve     sieve
	next      eventlog.Expected // of the ledger
	after     place             // the checkpoint
	isAfter   bool
	told      int // events behind the last checkpoint in the ledger
	parked    []place
	consumers []*consumer
	turn      int
	window    []*message // fetched, in order, up to the first that is not done
	ready     []*message // to be sent
	flying    map[eventlog.EventID]*message
	fetching  context.CancelFunc // nil: nobody fetches
	room      chan struct{}      // capacity 1: the window may have room
	total     int64
	last      place
	lastAt    eventlog.Position // of last
	afterAt   eventlog.Position // of after, where this process has seen it
}

// record is a fact about the group, for its ledger.
func (g *group) record(ctx context.Context, facts ...eventlog.Event) error {
	events := make([]eventlog.NewEvent, len(facts))
	for i, f := range facts {
		var err error
		env := eventlog.Envelope{Actor: eventlog.Actor{Subject: "esdbgrpc", Kind: eventlog.Service}}
		if events[i], err = eventlog.NewJSONEvent(randomID(), f, env); err != nil {
			return err
		}
	}
	ctx = context.WithoutCancel(ctx) // else nobody knows whether it is there
	a, err := g.log.Append(ctx, g.ledger, g.next, events...)
	for tries := 0; errors.Is(err, eventlog.ErrConflict) && tries < 3; tries++ {
		g.next = eventlog.NoStream
		for r, err := range g.log.Read(ctx, g.ledger, eventlog.LastRevision, eventlog.Backwards) {
			if err != nil {
				return err
			}
			g.next = eventlog.At(r.Revision)
			break
		}
		a, err = g.log.Append(ctx, g.ledger, g.next, events...)
	}
	if err != nil {
		return fmt.Errorf("persistent subscription %s on %s: %w", g.name, g.source, err)
	}
	g.next = eventlog.At(a.Revision)
	return nil
}

// join adds a consumer and starts to fetch.
func (g *group) join(ctx context.Context, slots int) (*consumer, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if most := g.cfg.MaxSubscribers; most > 0 && len(g.consumers) >= most {
		return nil, g.refusal(failedPrecondition, "maximum-subscribers-reached", "the maximum of subscribers is reached")
	}
	c := &consumer{out: make(chan delivery, slots), slots: slots, gone: make(chan struct{})}
	g.consumers = append(g.consumers, c)
	if g.fetching == nil {
		var fetch context.Context
		fetch, g.fetching = context.WithCancel(ctx)
		go g.fetch(fetch)
	}
	g.dispatch()
	return c, nil
}

// leave takes a consumer out; what it had goes to the others.
func (g *group) leave(c *consumer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.consumers, c)
	if i < 0 {
		return
	}
	g.consumers = slices.Delete(g.consumers, i, i+1)
	for id, m := range g.flying {
		if m.to == c {
			delete(g.flying, id)
			g.again(m)
		}
	}
	if len(g.consumers) == 0 {
		g.forget()
	}
	g.dispatch()
}

// forget stops fetching; the next consumer begins behind the checkpoint.
func (g *group) forget() {
	if g.fetching != nil {
		g.fetching()
		g.fetching = nil
	}
	for _, m := range g.ready {
		if m.replayed {
			g.parked = append(g.parked, placeOf(m.rec))
		}
	}
	g.window, g.ready = nil, nil
	clear(g.flying)
}

func placeOf(r eventlog.Record) place { return place{r.Stream, r.Revision} }

// again puts a message in front, in the log's order.
func (g *group) again(m *message) {
	m.to = nil
	i, _ := slices.BinarySearchFunc(g.ready, m, func(a, b *message) int { return int(a.rec.Position) - int(b.rec.Position) })
	g.ready = slices.Insert(g.ready, i, m)
}

// end makes all consumers leave.
func (g *group) end(why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.consumers {
		c.why = why
		close(c.gone)
	}
	g.consumers = nil
	g.forget()
}

// dispatch sends what it can. mu is held.
func (g *group) dispatch() {
	for len(g.ready) > 0 {
		m := g.ready[0]
		c := g.choose(m)
		if c == nil {
			return
		}
		g.ready = g.ready[1:]
		m.to, m.deadline = c, time.Now().Add(g.cfg.timeout())
		if g.cfg.timeout() == 0 {
			m.deadline = time.Time{}
		}
		c.inFlight++
		g.flying[m.rec.ID] = m
		c.out <- delivery{m.rec, m.retries}
	}
}

// choose picks a consumer with a free slot, as the strategy says.
func (g *group) choose(m *message) *consumer {
	n := len(g.consumers)
	if n == 0 {
		return nil
	}
	first := g.turn
	switch g.cfg.Strategy {
	case strategySingle:
		first = 0
	case strategyPinned:
		h := fnv.New32a()
		_, _ = h.Write([]byte(m.rec.Stream)) // a hash takes everything
		if c := g.consumers[int(h.Sum32()%uint32(n))]; c.free() {
			return c
		}
		return nil
	}
	for i := range n {
		if c := g.consumers[(first+i)%n]; c.free() {
			g.turn = (first + i + 1) % n
			return c
		}
	}
	return nil
}

// take ends a message's flight; nil for an id that this consumer does not hold.
func (g *group) take(c *consumer, id eventlog.EventID) *message {
	m := g.flying[id]
	if m == nil || m.to != c {
		return nil
	}
	delete(g.flying, id)
	c.inFlight--
	return m
}

func (g *group) ack(ctx context.Context, c *consumer, ids []eventlog.EventID) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range ids {
		if m := g.take(c, id); m != nil {
			if err := g.finish(ctx, m); err != nil {
				return err
			}
		}
	}
	g.dispatch()
	return g.checkpoint(ctx, g.cfg.MinCheckpoint)
}

// finish: the message needs nobody any more.
func (g *group) finish(ctx context.Context, m *message) error {
	g.total++
	if m.replayed {
		return g.record(ctx, Unparked(placeOf(m.rec)))
	}
	m.done = true
	for len(g.window) > 0 && g.window[0].done {
		g.after, g.isAfter, g.afterAt = placeOf(g.window[0].rec), true, g.window[0].rec.Position
		g.told++
		g.window = g.window[1:]
	}
	g.wake()
	return nil
}

func (g *group) wake() {
	select {
	case g.room <- struct{}{}:
	default: // it knows
	}
}

// checkpoint writes down how far the group has got, if that is worth it.
func (g *group) checkpoint(ctx context.Context, least int) error {
	if g.told < max(least, 1) {
		return nil
	}
	if err := g.record(ctx, Checkpointed(g.after)); err != nil {
		return err
	}
	g.told = 0
	return nil
}

const (
	nackUnknown = iota
	nackPark
	nackRetry
	nackSkip
	nackStop
)

func (g *group) nack(ctx context.Context, c *consumer, ids []eventlog.EventID, action int, reason string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range ids {
		m := g.take(c, id)
		if m == nil {
			continue
		}
		var err error
		switch action {
		case nackPark:
			err = g.park(ctx, m, reason)
		case nackSkip:
			err = g.finish(ctx, m)
		case nackStop:
			g.again(m)
		default:
			err = g.retry(ctx, m, reason)
		}
		if err != nil {
			return err
		}
	}
	g.dispatch()
	return nil
}

func (g *group) retry(ctx context.Context, m *message, reason string) error {
	if m.retries >= g.cfg.MaxRetries {
		return g.park(ctx, m, reason)
	}
	m.retries++
	g.again(m)
	return nil
}

func (g *group) park(ctx context.Context, m *message, reason string) error {
	g.parked = append(g.parked, placeOf(m.rec))
	if m.replayed {
		return nil // the ledger still has it
	}
	if err := g.record(ctx, Parked{placeOf(m.rec), reason}); err != nil {
		return err
	}
	return g.finish(ctx, m)
}

// tick sees to messages that nobody answered, and to the checkpoint.
func (g *group) tick(ctx context.Context, now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, m := range g.flying {
		if !m.deadline.IsZero() && now.After(m.deadline) {
			delete(g.flying, id)
			m.to.inFlight--
			if err := g.retry(ctx, m, "timeout"); err != nil {
				return err
			}
		}
	}
	g.dispatch()
	return g.checkpoint(ctx, 1)
}
