package badgerlog

import (
	"encoding/binary"
	"slices"
)

// valueBytes is the most that a value takes that is no string.
const valueBytes = 1 + binary.MaxVarintLen64

// appendValues writes row i's values as they stood in it. Decimals have the
// smallest exponent that gives them.
func (p *sealedPart) appendValues(dst []byte, i int) []byte {
	dst = slices.Grow(dst, valueBytes*len(p.cols))
	at, b := len(dst), dst[:cap(dst)]
	for k := range p.cols {
		c := &p.cols[k]
		tag, num := c.one, c.num[i]
		if c.tag != nil {
			tag = c.tag[i]
		}
		switch {
		case tag >= tagDecimal:
			for ; tag > tagDecimal; tag-- {
				q := num / 10
				if q*10 != num {
					break
				}
				num = q
			}
			b[at] = tag
			at += 1 + putVarint(b[at+1:], num)
		case tag == tagInt64:
			b[at] = tag
			at += 1 + putVarint(b[at+1:], num)
		case tag == tagFalse || tag == tagTrue:
			b[at] = tagFalse + byte(num&1)
			at++
		case tag == tagFloat64:
			b[at] = tag
			binary.LittleEndian.PutUint64(b[at+1:], uint64(num))
			at += 9
		case tag == tagString:
			dst = binary.AppendUvarint(append(b[:at], tag), uint64(len(c.text[i])))
			dst = slices.Grow(append(dst, c.text[i]...), valueBytes*(len(p.cols)-k))
			at, b = len(dst), dst[:cap(dst)]
		default:
			b[at] = tagNull
			at++
		}
	}
	return b[:at]
}

// putVarint is binary.PutVarint, made for one and two bytes.
func putVarint(b []byte, v int64) int {
	u := uint64(v<<1) ^ uint64(v>>63)
	switch {
	case u < 1<<7:
		b[0] = byte(u)
		return 1
	case u < 1<<14:
		b[0], b[1] = byte(u)|0x80, byte(u>>7)
		return 2
	}
	return binary.PutUvarint(b, u)
}
