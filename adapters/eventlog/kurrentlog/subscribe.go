package kurrentlog

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/twinlog/twinlog/domain/eventlog"
)

const (
	maxBatch = 1000
	// probeSoon and probeLate are how long a filtered reader that hears nothing
	// waits before it looks whether the log has moved past it: soon when this
	// process knows that it has.
	probeSoon = 5 * time.Millisecond
	probeLate = 250 * time.Millisecond
	// probeEvents bounds one look.
	probeEvents = 4096
	// lagPatience bounds the question that Lag asks.
	lagPatience = time.Second
)

// news is what the server's subscription says, in order.
type news struct {
	record   eventlog.Record // with a position, if there is one
	through  eventlog.Position
	caughtUp bool
	behind   bool // it is reading what was there before again
}

type subscription struct {
	log    *Log
	filter eventlog.Filter
	server *esdb.SubscriptionFilter // nil: everything comes
	in     chan news
	stop   context.CancelFunc
	ctx    context.Context //nolint:containedctx // the life of the subscription
	done   sync.WaitGroup

	// turn is held by the one Next at a time.
	turn  sync.Mutex
	live  bool
	asked bool

	// mu guards at against a Lag beside a Next.
	mu sync.Mutex
	at eventlog.Position
}

// Subscribe implements eventlog.Log. When the connection fails, the
// subscription goes on from where it was as soon as there is another, for as
// long as that takes.
func (l *Log) Subscribe(ctx context.Context, after eventlog.Position, f eventlog.Filter) (eventlog.Subscription, error) {
	if _, err := l.commit(after); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	if _, err := l.mustReach(ctx, after); err != nil {
		return nil, fmt.Errorf("subscribe after %v: %w", after, err)
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &subscription{
		log: l, filter: f, server: l.serverFilter(f), in: make(chan news, readAhead), stop: stop, ctx: life, at: after,
	}
	s.done.Go(func() { s.follow(after) })
	return s, nil
}

// serverFilter is what the server can leave out; the rest is left out here.
func (l *Log) serverFilter(f eventlog.Filter) *esdb.SubscriptionFilter {
	switch {
	case len(f.Categories) > 0:
		s := &esdb.SubscriptionFilter{Type: esdb.StreamFilterType}
		for _, c := range f.Categories {
			s.Prefixes = append(s.Prefixes, l.cfg.Prefix+c+"-")
		}
		return s
	case len(f.Types) > 0:
		return &esdb.SubscriptionFilter{Type: esdb.EventFilterType, Prefixes: f.Types}
	case f.NoTelemetry:
		return &esdb.SubscriptionFilter{Type: esdb.EventFilterType, Regex: `^(?!\$|telemetry\.recorded\.v1$)`}
	case l.cfg.Prefix != "":
		return &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{l.cfg.Prefix}}
	}
	return nil
}

// follow subscribes again and again.
func (s *subscription) follow(at eventlog.Position) {
	for pause := firstPause; s.ctx.Err() == nil; pause = min(2*pause, maxPause) {
		before := at
		at = s.followOnce(at)
		if at != before {
			pause = firstPause
		}
		if s.log.link.sleep(s.ctx, pause) != nil {
			return
		}
	}
}

func (s *subscription) followOnce(at eventlog.Position) eventlog.Position {
	commit, err := s.log.commit(at)
	if err != nil {
		return at
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	o := esdb.SubscribeToAllOptions{From: esdb.AllPosition(esdb.Start{}), Filter: s.server, MaxSearchWindow: 512, CheckpointInterval: 1, RequiresLeader: true}
	if at > 0 {
		o.From = esdb.Position{Commit: commit, Prepare: commit}
	}
	sub, err := once(ctx, s.log.link, func(_ context.Context, c *esdb.Client) (*esdb.Subscription, error) {
		return c.SubscribeToAll(toLeader(ctx), o)
	})
	if err != nil {
		return at
	}
	defer func() { _ = sub.Close() }()
	if !send(ctx, s.in, news{through: at, behind: true}) {
		return at
	}
	for {
		e, err := guarded(ctx, func() (*esdb.SubscriptionEvent, error) { return sub.Recv(), nil })
		if err != nil {
			return at
		}
		n, ok := s.hear(e, at)
		if !ok {
			return at
		}
		if !send(ctx, s.in, n) {
			return at
		}
		at = n.through
	}
}

// hear turns a message into news; false when the subscription has ended.
func (s *subscription) hear(e *esdb.SubscriptionEvent, at eventlog.Position) (news, bool) {
	n := news{through: at}
	switch {
	case e == nil || e.SubscriptionDropped != nil:
		return n, false
	case e.CaughtUp != nil:
		n.caughtUp = true
	case e.FellBehind != nil:
		n.behind = true
	case e.CheckPointReached != nil:
		p, err := s.log.position(e.CheckPointReached.Commit)
		if err == nil {
			n.through = max(at, p)
		}
	case e.EventAppeared != nil && e.EventAppeared.OriginalEvent() != nil:
		event := e.EventAppeared.OriginalEvent()
		p, err := s.log.position(event.Position.Commit)
		if err != nil {
			return n, false
		}
		if p <= at {
			return n, true // it has been heard before
		}
		n.through = p
		if r, ok, err := s.log.record(event); err == nil && ok && s.filter.Passes(r.Stream, r.Type) {
			n.record = r
		}
	}
	return n, true
}

// Next implements eventlog.Subscription. CaughtUp is what the server has said
// last: that the reader is at the end, and nothing since.
func (s *subscription) Next(ctx context.Context) (eventlog.Batch, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	for {
		if s.ctx.Err() != nil {
			return eventlog.Batch{}, fmt.Errorf("subscription: %w", eventlog.ErrClosed)
		}
		if err := ctx.Err(); err != nil {
			return eventlog.Batch{}, fmt.Errorf("subscription: %w", err)
		}
		if b, ok := s.take(); ok {
			return b, nil
		}
		timer := time.NewTimer(s.probeIn())
		select {
		case n := <-s.in:
			timer.Stop()
			if b, ok := s.take(n); ok {
				return b, nil
			}
		case <-timer.C:
			b, ok, err := s.probe(ctx)
			if err != nil && ctx.Err() != nil {
				return eventlog.Batch{}, fmt.Errorf("subscription: %w", ctx.Err())
			}
			if ok {
				return b, nil
			}
		case <-ctx.Done():
			timer.Stop()
		case <-s.ctx.Done():
			timer.Stop()
		}
	}
}

// take makes a batch of what has come, if there is news in it.
func (s *subscription) take(first ...news) (eventlog.Batch, bool) {
	at := s.position()
	b := eventlog.Batch{Through: at}
	told := false // that the reader has just caught up
	for len(b.Records) < maxBatch {
		var n news
		if len(first) > 0 {
			n, first = first[0], nil
		} else {
			select {
			case n = <-s.in:
			default:
				return s.finish(b, at, told)
			}
		}
		if n.caughtUp || n.behind {
			told = n.caughtUp && !s.live
			s.live = n.caughtUp
		}
		if n.record.Position > b.Through {
			b.Records = append(b.Records, n.record)
		}
		b.Through = max(b.Through, n.through)
	}
	return s.finish(b, at, told)
}

func (s *subscription) finish(b eventlog.Batch, at eventlog.Position, told bool) (eventlog.Batch, bool) {
	b.CaughtUp = s.live && len(s.in) == 0
	if b.Through == at && (s.asked || !told) {
		return b, false
	}
	s.asked = true
	s.move(b.Through)
	return b, true
}

func (s *subscription) position() eventlog.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

func (s *subscription) move(to eventlog.Position) {
	s.mu.Lock()
	s.at = to
	s.mu.Unlock()
}

func (s *subscription) probeIn() time.Duration {
	if s.server == nil || !s.live {
		return time.Hour // every event comes, or will
	}
	s.log.mu.Lock()
	seen := s.log.seen
	s.log.mu.Unlock()
	if seen > s.position() {
		return probeSoon
	}
	return probeLate
}

// probe moves the reader through what its filter leaves out: the server tells
// that only now and then.
func (s *subscription) probe(ctx context.Context) (eventlog.Batch, bool, error) {
	at := s.position()
	to, n, whole := at, 0, true
	for r, err := range s.log.ReadAll(ctx, at, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			return eventlog.Batch{}, false, err
		}
		if n++; s.filter.Passes(r.Stream, r.Type) || n > probeEvents {
			whole = false // the server will send it, or there is more to look at
			break
		}
		to = r.Position
	}
	if to == at {
		return eventlog.Batch{}, false, nil
	}
	s.move(to)
	return eventlog.Batch{Through: to, CaughtUp: whole && len(s.in) == 0}, true, nil
}

// Lag implements eventlog.Subscription. It asks the server, for a second at
// most, and else goes by what this process has met.
func (s *subscription) Lag() uint64 {
	at := s.position()
	ctx, cancel := context.WithTimeout(s.ctx, lagPatience)
	defer cancel()
	end, err := s.log.end(ctx)
	if err != nil {
		s.log.mu.Lock()
		end = s.log.seen
		s.log.mu.Unlock()
	}
	return uint64(max(end, at) - at)
}

// Close implements eventlog.Subscription.
func (s *subscription) Close() error {
	s.stop()
	s.done.Wait()
	return nil
}
