// Package scalar writes and reads the custom scalars of schema.graphql.
//
// A column is one scalar, written by one marshaller into one buffer: a day at
// 1 Hz is one object of the graph and not 86,400. Nothing here knows a read
// model; what comes in wrong is refused with what was expected instead.
package scalar

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/graph/fault"
)

// raw is JSON that is written as it is.
type raw []byte

func (b raw) MarshalGQL(w io.Writer) { _, _ = w.Write(b) } // into the response's buffer: it never fails

// MarshalTime writes RFC 3339 in UTC, with as many decimals as there are.
func MarshalTime(t time.Time) graphql.Marshaler {
	return raw(append(t.UTC().AppendFormat([]byte{'"'}, time.RFC3339Nano), '"'))
}

// UnmarshalTime reads RFC 3339.
func UnmarshalTime(v any) (time.Time, error) {
	s, ok := v.(string)
	if !ok {
		return time.Time{}, fmt.Errorf("time %v: expected RFC 3339 text, e.g. 2026-03-01T06:00:00Z: %w", v, fault.ErrBadInput)
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("time %.40q: expected RFC 3339, e.g. 2026-03-01T06:00:00Z: %w", s, fault.ErrBadInput)
	}
	return t.UTC(), nil
}

// MarshalPosition writes 20 digits.
func MarshalPosition(p eventlog.Position) graphql.Marshaler { return raw(`"` + p.String() + `"`) }

// UnmarshalPosition reads what MarshalPosition writes.
func UnmarshalPosition(v any) (eventlog.Position, error) {
	s, ok := v.(string)
	if !ok {
		return 0, fmt.Errorf("position %v: expected the 20 digits that a frame or payload gave: %w", v, fault.ErrBadInput)
	}
	return eventlog.ParsePosition(s)
}

// MarshalRevision writes decimal text.
func MarshalRevision(r eventlog.Revision) graphql.Marshaler {
	return raw(strconv.AppendQuote(nil, strconv.FormatUint(uint64(r), 10)))
}

// UnmarshalRevision reads decimal text, and small whole numbers.
func UnmarshalRevision(v any) (eventlog.Revision, error) {
	n, err := strconv.ParseUint(fmt.Sprint(v), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("revision %.40q: expected a decimal number from 0: %w", fmt.Sprint(v), fault.ErrBadInput)
	}
	return eventlog.Revision(n), nil
}

// MarshalStatusCode writes 0x and eight hex digits.
func MarshalStatusCode(c quality.Code) graphql.Marshaler { return raw(appendCode(nil, c)) }

func appendCode(b []byte, c quality.Code) []byte {
	const digits = "0123456789ABCDEF"
	b = append(b, `"0x`...)
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, digits[c>>shift&15])
	}
	return append(b, '"')
}

// UnmarshalStatusCode reads what MarshalStatusCode writes.
func UnmarshalStatusCode(v any) (quality.Code, error) {
	s, _ := v.(string)
	n, err := strconv.ParseUint(s, 0, 32)
	if err != nil {
		return 0, fmt.Errorf("status code %v: expected 0x and eight hex digits: %w", v, fault.ErrBadInput)
	}
	return quality.Code(n), nil
}

// MarshalValue writes a measured value.
func MarshalValue(v telemetry.Value) graphql.Marshaler { return raw(AppendValue(nil, v)) }

// UnmarshalValue reads a number, a text, true or false. A whole number is an
// Int64, whatever else it was written as.
func UnmarshalValue(v any) (telemetry.Value, error) {
	switch x := v.(type) {
	case bool:
		return telemetry.BoolValue(x), nil
	case string:
		return telemetry.StringValue(x), nil
	case int64:
		return whole(x)
	case float64:
		return finite(x)
	case json.Number:
		if n, err := x.Int64(); err == nil {
			return whole(n)
		}
		f, err := x.Float64()
		if err != nil {
			return telemetry.Value{}, fmt.Errorf("value %s: expected a number of 64 bits: %w", x, fault.ErrBadInput)
		}
		return finite(f)
	}
	return telemetry.Value{}, fmt.Errorf("value %v: expected a number, a text, true or false: %w", v, fault.ErrBadInput)
}

func whole(n int64) (telemetry.Value, error) {
	if n > maxSafe || n < -maxSafe {
		return telemetry.Value{}, fmt.Errorf("value %d: expected a whole number within ±%d: %w", n, int64(maxSafe), fault.ErrBadInput)
	}
	return telemetry.IntValue(n), nil
}

func finite(f float64) (telemetry.Value, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return telemetry.Value{}, fmt.Errorf("value %v: expected a finite number: %w", f, fault.ErrBadInput)
	}
	return telemetry.FloatValue(f), nil
}

// maxSafe is the largest whole number that every JSON reader keeps exactly.
const maxSafe = 1<<53 - 1

// AppendValue appends v as the JSON that the scalar Value promises.
func AppendValue(b []byte, v telemetry.Value) []byte {
	switch v.Kind {
	case telemetry.Float64:
		return AppendFloat(b, math.Float64frombits(v.Bits))
	case telemetry.Int64:
		n := int64(v.Bits)
		if n > maxSafe || n < -maxSafe {
			return append(strconv.AppendInt(append(b, '"'), n, 10), '"')
		}
		return strconv.AppendInt(b, n, 10)
	case telemetry.Bool:
		return strconv.AppendBool(b, v.Bits != 0)
	case telemetry.String:
		return AppendString(b, v.Str)
	default:
		return append(b, "null"...)
	}
}

// AppendFloat appends the shortest number that reads back as f, or NaN,
// Infinity and -Infinity as strings.
func AppendFloat(b []byte, f float64) []byte {
	switch {
	case f != f:
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	}
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) { // where JavaScript changes over as well
		format = 'e'
	}
	return strconv.AppendFloat(b, f, format, -1, 64)
}

// AppendString appends s as a JSON string.
func AppendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x7f || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(s)
			if err != nil { // cannot be: every string has a JSON form
				return append(b, "null"...)
			}
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// Number returns the value where it is numeric and finite, else nil.
func Number(v telemetry.Value) *float64 {
	var f float64
	switch v.Kind {
	case telemetry.Float64:
		f = math.Float64frombits(v.Bits)
	case telemetry.Int64:
		f = float64(int64(v.Bits))
	default:
		return nil
	}
	if f != f || math.IsInf(f, 0) {
		return nil
	}
	return &f
}

// MarshalJSON writes JSON as it was stored.
func MarshalJSON(b json.RawMessage) graphql.Marshaler {
	if len(b) == 0 {
		return raw("null")
	}
	return raw(b)
}

// UnmarshalJSON takes any JSON that a variable or literal brought.
func UnmarshalJSON(v any) (json.RawMessage, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("json: %w", err)
	}
	return b, nil
}
