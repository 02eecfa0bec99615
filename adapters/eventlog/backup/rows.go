package backup

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

const (
	sameStream   = 1 << iota // the next revision of the stream before
	sameType                 // type and content type
	sameTime                 // Recorded
	sameEnvelope             // to the byte
	derivedID                // not stored
)

// rowWriter writes the events of a block.
type rowWriter struct {
	b    []byte
	last eventlog.Record
	n    int
}

func (w *rowWriter) reset() { *w = rowWriter{b: w.b[:0]} }

func (w *rowWriter) add(r eventlog.Record, derived bool) {
	var flags byte
	set := func(flag byte, on bool) bool {
		if on {
			flags |= flag
		}
		return !on
	}
	at := len(w.b)
	w.b = append(w.b, 0)
	first, l := w.n == 0, &w.last
	w.b = binary.AppendUvarint(w.b, uint64(r.Position-l.Position))
	if set(sameStream, !first && r.Stream == l.Stream && r.Revision == l.Revision+1) {
		w.text(string(r.Stream))
		w.b = binary.AppendUvarint(w.b, uint64(r.Revision))
	}
	if set(sameType, !first && r.Type == l.Type && r.ContentType == l.ContentType) {
		w.text(r.Type)
		w.text(r.ContentType)
	}
	if set(sameTime, !first && r.Recorded.Equal(l.Recorded)) {
		w.b = binary.AppendVarint(w.b, r.Recorded.Unix())
		w.b = binary.AppendUvarint(w.b, uint64(r.Recorded.Nanosecond()))
	}
	if set(sameEnvelope, !first && string(r.RawEnvelope) == string(l.RawEnvelope)) {
		w.text(string(r.RawEnvelope))
	}
	if set(derivedID, derived) {
		w.b = append(w.b, r.ID[:]...)
	}
	w.text(string(r.Data))
	w.b[at] = flags
	w.last = r
	w.n++
}

func (w *rowWriter) text(s string) {
	w.b = append(binary.AppendUvarint(w.b, uint64(len(s))), s...)
}

// readRows reads a block's events.
func readRows(b []byte, origin string, ids IDs) (records []eventlog.Record, err error) {
	r := rowReader{b: b}
	var l eventlog.Record
	for len(r.b) > 0 && !r.bad {
		flags := r.bytes(1)
		if r.bad || len(records) == 0 && flags[0]&^derivedID != 0 || flags[0] >= derivedID<<1 {
			r.bad = true
			break
		}
		has := func(flag byte) bool { return flags[0]&flag != 0 }
		l.Position += eventlog.Position(r.uvarint())
		if l.Revision++; !has(sameStream) {
			l.Stream = eventlog.StreamID(r.text())
			l.Revision = eventlog.Revision(r.uvarint())
		}
		if !has(sameType) {
			l.Type, l.ContentType = string(r.text()), string(r.text())
		}
		if !has(sameTime) {
			seconds, nanos := r.varint(), r.uvarint()
			if nanos >= uint64(time.Second) {
				r.bad = true
			}
			l.Recorded = time.Unix(seconds, int64(nanos)).UTC()
		}
		if !has(sameEnvelope) {
			l.RawEnvelope = r.text()
		}
		if !has(derivedID) {
			copy(l.ID[:], r.bytes(16))
		}
		l.Data = r.text()
		if r.bad {
			break
		}
		if has(derivedID) {
			var ok bool
			if l.ID, ok = ids(origin, l.Stream, l.Type, l.Data); !ok {
				return nil, fmt.Errorf("id of %s@%d cannot be derived: %w", l.Stream, l.Revision, ErrBroken)
			}
		}
		records = append(records, l)
	}
	if r.bad {
		return nil, fmt.Errorf("event %d does not end: %w", len(records), ErrBroken)
	}
	return records, nil
}

// rowReader takes values from the front of b; bad is set, for good, when b is
// too short.
type rowReader struct {
	b   []byte
	bad bool
}

func (r *rowReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	return v * uint64(r.took(n))
}

func (r *rowReader) varint() int64 {
	v, n := binary.Varint(r.b)
	return v * int64(r.took(n))
}

// took moves on by n bytes and returns 1, or 0 where there are none.
func (r *rowReader) took(n int) int {
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return 1
}

func (r *rowReader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return make([]byte, min(n, 16))
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *rowReader) text() []byte { return r.bytes(r.uvarint()) }
