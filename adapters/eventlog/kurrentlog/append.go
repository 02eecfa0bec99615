package kurrentlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"github.com/twinlog/twinlog/adapters/eventlog/esdbwire"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// Append implements eventlog.Log. A repetition of events that another process
// appended after this one last looked is answered with where they are, but
// without Repeated: the server's answer is the same as for new ones.
func (l *Log) Append(ctx context.Context, id eventlog.StreamID, expected eventlog.Expected, events ...eventlog.NewEvent) (eventlog.Appended, error) {
	if err := eventlog.CheckAppend(id, events); err != nil {
		return eventlog.Appended{}, err
	}
	if err := l.lookAtTail(ctx); err != nil {
		return eventlog.Appended{}, fmt.Errorf("append to %s: %w", id, err)
	}
	data, recorded, seen, err := l.prepare(id, events)
	if err != nil {
		return eventlog.Appended{}, err
	}
	opts := esdb.AppendToStreamOptions{ExpectedRevision: esdb.NoStream{}, RequiresLeader: true}
	if expected != eventlog.NoStream {
		opts.ExpectedRevision = esdb.Revision(uint64(expected.Next()) - 1)
	}
	w, tries, err := do(ctx, l.link, func(ctx context.Context, c *esdb.Client) (*esdb.WriteResult, error) {
		deadline := l.cfg.Patience
		opts.Deadline = &deadline
		return c.AppendToStream(ctx, l.streamName(id), opts, data...)
	})
	if err != nil {
		return l.refused(ctx, id, expected, events, err)
	}
	a := eventlog.Appended{Revision: expected.Next() + eventlog.Revision(len(events)-1)}
	if w.NextExpectedVersion != uint64(a.Revision) {
		return a, fmt.Errorf("append to %s: the server says revision %d, expected %d: %w", id, w.NextExpectedVersion, a.Revision, eventlog.ErrDamaged)
	}
	if a.Last, err = l.position(w.CommitPosition); err != nil {
		return a, fmt.Errorf("append to %s: %w", id, err)
	}
	a.First = a.Last
	a.Repeated = a.Last <= seen || tries > 1
	if len(events) > 1 || a.Repeated {
		// The server tells only the last event's position, and for a repetition
		// not always that of the same append.
		if a, err = l.placed(ctx, id, a, len(events), events[0], recorded); err != nil {
			return a, fmt.Errorf("append to %s: %w", id, err)
		}
	}
	if a.Repeated {
		recorded = time.Time{} // this stamp is nowhere
	}
	l.met(a.Last, recorded)
	return a, nil
}

// prepare stamps the events and checks their size.
func (l *Log) prepare(id eventlog.StreamID, events []eventlog.NewEvent) (data []esdb.EventData, recorded time.Time, seen eventlog.Position, err error) {
	raw := l.cfg.Now().UTC().Truncate(time.Microsecond)
	recorded = raw
	l.mu.Lock()
	if seen = l.seen; recorded.Before(l.recorded) {
		recorded = l.recorded
	}
	l.mu.Unlock()
	clock := l.cfg.Clock()
	clock.OffsetUS = raw.Sub(recorded).Microseconds()
	size := 0
	data = make([]esdb.EventData, len(events))
	for i, e := range events {
		envelope := e.RawEnvelope
		if len(envelope) == 0 {
			e.Envelope.Recorded, e.Envelope.Clock = recorded, clock
			envelope = e.Envelope.AppendCanonical(nil)
		}
		size += len(envelope) + len(e.Data)
		custom, content, err := esdbwire.Pack(e.ContentType, envelope)
		if err != nil {
			return nil, recorded, seen, fmt.Errorf("append to %s: %w", id, err)
		}
		data[i] = esdb.EventData{EventID: uuid.UUID(e.ID), EventType: e.Type, Data: e.Data, Metadata: custom}
		if content == eventlog.JSON {
			data[i].ContentType = esdb.ContentTypeJson
		}
	}
	if size > eventlog.MaxAppendBytes {
		return nil, recorded, seen, fmt.Errorf("append of %d bytes to %s: %w", size, id, eventlog.ErrTooLarge)
	}
	return data, recorded, seen, nil
}

// placed looks where the first of n events is, and whether it is the one that
// this call wrote: another stamp is that of an earlier call. Of a repetition
// the server may have told another append's position, so the last is looked at too.
func (l *Log) placed(ctx context.Context, id eventlog.StreamID, a eventlog.Appended, n int, first eventlog.NewEvent, recorded time.Time) (eventlog.Appended, error) {
	r, err := l.at(ctx, id, a.Revision-eventlog.Revision(n-1))
	if err != nil {
		return a, err
	}
	if r.ID != first.ID {
		return a, fmt.Errorf("another event is at revision %d: %w", r.Revision, eventlog.ErrDamaged)
	}
	a.First = r.Position
	if len(first.RawEnvelope) == 0 {
		a.Repeated = !r.Recorded.Equal(recorded)
	}
	if a.Repeated {
		if r, err = l.at(ctx, id, a.Revision); err != nil {
			return a, err
		}
		a.Last = r.Position
	}
	return a, nil
}

// at returns the event of a revision that must be there.
func (l *Log) at(ctx context.Context, id eventlog.StreamID, rev eventlog.Revision) (eventlog.Record, error) {
	for r, err := range l.readStream(ctx, id, rev, eventlog.Forwards, 1) {
		return r, err
	}
	return eventlog.Record{}, fmt.Errorf("nothing is at revision %d: %w", rev, eventlog.ErrDamaged)
}

// refused finds out what an error means. The client tells expected and actual
// revision only in prose, and other refusals not at all, so the stream itself
// is asked whether these events are there.
func (l *Log) refused(ctx context.Context, id eventlog.StreamID, expected eventlog.Expected, events []eventlog.NewEvent, err error) (eventlog.Appended, error) {
	e, ok := errors.AsType[*esdb.Error](err)
	if !ok || e.Code() != esdb.ErrorCodeWrongExpectedVersion {
		if ok && e.Code() == esdb.ErrorCodeDeadlineExceeded && ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
		}
		return eventlog.Appended{}, fmt.Errorf("append to %s: %w", id, err)
	}
	next, n := expected.Next(), 0
	a := eventlog.Appended{Revision: next + eventlog.Revision(len(events)-1), Repeated: true}
	for r, err := range l.readStream(ctx, id, next, eventlog.Forwards, uint64(len(events))) {
		if err != nil {
			return eventlog.Appended{}, fmt.Errorf("append to %s: compare with what is there: %w", id, err)
		}
		if r.ID != events[n].ID {
			break
		}
		if n == 0 {
			a.First = r.Position
		}
		a.Last = r.Position
		if n++; n == len(events) {
			return a, nil
		}
	}
	return eventlog.Appended{}, fmt.Errorf("append to %s: %d of %d events are at revision %d: %w: %w",
		id, n, len(events), next, eventlog.ErrConflict, e)
}
