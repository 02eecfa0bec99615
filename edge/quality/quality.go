// Package quality says how far to trust one reading, next to the machine, where
// the most is known about it.
//
// A Judge follows one tag. It lets whatever came as Bad or Uncertain through,
// with its reason, and looks at Good values in four ways: out of the EURange,
// frozen, moving faster than the process can, and, for what speaks by itself,
// not heard for too long. It promises that a failed communication and a failed
// sensor never share a code, and that Bad carries no value.
//
// The sub-codes (OPC 10000-4 §7.39, OPC 10000-8 §6.3.3):
//
//	no session, no answer            BadNoCommunication, BadCommunicationError (from the source)
//	wire break, failure current, NaN BadSensorFailure (from normalize)
//	not heard for longer than Stale  BadNoCommunication
//	no change for longer than Frozen UncertainLastUsableValue, limit bits constant
//	faster than MaxRate              UncertainSensorNotAccurate
//	outside EURange                  UncertainEngineeringUnitsExceeded, limit bits low or high
//
// It does not smooth, substitute or repair a value.
package quality

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// ErrBadLimits reports limits that no tag could use.
var ErrBadLimits = errors.New("invalid quality limits")

// Limits are what a Good value of one tag is held to. A zero field is not
// looked at.
type Limits struct {
	EURange *Range        // the values of normal operation, in the tag's unit
	Frozen  time.Duration // a live signal does not keep the same bits for this long
	Stale   time.Duration // a source that speaks by itself is heard at least this often
	MaxRate float64       // the fastest the process can move, in units per second
	// Over is the shortest time that a rate is taken over, the period of the
	// tag: of two readings that a delay has pushed together, noise alone makes a
	// rate without bounds.
	Over time.Duration
}

// A Range is low..high, both within it.
type Range struct{ Low, High float64 }

// Check refuses limits that contradict themselves.
func (l Limits) Check() error {
	var errs []error
	if r := l.EURange; r != nil && (!(r.High > r.Low) || math.IsInf(r.High-r.Low, 0)) {
		errs = append(errs, fmt.Errorf("range [%v, %v], expected finite low < high: %w", r.Low, r.High, ErrBadLimits))
	}
	if l.Frozen < 0 || l.Stale < 0 || l.Over < 0 {
		errs = append(errs, fmt.Errorf("frozen %v, stale %v and over %v, expected durations from 0: %w", l.Frozen, l.Stale, l.Over, ErrBadLimits))
	}
	if !(l.MaxRate >= 0) || math.IsInf(l.MaxRate, 1) {
		errs = append(errs, fmt.Errorf("max rate %v, expected a finite number from 0: %w", l.MaxRate, ErrBadLimits))
	}
	return errors.Join(errs...)
}

// A Judge holds the readings of one tag to its Limits. It is used by one
// goroutine.
type Judge struct {
	limits Limits

	last  telemetry.Value // the last raw value, and
	since time.Time       // when it was first read with these bits

	steady   float64   // the last value within MaxRate, and
	steadyAt time.Time // when; zero before the first

	heard time.Time // when the source last spoke of the tag
	stale bool      // staleness has been reported and nothing heard since
}

// New returns the Judge of a tag that was never read. Silence counts from now.
func New(l Limits, now time.Time) *Judge {
	return &Judge{limits: l, heard: now}
}

// Heard tells the Judge that the source spoke of the tag, at the gateway's own
// time: silence is not measured with the device's clock.
func (j *Judge) Heard(at time.Time) { j.heard, j.stale = at, false }

// Judge returns what becomes of a value that was measured at the time at, with
// the code that source and scaling gave it. Bad comes back without a value. raw
// is the value before it was scaled and rounded: a sensor is frozen by its own
// bits, and not because the decimals that we keep stand still.
func (j *Judge) Judge(raw, v telemetry.Value, code quality.Code, at time.Time) (telemetry.Value, quality.Code) {
	if code.Status() == quality.IsBad {
		// After a failure the signal is a new one: it may start anywhere, and
		// has not been frozen during the time nobody looked.
		j.last, j.since, j.steadyAt = telemetry.Value{}, time.Time{}, time.Time{}
		return telemetry.Value{}, code
	}
	frozen := j.frozen(raw, at)
	x, numeric := number(v)
	fast := numeric && j.tooFast(x, at)
	if code.Status() != quality.IsGood {
		return v, code // the first reason stands
	}
	switch {
	case frozen:
		return v, quality.UncertainLastUsableValue.WithLimit(quality.Constant)
	case fast:
		return v, quality.UncertainSensorNotAccurate
	case numeric && j.limits.EURange != nil && x < j.limits.EURange.Low:
		return v, quality.UncertainEngineeringUnitsExceeded.WithLimit(quality.Low)
	case numeric && j.limits.EURange != nil && x > j.limits.EURange.High:
		return v, quality.UncertainEngineeringUnitsExceeded.WithLimit(quality.High)
	}
	return v, code
}

// Overdue reports, once for each silence, that nothing was heard for longer
// than Stale. The sample to send is Null, BadNoCommunication, at now.
func (j *Judge) Overdue(now time.Time) bool {
	if j.limits.Stale <= 0 || j.stale || now.Sub(j.heard) <= j.limits.Stale {
		return false
	}
	j.stale = true
	j.last, j.since, j.steadyAt = telemetry.Value{}, time.Time{}, time.Time{}
	return true
}

func (j *Judge) frozen(raw telemetry.Value, at time.Time) bool {
	if j.since.IsZero() || raw != j.last {
		j.last, j.since = raw, at
	}
	return j.limits.Frozen > 0 && at.Sub(j.since) >= j.limits.Frozen
}

// tooFast compares with the last value that was not too fast. The step that is
// allowed grows with the time since, so a spike is flagged alone and its return
// is not, while a change that stays is believed once the process could have
// made it.
func (j *Judge) tooFast(x float64, at time.Time) bool {
	if j.limits.MaxRate <= 0 {
		return false
	}
	if !j.steadyAt.IsZero() {
		seconds := max(at.Sub(j.steadyAt), j.limits.Over).Seconds()
		if math.Abs(x-j.steady) > float64(j.limits.MaxRate*max(seconds, 0)) {
			return true
		}
	}
	j.steady, j.steadyAt = x, at
	return false
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
