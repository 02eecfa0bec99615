package badgerlog

import (
	"encoding/binary"
	"slices"
)

// sealKind is the rows of a window that have the same flags and signals, in
// the order in which they came: a number of each row and value stands in a
// column of its own as soon as the row is read. So a row is looked at once,
// while the cache still holds it. All verbatim rows are one kind.
type sealKind struct {
	verbatim bool
	flags    uint16
	n        int
	names    []byte
	tail     []byte // length of the names and the names
	used     []int  // fixed columns that it has

	rows   int
	window []int32 // of each row: its number in the window
	group  []int32 // of each row
	sorted []int32 // rows by part, group and place in the group

	fixed  [fixedColumns][]int64
	stamps []int64 // ULID milliseconds
	msgs   []byte  // of ULIDs the random 10 bytes, else msg_ids as text
	ends   []int   // of msg_ids that are text
	cols   []valueColumn

	qualities []rowQuality
	numbers   map[string]int32 // of qualities
	key       []byte
}

// rowQuality is what rows say of quality: parts of a row as they stand.
type rowQuality struct{ codes, runs []byte }

// begin makes k the kind of v's row, or of verbatim rows, and empty.
func (k *sealKind) begin(v *rowView, verbatim bool) {
	k.verbatim, k.rows, k.msgs, k.ends, k.qualities, k.used = verbatim, 0, k.msgs[:0], k.ends[:0], k.qualities[:0], k.used[:0]
	if k.numbers == nil {
		k.numbers = map[string]int32{}
	}
	clear(k.numbers)
	k.n = 0
	if verbatim {
		return
	}
	k.flags, k.n, k.names = v.flags, v.n, v.names
	k.tail = append(binary.AppendUvarint(k.tail[:0], uint64(len(v.names))), v.names...)
	for c := range fixedColumns {
		if hasFixed(k.flags, c) {
			k.used = append(k.used, c)
		}
	}
	for len(k.cols) < k.n {
		k.cols = append(k.cols, valueColumn{})
	}
	for i := range k.cols[:k.n] {
		k.cols[i].text = nil
	}
	k.room(len(k.window))
}

// room gives all columns as many places.
func (k *sealKind) room(n int) {
	k.window, k.group = longer(k.window, n), longer(k.group, n)
	if k.verbatim {
		return
	}
	for _, c := range k.used {
		k.fixed[c] = longer(k.fixed[c], n)
	}
	if k.flags>>shiftMsgID&3 == msgULID {
		k.stamps = longer(k.stamps, n)
	}
	for i := range k.cols[:k.n] {
		k.cols[i].num, k.cols[i].tag = longer(k.cols[i].num, n), longer(k.cols[i].tag, n)
	}
}

func longer[T any](s []T, n int) []T {
	if n <= len(s) {
		return s
	}
	return append(s, make([]T, n-len(s))...)
}

// next makes room for one more row.
func (k *sealKind) next() {
	if k.rows == len(k.window) {
		k.room(max(64, 2*len(k.window)))
	}
}

// size is about what k holds in memory.
func (k *sealKind) size() int { return len(k.window) * (8 + 8*len(k.used) + 9*len(k.cols)) }

// values reads a row's values into the columns; false if they are none.
func (k *sealKind) values(b []byte) bool {
	at, row := 0, k.rows
	for i := range k.cols[:k.n] {
		c := &k.cols[i]
		if at >= len(b) {
			return false
		}
		tag, num := b[at], int64(0)
		at++
		switch {
		case tag >= tagDecimal && tag <= maxTag || tag == tagInt64:
			var u uint64
			switch rest := b[at:]; {
			case len(rest) >= 2 && rest[0] >= 0x80 && rest[1] < 0x80:
				u = uint64(rest[0]&0x7f) | uint64(rest[1])<<7
				at += 2
			default:
				n := 0
				if u, n = binary.Uvarint(rest); n <= 0 {
					return false
				}
				at += n
			}
			num = int64(u>>1) ^ -int64(u&1)
		case tag == tagFalse || tag == tagTrue:
			num = int64(tag - tagFalse)
		case tag == tagFloat64:
			if len(b)-at < 8 {
				return false
			}
			num = int64(binary.LittleEndian.Uint64(b[at:]))
			at += 8
		case tag == tagString:
			n, size := binary.Uvarint(b[at:])
			if size <= 0 || n > uint64(len(b)-at-size) {
				return false
			}
			at += size
			c.addText(row, b[at:at+int(n)])
			at += int(n)
		case tag != tagNull:
			return false
		}
		c.tag[row], c.num[row] = tag, num
	}
	return at == len(b)
}

// addText enters the text of a row; rows between that have none get "".
func (c *valueColumn) addText(row int, text []byte) {
	c.text = c.text[:min(row, len(c.text))] // of a row that was none
	last := ""
	if n := len(c.text); n > 0 {
		last = c.text[n-1]
	}
	for len(c.text) < row {
		c.text = append(c.text, "")
	}
	if string(text) != last {
		last = string(text)
	}
	c.text = append(c.text, last)
}

// add enters the row whose values have just been read.
func (k *sealKind) add(v *rowView, i, group int32, rev int64) {
	row := k.rows
	k.rows++
	k.window[row], k.group[row] = i, group
	for _, c := range k.used {
		k.fixed[c][row] = v.fixed[c]
	}
	if k.flags&flagSeq != 0 {
		k.fixed[colSeq][row] -= rev
	}
	k.fixed[colQuality][row] = int64(v.quality)
	switch k.flags >> shiftMsgID & 3 {
	case msgULID:
		k.stamps[row] = int64(binary.BigEndian.Uint64(v.msg)>>16) - stampBase(v)
		k.msgs = append(k.msgs, v.msg[6:]...)
	case msgText:
		k.msgs = append(k.msgs, v.msg...)
		k.ends = append(k.ends, len(k.msgs))
	}
}

// addVerbatim enters a row as it is.
func (k *sealKind) addVerbatim(i, group int32) {
	k.next()
	k.window[k.rows], k.group[k.rows] = i, group
	k.rows++
}

// qualityOf numbers what a row says of quality.
func (k *sealKind) qualityOf(v *rowView) int32 {
	k.key = binary.AppendUvarint(k.key[:0], uint64(len(v.codes)))
	k.key = append(append(k.key, v.codes...), v.runs...)
	n, ok := k.numbers[string(k.key)]
	if !ok {
		n = int32(len(k.qualities))
		k.numbers[string(k.key)] = n
		k.qualities = append(k.qualities, rowQuality{v.codes, v.runs})
	}
	return n
}

// stampBase is what the time in a ULID is told from: the source's.
func stampBase(v *rowView) int64 {
	if v.flags&flagFine != 0 {
		return 0
	}
	return v.fixed[colSource]
}

// sort puts the rows of groups that follow each other by first in their order.
func (k *sealKind) sort(groups []sealGroup) {
	k.sorted = slices.Grow(k.sorted[:0], k.rows)[:k.rows]
	for row, g := range k.group[:k.rows] {
		at := &groups[g].filled
		k.sorted[groups[g].start+*at] = int32(row)
		*at++
	}
}
