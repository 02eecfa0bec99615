package badgerlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/klauspost/compress/s2"

	"github.com/twinlog/twinlog/domain/columnar"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// A sealed part holds the rows of some groups of a sealed window, one group
// after the other. A group is the rows of one device in one stream that have
// the same flags, texts and signals; groups in a part differ in their texts
// only, so that a thousand devices of one kind share one code table a column.
const (
	sealVersion  = 1
	partVerbatim = 0
	partColumns  = 1
	partOrder    = 2
	// groupRows and partSamples bound what a reader decodes for one row.
	groupRows   = 4096
	partSamples = 1 << 16
	partBytes   = 1 << 18 // of verbatim rows
)

// codec holds scratch memory for columns; one per goroutine.
type codec struct {
	ints    columnar.Ints
	floats  columnar.Floats
	strings columnar.Strings
	bools   columnar.Bools
	tmp     []int64
	bits    []uint64
	memory  *numberMemory // of what is decoded
}

// appendSealedHead starts a sealed part, sealEnd ends it.
func appendSealedHead(dst []byte, kind byte, last eventlog.Position, part int) []byte {
	dst = append(dst, sealVersion, kind)
	dst = binary.BigEndian.AppendUint64(dst, uint64(last))
	return binary.BigEndian.AppendUint32(dst, uint32(part))
}

func sealEnd(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst, castagnoli))
}

const sealedHead = 2 + 8 + 4

var errSealed = errors.New("sealed part")

// openSealed checks a part's checksum and that it is the one asked for.
func openSealed(b []byte, last eventlog.Position, part int) (kind byte, body []byte, err error) {
	if len(b) < sealedHead+crc32.Size {
		return 0, nil, fmt.Errorf("%w has %d bytes", errSealed, len(b))
	}
	end := len(b) - crc32.Size
	if got, sum := crc32.Checksum(b[:end], castagnoli), binary.BigEndian.Uint32(b[end:]); got != sum {
		return 0, nil, fmt.Errorf("%w has checksum %08x, expected %08x", errSealed, got, sum)
	}
	if b[0] != sealVersion {
		return 0, nil, fmt.Errorf("%w has format %d, expected %d", errSealed, b[0], sealVersion)
	}
	if l, p := binary.BigEndian.Uint64(b[2:]), binary.BigEndian.Uint32(b[10:]); l != uint64(last) || p != uint32(part) {
		return 0, nil, fmt.Errorf("%w is part %d of the window to %d, expected part %d of %d", errSealed, p, l, part, last)
	}
	return b[1], b[sealedHead:end], nil
}

// appendFront writes texts, each by what it shares with the one before, in
// front and at the end.
func appendFront[T ~string | ~[]byte](dst []byte, texts []T) []byte {
	var before T
	for _, t := range texts {
		n, m, most := 0, 0, min(len(t), len(before))
		for n < most && t[n] == before[n] {
			n++
		}
		for m < most-n && t[len(t)-1-m] == before[len(before)-1-m] {
			m++
		}
		dst = binary.AppendUvarint(dst, uint64(n))
		dst = binary.AppendUvarint(dst, uint64(m))
		dst = binary.AppendUvarint(dst, uint64(len(t)-n-m))
		dst = append(dst, t[n:len(t)-m]...)
		before = t
	}
	return dst
}

func readFront(r *reader, n int) []string {
	texts := make([]string, 0, min(n, len(r.b)/3+1))
	before := ""
	for range n {
		front, end := r.uvarint(), r.uvarint()
		middle := r.bytes(r.uvarint())
		if r.bad || front > uint64(len(before)) || end > uint64(len(before))-front {
			r.fail()
			return nil
		}
		before = before[:front] + string(middle) + before[uint64(len(before))-end:]
		texts = append(texts, before)
	}
	return texts
}

// readInts reads a column of n integers.
func (c *codec) readInts(r *reader, n int) []int64 {
	if n == 0 || r.bad {
		return nil
	}
	v := c.memory.numbers(n)
	rest, err := c.ints.Decode(r.b, v)
	if err != nil {
		r.fail()
		return v
	}
	r.b = rest
	return v
}

// appendZeroed writes a column of small numbers after a 0, so that their own
// sizes count and not their distance from the first.
func (c *codec) appendZeroed(dst []byte, v []int64) []byte {
	c.tmp = append(append(c.tmp[:0], 0), v...)
	return c.ints.Append(dst, c.tmp)
}

func (c *codec) readZeroed(r *reader, n int) []int64 {
	v := c.readInts(r, n+1)
	if len(v) == 0 {
		return nil
	}
	return v[1:]
}

// partMaker makes the parts of a window. It is used again and again.
type partMaker struct {
	codec
	blocks   partMemory   // of the window
	back     numberMemory // of the window read back
	arranger arranger
	firsts   []int64
	steps    []int64
	counts   []int64
	texts    [][]byte
	quality  []int64 // of each row: its number in the part
	numbers  []int64 // of the kind's qualities, in the part
	num      []int64
	tag      []uint8
	text     []string

	scratch []byte // for the comparison
}

// verbatim makes a part of rows as they are.
func (m *partMaker) verbatim(dst []byte, p *partPlan, flat []row) []byte {
	m.counts = m.counts[:0]
	var lens []int64
	var all []byte
	for _, g := range p.groups {
		m.counts = append(m.counts, int64(g.rows))
	}
	for _, i := range p.sorted() {
		d := flat[p.kind.window[i]].data
		lens = append(lens, int64(len(d)))
		all = append(all, d...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(p.groups)))
	dst = m.ints.Append(dst, m.counts)
	dst = m.ints.Append(dst, lens)
	if packed := s2.EncodeSnappy(nil, all); len(packed) < len(all) {
		return append(append(dst, 1), packed...)
	}
	return append(append(dst, 0), all...)
}

// columns makes a part of columns.
func (m *partMaker) columns(dst []byte, p *partPlan) []byte {
	k, rows := p.kind, p.sorted()
	m.counts, m.texts = m.counts[:0], m.texts[:0]
	for _, g := range p.groups {
		m.counts, m.texts = append(m.counts, int64(g.rows)), append(m.texts, g.texts)
	}
	dst = binary.AppendUvarint(dst, uint64(k.flags))
	dst = binary.AppendUvarint(dst, uint64(k.n))
	dst = append(dst, k.tail...)
	dst = binary.AppendUvarint(dst, uint64(len(p.groups)))
	dst = m.ints.Append(dst, m.counts)
	dst = appendFront(dst, m.texts)
	dst = m.appendQualities(dst, k, rows)
	for _, c := range k.used {
		if c == colQuality {
			dst = m.ints.Append(dst, m.quality)
			continue
		}
		m.num = pick(m.num, k.fixed[c], rows)
		if c == colSource {
			m.line(m.num)
			dst = m.ints.Append(dst, m.firsts)
			dst = m.ints.Append(dst, m.steps)
			dst = m.appendZeroed(dst, m.num)
			continue
		}
		dst = m.ints.Append(dst, m.num)
	}
	dst = m.appendMsgIDs(dst, k, rows)
	for i := range k.cols[:k.n] {
		dst = m.appendColumn(dst, &k.cols[i], rows)
	}
	return dst
}

// pick puts the numbers of rows into dst, in the order of rows.
func pick[T any](dst, from []T, rows []int32) []T {
	dst = slices.Grow(dst[:0], len(rows))[:len(rows)]
	for j, i := range rows {
		dst[j] = from[i]
	}
	return dst
}

// appendQualities writes the qualities of a part in the order of their first
// rows, and leaves the rows' numbers in m.quality.
func (m *partMaker) appendQualities(dst []byte, k *sealKind, rows []int32) []byte {
	m.numbers = slices.Grow(m.numbers[:0], len(k.qualities))[:len(k.qualities)]
	clear(m.numbers) // 0: not in this part, else its number and 1
	m.quality = pick(m.quality, k.fixed[colQuality], rows)
	var seen []int64
	for j, q := range m.quality {
		if m.numbers[q] == 0 {
			seen = append(seen, q)
			m.numbers[q] = int64(len(seen))
		}
		m.quality[j] = m.numbers[q] - 1
	}
	dst = binary.AppendUvarint(dst, uint64(len(seen)))
	for _, q := range seen {
		for _, b := range [][]byte{k.qualities[q].codes, k.qualities[q].runs} {
			dst = append(binary.AppendUvarint(dst, uint64(len(b))), b...)
		}
	}
	return dst
}

func hasFixed(flags uint16, c int) bool {
	arrival := flags>>shiftBasis&3 == basisArrival
	fine := flags&flagFine != 0
	switch c {
	case colArrival, colArrivalNano:
		return arrival
	case colSeq:
		return flags&flagSeq != 0
	case colSource:
		return !arrival
	case colSourceNano:
		return !arrival && fine
	case colServer:
		return flags&flagServerTime != 0
	case colServerNano:
		return flags&flagServerTime != 0 && fine
	case colLatency:
		return flags&flagLatency != 0
	}
	return true
}

// lineBits is the binary fraction of a line's slope.
const lineBits = 12

// line replaces each group's times by their distance from the line
// through the first and the last.
func (m *partMaker) line(times []int64) {
	m.firsts, m.steps = m.firsts[:0], m.steps[:0]
	at := 0
	for _, n := range m.counts {
		t := times[at : at+int(n)]
		first, step := t[0], int64(0)
		if n > 1 {
			step = (t[n-1] - first) << lineBits / (n - 1)
		}
		for i := range t {
			t[i] -= first + int64(i)*step>>lineBits
		}
		m.firsts, m.steps = append(m.firsts, first), append(m.steps, step)
		at += int(n)
	}
}

func (m *partMaker) appendMsgIDs(dst []byte, k *sealKind, rows []int32) []byte {
	switch k.flags >> shiftMsgID & 3 {
	case msgULID:
		m.num = pick(m.num, k.stamps, rows)
		dst = m.ints.Append(dst, m.num)
		for _, i := range rows {
			dst = append(dst, k.msgs[int(i)*ulidRandom:][:ulidRandom]...)
		}
	case msgText:
		m.num = m.num[:0]
		var all []byte
		for _, i := range rows {
			start := 0
			if i > 0 {
				start = k.ends[i-1]
			}
			id := k.msgs[start:k.ends[i]]
			m.num, all = append(m.num, int64(len(id))), append(all, id...)
		}
		dst = m.ints.Append(dst, m.num)
		if packed := s2.EncodeSnappy(nil, all); len(packed) < len(all) {
			dst = binary.AppendUvarint(append(dst, 1), uint64(len(packed)))
			return append(dst, packed...)
		}
		dst = append(append(dst, 0), all...)
	}
	return dst
}

func (m *partMaker) appendColumn(dst []byte, c *valueColumn, rows []int32) []byte {
	m.num, m.tag = pick(m.num, c.num, rows), pick(m.tag, c.tag, rows)
	class, mixed := classOf(m.tag[0]), false
	for _, t := range m.tag {
		mixed = mixed || classOf(t) != class
	}
	if !mixed {
		m.text = m.text[:0]
		if class == classString {
			m.text = pick(m.text, c.text, rows)
		}
		return m.appendClass(append(dst, class), class, m.num, m.tag, m.text)
	}
	col := make([]int64, len(rows))
	for j, t := range m.tag {
		col[j] = int64(classOf(t))
	}
	dst = m.appendZeroed(append(dst, classMixed), col)
	for class := uint8(classBool); class < classes; class++ {
		var num []int64
		var tag []uint8
		var text []string
		for j, k := range col {
			if uint8(k) == class {
				num, tag = append(num, m.num[j]), append(tag, m.tag[j])
				if class == classString {
					text = append(text, c.text[rows[j]])
				}
			}
		}
		if len(num) > 0 {
			dst = m.appendClass(dst, class, num, tag, text)
		}
	}
	return dst
}

// ownTags marks decimals that do not fit under one exponent.
const ownTags = 255

func (m *partMaker) appendClass(dst []byte, class uint8, num []int64, tag []uint8, text []string) []byte {
	switch class {
	case classBool, classFloat:
		m.bits = m.bits[:0]
		for _, x := range num {
			m.bits = append(m.bits, uint64(x))
		}
		if class == classBool {
			return m.bools.Append(dst, m.bits)
		}
		return m.floats.Append(dst, m.bits)
	case classInt:
		return m.ints.Append(dst, num)
	case classString:
		return m.strings.Append(dst, text)
	case classDecimal:
		m.tmp = append(m.tmp[:0], num...)
		if t, ok := scale(m.tmp, tag); ok {
			return m.ints.Append(append(dst, t), m.tmp)
		}
		m.tmp = m.tmp[:0]
		for _, t := range tag {
			m.tmp = append(m.tmp, int64(t))
		}
		return m.ints.Append(m.ints.Append(append(dst, ownTags), m.tmp), num)
	}
	return dst
}
