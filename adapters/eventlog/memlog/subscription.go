package memlog

import (
	"context"
	"fmt"
	"sync"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// maxBatch keeps one batch of a subscription well under a megabyte of usual events.
const maxBatch = 1000

type subscription struct {
	log    *Log
	filter eventlog.Filter
	closed chan struct{}
	once   sync.Once

	// mu guards at and asked against a Lag beside a Next.
	mu    sync.Mutex
	at    eventlog.Position
	asked bool // the first Next has been answered
}

// Subscribe implements eventlog.Log.
func (l *Log) Subscribe(ctx context.Context, after eventlog.Position, f eventlog.Filter) (eventlog.Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("subscribe after %v: %w", after, err)
	}
	l.mu.Lock()
	n := len(l.records)
	l.mu.Unlock()
	if after > eventlog.Position(n) {
		return nil, lost(after, n)
	}
	return &subscription{log: l, filter: f, closed: make(chan struct{}), at: after}, nil
}

// Next implements eventlog.Subscription.
func (s *subscription) Next(ctx context.Context) (eventlog.Batch, error) {
	for {
		select {
		case <-s.closed:
			return eventlog.Batch{}, fmt.Errorf("subscription: %w", eventlog.ErrClosed)
		default:
		}
		if err := ctx.Err(); err != nil {
			return eventlog.Batch{}, fmt.Errorf("subscription: %w", err)
		}
		s.log.mu.Lock()
		records, grown := s.log.records, s.log.grown
		s.log.mu.Unlock()
		if b, ok := s.take(records); ok {
			return b, nil
		}
		select {
		case <-grown:
		case <-s.closed:
		case <-ctx.Done():
		}
	}
}

// take makes the next batch of what is there; false if there is no news.
func (s *subscription) take(records []eventlog.Record) (eventlog.Batch, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if int(s.at) == len(records) && s.asked {
		return eventlog.Batch{}, false
	}
	s.asked = true
	var b eventlog.Batch
	for int(s.at) < len(records) && len(b.Records) < maxBatch {
		if r := records[s.at]; s.filter.Passes(r.Stream, r.Type) {
			b.Records = append(b.Records, r)
		}
		s.at++
	}
	b.Through, b.CaughtUp = s.at, int(s.at) == len(records)
	return b, true
}

// Lag implements eventlog.Subscription.
func (s *subscription) Lag() uint64 {
	s.mu.Lock()
	at := s.at
	s.mu.Unlock()
	s.log.mu.Lock() // read second: the log's end is never before a reader
	defer s.log.mu.Unlock()
	return uint64(len(s.log.records)) - uint64(at)
}

// Close implements eventlog.Subscription.
func (s *subscription) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}
