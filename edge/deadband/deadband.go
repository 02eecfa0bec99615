// Package deadband drops samples that say nothing new.
//
// The two filters are those of OPC UA: AbsoluteDeadband (OPC 10000-4 §7.22.2)
// and PercentDeadband (OPC 10000-8 §7.2). Both compare against the last value
// sent, not the last value seen, so that slow drift is never lost, and a change
// of quality passes whatever the value does. A longest interval lets a value
// through that has not moved, so that silence is never mistaken for steadiness.
package deadband

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// ErrBadFilter reports a filter that no tag could use.
var ErrBadFilter = errors.New("invalid deadband filter")

// A Filter is the smallest change worth sending, in the tag's engineering unit.
// The zero Filter passes every change and drops repetitions.
type Filter struct{ width float64 }

// Absolute returns a filter of the given width, in engineering units.
func Absolute(width float64) (Filter, error) {
	if !(width >= 0) || math.IsInf(width, 1) { // the first also refuses NaN
		return Filter{}, fmt.Errorf("absolute deadband %v, expected a finite number from 0: %w", width, ErrBadFilter)
	}
	return Filter{width}, nil
}

// Percent returns a filter of percent (0..100) of the range low..high, which
// is the tag's EURange and not its InstrumentRange.
func Percent(percent, low, high float64) (Filter, error) {
	if !(percent >= 0 && percent <= 100) || !(high > low) || math.IsInf(high-low, 0) {
		return Filter{}, fmt.Errorf("percent deadband %v of [%v, %v], expected 0 to 100 of a finite range: %w", percent, low, high, ErrBadFilter)
	}
	return Filter{percent / 100 * (high - low)}, nil
}

// Passes reports whether value is worth sending after sent. The comparison is
// strict: a change of exactly the width is dropped.
func (f Filter) Passes(sent, value float64) bool {
	if math.IsNaN(sent) || math.IsNaN(value) {
		return math.IsNaN(sent) != math.IsNaN(value)
	}
	if math.IsInf(sent, 0) || math.IsInf(value, 0) {
		return sent != value // Inf-Inf is NaN, which would compare as no change
	}
	return math.Abs(value-sent) > f.width
}

// A Rule decides for one tag which of its samples are sent.
type Rule struct {
	Filter Filter
	// Longest is the longest time without a sample: when it is over the next
	// one passes. Zero means that a steady value is never repeated.
	Longest time.Duration
}

// Sent is the last sample of a tag that was sent. The zero Sent is before the
// first, after which everything passes.
type Sent struct {
	Value   telemetry.Value
	Quality quality.Code
	At      time.Time
	Any     bool // a sample was sent
}

// Passes reports whether a sample of value and code, taken at, says something
// that the last one sent does not.
func (r Rule) Passes(sent Sent, value telemetry.Value, code quality.Code, at time.Time) bool {
	switch {
	case !sent.Any, code != sent.Quality, value.Kind != sent.Value.Kind:
		return true
	case r.Longest > 0 && at.Sub(sent.At) >= r.Longest:
		return true
	}
	if r.Filter.width == 0 && value.Kind != telemetry.Float64 {
		return value != sent.Value // exact, also for an Int64 that no float64 holds
	}
	was, numeric := number(sent.Value)
	is, _ := number(value) // the same kind
	if !numeric {
		return value != sent.Value
	}
	return r.Filter.Passes(was, is)
}

// number returns a numeric value as float64. An Int64 beyond 2^53 loses its
// last bits, which is far below any width above zero that has a use.
func number(v telemetry.Value) (float64, bool) {
	switch v.Kind {
	case telemetry.Float64:
		return math.Float64frombits(v.Bits), true
	case telemetry.Int64:
		return float64(int64(v.Bits)), true //nolint:gosec // Bits holds two's complement
	case telemetry.Null, telemetry.Bool, telemetry.String:
	}
	return 0, false
}
