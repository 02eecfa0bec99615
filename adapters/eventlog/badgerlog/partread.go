package badgerlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// part is a decoded part. Everything in it points into one slice of bytes,
// which lives as long as any record of it.
type part struct {
	partHeader
	streams   []eventlog.StreamID
	types     [][2]string
	stencils  []eventlog.Stencil
	envelopes [][]byte // whole, with the commit's stamp
	rows      []row
	times     []time.Time // Recorded of each row where rows are of many commits, else nil
	derive    func(eventlog.StreamID, string, []byte) (eventlog.EventID, bool)
}

type row struct {
	pos                    eventlog.Position
	rev                    eventlog.Revision
	stream, envelope, kind uint32
	id                     []byte // nil: derived
	data                   []byte
}

// decodePart reads a part in full; want is its key.
func decodePart(b []byte, want partKey) (*part, error) { return decodePartInto(nil, b, want) }

// decodePartInto is decodePart with memory for rows and body.
func decodePartInto(m *partMemory, b []byte, want partKey) (*part, error) {
	h, body, err := decodeHeader(b, want)
	if err != nil {
		return nil, err
	}
	if h.packed {
		if body, err = unpackInto(m, body); err != nil {
			return nil, damagedPart(want, err.Error())
		}
	}
	p := &part{partHeader: h}
	r := reader{b: body}
	next := p.readStreams(&r)
	p.readTypes(&r)
	p.readEnvelopes(&r)
	if p.partHeader.rows <= len(r.b)/2 {
		p.rows = m.place(p.partHeader.rows)
		p.readRows(&r, next)
	}
	if r.bad || len(r.b) > 0 || len(p.rows) != h.rows {
		return nil, damagedPart(want, "does not hold what it says")
	}
	return p, nil
}

// maxBody is more than a commit can hold: it bounds what a bad length can ask for.
const maxBody = 64 << 20

func unpack(packed []byte) ([]byte, error) { return unpackInto(nil, packed) }

func unpackInto(m *partMemory, packed []byte) ([]byte, error) {
	n, err := s2.DecodedLen(packed)
	if err != nil {
		return nil, fmt.Errorf("does not unpack: %w", err)
	}
	if n > maxBody {
		return nil, fmt.Errorf("says that it unpacks to %d bytes, expected at most %d", n, maxBody)
	}
	body, err := s2.Decode(m.bytes(n), packed)
	if err != nil {
		return nil, fmt.Errorf("does not unpack: %w", err)
	}
	return body, nil
}

// readStreams returns the revision of each stream's first row here. All names
// share one string: a commit of a thousand devices has a thousand.
func (p *part) readStreams(r *reader) (next []eventlog.Revision) {
	n := count(r, 2)
	p.streams, next = make([]eventlog.StreamID, n), make([]eventlog.Revision, n)
	start, ends := r.b, make([]int, n)
	lengths := make([]byte, n)
	for i := range n {
		lengths[i] = r.byte()
		r.bytes(uint64(lengths[i]))
		ends[i] = len(start) - len(r.b)
		next[i] = eventlog.Revision(r.uvarint())
	}
	if r.bad {
		return nil
	}
	all := string(start[:len(start)-len(r.b)])
	for i := range n {
		p.streams[i] = eventlog.StreamID(all[ends[i]-int(lengths[i]) : ends[i]])
	}
	return next
}

// count reads a number of things of at least size bytes each, so that a bad
// number cannot ask for memory that the bytes do not back.
func count(r *reader, size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.fail()
		return 0
	}
	return int(n)
}

func (p *part) readTypes(r *reader) {
	p.types = make([][2]string, count(r, 2))
	for i := range p.types {
		p.types[i][0] = string(r.bytes(uint64(r.byte())))
		p.types[i][1] = string(r.bytes(uint64(r.byte())))
		if p.types[i][0] == eventlog.TelemetryRecorded {
			p.types[i][0] = eventlog.TelemetryRecorded // one string for all
		}
		if p.types[i][1] == "" {
			p.types[i][1] = eventlog.JSON
		}
	}
}

func (p *part) readEnvelopes(r *reader) {
	p.envelopes = make([][]byte, count(r, 3))
	for i := range p.envelopes {
		text := r.bytes(r.uvarint())
		clk, between := r.uvarint(), r.uvarint()
		if clk == uint64(len(text))+1 && between == 0 {
			p.stencils = append(p.stencils, eventlog.Fixed(text))
			p.envelopes[i] = append([]byte{}, text...) // it was whole when it came
			continue
		}
		if clk > uint64(len(text)) || between > uint64(len(text))-clk {
			r.fail()
			return
		}
		s := eventlog.Stencil{Text: text, Clk: int(clk), Rec: int(clk + between)}
		p.stencils = append(p.stencils, s)
		p.envelopes[i] = s.Append(make([]byte, 0, len(text)+len(p.stamp.Clk)+len(p.stamp.Rec)+2), p.stamp)
	}
}

func (p *part) readRows(r *reader, next []eventlog.Revision) {
	pos := p.key.first()
	var at row
	for len(r.b) > 0 {
		flags := r.byte()
		if flags&rowStream != 0 {
			at.stream = uint32(r.uvarint())
		}
		if int(at.stream) >= len(next) {
			r.fail()
			return
		}
		if flags&rowRevision != 0 {
			next[at.stream] += eventlog.Revision(r.uvarint())
		}
		if flags&rowPosition != 0 {
			pos += eventlog.Position(r.uvarint())
		}
		if flags&rowEnvelope != 0 {
			at.envelope = uint32(r.uvarint())
		}
		if flags&rowType != 0 {
			at.kind = uint32(r.uvarint())
		}
		at.id = nil
		if flags&rowID != 0 {
			at.id = r.bytes(16)
		}
		at.rev, at.pos, at.data = next[at.stream], pos, r.bytes(r.uvarint())
		if r.bad || pos > p.key.last || int(at.envelope) >= len(p.envelopes) || int(at.kind) >= len(p.types) {
			r.fail()
			return
		}
		if len(p.rows) == cap(p.rows) {
			r.fail()
			return
		}
		next[at.stream]++
		pos++
		p.rows = append(p.rows, at)
	}
}

const fixedHeader = 2 + 8 + 4 + 4 + 8 + hashLen + 8

// decodeHeader checks a part's checksum and that it is the one that its key
// names, and returns its header and what follows it.
func decodeHeader(b []byte, want partKey) (partHeader, []byte, error) {
	if len(b) < fixedHeader+2+crc32.Size {
		return partHeader{}, nil, damagedPart(want, fmt.Sprintf("has %d bytes", len(b)))
	}
	end := len(b) - crc32.Size
	if got, sum := crc32.Checksum(b[:end], castagnoli), binary.BigEndian.Uint32(b[end:]); got != sum {
		return partHeader{}, nil, damagedPart(want, fmt.Sprintf("has checksum %08x, expected %08x", got, sum))
	}
	if b[0] != partVersion {
		return partHeader{}, nil, damagedPart(want, fmt.Sprintf("has format %d, expected %d", b[0], partVersion))
	}
	h := partHeader{
		key: partKey{
			other: b[1]&otherPart != 0, both: b[1]&bothParts != 0,
			last: eventlog.Position(binary.BigEndian.Uint64(b[2:])), count: binary.BigEndian.Uint32(b[10:]),
		},
		packed:   b[1]&packedBody != 0,
		rows:     int(binary.BigEndian.Uint32(b[14:])),
		previous: eventlog.Position(binary.BigEndian.Uint64(b[18:])),
		chain:    chainHash(b[26 : 26+hashLen]),
		recorded: time.UnixMicro(int64(binary.BigEndian.Uint64(b[26+hashLen:]))).UTC(),
	}
	r := reader{b: b[fixedHeader:end]}
	h.stamp.Clk = r.bytes(r.uvarint())
	h.stamp.Rec = r.bytes(r.uvarint())
	if h.key != want || r.bad || h.rows == 0 || uint64(h.rows) > uint64(h.key.count) {
		return partHeader{}, nil, damagedPart(want, "is another block than its key says")
	}
	return h, r.b, nil
}

func damagedPart(k partKey, what string) error {
	return fmt.Errorf("block of positions %v to %v %s: %w", k.first(), k.last, what, eventlog.ErrDamaged)
}

// find returns the index of the first row at or after p.
func (p *part) find(pos eventlog.Position) int {
	i, _ := slices.BinarySearchFunc(p.rows, pos, func(r row, pos eventlog.Position) int {
		switch {
		case r.pos < pos:
			return -1
		case r.pos > pos:
			return 1
		}
		return 0
	})
	return i
}

// record returns row i as a record.
func (p *part) record(i int) (eventlog.Record, error) {
	r := &p.rows[i]
	t := &p.types[r.kind]
	rec := eventlog.Record{
		Stream: p.streams[r.stream], Revision: r.rev, Position: r.pos, Type: t[0], ContentType: t[1],
		Recorded: p.recorded, RawEnvelope: p.envelopes[r.envelope], Data: r.data,
	}
	if p.times != nil {
		rec.Recorded = p.times[i]
	}
	if r.id != nil {
		rec.ID = eventlog.EventID(r.id)
		return rec, nil
	}
	id, ok := p.derive(rec.Stream, rec.Type, rec.Data)
	if !ok {
		return rec, fmt.Errorf("%s@%d: its id was derived when it was written and cannot be derived now: %w",
			rec.Stream, rec.Revision, eventlog.ErrDamaged)
	}
	rec.ID = id
	return rec, nil
}
