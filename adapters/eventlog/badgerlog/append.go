package badgerlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// request is an Append on its way through the committer.
type request struct {
	stream   eventlog.StreamID
	expected eventlog.Expected
	events   []event
	texts    int // bytes of envelopes without the stamp
	bare     int // envelopes that are nothing but the stamp
	stamped  int // envelopes that get the stamp
	data     int // bytes of data

	copied *copied // nil: the log stamps it
	epoch  uint16  // not 0: it opens this epoch

	state atomic.Int32 // waiting, then taken or withdrawn
	// Whoever asked waits for done or, of AppendAsync, is called with then.
	done chan struct{}
	then func(eventlog.Appended, error)
	// The answer, written by the committer before done is closed.
	appended eventlog.Appended
	err      error
}

const (
	waiting = iota
	taken
	withdrawn
)

// errBehind: the stream is past the expected revision; whether the events there
// are these is for the caller's goroutine to see.
var errBehind = errors.New("stream is past the expected revision")

// size is what the events come to with this stamp: what MaxAppendBytes bounds.
func (r *request) size(s eventlog.Stamp) int {
	members := r.stamped * len(s.Rec)
	commas := r.stamped - r.bare
	if len(s.Clk) > 0 {
		members += r.stamped * len(s.Clk)
		commas += r.stamped
	}
	return r.texts + r.data + members + commas
}

// Append implements eventlog.Log.
func (l *Log) Append(ctx context.Context, id eventlog.StreamID, expected eventlog.Expected, events ...eventlog.NewEvent) (eventlog.Appended, error) {
	if err := eventlog.CheckAppend(id, events); err != nil {
		return eventlog.Appended{}, err
	}
	r := l.prepare(id, expected, events)
	if err := l.enqueue(ctx, r); err != nil {
		return eventlog.Appended{}, err
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		if r.state.CompareAndSwap(waiting, withdrawn) {
			return eventlog.Appended{}, fmt.Errorf("append to %s: %w", id, ctx.Err())
		}
		<-r.done // the committer has it: its answer is a sync away
	}
	return l.answer(ctx, r)
}

// AppendAsync implements eventlog.AsyncAppender.
func (l *Log) AppendAsync(id eventlog.StreamID, expected eventlog.Expected, events []eventlog.NewEvent, done func(eventlog.Appended, error)) {
	err := eventlog.CheckAppend(id, events)
	if err == nil {
		r := l.prepare(id, expected, events)
		r.then = done
		err = l.enqueue(context.Background(), r)
	}
	if err != nil {
		done(eventlog.Appended{}, err)
	}
}

// answer says what became of a request that the committer has answered.
func (l *Log) answer(ctx context.Context, r *request) (eventlog.Appended, error) {
	if errors.Is(r.err, errBehind) {
		return l.repeated(ctx, r)
	}
	return r.appended, wrap(r.err, "append to %s", r.stream)
}

// answerAll is the goroutine that answers what came by AppendAsync, so that the
// next commit need not wait for the callers.
func (l *Log) answerAll() {
	for batch := range l.answers {
		for _, r := range batch {
			r.then(l.answer(context.Background(), r))
		}
	}
}

func (l *Log) enqueue(ctx context.Context, r *request) error {
	if n := r.texts + r.data; n > eventlog.MaxAppendBytes {
		return fmt.Errorf("append of %d bytes to %s: %w", n, r.stream, eventlog.ErrTooLarge)
	}
	if r.then == nil {
		r.done = make(chan struct{})
	}
	return wrap(l.queueUp(ctx, r), "append to %s", r.stream)
}

func (l *Log) queueUp(ctx context.Context, r *request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := l.failure.Load(); err != nil {
		return *err
	}
	release, err := l.use()
	if err != nil {
		return err
	}
	defer release()
	select {
	case l.queue <- r:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// prepare does in the caller's goroutine all that does not need the committer.
func (l *Log) prepare(id eventlog.StreamID, expected eventlog.Expected, events []eventlog.NewEvent) *request {
	r := &request{stream: id, expected: expected, events: make([]event, 0, len(events))}
	var text []byte
	for i := range events {
		e := &events[i]
		s := eventlog.Fixed(e.RawEnvelope)
		if len(e.RawEnvelope) == 0 {
			s = e.Envelope.Stencil(text)
		}
		if s.Fixed() {
			s = eventlog.Fixed(bytes.Clone(s.Text)) // the caller may reuse its slice
		} else if i > 0 && !r.events[i-1].envelope.Fixed() && bytes.Equal(s.Text, r.events[i-1].envelope.Text) {
			s = r.events[i-1].envelope
		} else {
			text = append(text, s.Text...) // keeps the place; the bytes are there already
		}
		r.add(l, e.ID, e.Type, e.ContentType, s, e.Data)
	}
	return r
}

// repeated answers an append that comes too late: with where its events are,
// if they are these very ones.
func (l *Log) repeated(ctx context.Context, r *request) (eventlog.Appended, error) {
	next := r.expected.Next()
	a := eventlog.Appended{Revision: next + eventlog.Revision(len(r.events)) - 1, Repeated: true}
	n := 0
	for rec, err := range l.Read(ctx, r.stream, next, eventlog.Forwards) {
		if err != nil {
			return eventlog.Appended{}, fmt.Errorf("append to %s: compare with what is there: %w", r.stream, err)
		}
		if rec.ID != r.events[n].id {
			break
		}
		if n == 0 {
			a.First = rec.Position
		}
		a.Last = rec.Position
		if n++; n == len(r.events) {
			return a, nil
		}
	}
	return eventlog.Appended{}, fmt.Errorf("append to %s: event %d of %d is not the one at revision %d: %w",
		r.stream, n+1, len(r.events), next+eventlog.Revision(n), eventlog.ErrConflict)
}
