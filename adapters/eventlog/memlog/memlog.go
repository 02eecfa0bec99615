// Package memlog keeps an event log in memory: for tests, for trying things
// out, and as the plainest reading of what eventlog.Log promises. Nothing of it
// survives the process; "durable" here means visible.
package memlog

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Log is an eventlog.Log in memory. The zero Log is not ready; use New.
type Log struct {
	origin string
	now    func() time.Time

	// mu guards everything below. Records are never changed once appended, so
	// a slice of them may be read after mu is released.
	mu       sync.Mutex
	records  []eventlog.Record // record i has position i+1
	streams  map[eventlog.StreamID][]int
	recorded time.Time     // of the newest record
	grown    chan struct{} // closed, and made anew, at each Append
}

var _ eventlog.Log = (*Log)(nil)

// New returns an empty log. now is the clock that Recorded comes from.
func New(origin string, now func() time.Time) *Log {
	return &Log{origin: origin, now: now, streams: map[eventlog.StreamID][]int{}, grown: make(chan struct{})}
}

// Origin implements eventlog.Log.
func (l *Log) Origin() string { return l.origin }

// Append implements eventlog.Log.
func (l *Log) Append(ctx context.Context, id eventlog.StreamID, expected eventlog.Expected, events ...eventlog.NewEvent) (eventlog.Appended, error) {
	if err := eventlog.CheckAppend(id, events); err != nil {
		return eventlog.Appended{}, err
	}
	if err := ctx.Err(); err != nil {
		return eventlog.Appended{}, fmt.Errorf("append to %s: %w", id, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	stream := l.streams[id]
	if next := expected.Next(); next != eventlog.Revision(len(stream)) {
		if next < eventlog.Revision(len(stream)) && int(next)+len(events) <= len(stream) && l.same(stream[next:], events) {
			at := stream[next : int(next)+len(events)]
			return eventlog.Appended{
				First: position(at[0]), Last: position(at[len(at)-1]),
				Revision: next + eventlog.Revision(len(events)-1), Repeated: true,
			}, nil
		}
		return eventlog.Appended{}, fmt.Errorf("stream %s holds %d events, expected %d: %w", id, len(stream), next, eventlog.ErrConflict)
	}
	raw := l.now().UTC().Truncate(time.Microsecond)
	recorded := raw
	if recorded.Before(l.recorded) {
		recorded = l.recorded
	}
	made, size := make([]eventlog.Record, len(events)), 0
	for i, e := range events {
		e.Envelope.Recorded = recorded
		e.Envelope.Clock = eventlog.ClockState{OffsetUS: raw.Sub(recorded).Microseconds()}
		made[i] = eventlog.Record{
			Stream: id, Revision: eventlog.Revision(len(stream) + i), Position: position(len(l.records) + i),
			ID: e.ID, Type: e.Type, ContentType: e.ContentType, Recorded: recorded,
			RawEnvelope: e.Envelope.AppendCanonical(nil), Data: append([]byte{}, e.Data...),
		}
		if len(e.RawEnvelope) > 0 {
			made[i].RawEnvelope = append([]byte{}, e.RawEnvelope...)
		}
		if e.ContentType == "" {
			made[i].ContentType = eventlog.JSON
		}
		size += len(made[i].RawEnvelope) + len(e.Data)
	}
	if size > eventlog.MaxAppendBytes {
		return eventlog.Appended{}, fmt.Errorf("append of %d bytes to %s: %w", size, id, eventlog.ErrTooLarge)
	}
	for i := range made {
		l.streams[id] = append(l.streams[id], len(l.records))
		l.records = append(l.records, made[i])
	}
	l.recorded = recorded
	close(l.grown)
	l.grown = make(chan struct{})
	return eventlog.Appended{
		First: made[0].Position, Last: made[len(made)-1].Position, Revision: made[len(made)-1].Revision,
	}, nil
}

func (l *Log) same(at []int, events []eventlog.NewEvent) bool {
	for i, e := range events {
		if l.records[at[i]].ID != e.ID {
			return false
		}
	}
	return true
}

// position of record i: dense, from 1, in epoch 0.
func position(i int) eventlog.Position { return eventlog.NewPosition(0, uint64(i)+1) }

// Read implements eventlog.Log.
func (l *Log) Read(ctx context.Context, id eventlog.StreamID, from eventlog.Revision, dir eventlog.Direction) iter.Seq2[eventlog.Record, error] {
	return func(yield func(eventlog.Record, error) bool) {
		l.mu.Lock()
		records, stream := l.records, l.streams[id]
		l.mu.Unlock()
		if len(stream) == 0 {
			return
		}
		last := eventlog.Revision(len(stream) - 1)
		if from == eventlog.LastRevision || dir == eventlog.Backwards && from > last {
			from = last
		}
		step := 1
		if dir == eventlog.Backwards {
			step = -1
		}
		for i := int(from); from <= last && i >= 0 && i < len(stream); i += step {
			if err := ctx.Err(); err != nil {
				yield(eventlog.Record{}, fmt.Errorf("read %s: %w", id, err))
				return
			}
			if !yield(records[stream[i]], nil) {
				return
			}
		}
	}
}

// ReadAll implements eventlog.Log.
func (l *Log) ReadAll(ctx context.Context, after eventlog.Position, dir eventlog.Direction, f eventlog.Filter) iter.Seq2[eventlog.Record, error] {
	return func(yield func(eventlog.Record, error) bool) {
		l.mu.Lock()
		records := l.records
		l.mu.Unlock()
		if dir == eventlog.Forwards && after > eventlog.Position(len(records)) {
			yield(eventlog.Record{}, lost(after, len(records)))
			return
		}
		i, step := int(after), 1
		if dir == eventlog.Backwards {
			i, step = int(min(after, eventlog.Position(len(records)+1)))-2, -1
		}
		for ; i >= 0 && i < len(records); i += step {
			if err := ctx.Err(); err != nil {
				yield(eventlog.Record{}, fmt.Errorf("read all after %v: %w", after, err))
				return
			}
			if f.Passes(records[i].Stream, records[i].Type) && !yield(records[i], nil) {
				return
			}
		}
	}
}

func lost(after eventlog.Position, head int) error {
	return fmt.Errorf("position %v is beyond the end %v: %w", after, eventlog.Position(head), eventlog.ErrPositionLost)
}

// Head implements eventlog.Log.
func (l *Log) Head(context.Context) (eventlog.Position, time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return eventlog.Position(len(l.records)), l.recorded, nil
}

// KnownAt implements eventlog.Log.
func (l *Log) KnownAt(_ context.Context, t time.Time) (eventlog.Position, error) {
	l.mu.Lock()
	records := l.records
	l.mu.Unlock()
	return eventlog.KnownAtTime(t, nil, func(_, _ eventlog.Position) iter.Seq2[eventlog.Mark, error] {
		return func(yield func(eventlog.Mark, error) bool) {
			for _, r := range records {
				if !yield(eventlog.Mark{Position: r.Position, Recorded: r.Recorded}, nil) {
					return
				}
			}
		}
	})
}
