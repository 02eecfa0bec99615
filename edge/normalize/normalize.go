// Package normalize turns what a protocol decoded into the engineering value of
// the tag: a linear scale, or the 4–20 mA current of a transmitter.
//
// For a current loop it promises that a fault of the loop never becomes a
// value: NAMUR NE 43 gives 3.8–20.5 mA to the measurement and ≤ 3.6 mA or
// ≥ 21 mA to the failure signal, and what lies between says that the sensor is
// at its limit. Data type and word order belong to the protocol's own decoder,
// which knows what a register is.
package normalize

import (
	"errors"
	"fmt"
	"math"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// ErrBadScale reports a scale that no tag could use.
var ErrBadScale = errors.New("invalid scale")

// A Scale turns raw values into engineering values. The zero Scale leaves a
// value as it is.
type Scale struct {
	kind           kind
	factor, offset float64
	low, high      float64 // engineering values at 4 mA and at 20 mA
	rounded        bool
	decimals       int
}

// Rounded returns the scale with its results rounded half away from zero to
// decimals (0 to 12) behind the point. A converter of 12 bits does not know 16
// digits, and what it does not know is noise in every message and in the log.
// Integers and booleans that are not scaled stay as they are.
func (s Scale) Rounded(decimals int) (Scale, error) {
	if decimals < 0 || decimals > 12 {
		return Scale{}, fmt.Errorf("%d decimals, expected 0 to 12: %w", decimals, ErrBadScale)
	}
	s.rounded, s.decimals = true, decimals
	return s, nil
}

type kind uint8

const (
	identity kind = iota
	linear
	current
)

// Linear returns the scale raw·factor + offset. Factor 1 and offset 0 leave a
// value as it is, an integer as an integer.
func Linear(factor, offset float64) (Scale, error) {
	if factor == 0 || !finite(factor) || !finite(offset) {
		return Scale{}, fmt.Errorf("factor %v and offset %v, expected finite numbers and a factor other than 0: %w", factor, offset, ErrBadScale)
	}
	if factor == 1 && offset == 0 {
		return Scale{}, nil
	}
	return Scale{kind: linear, factor: factor, offset: offset}, nil
}

// Current returns the scale of a 4–20 mA loop: raw·factor + offset is the
// current in mA, low is the engineering value at 4 mA and high that at 20 mA
// (the tag's InstrumentRange; high < low is an inverted transmitter).
func Current(factor, offset, low, high float64) (Scale, error) {
	if factor == 0 || !finite(factor) || !finite(offset) {
		return Scale{}, fmt.Errorf("factor %v and offset %v to mA, expected finite numbers and a factor other than 0: %w", factor, offset, ErrBadScale)
	}
	if low == high || !finite(low) || !finite(high) || !finite(high-low) {
		return Scale{}, fmt.Errorf("4 mA is %v and 20 mA is %v, expected two different finite numbers: %w", low, high, ErrBadScale)
	}
	return Scale{kind: current, factor: factor, offset: offset, low: low, high: high}, nil
}

// Limits of NAMUR NE 43, in mA.
const (
	failLow  = 3.6
	validLow = 3.8
	validTop = 20.5
	failHigh = 21.0
)

// Apply returns the engineering value of raw and what the scaling alone says of
// it: Good; BadSensorFailure with a Null for a broken loop, a transmitter that
// signals failure, or a number that is none (NaN, ±Inf: what transmitters put
// into a float register when they have nothing to say);
// UncertainSensorNotAccurate with its limit bits for a current at the end of
// the sensor. Booleans and strings are not scaled.
func (s Scale) Apply(raw telemetry.Value) (telemetry.Value, quality.Code) {
	x, ok := number(raw)
	if !ok {
		return raw, quality.Good
	}
	if !finite(x) {
		return telemetry.Value{}, quality.BadSensorFailure
	}
	switch s.kind {
	case identity:
		if raw.Kind == telemetry.Float64 {
			return s.value(x)
		}
		return raw, quality.Good
	case linear:
		return s.value(float64(x*s.factor) + s.offset)
	case current:
	}
	// Rounded to a nanoampere: 35000 times 0.0006 is 21 and misses it by a bit.
	mA := math.Round((float64(x*s.factor)+s.offset)*1e6) / 1e6
	v, code := s.value(float64((mA-4)/16*(s.high-s.low)) + s.low)
	rising := s.high > s.low
	switch {
	case mA <= failLow || mA >= failHigh || code != quality.Good:
		return telemetry.Value{}, quality.BadSensorFailure
	case mA < validLow:
		return v, limited(!rising)
	case mA > validTop:
		return v, limited(rising)
	}
	return v, quality.Good
}

// limited is the code of a sensor at the upper or lower end of what it can say.
// The limit bits speak of the value, not of the current.
func limited(high bool) quality.Code {
	if high {
		return quality.UncertainSensorNotAccurate.WithLimit(quality.High)
	}
	return quality.UncertainSensorNotAccurate.WithLimit(quality.Low)
}

// value rounds, and refuses what has left the range of float64 on the way.
func (s Scale) value(x float64) (telemetry.Value, quality.Code) {
	if !finite(x) {
		return telemetry.Value{}, quality.BadConfigurationError
	}
	if s.rounded {
		x = round(x, s.decimals)
	}
	return telemetry.Value{Kind: telemetry.Float64, Bits: math.Float64bits(x)}, quality.Good
}

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

// round returns x with so many decimals, as the float64 that is nearest to them:
// dividing by a power of ten is exact where multiplying by 0.01 is not. What is
// too large to have decimals stays as it is.
func round(x float64, decimals int) float64 {
	p := math.Pow10(decimals)
	if r := math.Round(x * p); math.Abs(r) < 1<<53 {
		return r/p + 0 // without the sign that -0.04 leaves on its zero
	}
	return x
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
