package badgerlog

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// bell wakes everyone who waits.
type bell struct {
	// mu guards next.
	mu   sync.Mutex
	next chan struct{}
}

// wait returns a channel that is closed at the next ring.
func (b *bell) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.next = make(chan struct{})
	}
	return b.next
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil {
		close(b.next)
		b.next = nil
	}
}

// wakeInterval: a thousand waiting subscribers cost a fraction of a
// millisecond to wake, and commits can come thousands a second.
const wakeInterval = time.Millisecond

// wakeAll wakes subscriptions after commits, at once after a pause and then
// once per wakeInterval, until the log closes.
func (l *Log) wakeAll() {
	for {
		select {
		case <-l.poke:
			l.bell.ring()
		case <-l.stop:
			return
		}
		select {
		case <-time.After(wakeInterval):
		case <-l.stop:
			return
		}
	}
}

type subscription struct {
	log    *Log
	filter eventlog.Filter
	at     atomic.Uint64 // position handed out so far
	asked  bool          // the first Next has been answered; the reader's
	closed chan struct{}
	once   sync.Once
}

// Subscribe implements eventlog.Log.
func (l *Log) Subscribe(ctx context.Context, after eventlog.Position, f eventlog.Filter) (eventlog.Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("subscribe after %v: %w", after, err)
	}
	release, err := l.use()
	if err != nil {
		return nil, fmt.Errorf("subscribe after %v: %w", after, err)
	}
	defer release()
	if err := l.Stands(after); err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	s := &subscription{log: l, filter: f, closed: make(chan struct{})}
	s.at.Store(uint64(after))
	return s, nil
}

// Next implements eventlog.Subscription.
func (s *subscription) Next(ctx context.Context) (eventlog.Batch, error) {
	for {
		if err := s.open(ctx); err != nil {
			return eventlog.Batch{}, fmt.Errorf("subscription at %v: %w", eventlog.Position(s.at.Load()), err)
		}
		news := s.log.bell.wait() // before the look, so that nothing falls between
		e, at := s.log.extent(), eventlog.Position(s.at.Load())
		if at < e.head {
			c, err := s.log.next(at, e, s.filter)
			if err != nil {
				return eventlog.Batch{}, fmt.Errorf("subscription at %v: %w", at, err)
			}
			s.asked = true
			s.at.Store(uint64(c.reached))
			return eventlog.Batch{Records: c.records, Through: c.reached, CaughtUp: c.reached == e.head}, nil
		}
		if !s.asked {
			s.asked = true
			return eventlog.Batch{Through: at, CaughtUp: true}, nil
		}
		select {
		case <-news:
		case <-s.closed:
		case <-s.log.stop:
		case <-ctx.Done():
		}
	}
}

// next is chunk, but goes to the end at once where nothing can pass.
func (l *Log) next(at eventlog.Position, e extent, f eventlog.Filter) (chunk, error) {
	if (!f.WantsTelemetry() || e.telemetry <= at) && (!f.WantsOther() || e.other <= at) {
		return chunk{reached: e.head}, nil
	}
	return l.chunk(at, eventlog.Forwards, e, f)
}

func (s *subscription) open(ctx context.Context) error {
	select {
	case <-s.closed:
		return eventlog.ErrClosed
	case <-s.log.stop:
		return eventlog.ErrClosed
	default:
		return ctx.Err()
	}
}

// Lag implements eventlog.Subscription.
func (s *subscription) Lag() uint64 {
	at := eventlog.Position(s.at.Load()) // first: the log's end is never before a reader
	return s.log.extent().head.Order() - standing(s.log.starts(), at).Order()
}

// Close implements eventlog.Subscription.
func (s *subscription) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}
