package badgerlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

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
}

// sealGroup is a group while a window is sealed.
type sealGroup struct {
	stream   int
	verbatim bool
	texts    []byte
	flags    uint16
	n        int
	names    []byte
	rows     []int32 // of the window
	part     int
	bytes    int // of verbatim rows
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
	v := make([]int64, n)
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
	fixed  [fixedColumns][]int64
	stamps []int64 // ULID milliseconds
	cols   []valueColumn
	dict   map[string]int64
	dictB  []byte
	key    []byte
	firsts []int64
	steps  []int64
	counts []int64
	texts  [][]byte

	scratch []byte // for the comparison
}

// verbatim makes a part of rows as they are.
func (m *partMaker) verbatim(dst []byte, groups []*sealGroup, data func(int32) []byte) []byte {
	m.counts = m.counts[:0]
	var lens []int64
	var all []byte
	for _, g := range groups {
		m.counts = append(m.counts, int64(len(g.rows)))
		for _, i := range g.rows {
			d := data(i)
			lens = append(lens, int64(len(d)))
			all = append(all, d...)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(groups)))
	dst = m.ints.Append(dst, m.counts)
	dst = m.ints.Append(dst, lens)
	if packed := s2.EncodeSnappy(nil, all); len(packed) < len(all) {
		return append(append(dst, 1), packed...)
	}
	return append(append(dst, 0), all...)
}

// errOddRow: the row at this place of the window is none of the group's kind
// and has to be sealed verbatim.
type errOddRow int32

func (e errOddRow) Error() string { return fmt.Sprintf("row %d cannot be taken apart", int32(e)) }

// columns makes a part of groups with the same flags and signals. rev gives a
// row's revision.
func (m *partMaker) columns(dst []byte, groups []*sealGroup, data func(int32) []byte, rev func(int32) int64) ([]byte, error) {
	g := groups[0]
	if err := m.collect(groups, data, rev); err != nil {
		return nil, err
	}
	dst = binary.AppendUvarint(dst, uint64(g.flags))
	dst = binary.AppendUvarint(dst, uint64(g.n))
	dst = append(binary.AppendUvarint(dst, uint64(len(g.names))), g.names...)
	dst = binary.AppendUvarint(dst, uint64(len(groups)))
	dst = m.ints.Append(dst, m.counts)
	dst = appendFront(dst, m.texts)
	dst = binary.AppendUvarint(dst, uint64(len(m.dict)))
	dst = append(dst, m.dictB...)
	for c := range fixedColumns {
		if !hasFixed(g.flags, c) {
			continue
		}
		if c == colSource {
			m.line()
			dst = m.ints.Append(dst, m.firsts)
			dst = m.ints.Append(dst, m.steps)
			dst = m.appendZeroed(dst, m.fixed[c])
			continue
		}
		dst = m.ints.Append(dst, m.fixed[c])
	}
	dst = m.appendMsgIDs(dst, groups, data)
	for i := range m.cols[:g.n] {
		dst = m.appendColumn(dst, &m.cols[i])
	}
	return dst, nil
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

// collect reads the rows into columns.
func (m *partMaker) collect(groups []*sealGroup, data func(int32) []byte, rev func(int32) int64) error {
	for c := range m.fixed {
		m.fixed[c] = m.fixed[c][:0]
	}
	n := groups[0].n
	for len(m.cols) < n {
		m.cols = append(m.cols, valueColumn{})
	}
	for i := range m.cols[:n] {
		m.cols[i].reset()
	}
	m.stamps, m.counts, m.texts, m.dictB = m.stamps[:0], m.counts[:0], m.texts[:0], m.dictB[:0]
	if m.dict == nil {
		m.dict = map[string]int64{}
	}
	clear(m.dict)
	used := make([]int, 0, fixedColumns)
	for c := range fixedColumns {
		if hasFixed(groups[0].flags, c) {
			used = append(used, c)
		}
	}
	var v rowView
	for _, g := range groups {
		m.counts = append(m.counts, int64(len(g.rows)))
		m.texts = append(m.texts, g.texts)
		for _, i := range g.rows {
			v.cut(data(i)) // it did when the row was put into its group
			v.fixed[colSeq] -= rev(i)
			v.fixed[colQuality] = m.qualityOf(&v)
			for _, c := range used {
				m.fixed[c] = append(m.fixed[c], v.fixed[c])
			}
			if v.flags>>shiftMsgID&3 == msgULID {
				m.stamps = append(m.stamps, int64(binary.BigEndian.Uint64(v.msg)>>16)-stampBase(&v))
			}
			r := reader{b: v.values}
			for k := range m.cols[:n] {
				if !m.cols[k].add(&r) {
					return errOddRow(i)
				}
			}
			if len(r.b) > 0 {
				return errOddRow(i)
			}
		}
	}
	return nil
}

// stampBase is what the time in a ULID is told from: the source's.
func stampBase(v *rowView) int64 {
	if v.flags&flagFine != 0 {
		return 0
	}
	return v.fixed[colSource]
}

func (m *partMaker) qualityOf(v *rowView) int64 {
	m.key = binary.AppendUvarint(m.key[:0], uint64(len(v.codes)))
	m.key = append(m.key, v.codes...)
	m.key = binary.AppendUvarint(m.key, uint64(len(v.runs)))
	m.key = append(m.key, v.runs...)
	i, ok := m.dict[string(m.key)]
	if !ok {
		i = int64(len(m.dict))
		m.dict[string(m.key)] = i
		m.dictB = append(m.dictB, m.key...)
	}
	return i
}

// lineBits is the binary fraction of a line's slope.
const lineBits = 12

// line replaces each group's source times by their distance from the line
// through the first and the last.
func (m *partMaker) line() {
	m.firsts, m.steps = m.firsts[:0], m.steps[:0]
	at := 0
	for _, n := range m.counts {
		t := m.fixed[colSource][at : at+int(n)]
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

func (m *partMaker) appendMsgIDs(dst []byte, groups []*sealGroup, data func(int32) []byte) []byte {
	form := groups[0].flags >> shiftMsgID & 3
	if form != msgText && form != msgULID {
		return dst
	}
	var v rowView
	var lens []int64
	var all []byte
	for _, g := range groups {
		for _, i := range g.rows {
			v.cut(data(i))
			if form == msgULID {
				all = append(all, v.msg[6:]...)
			} else {
				lens, all = append(lens, int64(len(v.msg))), append(all, v.msg...)
			}
		}
	}
	if form == msgULID {
		return append(m.ints.Append(dst, m.stamps), all...)
	}
	dst = m.ints.Append(dst, lens)
	if packed := s2.EncodeSnappy(nil, all); len(packed) < len(all) {
		dst = binary.AppendUvarint(append(dst, 1), uint64(len(packed)))
		return append(dst, packed...)
	}
	return append(append(dst, 0), all...)
}

func (m *partMaker) appendColumn(dst []byte, c *valueColumn) []byte {
	if !c.mixed {
		class := classOf(c.tag[0])
		return m.appendClass(append(dst, class), class, c.num, c.tag, c.text)
	}
	dst = append(dst, classMixed)
	col := make([]int64, len(c.tag))
	for i, t := range c.tag {
		col[i] = int64(classOf(t))
	}
	dst = m.appendZeroed(dst, col)
	for class := uint8(classBool); class < classes; class++ {
		var num []int64
		var tag []uint8
		var text []string
		for i, k := range col {
			if uint8(k) == class {
				num, tag = append(num, c.num[i]), append(tag, c.tag[i])
				if class == classString {
					text = append(text, c.text[i])
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
