package timetravel

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// leapLog is a log whose positions jump when it is told to. Positions rise with
// gaps (decision 5), so folds that work in windows of positions close one after
// a few events as they would after a quarter of a million.
type leapLog struct {
	eventlog.Log

	// mu guards leaps: from each inner position on, so much is added.
	mu    sync.RWMutex
	leaps []leap
}

type leap struct{ from, add eventlog.Position }

// window is the longest stretch of positions that a fold takes for one.
const window = 1 << 18

// leap has the next event lie at the start of a new window, or some positions
// behind it.
func (l *leapLog) leap(behind eventlog.Position) error {
	head, _, err := l.Log.Head(context.Background())
	if err != nil {
		return err
	}
	to := (l.outer(head)/window+1)*window + behind
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.leaps); n > 0 && l.leaps[n-1].from == head+1 {
		l.leaps = l.leaps[:n-1]
	}
	l.leaps = append(l.leaps, leap{head + 1, to - head - 1})
	return nil
}

func (l *leapLog) outer(p eventlog.Position) eventlog.Position {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, j := range slices.Backward(l.leaps) {
		if j.from <= p {
			return p + j.add
		}
	}
	return p
}

// inner is the last position of the log inside that lies at or before p.
func (l *leapLog) inner(p eventlog.Position) eventlog.Position {
	l.mu.RLock()
	defer l.mu.RUnlock()
	end := eventlog.End
	for _, j := range slices.Backward(l.leaps) {
		if j.from+j.add <= p {
			return min(p-j.add, end)
		}
		end = j.from - 1
	}
	return min(p, end)
}

func (l *leapLog) record(r eventlog.Record) eventlog.Record {
	r.Position = l.outer(r.Position)
	return r
}

// Append implements eventlog.Log.
func (l *leapLog) Append(ctx context.Context, id eventlog.StreamID, expected eventlog.Expected, events ...eventlog.NewEvent) (eventlog.Appended, error) {
	done, err := l.Log.Append(ctx, id, expected, events...)
	if err == nil {
		done.First, done.Last = l.outer(done.First), l.outer(done.Last)
	}
	return done, err
}

func (l *leapLog) records(all iter.Seq2[eventlog.Record, error]) iter.Seq2[eventlog.Record, error] {
	return func(yield func(eventlog.Record, error) bool) {
		for rec, err := range all {
			if !yield(l.record(rec), err) {
				return
			}
		}
	}
}

// Read implements eventlog.Log.
func (l *leapLog) Read(ctx context.Context, id eventlog.StreamID, from eventlog.Revision, dir eventlog.Direction) iter.Seq2[eventlog.Record, error] {
	return l.records(l.Log.Read(ctx, id, from, dir))
}

// ReadAll implements eventlog.Log.
func (l *leapLog) ReadAll(ctx context.Context, after eventlog.Position, dir eventlog.Direction, f eventlog.Filter) iter.Seq2[eventlog.Record, error] {
	if dir == eventlog.Backwards {
		if after == 0 {
			return func(func(eventlog.Record, error) bool) {}
		}
		return l.records(l.Log.ReadAll(ctx, l.inner(after-1)+1, dir, f))
	}
	if err := l.beyond(ctx, after); err != nil {
		return func(yield func(eventlog.Record, error) bool) { yield(eventlog.Record{}, err) }
	}
	return l.records(l.Log.ReadAll(ctx, l.inner(after), dir, f))
}

func (l *leapLog) beyond(ctx context.Context, p eventlog.Position) error {
	if head, _, err := l.Head(ctx); err != nil || p > head {
		return fmt.Errorf("position %v, the log ends at %v: %w", p, head, eventlog.ErrPositionLost)
	}
	return nil
}

// Head implements eventlog.Log.
func (l *leapLog) Head(ctx context.Context) (eventlog.Position, time.Time, error) {
	head, recorded, err := l.Log.Head(ctx)
	return l.outer(head), recorded, err
}

// KnownAt implements eventlog.Log.
func (l *leapLog) KnownAt(ctx context.Context, t time.Time) (eventlog.Position, error) {
	p, err := l.Log.KnownAt(ctx, t)
	return l.outer(p), err
}

// Subscribe implements eventlog.Log.
func (l *leapLog) Subscribe(ctx context.Context, after eventlog.Position, f eventlog.Filter) (eventlog.Subscription, error) {
	if err := l.beyond(ctx, after); err != nil {
		return nil, err
	}
	sub, err := l.Log.Subscribe(ctx, l.inner(after), f)
	return &leapSub{sub, l}, err
}

type leapSub struct {
	eventlog.Subscription
	log *leapLog
}

// Next implements eventlog.Subscription.
func (s *leapSub) Next(ctx context.Context) (eventlog.Batch, error) {
	b, err := s.Subscription.Next(ctx)
	b.Records = slices.Clone(b.Records)
	for i, r := range b.Records {
		b.Records[i] = s.log.record(r)
	}
	b.Through = s.log.outer(b.Through)
	return b, err
}
