package kurrentlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/twinlog/twinlog/adapters/eventlog/esdbwire"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// readRequest is one read of the server's, which goes on where it was after a
// connection has failed.
type readRequest struct {
	all    bool
	stream string
	dir    eventlog.Direction
	from   uint64 // revision, or commit position (inclusive forwards, exclusive backwards)
	isFrom bool   // else from the start forwards, from the end backwards
	count  uint64
}

// readAhead is how many events wait between the connection and the reader.
const readAhead = 256

// read gives each event to visit until that has enough.
func (l *Log) read(ctx context.Context, q readRequest, visit func(*esdb.RecordedEvent) (enough bool, err error)) error {
	until := time.Now().Add(l.cfg.Patience)
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		before := q
		err := l.readOnce(ctx, &q, visit)
		if !gone(err) || ctx.Err() != nil {
			return notAfter(ctx, err)
		}
		if q != before { // it has got further: the server is there
			until, pause = time.Now().Add(l.cfg.Patience), firstPause
		}
		if time.Now().After(until) {
			return err
		}
		if err := l.link.sleep(ctx, pause); err != nil {
			return err
		}
	}
}

type received struct {
	event *esdb.RecordedEvent
	err   error
}

func (l *Log) readOnce(ctx context.Context, q *readRequest, visit func(*esdb.RecordedEvent) (bool, error)) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := once(ctx, l.link, func(_ context.Context, c *esdb.Client) (*esdb.ReadStream, error) {
		return q.open(toLeader(inner), c)
	})
	if err != nil {
		return err
	}
	events := make(chan received, readAhead)
	go pump(inner, stream, events)
	for {
		var r received
		select {
		case r = <-events:
		case <-ctx.Done():
			return ctx.Err()
		}
		switch {
		case errors.Is(r.err, io.EOF), notFound(r.err):
			return nil
		case r.err != nil:
			return r.err
		}
		if q.skip(r.event) {
			continue
		}
		q.advance(r.event)
		enough, err := visit(r.event)
		if enough || err != nil || q.count == 0 {
			return err
		}
	}
}

// skip: $all is read from a position that has been seen already.
func (q *readRequest) skip(e *esdb.RecordedEvent) bool {
	return q.all && q.isFrom && q.dir == eventlog.Forwards && e.Position.Commit <= q.from
}

func (q *readRequest) advance(e *esdb.RecordedEvent) {
	if q.count != math.MaxUint64 {
		q.count--
	}
	switch {
	case q.all:
		q.from, q.isFrom = e.Position.Commit, true
	case q.dir == eventlog.Forwards:
		q.from, q.isFrom = e.EventNumber+1, true
	case e.EventNumber == 0:
		q.count = 0
	default:
		q.from, q.isFrom = e.EventNumber-1, true
	}
}

func (q *readRequest) open(ctx context.Context, c *esdb.Client) (*esdb.ReadStream, error) {
	dir := esdb.Forwards
	if q.dir == eventlog.Backwards {
		dir = esdb.Backwards
	}
	if q.all {
		o := esdb.ReadAllOptions{Direction: dir, From: esdb.AllPosition(esdb.Start{}), RequiresLeader: true}
		if q.isFrom {
			o.From = esdb.Position{Commit: q.from, Prepare: q.from}
		} else if q.dir == eventlog.Backwards {
			o.From = esdb.End{}
		}
		count := q.count
		if q.isFrom && q.dir == eventlog.Forwards && count != math.MaxUint64 {
			count++ // one that has been seen
		}
		return c.ReadAll(ctx, o, count)
	}
	o := esdb.ReadStreamOptions{Direction: dir, From: esdb.StreamPosition(esdb.Start{}), RequiresLeader: true}
	if q.isFrom {
		o.From = esdb.Revision(q.from)
	} else if q.dir == eventlog.Backwards {
		o.From = esdb.End{}
	}
	return c.ReadStream(ctx, q.stream, o, q.count)
}

// pump receives in a goroutine of its own: Recv panics on messages that it does
// not know, and panics or blocks after its connection has been given up.
func pump(ctx context.Context, stream *esdb.ReadStream, out chan<- received) {
	defer stream.Close()
	defer func() {
		if p := recover(); p != nil {
			why := eventlog.ErrDamaged // the client's own panic: such a message
			if _, ok := p.(runtime.Error); ok {
				why = errGone // a channel that was closed with the connection
			}
			send(ctx, out, received{err: fmt.Errorf("client: read: %v: %w", p, why)})
		}
	}()
	for {
		e, err := stream.Recv()
		if err != nil {
			send(ctx, out, received{err: err})
			return
		}
		if e.OriginalEvent() == nil {
			continue
		}
		if !send(ctx, out, received{event: e.OriginalEvent()}) {
			return
		}
	}
}

func send[T any](ctx context.Context, out chan<- T, v T) bool {
	select {
	case out <- v:
		return true
	case <-ctx.Done():
		return false
	}
}

func notFound(err error) bool {
	e, ok := errors.AsType[*esdb.Error](err)
	return ok && e.Code() == esdb.ErrorCodeResourceNotFound
}

// record makes a record; false for an event of a stream that is none of ours.
func (l *Log) record(e *esdb.RecordedEvent) (eventlog.Record, bool, error) {
	id, ok := l.streamID(e.StreamID)
	if !ok {
		return eventlog.Record{}, false, nil
	}
	p, err := l.position(e.Position.Commit)
	if err != nil {
		return eventlog.Record{}, false, fmt.Errorf("event %d of %s: %w", e.EventNumber, id, err)
	}
	r := eventlog.Record{
		Stream: id, Revision: eventlog.Revision(e.EventNumber), Position: p, ID: eventlog.EventID(e.EventID), Type: e.EventType, Data: e.Data,
	}
	if r.Data == nil {
		r.Data = []byte{}
	}
	r.RawEnvelope, r.ContentType = esdbwire.Unpack(e.UserMetadata, e.ContentType)
	r.Recorded = recordedIn(r.RawEnvelope, e.CreatedDate)
	l.met(p, r.Recorded)
	return r, true, nil
}

// recordedIn returns what the envelope says, or else the server's own time.
func recordedIn(envelope []byte, created time.Time) time.Time {
	if _, rest, ok := bytes.Cut(envelope, []byte(`"rec":"`)); ok {
		text, _, _ := bytes.Cut(rest, []byte{'"'})
		if t, err := time.Parse(time.RFC3339Nano, string(text)); err == nil {
			return t.UTC()
		}
	}
	return created.UTC()
}

// Read implements eventlog.Log.
func (l *Log) Read(ctx context.Context, id eventlog.StreamID, from eventlog.Revision, dir eventlog.Direction) iter.Seq2[eventlog.Record, error] {
	return func(yield func(eventlog.Record, error) bool) {
		if dir == eventlog.Backwards {
			for r, err := range l.readStream(ctx, id, from, dir, math.MaxUint64) {
				if !yield(r, err) {
					return
				}
			}
			return
		}
		// The server goes on while others append; this read has an end.
		for last, err := range l.readStream(ctx, id, eventlog.LastRevision, eventlog.Backwards, 1) {
			switch {
			case err != nil || from == eventlog.LastRevision:
				yield(last, err)
				return
			case from > last.Revision:
				return
			}
			for r, err := range l.readStream(ctx, id, from, dir, uint64(last.Revision-from)+1) {
				if !yield(r, err) {
					return
				}
			}
		}
	}
}

func (l *Log) readStream(ctx context.Context, id eventlog.StreamID, from eventlog.Revision, dir eventlog.Direction, count uint64) iter.Seq2[eventlog.Record, error] {
	q := readRequest{stream: l.streamName(id), dir: dir, from: uint64(from), isFrom: from != eventlog.LastRevision, count: count}
	return func(yield func(eventlog.Record, error) bool) {
		if id.Check() != nil {
			return
		}
		if err := l.read(ctx, q, func(e *esdb.RecordedEvent) (bool, error) {
			r, ok, err := l.record(e)
			return err == nil && ok && !yield(r, nil), err
		}); err != nil {
			yield(eventlog.Record{}, fmt.Errorf("read %s: %w", id, err))
		}
	}
}

// ReadAll implements eventlog.Log. The client cannot filter what it reads of
// $all, so all of it comes over the line; Subscribe can.
func (l *Log) ReadAll(ctx context.Context, after eventlog.Position, dir eventlog.Direction, f eventlog.Filter) iter.Seq2[eventlog.Record, error] {
	return func(yield func(eventlog.Record, error) bool) {
		q := readRequest{all: true, dir: dir, count: math.MaxUint64}
		end, err := l.allFrom(ctx, &q, after)
		if err == nil && q.count > 0 {
			err = l.read(ctx, q, func(e *esdb.RecordedEvent) (bool, error) {
				r, ok, err := l.record(e)
				switch {
				case err != nil:
					return false, err
				case ok && dir == eventlog.Forwards && r.Position > end:
					return true, nil
				case ok && f.Passes(r.Stream, r.Type) && !yield(r, nil):
					return true, nil
				}
				at, err := l.position(e.Position.Commit)
				return dir == eventlog.Forwards && at >= end, err
			})
		}
		if err != nil {
			yield(eventlog.Record{}, fmt.Errorf("read all after %v: %w", after, err))
		}
	}
}

// allFrom says where to begin, and where forwards the end is.
func (l *Log) allFrom(ctx context.Context, q *readRequest, after eventlog.Position) (end eventlog.Position, err error) {
	if q.dir == eventlog.Backwards {
		if after == eventlog.End {
			return 0, nil
		}
		if l.cfg.Epoch != 0 && after.Epoch() > l.cfg.Epoch {
			return 0, nil // beyond all that is here
		}
		q.from, err = l.commit(after)
		q.isFrom = true
		return 0, err
	}
	if q.from, err = l.commit(after); err != nil {
		return 0, err
	}
	q.isFrom = after > 0
	if end, err = l.mustReach(ctx, after); end == after {
		q.count = 0
	}
	return end, err
}

// markEvery is how many events are between two marks.
const markEvery = 1024

// KnownAt implements eventlog.Log. The first call reads the whole log once,
// the next ones what has come since.
func (l *Log) KnownAt(ctx context.Context, t time.Time) (eventlog.Position, error) {
	marks, end, err := l.extendMarks(ctx)
	if err != nil {
		return 0, fmt.Errorf("known at %v: %w", t, err)
	}
	return eventlog.KnownAtTime(t, marks, func(after, through eventlog.Position) iter.Seq2[eventlog.Mark, error] {
		return func(yield func(eventlog.Mark, error) bool) {
			if after >= end {
				return
			}
			for r, err := range l.ReadAll(ctx, after, eventlog.Forwards, eventlog.Filter{}) {
				if err == nil && r.Position > min(through, end) {
					return
				}
				if !yield(eventlog.Mark{Position: r.Position, Recorded: r.Recorded}, err) {
					return
				}
			}
		}
	})
}

func (l *Log) extendMarks(ctx context.Context) ([]eventlog.Mark, eventlog.Position, error) {
	l.marking.Lock()
	defer l.marking.Unlock()
	n := 0
	for r, err := range l.ReadAll(ctx, l.marked.Position, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			return nil, 0, err
		}
		l.marked.Position = r.Position
		if r.Recorded.After(l.marked.Recorded) {
			l.marked.Recorded = r.Recorded
		}
		if n++; n%markEvery == 0 {
			l.marks = append(l.marks, l.marked)
		}
	}
	return slices.Clip(l.marks), l.marked.Position, nil
}
