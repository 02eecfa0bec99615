package badgerlog

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// A part is one value of a group commit: its telemetry rows, or its other
// events. docs/formats/log.md draws the bytes.
const partVersion = 1

const (
	otherPart = 1 << iota // flags of a part
	bothParts
	packedBody // a Snappy block
)

const (
	rowStream   = 1 << iota // flags of a row: an index into the streams follows
	rowRevision             // revisions skipped since the stream's last row here
	rowPosition             // positions skipped since the last row
	rowEnvelope             // an index into the envelopes
	rowType                 // an index into the types
	rowID                   // 16 bytes: the id cannot be derived
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const hashLen = 16

// chainHash is SHA-256 over a commit's parts, cut to 128 bits: it detects a
// part that was exchanged, it is not the proof (domain/integrity is).
type chainHash [hashLen]byte

// event is a NewEvent that Append has prepared in the caller's goroutine.
type event struct {
	id        eventlog.EventID
	derived   bool // Config.IDs gives id back
	telemetry bool
	typ       string
	content   string // "" for JSON
	envelope  eventlog.Stencil
	data      []byte
}

// partHeader is what a part says before its rows.
type partHeader struct {
	key      partKey
	rows     int
	previous eventlog.Position // last position of the part of this kind before it, 0 if none
	chain    chainHash         // of the commit before it
	recorded time.Time
	stamp    eventlog.Stamp
	packed   bool
}

// partBuilder collects rows. It is used again and again by the committer.
type partBuilder struct {
	streams   []byte // the dictionaries as they will be written
	types     []byte
	envelopes []byte
	rows      []byte
	body      []byte // all of it, and packed
	packed    []byte

	streamIndex   map[eventlog.StreamID]int
	typeIndex     map[[2]string]int
	envelopeIndex map[string]int
	next          []eventlog.Revision // of each stream

	n                      int
	stream, envelope, kind int // of the last row
	lastEnvelope           []byte
	lastType               [2]string
	pos                    eventlog.Position // of the next row, if it follows
}

func newPartBuilder() *partBuilder {
	return &partBuilder{
		streamIndex: map[eventlog.StreamID]int{}, typeIndex: map[[2]string]int{}, envelopeIndex: map[string]int{},
	}
}

// reset forgets the rows; first is the commit's first position.
func (b *partBuilder) reset(first eventlog.Position) {
	b.streams, b.types, b.envelopes, b.rows, b.next = b.streams[:0], b.types[:0], b.envelopes[:0], b.rows[:0], b.next[:0]
	clear(b.streamIndex)
	clear(b.typeIndex)
	clear(b.envelopeIndex)
	b.n, b.stream, b.envelope, b.kind, b.pos = 0, 0, 0, 0, first
	b.lastEnvelope, b.lastType = nil, [2]string{}
}

// streamOf returns the stream's index, entering it with the revision of its
// first row here.
func (b *partBuilder) streamOf(id eventlog.StreamID, rev eventlog.Revision) int {
	i, ok := b.streamIndex[id]
	if !ok {
		i = len(b.streamIndex)
		b.streamIndex[id] = i
		b.streams = append(append(b.streams, byte(len(id))), id...)
		b.streams = binary.AppendUvarint(b.streams, uint64(rev))
		b.next = append(b.next, rev)
	}
	return i
}

func (b *partBuilder) typeOf(e *event) int {
	t := [2]string{e.typ, e.content}
	if b.n > 0 && t == b.lastType {
		return b.kind
	}
	i, ok := b.typeIndex[t]
	if !ok {
		i = len(b.typeIndex)
		b.typeIndex[t] = i
		for _, s := range t {
			b.types = append(append(b.types, byte(len(s))), s...)
		}
	}
	b.lastType = t
	return i
}

func (b *partBuilder) envelopeOf(s eventlog.Stencil) int {
	if s.Fixed() {
		return b.fixedOf(s)
	}
	if b.n > 0 && b.lastEnvelope != nil && string(s.Text) == string(b.lastEnvelope) {
		return b.envelope
	}
	b.lastEnvelope = s.Text
	i, ok := b.envelopeIndex[string(s.Text)]
	if !ok {
		i = len(b.envelopeIndex)
		b.envelopeIndex[string(s.Text)] = i
		b.addEnvelope(s)
	}
	return i
}

// fixedOf is envelopeOf for a text without places for the stamp. Such texts
// differ from each other as a rule; the index keeps them apart from stencils
// of the same text by a byte that no JSON begins with.
func (b *partBuilder) fixedOf(s eventlog.Stencil) int {
	b.lastEnvelope = nil
	name := "\x00" + string(s.Text)
	i, ok := b.envelopeIndex[name]
	if !ok {
		i = len(b.envelopeIndex)
		b.envelopeIndex[name] = i
		b.addEnvelope(s)
	}
	return i
}

func (b *partBuilder) addEnvelope(s eventlog.Stencil) {
	b.envelopes = binary.AppendUvarint(b.envelopes, uint64(len(s.Text)))
	b.envelopes = append(b.envelopes, s.Text...)
	b.envelopes = binary.AppendUvarint(b.envelopes, uint64(s.Clk))
	b.envelopes = binary.AppendUvarint(b.envelopes, uint64(s.Rec-s.Clk))
}

// add appends a row; positions and each stream's revisions rise.
func (b *partBuilder) add(e *event, id eventlog.StreamID, rev eventlog.Revision, pos eventlog.Position) {
	flagsAt := len(b.rows)
	b.rows = append(b.rows, 0)
	var flags byte
	if i := b.streamOf(id, rev); i != b.stream {
		flags |= rowStream
		b.stream = i
		b.rows = binary.AppendUvarint(b.rows, uint64(i))
	}
	if skipped := rev - b.next[b.stream]; skipped != 0 {
		flags |= rowRevision
		b.rows = binary.AppendUvarint(b.rows, uint64(skipped))
	}
	b.next[b.stream] = rev + 1
	if skipped := pos - b.pos; skipped != 0 {
		flags |= rowPosition
		b.rows = binary.AppendUvarint(b.rows, uint64(skipped))
	}
	b.pos = pos + 1
	if i := b.envelopeOf(e.envelope); i != b.envelope {
		flags |= rowEnvelope
		b.envelope = i
		b.rows = binary.AppendUvarint(b.rows, uint64(i))
	}
	if i := b.typeOf(e); i != b.kind {
		flags |= rowType
		b.kind = i
		b.rows = binary.AppendUvarint(b.rows, uint64(i))
	}
	if !e.derived {
		flags |= rowID
		b.rows = append(b.rows, e.id[:]...)
	}
	b.rows[flagsAt] = flags
	b.rows = binary.AppendUvarint(b.rows, uint64(len(e.data)))
	b.rows = append(b.rows, e.data...)
	b.n++
}

// packFrom is the smallest body worth packing.
const packFrom = 256

// bytes returns the finished part. The slice is the caller's. The body is
// packed as a Snappy block where that helps: telemetry rows repeat their
// signals' names, so that they shrink to a quarter for 0.1 us a row, most of
// which hashing and copying fewer bytes gives back.
func (b *partBuilder) bytes(h partHeader) []byte {
	b.body = binary.AppendUvarint(b.body[:0], uint64(len(b.streamIndex)))
	b.body = append(b.body, b.streams...)
	b.body = binary.AppendUvarint(b.body, uint64(len(b.typeIndex)))
	b.body = append(b.body, b.types...)
	b.body = binary.AppendUvarint(b.body, uint64(len(b.envelopeIndex)))
	b.body = append(b.body, b.envelopes...)
	b.body = append(b.body, b.rows...)
	body := b.body
	if len(body) >= packFrom {
		if n := s2.MaxEncodedLen(len(body)); cap(b.packed) < n {
			b.packed = make([]byte, n)
		}
		if packed := s2.EncodeSnappy(b.packed[:cap(b.packed)], body); len(packed) < len(body)*7/8 {
			body, h.packed = packed, true
		}
	}
	dst := appendHeader(make([]byte, 0, fixedHeader+20+len(h.stamp.Clk)+len(h.stamp.Rec)+len(body)), h)
	dst = append(dst, body...)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst, castagnoli))
}

func appendHeader(dst []byte, h partHeader) []byte {
	var flags byte
	if h.key.other {
		flags |= otherPart
	}
	if h.key.both {
		flags |= bothParts
	}
	if h.packed {
		flags |= packedBody
	}
	dst = append(dst, partVersion, flags)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.key.last))
	dst = binary.BigEndian.AppendUint32(dst, h.key.count)
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.rows))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.previous))
	dst = append(dst, h.chain[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.recorded.UnixMicro()))
	for _, m := range [][]byte{h.stamp.Clk, h.stamp.Rec} {
		dst = append(binary.AppendUvarint(dst, uint64(len(m))), m...)
	}
	return dst
}
