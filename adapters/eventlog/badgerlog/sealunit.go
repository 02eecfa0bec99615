package badgerlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

const (
	sealKey  = 'x' // a sealed window
	chunkKey = 'p' // a piece of a sealed part

	// chunkLen keeps pieces below blockThreshold, so that they lie in tables:
	// tables are checked and merged by Badger, and value files then hold only
	// what dies young and goes with the whole file.
	chunkLen = 1000

	// sealedMeta marks index entries of sealed windows (Badger's user meta).
	sealedMeta = 1
)

// seal is what an x key says: the switch from blocks to parts.
type seal struct {
	first, last eventlog.Position
	rows        int
	telemetry   eventlog.Position // last telemetry block up to here
	parts       int               // besides the order part
	hash        chainHash         // of the commit that ends at last
}

func (s seal) bytes() []byte {
	b := []byte{sealVersion}
	b = binary.AppendUvarint(b, uint64(s.first))
	b = binary.AppendUvarint(b, uint64(s.rows))
	b = binary.AppendUvarint(b, uint64(s.telemetry))
	b = binary.AppendUvarint(b, uint64(s.parts))
	b = append(b, s.hash[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(append(positionKey(sealKey, s.last), b...), castagnoli))
}

func parseSeal(key, value []byte) (seal, error) {
	s := seal{last: eventlog.Position(keyNumber(key))}
	end := len(value) - crc32.Size
	if end < 1 || value[0] != sealVersion ||
		crc32.Checksum(slices.Concat(key, value[:end]), castagnoli) != binary.BigEndian.Uint32(value[end:]) {
		return s, fmt.Errorf("seal of the window to %v: %w", s.last, eventlog.ErrDamaged)
	}
	r := reader{b: value[1:end]}
	s.first, s.rows = eventlog.Position(r.uvarint()), int(r.uvarint())
	s.telemetry, s.parts = eventlog.Position(r.uvarint()), int(r.uvarint())
	copy(s.hash[:], r.bytes(hashLen))
	if r.bad || len(r.b) > 0 || s.first == 0 || s.first > s.last {
		return s, fmt.Errorf("seal of the window to %v: %w", s.last, eventlog.ErrDamaged)
	}
	return s, nil
}

func (s seal) damaged(what any) error {
	return fmt.Errorf("sealed positions %v to %v: %v: %w", s.first, s.last, what, eventlog.ErrDamaged)
}

func sealedPartKey(last eventlog.Position, part int) []byte {
	return binary.BigEndian.AppendUint32(positionKey(chunkKey, last), uint32(part))
}

// sealedUnit is a sealed window in memory: its order, and those of its parts
// that somebody has read.
type sealedUnit struct {
	seal
	*sealedOrder

	// mu guards codec, parts and size.
	mu    sync.Mutex
	codec codec
	parts []*sealedPart
	size  int
}

// sealAt returns the seal of the window that holds a sealed position.
func (v *view) sealAt(p eventlog.Position) (seal, error) {
	if s := v.seal; s.first != 0 && s.first <= p && p <= s.last {
		return s, nil
	}
	if v.seals == nil {
		v.seals = v.iterator([]byte{sealKey}, false)
	}
	if v.seals.Seek(positionKey(sealKey, p)); !v.seals.Valid() {
		return seal{}, fmt.Errorf("no seal of position %v: %w", p, eventlog.ErrDamaged)
	}
	b, err := value(v.seals.Item())
	if err != nil {
		return seal{}, err
	}
	s, err := parseSeal(v.seals.Item().Key(), b)
	if err == nil && s.first > p {
		err = fmt.Errorf("no seal of positions %v to %v: %w", p, s.first-1, eventlog.ErrDamaged)
	}
	v.seal = s
	return s, err
}

// unit returns a sealed window that has rows.
func (v *view) unit(s seal) (*sealedUnit, error) {
	if u := v.sealedUnit; u != nil && u.seal.last == s.last {
		return u, nil
	}
	if u := v.l.sealedUnits.get(s.last); u != nil {
		v.sealedUnit = u
		return u, nil
	}
	u, err := v.loadUnit(s)
	if err != nil {
		return nil, err
	}
	v.sealedUnit = u
	v.l.sealedUnits.put(u)
	return u, nil
}

// loadUnit reads a window's order part.
func (v *view) loadUnit(s seal) (*sealedUnit, error) {
	kind, body, err := v.sealedBody(s, 0)
	if err != nil {
		return nil, err
	}
	u := &sealedUnit{seal: s, parts: make([]*sealedPart, s.parts+1)}
	u.codec.memory = v.numbers
	var ok bool
	if u.sealedOrder, ok = decodeOrder(body, s.last, &u.codec); kind != partOrder || !ok ||
		u.sealedOrder.first != s.first || u.lastBlock != s.telemetry || len(u.group) != s.rows {
		return nil, s.damaged("order part does not hold what it says")
	}
	u.size = 40*s.rows + 64*len(u.groupStream)
	return u, nil
}

// sealedBody puts a part's pieces together and checks them.
func (v *view) sealedBody(s seal, part int) (kind byte, body []byte, err error) {
	it := v.iterator(sealedPartKey(s.last, part), false)
	var b []byte
	n := uint16(0)
	for it.Rewind(); it.Valid(); it.Next() {
		key := it.Item().Key()
		if len(key) != 1+8+4+2 || binary.BigEndian.Uint16(key[13:]) != n {
			return 0, nil, s.damaged(fmt.Sprintf("piece %d of part %d is missing", n, part))
		}
		piece, err := value(it.Item())
		if err != nil {
			return 0, nil, s.damaged(err)
		}
		b = append(b, piece...)
		n++
	}
	if !v.quiet {
		v.l.counters.telemetry.Add(1)
	}
	if kind, body, err = openSealed(b, s.last, part); err != nil {
		return 0, nil, s.damaged(fmt.Errorf("part %d: %w", part, err))
	}
	return kind, body, nil
}

// partOf returns part number n of a window, decoded.
func (v *view) partOf(u *sealedUnit, n int) (*sealedPart, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if n >= len(u.parts) {
		return nil, u.damaged(fmt.Sprintf("there is no part %d", n))
	}
	if p := u.parts[n]; p != nil {
		return p, nil
	}
	kind, body, err := v.sealedBody(u.seal, n)
	if err != nil {
		return nil, err
	}
	var p *sealedPart
	var ok bool
	switch kind {
	case partVerbatim:
		p, ok = u.codec.decodeVerbatim(body)
	case partColumns:
		p, ok = u.codec.decodeColumns(body)
	}
	if ok {
		ok = u.fits(p, n)
	}
	if !ok {
		return nil, u.damaged(fmt.Sprintf("part %d does not hold what it says", n))
	}
	u.parts[n] = p
	u.size += p.size
	return p, nil
}

// fits reports whether a part has the groups that the order part says.
func (u *sealedUnit) fits(p *sealedPart, n int) bool {
	k := 0
	for g, part := range u.groupPart {
		if part != int64(n) {
			continue
		}
		if k+1 >= len(p.starts) || int64(p.starts[k+1]-p.starts[k]) != u.groupRows[g] {
			return false
		}
		k++
	}
	return k+1 == len(p.starts)
}

// sliceRows is how many sealed rows a reader takes at a time.
const sliceRows = chunkRecords

// sealedPart returns the part of sealed rows with the smallest last position at
// or after p: what view.part returns for blocks. nil: no telemetry is sealed
// there or beyond.
func (v *view) sealedPart(p eventlog.Position) (*part, error) {
	for p <= v.sealed {
		s, err := v.sealAt(p)
		if err != nil {
			return nil, err
		}
		if s.rows == 0 || p > s.telemetry {
			p = s.last + 1
			continue
		}
		u, err := v.unit(s)
		if err != nil {
			return nil, err
		}
		from := min(u.find(p), s.rows-1) / sliceRows * sliceRows
		return v.slice(u, from, min(from+sliceRows, s.rows))
	}
	return nil, nil
}

// sealedRecord reads the event at a sealed position and no others.
func (v *view) sealedRecord(pos eventlog.Position) (eventlog.Record, error) {
	s, err := v.sealAt(pos)
	if err != nil {
		return eventlog.Record{}, err
	}
	if s.rows > 0 {
		u, err := v.unit(s)
		if err != nil {
			return eventlog.Record{}, err
		}
		if i := u.find(pos); i < s.rows && u.position(i) == pos {
			p, err := v.slice(u, i, i+1)
			if err != nil {
				return eventlog.Record{}, err
			}
			return p.record(0)
		}
	}
	return eventlog.Record{}, fmt.Errorf("no block holds position %v, which an index names: %w", pos, eventlog.ErrDamaged)
}

// slice returns rows from to to of a window as a part. The positions between
// one slice and the next are shared out so that slices follow each other as
// blocks do.
func (v *view) slice(u *sealedUnit, from, to int) (*part, error) {
	p := &part{streams: u.streams, types: u.types, derive: v.l.derive}
	p.partHeader.rows = to - from
	p.previous, p.key.last = u.previous, u.lastBlock
	if from > 0 {
		p.previous = u.position(from - 1)
	}
	if to < u.rows {
		p.key.last = u.position(to - 1)
	}
	p.key.count = uint32(p.key.last - p.previous)
	p.rows, p.times = make([]row, 0, to-from), make([]time.Time, 0, to-from)
	texts := map[[2]int]uint32{}
	text, n := [2]int{-1}, uint32(0) // of the row before
	parts := make([]*sealedPart, len(u.parts))
	commit := u.commitOf(from)
	var buf []byte
	size := 0
	for i := from; i < to; i++ {
		for int64(u.offset[i]) > u.commitLast[commit] {
			commit++
		}
		g := u.group[i]
		s := u.groupStream[g]
		var data *sealedPart
		if n := int(u.groupPart[g]); n < len(parts) && parts[n] != nil {
			data = parts[n]
		} else {
			var err error
			if data, err = v.partOf(u, n); err != nil {
				return nil, err
			}
			parts[n] = data
		}
		if now := [2]int{commit, int(u.envelope[i])}; now != text {
			var ok bool
			text = now
			if n, ok = texts[text]; !ok {
				n = uint32(len(p.envelopes))
				texts[text] = n
				p.envelopes = append(p.envelopes, u.envelopes[text[1]].Append(nil, u.commits[commit].stamp))
			}
		}
		rev := u.firstRev[s] + eventlog.Revision(u.rev[i])
		if cap(buf)-len(buf) < size+size/4+1 {
			buf = make([]byte, 0, min(64<<10, (to-i)*max(2*size, 512)))
		}
		start := len(buf)
		nth := int(u.groupNth[g])
		buf = data.appendRow(buf, nth, data.starts[nth]+int(u.within[i]), int64(rev))
		size = len(buf) - start
		p.rows = append(p.rows, row{
			pos: u.position(i), rev: rev, stream: uint32(s), envelope: n, kind: uint32(u.kind[i]),
			id: u.ids[i], data: buf[start:len(buf):len(buf)],
		})
		p.times = append(p.times, u.commits[commit].recorded)
	}
	return p, nil
}

// sealedRuns lists where a stream's rows in a sealed window are; entry is the
// value of its index entry.
func (v *view) sealedRuns(id eventlog.StreamID, entry []byte) ([]run, error) {
	r := reader{b: entry}
	last, number := eventlog.Position(r.uvarint()), r.uvarint()
	if r.bad || len(r.b) > 0 || last > v.sealed {
		return nil, errRuns
	}
	s, err := v.sealAt(last)
	if err != nil {
		return nil, err
	}
	if s.last != last || s.rows == 0 {
		return nil, errRuns
	}
	u, err := v.unit(s)
	if err != nil {
		return nil, err
	}
	if number >= uint64(len(u.streams)) || u.streams[number] != id {
		return nil, errRuns
	}
	var runs []run
	for i, g := range u.group {
		if uint64(u.groupStream[g]) == number {
			runs = addRun(runs, u.firstRev[number]+eventlog.Revision(u.rev[i]), u.position(i))
		}
	}
	return runs, nil
}

// sealedCommit returns the sealed commit with telemetry that holds position p
// or is the first after it, false if there is none.
func (v *view) sealedCommit(p eventlog.Position) (first eventlog.Position, m eventlog.Mark, ok bool, err error) {
	for p <= v.sealed {
		s, err := v.sealAt(p)
		if err != nil {
			return 0, m, false, err
		}
		if s.rows == 0 || p > s.telemetry {
			p = s.last + 1
			continue
		}
		u, err := v.unit(s)
		if err != nil {
			return 0, m, false, err
		}
		k, _ := slices.BinarySearch(u.commitLast, int64(p)-int64(s.first))
		c := u.commits[k]
		last := s.first + eventlog.Position(u.commitLast[k])
		return last - eventlog.Position(c.count) + 1, eventlog.Mark{Position: last, Recorded: c.recorded}, true, nil
	}
	return 0, m, false, nil
}
