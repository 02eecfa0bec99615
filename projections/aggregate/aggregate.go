// Package aggregate computes the aggregates of OPC 10000-13 (OPC UA Part 13)
// over one series of samples, interval by interval.
//
// Its promise: the same samples give the same bits, whether they come one by
// one or as Runs that were summed up before, and however they were split. Sums
// are exact and rounded once (package exact).
//
// It is pure: it reads nothing, and knows neither points nor time zones.
package aggregate

import (
	"time"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// Config is the AggregateConfiguration of OPC 10000-13 §4.2.1.2, with the
// Stepped property of the variable (OPC 10000-11 §5.2.2).
type Config struct {
	// TreatUncertainAsBad leaves Uncertain values out, as if they were Bad.
	TreatUncertainAsBad bool
	// PercentDataBad: an interval with at least this part Bad is Bad (0..100).
	PercentDataBad int
	// PercentDataGood: an interval with at least this part Good is Good (0..100).
	PercentDataGood int
	// UseSlopedExtrapolation goes on along the last two values after the end of
	// data instead of holding the last.
	UseSlopedExtrapolation bool
	// Stepped holds a value until the next instead of drawing a line.
	Stepped bool
}

// Standard returns the defaults of the GraphQL schema.
func Standard() Config {
	return Config{TreatUncertainAsBad: true, PercentDataBad: 100, PercentDataGood: 100}
}

// Sample is what an aggregate needs of one measurement.
type Sample struct {
	Time  int64 // SourceTime, nanoseconds since 1970 UTC
	Value telemetry.Value
	Code  quality.Code
}

// Result is one function's answer for one interval.
type Result struct {
	Value  telemetry.Value // Null if there is none
	Status quality.Code    // with the aggregate info bits of OPC 10000-4 §7.39
}

// Span is the half-open range [From, To) and how it is cut: every interval is
// Interval long but for the last, which ends at To. Interval <= 0 means one.
type Span struct {
	From, To time.Time
	Interval time.Duration
}

// Intervals returns how many intervals there are.
func (s Span) Intervals() int {
	length := s.To.Sub(s.From)
	switch {
	case length <= 0:
		return 0
	case s.Interval <= 0:
		return 1
	}
	return int((length + s.Interval - 1) / s.Interval)
}
