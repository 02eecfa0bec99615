package badgerlog

import (
	"encoding/binary"
	"slices"

	"github.com/klauspost/compress/s2"
)

// sealedPart is a decoded part: rows can be taken out of it one by one.
type sealedPart struct {
	verbatim [][]byte // of a verbatim part

	flags  uint16
	head   []byte // flags as they stand in a row
	n      int
	starts []int // first row of each group, and the end
	texts  []string
	codes  [][]byte // quality dictionary
	middle [][]byte // and what stands between times and values: samples, runs and names
	fixed  [fixedColumns][]int64
	stamps []int64
	msgs   []byte
	ends   []int // of msg_ids that are text
	cols   []valueColumn
	size   int // about, in memory
}

// maxPartRows bounds what a corrupt count can ask for.
const maxPartRows = 1 << 20

func (c *codec) readGroups(r *reader) (starts []int, rows int) {
	n := r.uvarint()
	if n == 0 || n > maxPartRows || r.bad {
		r.fail()
		return nil, 0
	}
	starts = append(make([]int, 0, n+1), 0)
	for _, k := range c.readInts(r, int(n)) {
		if k <= 0 || k > maxPartRows || rows+int(k) > maxPartRows {
			r.fail()
			return nil, 0
		}
		rows += int(k)
		starts = append(starts, rows)
	}
	return starts, rows
}

// decodeVerbatim reads a part of rows as they are.
func (c *codec) decodeVerbatim(body []byte) (*sealedPart, bool) {
	r := reader{b: body}
	p := &sealedPart{}
	var rows int
	p.starts, rows = c.readGroups(&r)
	lens := c.readInts(&r, rows)
	packed, all := r.byte(), r.b
	if r.bad || packed > 1 {
		return nil, false
	}
	if packed == 1 {
		var err error
		if all, err = unpack(all); err != nil {
			return nil, false
		}
	}
	p.verbatim = make([][]byte, rows)
	for i, n := range lens {
		if n < 0 || n > int64(len(all)) {
			return nil, false
		}
		p.verbatim[i], all = all[:n:n], all[n:]
		p.size += int(n) + 24
	}
	return p, len(all) == 0
}

// decodeColumns reads a part of columns.
func (c *codec) decodeColumns(body []byte) (*sealedPart, bool) {
	r := reader{b: body}
	p := &sealedPart{}
	flags, n := r.uvarint(), r.uvarint()
	names := r.bytes(r.uvarint())
	if r.bad || flags&^flagsKnown != 0 || n > maxSignals {
		return nil, false
	}
	p.flags, p.n = uint16(flags), int(n)
	p.head = binary.LittleEndian.AppendUint16(nil, p.flags)
	var rows int
	if p.starts, rows = c.readGroups(&r); r.bad {
		return nil, false
	}
	if rows*max(p.n, 1) > 4*partSamples {
		return nil, false
	}
	p.texts = readFront(&r, len(p.starts)-1)
	if !p.readDict(&r, names) {
		return nil, false
	}
	for k := range fixedColumns {
		if !hasFixed(p.flags, k) {
			continue
		}
		if k == colSource {
			p.fixed[k] = c.readLine(&r, p.starts, rows)
		} else {
			p.fixed[k] = c.readInts(&r, rows)
		}
	}
	c.readMsgIDs(&r, p, rows)
	p.cols = make([]valueColumn, p.n)
	for k := range p.cols {
		if r.bad {
			return nil, false
		}
		c.readColumn(&r, &p.cols[k], rows)
	}
	if r.bad || len(r.b) > 0 {
		return nil, false
	}
	for _, q := range p.fixed[colQuality] {
		if q < 0 || q >= int64(len(p.codes)) {
			return nil, false
		}
	}
	p.size = rows * (fixedColumns*8 + 9*p.n)
	return p, true
}

func (p *sealedPart) readDict(r *reader, names []byte) bool {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		return false
	}
	for range n {
		p.codes = append(p.codes, r.bytes(r.uvarint()))
		middle := binary.AppendUvarint(nil, uint64(p.n))
		if runs := r.bytes(r.uvarint()); p.n > 0 {
			middle = binary.AppendUvarint(append(middle, runs...), uint64(len(names)))
			middle = append(middle, names...)
		}
		p.middle = append(p.middle, middle)
	}
	return !r.bad
}

func (c *codec) readLine(r *reader, starts []int, rows int) []int64 {
	groups := len(starts) - 1
	firsts, steps := c.readInts(r, groups), c.readInts(r, groups)
	t := c.readZeroed(r, rows)
	if r.bad {
		return nil
	}
	for g := range groups {
		for i := range t[starts[g]:starts[g+1]] {
			t[starts[g]+i] += firsts[g] + int64(i)*steps[g]>>lineBits
		}
	}
	return t
}

func (c *codec) readMsgIDs(r *reader, p *sealedPart, rows int) {
	switch p.flags >> shiftMsgID & 3 {
	case msgULID:
		p.stamps = c.readInts(r, rows)
		p.msgs = r.bytes(uint64(rows) * ulidRandom)
	case msgText:
		total := 0
		p.ends = make([]int, 0, rows)
		for _, n := range c.readInts(r, rows) {
			if n < 0 || n > maxBody || total > maxBody {
				r.fail()
				return
			}
			total += int(n)
			p.ends = append(p.ends, total)
		}
		if r.byte() == 0 {
			p.msgs = r.bytes(uint64(total))
			return
		}
		packed := r.bytes(r.uvarint())
		if n, err := s2.DecodedLen(packed); r.bad || err != nil || n != total {
			r.fail()
			return
		}
		var err error
		if p.msgs, err = unpack(packed); err != nil {
			r.fail()
		}
	}
}

func (c *codec) readColumn(r *reader, v *valueColumn, rows int) {
	class := r.byte()
	if class != classMixed {
		v.num, v.tag, v.one, v.text = c.readClass(r, class, rows)
		return
	}
	v.tag, v.num = make([]uint8, rows), make([]int64, rows)
	col := c.readZeroed(r, rows)
	var counts [classes]int
	for _, k := range col {
		if k < 0 || k >= classes {
			r.fail()
			return
		}
		counts[k]++
	}
	for class := uint8(classBool); class < classes && !r.bad; class++ {
		if counts[class] == 0 {
			continue
		}
		num, tags, tag, text := c.readClass(r, class, counts[class])
		if r.bad {
			return
		}
		if text != nil {
			v.text = make([]string, rows)
		}
		at := 0
		for i, k := range col {
			if uint8(k) != class {
				continue
			}
			v.tag[i], v.num[i] = tag, num[at]
			if tags != nil {
				v.tag[i] = tags[at]
			}
			if text != nil {
				v.text[i] = text[at]
			}
			at++
		}
	}
}

// readClass reads n values of one class: their numbers, and their tags where
// they are not all the same, or the one.
func (c *codec) readClass(r *reader, class uint8, n int) (num []int64, tags []uint8, tag uint8, text []string) {
	var err error
	rest := r.b
	switch class {
	case classNull:
		return make([]int64, n), nil, tagNull, nil
	case classBool, classFloat:
		c.bits = slices.Grow(c.bits[:0], n)[:n]
		b := c.bits
		if tag = tagFloat64; class == classBool {
			tag = tagFalse
			rest, err = c.bools.Decode(r.b, b)
		} else {
			rest, err = c.floats.Decode(r.b, b)
		}
		num = c.memory.numbers(n)
		for i, x := range b {
			num[i] = int64(x)
		}
	case classInt:
		return c.readInts(r, n), nil, tagInt64, nil
	case classString:
		num, text, tag = make([]int64, n), make([]string, n), tagString
		rest, err = c.strings.Decode(r.b, text)
	case classDecimal:
		if tag = r.byte(); tag == ownTags {
			tags = make([]uint8, n)
			for i, x := range c.readInts(r, n) {
				if x < tagDecimal || x > maxTag {
					r.fail()
				}
				tags[i] = uint8(x)
			}
		} else if tag < tagDecimal || tag > maxTag {
			r.fail()
		}
		return c.readInts(r, n), tags, tag, nil
	default:
		r.fail()
	}
	if err != nil || r.bad {
		r.fail()
		return nil, nil, 0, nil
	}
	r.b = rest
	return num, nil, tag, text
}

// appendRow writes row i, which is in group g and has this revision, to dst.
func (p *sealedPart) appendRow(dst []byte, g, i int, rev int64) []byte {
	if p.verbatim != nil {
		return append(dst, p.verbatim[i]...)
	}
	flags := p.flags
	dst = append(dst, p.head...)
	if p.fixed[colArrival] != nil {
		dst = appendVarint(dst, p.fixed[colArrival][i])
		dst = binary.AppendUvarint(dst, uint64(p.fixed[colArrivalNano][i]))
	}
	q := p.fixed[colQuality][i]
	dst = append(dst, p.codes[q]...)
	if flags&flagSeq != 0 {
		dst = binary.AppendUvarint(dst, uint64(p.fixed[colSeq][i]+rev))
	}
	dst = p.appendMsgID(dst, i)
	dst = append(dst, p.texts[g]...)
	dst = p.appendTimes(dst, i)
	return p.appendValues(append(dst, p.middle[q]...), i)
}

func (p *sealedPart) appendMsgID(dst []byte, i int) []byte {
	switch p.flags >> shiftMsgID & 3 {
	case msgULID:
		stamp := p.stamps[i]
		if p.flags&flagFine == 0 && p.fixed[colSource] != nil {
			stamp += p.fixed[colSource][i]
		}
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], uint64(stamp)<<16)
		dst = append(dst, b[:6]...)
		return append(dst, p.msgs[i*ulidRandom:][:ulidRandom]...)
	case msgText:
		start := 0
		if i > 0 {
			start = p.ends[i-1]
		}
		dst = binary.AppendUvarint(dst, uint64(p.ends[i]-start))
		return append(dst, p.msgs[start:p.ends[i]]...)
	}
	return dst
}

func (p *sealedPart) appendTimes(dst []byte, i int) []byte {
	for k := colSource; k <= colServerNano; k += 2 {
		if p.fixed[k] != nil {
			dst = appendVarint(dst, p.fixed[k][i])
		}
		if p.fixed[k+1] != nil {
			dst = binary.AppendUvarint(dst, uint64(p.fixed[k+1][i]))
		}
	}
	if latency := p.fixed[colLatency]; latency != nil {
		x := latency[i]
		if relative(p.flags) {
			x += p.fixed[colServer][i]
		}
		dst = appendVarint(dst, x)
	}
	return dst
}
