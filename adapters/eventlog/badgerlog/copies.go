package badgerlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

var _ eventlog.Taker = (*Log)(nil)

// copied is what a request that copies brings along: all its events were one
// commit's, or a part of it.
type copied struct {
	first    eventlog.Position
	recorded time.Time
	stamp    eventlog.Stamp
}

// sameCommit reports whether two requests may share a commit.
func sameCommit(a, b *request) bool {
	switch {
	case a.epoch != 0 || b.epoch != 0:
		return false
	case a.copied == nil || b.copied == nil:
		return a.copied == b.copied
	}
	x, y := a.copied, b.copied
	return x.first.Epoch() == y.first.Epoch() && x.recorded.Equal(y.recorded) &&
		bytes.Equal(x.stamp.Clk, y.stamp.Clk) && bytes.Equal(x.stamp.Rec, y.stamp.Rec)
}

// maxCopied bounds the events of one request that copies.
const (
	maxCopied      = 1024
	maxCopiedBytes = 256 << 10
)

// AppendCopies implements eventlog.Taker. A log opened by OpenCopy syncs once
// for all of them.
func (l *Log) AppendCopies(ctx context.Context, records []eventlog.Record) error {
	var waiting []*request
	var err error
	for len(records) > 0 && err == nil {
		var r *request
		r, records = l.prepareCopies(records)
		if err = l.enqueue(ctx, r); err == nil {
			waiting = append(waiting, r)
		}
	}
	for _, r := range waiting {
		<-r.done
		if errors.Is(r.err, errBehind) {
			r.err = eventlog.ErrConflict
		}
		if r.err != nil && err == nil {
			err = fmt.Errorf("copy %s from revision %d at position %v: %w", r.stream, r.expected.Next(), r.copied.first, r.err)
		}
	}
	if err != nil || !l.cfg.copying {
		return err
	}
	return l.syncCopies()
}

// syncCopies makes durable what was committed without a sync, and only then
// says so in HEAD.
func (l *Log) syncCopies() error {
	if err := l.db.Sync(); err != nil {
		return wrap(err, "sync")
	}
	e := l.extent()
	if err := l.head.write(head{last: e.head, hash: l.committer.chain, recorded: e.recorded}); err != nil {
		return err
	}
	return l.head.sync()
}

// prepareCopies makes a request of the records at the front that follow each
// other in one stream and come from one commit.
func (l *Log) prepareCopies(records []eventlog.Record) (*request, []eventlog.Record) {
	first := &records[0]
	r := &request{stream: first.Stream, expected: eventlog.After(first.Revision)}
	r.copied = &copied{first: first.Position, recorded: first.Recorded}
	n := 0
	for ; n < len(records) && n < maxCopied && r.texts+r.data < maxCopiedBytes; n++ {
		rec := &records[n]
		if rec.Stream != first.Stream || rec.Revision != first.Revision+eventlog.Revision(n) ||
			rec.Position != first.Position+eventlog.Position(n) || !rec.Recorded.Equal(first.Recorded) {
			break
		}
		s, stamp := eventlog.SplitEnvelope(rec.RawEnvelope, rec.Recorded)
		if !s.Fixed() {
			if have := r.copied.stamp; have.Rec != nil && (!bytes.Equal(have.Clk, stamp.Clk) || !bytes.Equal(have.Rec, stamp.Rec)) {
				break
			}
			r.copied.stamp = stamp
		}
		if n > 0 && !s.Fixed() && !r.events[n-1].envelope.Fixed() && bytes.Equal(s.Text, r.events[n-1].envelope.Text) {
			s = r.events[n-1].envelope
		}
		r.add(l, rec.ID, rec.Type, rec.ContentType, s, rec.Data)
	}
	if r.copied.stamp.Rec == nil { // all are whole, and need none
		r.copied.stamp = eventlog.NewStamp(first.Recorded, eventlog.ClockState{})
	}
	return r, records[n:]
}

// add appends an event to a request. Its bytes are kept, not copied.
func (r *request) add(l *Log, id eventlog.EventID, typ, content string, s eventlog.Stencil, data []byte) {
	if content == eventlog.JSON {
		content = ""
	}
	derived, ok := l.derive(r.stream, typ, data)
	r.events = append(r.events, event{
		id: id, derived: ok && derived == id, telemetry: typ == eventlog.TelemetryRecorded,
		typ: typ, content: content, envelope: s, data: data,
	})
	r.texts += len(s.Text)
	r.data += len(data)
	if !s.Fixed() {
		r.stamped++
		if len(s.Text) == len("{}") {
			r.bare++
		}
	}
}

// later returns the later of two times: copies may have been stamped by
// several clocks, so that Recorded falls.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// OpenCopy opens a log that is being made from another: what AppendCopies has
// taken is durable when it returns, but in between a power cut may leave a log
// that Open refuses. Nothing is sealed but by Seal.
func OpenCopy(ctx context.Context, dir string, cfg Config) (*Log, error) {
	cfg.copying, cfg.NoSealing = true, true
	return Open(ctx, dir, cfg)
}
