package wire

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/twinlog/twinlog/domain/telemetry"
)

// The kinds that a sample may name in its member k, where the text alone would
// be read as another one.
const (
	kindInt64   = "int64"
	kindFloat64 = "float64"
	kindString  = "string"
)

// maxExact is the largest integer up to which every integer is a double.
const maxExact = 1 << 53

// quietNaN is the NaN that the text "NaN" stands for: the one of ECMAScript and
// of most hardware.
const quietNaN = 0x7FF8000000000000

// numberValue is the rule for a JSON number: float64, so that a tag does not
// change its kind between 72 and 72.4; int64 for an integer without fraction
// and exponent beyond 2^53, which a float64 might not hold. False for a number
// beyond float64.
func numberValue(text string) (telemetry.Value, bool) {
	if len(text) >= len("9007199254740992") && !strings.ContainsAny(text, ".eE") {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && (n > maxExact || n < -maxExact) {
			return telemetry.IntValue(n), true
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	return telemetry.FloatValue(f), err == nil
}

// stringValue is the rule for a JSON string: three texts are the doubles that
// JSON has no numbers for, any other is itself.
func stringValue(s string) telemetry.Value {
	switch s {
	case "NaN":
		return telemetry.Value{Kind: telemetry.Float64, Bits: quietNaN}
	case "Infinity":
		return telemetry.FloatValue(math.Inf(1))
	case "-Infinity":
		return telemetry.FloatValue(math.Inf(-1))
	default:
		return telemetry.StringValue(s)
	}
}

// kindValue reads a value whose kind is named.
func kindValue(n *node, kind string) (telemetry.Value, error) {
	switch {
	case kind == kindInt64 && n.kind == number && n.text != "-0":
		if i, err := strconv.ParseInt(n.text, 10, 64); err == nil {
			return telemetry.IntValue(i), nil
		}
	case kind == kindFloat64 && n.kind == number:
		if f, err := strconv.ParseFloat(n.text, 64); err == nil {
			return telemetry.FloatValue(f), nil
		}
	case kind == kindFloat64 && n.kind == text:
		if digits, ok := strings.CutPrefix(n.text, "0x"); ok && len(digits) == 16 {
			if bits, err := strconv.ParseUint(digits, 16, 64); err == nil {
				return telemetry.Value{Kind: telemetry.Float64, Bits: bits}, nil
			}
		}
		if v := stringValue(n.text); v.Kind == telemetry.Float64 {
			return v, nil
		}
	case kind == kindString && n.kind == text:
		return telemetry.StringValue(n.text), nil
	}
	return telemetry.Value{}, fmt.Errorf("v %.40q is no %.20q: %w", n.text, kind, ErrInvalid)
}

// plainValue reads a value whose kind follows from its text.
func plainValue(n *node) (telemetry.Value, error) {
	switch n.kind {
	case null:
		return telemetry.Value{}, nil
	case boolean:
		return telemetry.BoolValue(n.text == "true"), nil
	case text:
		return stringValue(n.text), nil
	case number:
		v, ok := numberValue(n.text)
		if !ok {
			return v, fmt.Errorf("number %.40s is beyond a float64: %w", n.text, ErrInvalid)
		}
		return v, nil
	default:
		return telemetry.Value{}, fmt.Errorf("value is an object or an array: %w", ErrInvalid)
	}
}
