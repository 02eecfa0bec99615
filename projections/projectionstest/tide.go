package projectionstest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// tideLog shows a finished log as if it were still being written: readers see
// it up to a position that rises.
type tideLog struct {
	eventlog.Log

	// mu guards the two below.
	mu    sync.Mutex
	level eventlog.Position
	risen chan struct{} // closed, and made anew, when level rises
}

func (l *tideLog) rise(to eventlog.Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.level = to
	close(l.risen)
	l.risen = make(chan struct{})
}

func (l *tideLog) now() (eventlog.Position, chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.level, l.risen
}

// Head implements eventlog.Log.
func (l *tideLog) Head(context.Context) (eventlog.Position, time.Time, error) {
	level, _ := l.now()
	return level, time.Time{}, nil
}

// Subscribe implements eventlog.Log.
func (l *tideLog) Subscribe(_ context.Context, after eventlog.Position, f eventlog.Filter) (eventlog.Subscription, error) {
	if level, _ := l.now(); after > level {
		return nil, fmt.Errorf("position %v beyond %v: %w", after, level, eventlog.ErrPositionLost)
	}
	return &tideSub{log: l, at: after, filter: f}, nil
}

type tideSub struct {
	log    *tideLog
	at     eventlog.Position
	filter eventlog.Filter
	asked  bool
}

// tideBatch is the most records of one batch: another size than the runner's.
const tideBatch = 333

// Next implements eventlog.Subscription.
func (s *tideSub) Next(ctx context.Context) (eventlog.Batch, error) {
	for {
		level, risen := s.log.now()
		if s.at < level || !s.asked {
			s.asked = true
			return s.take(ctx, level)
		}
		select {
		case <-risen:
		case <-ctx.Done():
			return eventlog.Batch{}, ctx.Err()
		}
	}
}

func (s *tideSub) take(ctx context.Context, level eventlog.Position) (eventlog.Batch, error) {
	b := eventlog.Batch{Through: level, CaughtUp: true}
	for rec, err := range s.log.ReadAll(ctx, s.at, eventlog.Forwards, s.filter) {
		if err != nil {
			return eventlog.Batch{}, err
		}
		if rec.Position > level {
			break
		}
		if len(b.Records) == tideBatch {
			b.Through, b.CaughtUp = b.Records[tideBatch-1].Position, false
			break
		}
		b.Records = append(b.Records, rec)
	}
	s.at = b.Through
	return b, nil
}

// Lag implements eventlog.Subscription.
func (s *tideSub) Lag() uint64 { return 0 }

// Close implements eventlog.Subscription.
func (s *tideSub) Close() error { return nil }
