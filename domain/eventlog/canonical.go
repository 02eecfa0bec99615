package eventlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrNotCanonical is returned for a value that RFC 8785 (JSON Canonicalization Scheme) has no
// form for, or that would not survive it.
var ErrNotCanonical = errors.New("no canonical JSON form")

// CanonicalJSON returns v as RFC 8785 canonical JSON: members sorted by their
// UTF-16 code units, no white space, numbers as ECMAScript prints them. v is
// first marshalled by encoding/json, so struct tags work; a json.RawMessage is
// taken as the text it is. Refused with ErrNotCanonical: integers that a double
// does not hold exactly, invalid UTF-8, lone surrogates, a name twice.
func CanonicalJSON(v any) ([]byte, error) {
	if raw, ok := v.(json.RawMessage); ok {
		return canonicalText(raw, false)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("canonical JSON of %T: %w", v, err)
	}
	// encoding/json writes the escape \ufffd for a byte that is not UTF-8, and
	// the character itself where U+FFFD was really there.
	return canonicalText(b.Bytes(), true)
}

func canonicalText(text []byte, refuseReplaced bool) ([]byte, error) {
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("text of %d bytes is not UTF-8: %w", len(text), ErrNotCanonical)
	}
	if bad := badEscape(text, refuseReplaced); bad != "" {
		return nil, fmt.Errorf("escape %s is a lone surrogate or stands for bytes that are not UTF-8: %w", bad, ErrNotCanonical)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	out, err := canonicalValue(make([]byte, 0, len(text)), d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("text after the value at byte %d: %w", d.InputOffset(), ErrNotCanonical)
	}
	return out, nil
}

// maxDepth bounds recursion; encoding/json itself stops at 10,000, which is
// more stack than a hostile message should get.
const maxDepth = 500

func canonicalValue(dst []byte, d *json.Decoder, depth int) ([]byte, error) {
	tok, err := d.Token()
	if err != nil {
		return nil, fmt.Errorf("JSON at byte %d: %w", d.InputOffset(), err)
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("JSON deeper than %d: %w", maxDepth, ErrNotCanonical)
	}
	switch t := tok.(type) {
	case nil:
		return append(dst, "null"...), nil
	case bool:
		return strconv.AppendBool(dst, t), nil
	case string:
		return appendString(dst, t), nil
	case json.Number:
		return appendNumber(dst, t)
	case json.Delim:
		if t == '{' {
			return canonicalObject(dst, d, depth)
		}
		return canonicalArray(dst, d, depth)
	}
	return nil, fmt.Errorf("token %v: %w", tok, ErrNotCanonical)
}

func canonicalArray(dst []byte, d *json.Decoder, depth int) ([]byte, error) {
	dst = append(dst, '[')
	for n := 0; d.More(); n++ {
		if n > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = canonicalValue(dst, d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return append(dst, ']'), err
}

func canonicalObject(dst []byte, d *json.Decoder, depth int) ([]byte, error) {
	type member struct {
		order []uint16
		text  []byte
	}
	var members []member
	for d.More() {
		tok, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("JSON at byte %d: %w", d.InputOffset(), err)
		}
		name, ok := tok.(string)
		if !ok {
			return nil, fmt.Errorf("member name %v: %w", tok, ErrNotCanonical)
		}
		text := append(appendString(nil, name), ':')
		if text, err = canonicalValue(text, d, depth+1); err != nil {
			return nil, err
		}
		members = append(members, member{utf16.Encode([]rune(name)), text})
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("JSON at byte %d: %w", d.InputOffset(), err)
	}
	slices.SortStableFunc(members, func(a, b member) int { return slices.Compare(a.order, b.order) })
	dst = append(dst, '{')
	for i, m := range members {
		if i > 0 {
			if slices.Equal(m.order, members[i-1].order) {
				return nil, fmt.Errorf("member %q twice: %w", string(utf16.Decode(m.order)), ErrNotCanonical)
			}
			dst = append(dst, ',')
		}
		dst = append(dst, m.text...)
	}
	return append(dst, '}'), nil
}

// appendNumber prints as ECMAScript does (RFC 8785 §3.2.2.3).
func appendNumber(dst []byte, n json.Number) ([]byte, error) {
	f, err := n.Float64()
	if err != nil || math.IsInf(f, 0) {
		return nil, fmt.Errorf("number %s is beyond a double: %w", n, ErrNotCanonical)
	}
	if !strings.ContainsAny(n.String(), ".eE") && math.Abs(f) >= 1<<53 {
		// An integer is a count or a code here: rounding one silently would
		// record another fact than the one that was told.
		if strconv.FormatFloat(f, 'f', 0, 64) != n.String() {
			return nil, fmt.Errorf("integer %s is not exact as a double: %w", n, ErrNotCanonical)
		}
	}
	return appendFloat(dst, f), nil
}

func appendFloat(dst []byte, f float64) []byte {
	if f == 0 {
		return append(dst, '0') // also -0
	}
	if a := math.Abs(f); a >= 1e-6 && a < 1e21 {
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	if n := len(dst); n >= 4 && dst[n-4] == 'e' && dst[n-2] == '0' { // e-07 is e-7
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// appendString quotes s with the escapes of RFC 8785 §3.2.2.2 and no others.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, `\b`...)
		case '\t':
			dst = append(dst, `\t`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\f':
			dst = append(dst, `\f`...)
		case '\r':
			dst = append(dst, `\r`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(dst, s[from:]...), '"')
}

// badEscape returns the first \uD800..\uDFFF escape without its partner, and
// with replaced also \ufffd; "" if there is none. encoding/json would replace a
// lone surrogate without a word.
func badEscape(text []byte, replaced bool) string {
	for i := 0; i+1 < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		r := hex4(text, i)
		switch {
		case r < 0:
			i++ // an escape of one character, perhaps of a backslash
		case r >= 0xD800 && r < 0xDC00 && low(hex4(text, i+6)):
			i += 11
		case r >= 0xD800 && r < 0xE000, replaced && r == utf8.RuneError:
			return string(text[i : i+6])
		default:
			i += 5
		}
	}
	return ""
}

func low(r int64) bool { return r >= 0xDC00 && r < 0xE000 }

// hex4 reads the escape \uXXXX at i, or returns -1.
func hex4(text []byte, i int) int64 {
	if i+6 > len(text) || text[i] != '\\' || text[i+1] != 'u' {
		return -1
	}
	r, err := strconv.ParseUint(string(text[i+2:i+6]), 16, 16)
	if err != nil {
		return -1
	}
	return int64(r)
}
