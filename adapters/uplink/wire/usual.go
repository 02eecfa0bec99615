package wire

import (
	"encoding/binary"
	"math"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// The texts between the parts of the usual sample, as the low bytes of a word.
const (
	beforeValue   = 0x3A_22_76_22_7B_3A_22 // ":{"v":
	beforeQuality = 0x3A_22_71_22_2C       // ,"q":
	mask56        = 1<<56 - 1
	mask40        = 1<<40 - 1
)

// scanUsual reads one sample that is written exactly as "name":{"v":72.4,"q":192},
// as nearly all are, in one go. For anything else it returns false and stays
// where it is.
func (f *fields) scanUsual(p *scanner) bool {
	b, i := p.b, p.i
	if i >= len(b) || b[i] != '"' {
		return false
	}
	i++
	name := i
	for {
		if i+8 > len(b) {
			return false
		}
		w := binary.LittleEndian.Uint64(b[i:])
		if end := firstSpecial(w); end < 8 {
			i += end
			break
		}
		i += 8
	}
	nameEnd := i
	if i+8 > len(b) || binary.LittleEndian.Uint64(b[i:])&mask56 != beforeValue {
		return false
	}
	i += 7
	bits, i := shortDecimal(b, i)
	if i < 0 || i+8 > len(b) || binary.LittleEndian.Uint64(b[i:])&mask40 != beforeQuality {
		return false
	}
	i += 5
	raw, digits := uint32(0), i
	for i < len(b) && b[i]-'0' <= 9 {
		raw = raw*10 + uint32(b[i]-'0')
		i++
	}
	// Nine digits fit into 32 bits; longer ones are left to the careful way.
	if i == digits || i-digits > 9 || b[digits] == '0' && i-digits > 1 || i == len(b) || b[i] != '}' {
		return false
	}
	f.samples = append(f.samples, telemetry.Sample{
		Signal:  p.s[name:nameEnd],
		Value:   telemetry.Value{Kind: telemetry.Float64, Bits: bits},
		Quality: quality.Quality{Raw: raw, Scheme: byMessage},
	})
	p.i = i + 1
	return true
}

// shortDecimal reads a number of up to 15 digits without an exponent from b[i:],
// and returns the bits of its float64 and where it ends; -1 if it is another.
// See numeral for why the division is exact.
func shortDecimal(b []byte, i int) (bits uint64, end int) {
	negative := i < len(b) && b[i] == '-'
	if negative {
		i++
	}
	first, m := i, uint64(0)
	for i < len(b) && b[i]-'0' <= 9 {
		m = m*10 + uint64(b[i]-'0')
		i++
	}
	digits, places := i-first, 0
	if digits == 0 || b[first] == '0' && digits > 1 {
		return 0, -1
	}
	if i < len(b) && b[i] == '.' {
		i++
		point := i
		for i < len(b) && b[i]-'0' <= 9 {
			m = m*10 + uint64(b[i]-'0')
			i++
		}
		if places = i - point; places == 0 {
			return 0, -1
		}
	}
	if digits+places > maxDigits {
		return 0, -1
	}
	value := float64(m) / powersOf10[places]
	if negative {
		value = -value
	}
	return math.Float64bits(value), i
}
