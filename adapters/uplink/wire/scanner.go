package wire

import (
	"encoding/binary"
	"math"
	"math/bits"
	"unicode/utf8"

	"github.com/twinlog/twinlog/domain/telemetry"
)

// scanner goes through a text; white space stands before tokens.
type scanner struct {
	s string
	b []byte // the bytes of s, for reading eight at once
	i int
}

func (p *scanner) space() {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return
		}
	}
}

// sign goes past c if it comes next.
func (p *scanner) sign(c byte) bool {
	if p.i < len(p.s) && p.s[p.i] == c { // compact texts need no space
		p.i++
		return true
	}
	p.space()
	if p.i < len(p.s) && p.s[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *scanner) end() bool {
	p.space()
	return p.i == len(p.s)
}

func (p *scanner) key() (string, bool) {
	var key string
	ok := p.text(&key)
	return key, ok && p.sign(':')
}

// text reads a string without escapes.
func (p *scanner) text(to *string) bool {
	if !p.sign('"') {
		return false
	}
	s, from := p.s, p.i
	i := from
	for i+8 <= len(p.b) {
		if end := firstSpecial(binary.LittleEndian.Uint64(p.b[i:])); end < 8 {
			i += end
			break
		}
		i += 8
	}
	for i < len(s) && ordinary[s[i]] {
		i++
	}
	if i == len(s) {
		return false
	}
	if s[i] != '"' {
		return p.beyondASCII(to)
	}
	*to, p.i = s[from:i], i+1
	return true
}

// firstSpecial returns which of eight bytes, the lowest first, is the first that
// does not stand for itself in a string; 8 if none.
func firstSpecial(w uint64) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x80 * ones
	)
	quote, slash := w^'"'*ones, w^'\\'*ones
	// Each term has the high bit of a byte set where that byte is below 0x20, a
	// quote or a backslash; a borrow can only spoil bytes above one of these.
	special := (w-' '*ones)&^w | (quote-ones)&^quote | (slash-ones)&^slash | w
	return bits.TrailingZeros64(special&highs) / 8
}

// ordinary are the bytes that stand for themselves in a string.
var ordinary = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// beyondASCII reads the rest of a string without escapes.
func (p *scanner) beyondASCII(to *string) bool {
	for i := p.i; i < len(p.s); i++ {
		switch c := p.s[i]; {
		case c == '"':
			*to, p.i = p.s[p.i:i], i+1
			return utf8.ValidString(*to)
		case c < utf8.RuneSelf && !ordinary[c]:
			return false
		}
	}
	return false
}

// number reads a number's text.
func (p *scanner) number(to *string) bool {
	var v telemetry.Value
	p.space()
	if p.i == len(p.s) || p.s[p.i] != '-' && (p.s[p.i] < '0' || p.s[p.i] > '9') {
		return false
	}
	var ok bool
	*to, ok = p.numeral(&v, false)
	return ok
}

// quality reads an integer of up to 32 bits.
func (p *scanner) quality(to *uint32) bool {
	p.space()
	from, n := p.i, uint64(0)
	for p.i < len(p.s) && p.s[p.i] >= '0' && p.s[p.i] <= '9' && p.i-from < 10 {
		n = n*10 + uint64(p.s[p.i]-'0')
		p.i++
	}
	if p.i == from || n > math.MaxUint32 || p.s[from] == '0' && p.i > from+1 || !p.delimited() {
		return false
	}
	*to = uint32(n)
	return true
}

// delimited reports whether a number ends here.
func (p *scanner) delimited() bool {
	if p.i == len(p.s) {
		return false
	}
	switch p.s[p.i] {
	case ',', '}', ' ', '\t', '\n', '\r':
		return true
	}
	return false
}

// value reads a number, a string, true, false or null; text is a number's.
func (p *scanner) value(v *telemetry.Value) (text string, ok bool) {
	p.space()
	if p.i == len(p.s) {
		return "", false
	}
	switch c := p.s[p.i]; {
	case c == '-' || c >= '0' && c <= '9':
		return p.numeral(v, true)
	case c == '"':
		var s string
		ok := p.text(&s)
		*v = stringValue(s)
		return "", ok
	case c == 't':
		*v = telemetry.BoolValue(true)
		return "", p.word("true") && p.delimited()
	case c == 'f':
		*v = telemetry.BoolValue(false)
		return "", p.word("false") && p.delimited()
	case c == 'n':
		*v = telemetry.Value{}
		return "", p.word("null") && p.delimited()
	}
	return "", false
}

func (p *scanner) word(w string) bool {
	if len(p.s)-p.i < len(w) || p.s[p.i:p.i+len(w)] != w {
		return false
	}
	p.i += len(w)
	return true
}

// maxDigits is how many decimal digits always fit into 2^53.
const maxDigits = 15

var powersOf10 = [maxDigits + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// numeral reads a number by JSON's grammar. One with up to 15 digits and no
// exponent needs one division of two exact doubles, which is correctly rounded;
// the rest goes to strconv.
func (p *scanner) numeral(v *telemetry.Value, want bool) (text string, ok bool) {
	s, from := p.s, p.i
	i := from
	negative := s[i] == '-'
	if negative {
		i++
	}
	first, m := i, uint64(0)
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		m = m*10 + uint64(s[i]-'0')
		i++
	}
	digits := i - first
	if digits == 0 || s[first] == '0' && digits > 1 {
		return "", false
	}
	places := 0
	if i < len(s) && s[i] == '.' {
		i++
		point := i
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			m = m*10 + uint64(s[i]-'0')
			i++
		}
		if places = i - point; places == 0 {
			return "", false
		}
	}
	simple := digits+places <= maxDigits
	if i < len(s) && s[i]|0x20 == 'e' {
		if i = exponent(s, i+1); i < 0 {
			return "", false
		}
		simple = false
	}
	p.i = i
	text = s[from:i]
	if !p.delimited() {
		return "", false
	}
	if !want {
		return text, true
	}
	if !simple {
		*v, ok = numberValue(text)
		return text, ok
	}
	f := float64(m) / powersOf10[places]
	if negative {
		f = -f
	}
	v.Kind, v.Bits = telemetry.Float64, math.Float64bits(f)
	return text, true
}

// exponent goes past a sign and digits; -1 if there are none.
func exponent(s string, i int) int {
	if i < len(s) && (s[i] == '+' || s[i] == '-') {
		i++
	}
	from := i
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	if i == from {
		return -1
	}
	return i
}
