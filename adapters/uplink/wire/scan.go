package wire

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf8"

	"github.com/twinlog/twinlog/domain/telemetry"
)

// scan reads the usual shape; raw are the bytes of text. It returns false for
// everything that it does not know, right or wrong: parse then decides.
func (f *fields) scan(text string, raw []byte) bool {
	p := scanner{s: text, b: raw}
	if !p.sign('{') {
		return false
	}
	for first := true; ; first = false {
		key, ok := p.key()
		if !ok {
			return false
		}
		if first && key == "v" {
			return f.scanShort(&p)
		}
		if !f.scanMember(&p, key) {
			return false
		}
		if !p.sign(',') {
			return p.sign('}') && p.end()
		}
	}
}

func (f *fields) scanMember(p *scanner, key string) bool {
	switch key {
	case "schema_version":
		return f.once(hasSchema) && p.text(&f.schema)
	case "msg_id":
		return f.once(hasMsgID) && p.text(&f.msgID)
	case "device_id":
		return f.once(hasDevice) && p.text(&f.device)
	case "device_type":
		return f.once(hasDeviceType) && p.text(&f.deviceType)
	case "ts":
		return f.once(hasTS) && p.number(&f.ts)
	case "seq":
		return f.once(hasSeq) && p.number(&f.seq)
	case "d":
		return f.once(hasD) && f.scanSamples(p)
	case "meta":
		return f.once(hasMeta) && f.scanMeta(p)
	default:
		return false
	}
}

func (f *fields) once(m member) bool {
	before := f.has
	f.has |= m
	return before&m == 0
}

func (f *fields) scanMeta(p *scanner) bool {
	if !p.sign('{') {
		return false
	}
	if p.sign('}') {
		return true
	}
	for {
		key, ok := p.key()
		if !ok {
			return false
		}
		switch key {
		case "fw_version":
			ok = f.once(hasFirmware) && p.text(&f.firmware)
		case "gw_id":
			ok = f.once(hasGateway) && p.text(&f.gateway)
		case "inc":
			ok = f.once(hasIncarnation) && p.text(&f.incarnation)
		case "source_ts":
			ok = f.once(hasSourceTS) && p.number(&f.sourceTS)
		case "edge_latency_ms":
			ok = f.once(hasLatency) && p.number(&f.latency)
		case "q":
			ok = f.once(hasScheme) && p.text(&f.scheme)
		default:
			return false
		}
		if !ok {
			return false
		}
		if !p.sign(',') {
			return p.sign('}')
		}
	}
}

func (f *fields) scanSamples(p *scanner) bool {
	if !p.sign('{') {
		return false
	}
	if p.sign('}') {
		return true
	}
	for {
		if !f.scanUsual(p) {
			key, ok := p.key()
			if !ok || !f.scanSample(p, key) {
				return false
			}
		}
		if !p.sign(',') {
			return p.sign('}')
		}
	}
}

// scanShort reads the short form behind its first key, "v".
func (f *fields) scanShort(p *scanner) bool {
	f.short = true
	if !f.once(hasSchema) || !p.text(&f.schema) {
		return false
	}
	for p.sign(',') {
		key, ok := p.key()
		if !ok {
			return false
		}
		switch key {
		case "id":
			ok = f.once(hasDevice) && p.text(&f.device)
		case "t":
			ok = f.once(hasTS) && p.number(&f.ts)
		case "v", "d", "event":
			return false
		default:
			ok = f.scanSample(p, key)
		}
		if !ok {
			return false
		}
	}
	return p.sign('}') && p.end()
}

// scanSample reads what stands behind a signal's name.
func (f *fields) scanSample(p *scanner, signal string) bool {
	f.samples = append(f.samples, telemetry.Sample{Signal: signal})
	s := &f.samples[len(f.samples)-1]
	if !p.sign('{') {
		_, ok := p.value(&s.Value)
		return ok
	}
	from := p.i
	if p.word(`"v":`) && p.simple(s) {
		return true
	}
	p.i = from
	return p.sampleObject(s)
}

// simple reads what nearly all samples are, from the value on.
func (p *scanner) simple(s *telemetry.Sample) bool {
	if _, ok := p.value(&s.Value); !ok || !p.word(`,"q":`) || !p.quality(&s.Quality.Raw) {
		return false
	}
	s.Quality.Scheme = byMessage
	return p.sign('}')
}

// sampleObject reads the members of a sample in any order.
func (p *scanner) sampleObject(s *telemetry.Sample) bool {
	*s = telemetry.Sample{Signal: s.Signal}
	hasV, hasQ, asInt := false, false, false
	text := ""
	for {
		key, ok := p.key()
		if !ok {
			return false
		}
		switch {
		case key == "v" && !hasV:
			text, ok = p.value(&s.Value)
			hasV = true
		case key == "q" && !hasQ:
			ok = p.quality(&s.Quality.Raw)
			s.Quality.Scheme = byMessage
			hasQ = true
		case key == "k" && !asInt:
			var kind string
			asInt = true
			ok = p.text(&kind) && kind == kindInt64
		default:
			return false
		}
		if !ok {
			return false
		}
		if !p.sign(',') {
			break
		}
	}
	if asInt {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || text == "-0" {
			return false
		}
		s.Value = telemetry.IntValue(n)
	}
	return hasV && p.sign('}')
}

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
