// Package audit remembers who did what, when and why: one row for every event
// that is neither telemetry nor a server's sign of life.
//
// Rows hold what the envelope holds and no more: subjects are opaque ids, and
// reasons are codes; names and words stay sealed in the log. Rows are found by
// position, and through one index each by subject, by stream, by entity and by
// type.
package audit

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/lease"
	"github.com/twinlog/twinlog/projections"
)

// Row is one line of the audit trail.
type Row struct {
	Position    eventlog.Position
	Recorded    time.Time
	Effective   time.Time // zero: the same as Recorded
	Actor       eventlog.Actor
	Type        string
	Stream      eventlog.StreamID
	Revision    eventlog.Revision
	ID          eventlog.EventID
	Reason      *eventlog.Reason
	Correlation eventlog.EventID
	Causation   eventlog.EventID
}

// Projection is the fold; it implements projections.Fold.
type Projection struct {
	rows  projections.Store
	reads atomic.Uint64

	// mu guards what follows.
	mu sync.RWMutex
	// marks are the running maximum of Recorded at every markEvery-th row, from
	// which a time is found without reading what is before it.
	marks []eventlog.Mark
	count int // rows so far
	last  time.Time
	// back: a row was recorded earlier than one before it, by a log whose
	// writers do not share a clock.
	back bool
}

// markEvery bounds what is read in vain before the first row of a time.
const markEvery = 256

// New returns an empty fold whose rows are read from rows. The Runner opens it.
func New(rows projections.Store) *Projection { return &Projection{rows: rows} }

// View returns the questions that can be asked of it.
func (p *Projection) View() *View { return &View{p} }

// name is of the rows and the checkpoint.
const name = "audit"

// Name implements projections.Fold.
func (p *Projection) Name() string { return name }

// Version implements projections.Fold.
func (p *Projection) Version() int { return 1 }

// Filter implements projections.Fold.
func (p *Projection) Filter() eventlog.Filter { return eventlog.Filter{NoTelemetry: true} }

// The keys' first bytes; docs/formats/views.md draws the rows.
const (
	rowPrefix     = 'p' // p position → row
	subjectPrefix = 'a' // a subject position
	streamPrefix  = 's' // s stream position
	entityPrefix  = 'e' // e entity position
	typePrefix    = 't' // t type position
	markPrefix    = 'm' // m number → position, running maximum of Recorded
	countKey      = 'n' // n → count, running maximum, whether it ever went back
)

// Open implements projections.Fold.
func (p *Projection) Open(s projections.Snapshot, _ eventlog.Position) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.marks, p.count, p.last, p.back = nil, 0, time.Time{}, false
	for w, err := range s.Scan([]byte{markPrefix}, []byte{markPrefix + 1}, false) {
		if err != nil {
			return err
		}
		if len(w.Value) != 16 {
			return fmt.Errorf("mark of %d bytes, expected 16", len(w.Value))
		}
		p.marks = append(p.marks, eventlog.Mark{Position: projections.CutPosition(w.Value), Recorded: stamp(w.Value[8:])})
	}
	n, err := s.Get([]byte{countKey})
	if err != nil {
		return err
	}
	if len(n) == 17 {
		p.count, p.last, p.back = int(binary.BigEndian.Uint64(n)), stamp(n[8:]), n[16] == 1
	}
	return nil
}

func stamp(b []byte) time.Time { return time.Unix(0, int64(binary.BigEndian.Uint64(b))).UTC() }

func appendStamp(b []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixNano()))
}

// Fold implements projections.Fold.
func (p *Projection) Fold(b eventlog.Batch, w *projections.Writes) (eventlog.Position, error) {
	if len(b.Records) == 0 {
		return b.Through, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, rec := range b.Records {
		if rec.Stream.Category() == lease.ServerCategory {
			continue // a sign of life each second is nobody's act
		}
		env, err := rec.Envelope()
		if err != nil {
			env = eventlog.Envelope{} // its bytes are in the log; the line says what can be said
		}
		row := encode(rec, env)
		w.Put(projections.AppendPosition([]byte{rowPrefix}, rec.Position), row)
		index(w, subjectPrefix, env.Actor.Subject, rec.Position)
		index(w, streamPrefix, string(rec.Stream), rec.Position)
		index(w, entityPrefix, rec.Stream.Entity(), rec.Position)
		index(w, typePrefix, rec.Type, rec.Position)
		p.back = p.back || rec.Recorded.Before(p.last)
		if rec.Recorded.After(p.last) {
			p.last = rec.Recorded
		}
		if p.count%markEvery == 0 {
			m := eventlog.Mark{Position: rec.Position, Recorded: p.last}
			key := binary.BigEndian.AppendUint64([]byte{markPrefix}, uint64(len(p.marks)))
			w.Put(key, appendStamp(projections.AppendPosition(nil, m.Position), m.Recorded))
			p.marks = append(p.marks, m)
		}
		p.count++
	}
	count := appendStamp(binary.BigEndian.AppendUint64(nil, uint64(p.count)), p.last)
	if p.back {
		count = append(count, 1)
	} else {
		count = append(count, 0)
	}
	w.Put([]byte{countKey}, count)
	return b.Through, nil
}

func index(w *projections.Writes, prefix byte, of string, at eventlog.Position) {
	w.Put(projections.AppendPosition(projections.AppendText([]byte{prefix}, of), at), nil)
}

// encode writes a row: what is fixed in size first, then texts with their
// lengths. docs/formats/views.md draws it.
func encode(rec eventlog.Record, env eventlog.Envelope) []byte {
	b := make([]byte, 0, 160)
	b = appendStamp(b, rec.Recorded)
	effective := int64(0)
	if !env.Effective.IsZero() {
		effective = env.Effective.UnixNano()
	}
	b = binary.BigEndian.AppendUint64(b, uint64(effective))
	b = binary.BigEndian.AppendUint64(b, uint64(rec.Revision))
	b = append(b, rec.ID[:]...)
	b = append(b, env.Correlation[:]...)
	b = append(b, env.Causation[:]...)
	var flags byte
	var reason eventlog.Reason
	if env.Reason != nil {
		flags |= hasReason
		reason = *env.Reason
	}
	if reason.Prompted {
		flags |= wasPrompted
	}
	if !env.Effective.IsZero() {
		flags |= hasEffective
	}
	b = append(b, flags)
	a := env.Actor
	for _, s := range append([]string{rec.Type, string(rec.Stream), a.Subject, a.Kind, a.Role, a.OnBehalfOf, reason.Code}, a.AuthMethods...) {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return b
}

// The bits of a row's flags.
const (
	hasReason    = 1
	wasPrompted  = 2
	hasEffective = 4
)

// fixedBytes is what stands before a row's texts.
const fixedBytes = 3*8 + 3*16 + 1

func decode(at eventlog.Position, b []byte) (Row, error) {
	if len(b) < fixedBytes {
		return Row{}, fmt.Errorf("row at %v: %d bytes, expected at least %d", at, len(b), fixedBytes)
	}
	r := Row{Position: at, Recorded: stamp(b), Revision: eventlog.Revision(binary.BigEndian.Uint64(b[16:]))}
	copy(r.ID[:], b[24:])
	copy(r.Correlation[:], b[40:])
	copy(r.Causation[:], b[56:])
	flags := b[72]
	if flags&hasEffective != 0 {
		r.Effective = stamp(b[8:])
	}
	var texts []string
	for b = b[fixedBytes:]; len(b) > 0; {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return Row{}, fmt.Errorf("row at %v: text of %d bytes in %d", at, n, len(b))
		}
		texts = append(texts, string(b[size:size+int(n)]))
		b = b[size+int(n):]
	}
	if len(texts) < 7 {
		return Row{}, fmt.Errorf("row at %v: %d texts, expected at least 7", at, len(texts))
	}
	r.Type, r.Stream = texts[0], eventlog.StreamID(texts[1])
	r.Actor = eventlog.Actor{Subject: texts[2], Kind: texts[3], Role: texts[4], OnBehalfOf: texts[5]}
	if len(texts) > 7 {
		r.Actor.AuthMethods = slices.Clone(texts[7:])
	}
	if flags&hasReason != 0 {
		r.Reason = &eventlog.Reason{Code: texts[6], Prompted: flags&wasPrompted != 0}
	}
	return r, nil
}
