// Package telemetry says what a measurement is: a Row of Samples that one
// message brought, exactly as it came, and the bytes that keep it
// (telemetry.recorded.v1; docs/formats/telemetry.md draws them).
//
// A sample's identity is (stream, revision, index), index being the order in
// the message as received. Nothing here is ever re-keyed or overwritten.
//
// Row and Decode are for those who want one row whole. A fold over millions
// reads through a View, which allocates nothing, and an Interner, which turns
// device and signal names into small numbers.
package telemetry

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/twinlog/twinlog/domain/quality"
)

// The errors of this package.
var (
	// ErrBadRow: bytes that are no telemetry row, or a row that has no bytes.
	ErrBadRow = errors.New("invalid telemetry row")
	// ErrDuplicateSignal: a message that names one signal twice.
	ErrDuplicateSignal = errors.New("signal twice in one message")
)

// Kind is the data type of a Value. The numbers are on disk and never change.
type Kind uint8

// The kinds.
const (
	Null Kind = iota // a quality without a value (Bad carries no fresh value)
	Float64
	Int64
	Bool
	String
)

// Value is one measured value, bit-exact: NaN payloads, -0 and infinities
// survive. Values are equal when their Kind, Bits and Str are.
type Value struct {
	Kind Kind
	Bits uint64 // Float64: IEEE 754 bits; Int64: two's complement; Bool: 0 or 1
	Str  string // String only
}

// FloatValue returns f as a Value.
func FloatValue(f float64) Value { return Value{Kind: Float64, Bits: math.Float64bits(f)} }

// IntValue returns i as a Value.
func IntValue(i int64) Value { return Value{Kind: Int64, Bits: uint64(i)} }

// BoolValue returns b as a Value.
func BoolValue(b bool) Value {
	if b {
		return Value{Kind: Bool, Bits: 1}
	}
	return Value{Kind: Bool}
}

// StringValue returns s as a Value.
func StringValue(s string) Value { return Value{Kind: String, Str: s} }

// Number returns the value as a float64: integers rounded to the nearest,
// booleans as 0 or 1; false for Null and String.
func (v Value) Number() (float64, bool) {
	switch v.Kind {
	case Float64:
		return math.Float64frombits(v.Bits), true
	case Int64:
		return float64(int64(v.Bits)), true
	case Bool:
		return float64(v.Bits), true
	default:
		return 0, false
	}
}

// Sample is one signal of a Row.
type Sample struct {
	Signal  string // the device's own name for it, as sent
	Value   Value
	Quality quality.Quality
}

// TimeBasis says which clock SourceTime was taken from.
type TimeBasis uint8

// The bases. The numbers are on disk and never change.
const (
	FromSourceTS TimeBasis = iota // source_ts: the device's clock
	FromTS                        // ts: the gateway's clock
	FromArrival                   // neither came: when the server received it
)

// NoLatency is the EdgeLatency of a row that says nothing about it.
const NoLatency time.Duration = -1

// Row is what one uplink message said: the decoded telemetry.recorded.v1.
type Row struct {
	Device     string // device_id
	DeviceType string
	Gateway    string // gw_id, "" for a device that publishes by itself
	MsgID      string // as it came, "" if none
	// MsgIDDerived: a msg_id came and was MsgID(incarnation, seq). It is not
	// stored, and MsgID is "" here.
	MsgIDDerived  bool
	Seq           uint64 // as it came; valid if HasSeq
	HasSeq        bool
	SourceTime    time.Time // when it happened, UTC; source_ts, else ts, else arrival
	ServerTime    time.Time // ts: when the gateway saw it, UTC; zero if it did not say
	Basis         TimeBasis
	Firmware      string // fw_version, "" if none
	SchemaVersion string
	EdgeLatency   time.Duration // edge_latency_ms; -1 if none
	Samples       []Sample      // in the order received; no signal twice
}

// Point names what is measured, for ever: a signal of a device. An asset's tag
// is bound to points in time.
type Point struct{ Device, Signal string }

// Check returns ErrBadRow or ErrDuplicateSignal, with the reason, for a row
// that AppendBinary cannot write so that Decode gives it back.
func (r *Row) Check() error {
	switch {
	case r.Basis > FromArrival:
		return fmt.Errorf("row of %q: time basis %d, expected 0 to 2: %w", r.Device, r.Basis, ErrBadRow)
	case r.MsgIDDerived && r.MsgID != "":
		return fmt.Errorf("row of %q: msg_id %q both stored and derived: %w", r.Device, r.MsgID, ErrBadRow)
	case !r.HasSeq && r.Seq != 0:
		return fmt.Errorf("row of %q: seq %d without HasSeq: %w", r.Device, r.Seq, ErrBadRow)
	}
	for i := range r.Samples {
		v := &r.Samples[i].Value
		if v.Kind > String || v.Kind == Bool && v.Bits > 1 || v.Kind == Null && v.Bits != 0 ||
			v.Kind == String && v.Bits != 0 || v.Kind != String && v.Str != "" {
			return fmt.Errorf("row of %q: signal %q has value %+v: %w", r.Device, r.Samples[i].Signal, *v, ErrBadRow)
		}
	}
	return CheckSignals(r.Samples)
}

// CheckSignals returns ErrDuplicateSignal if a signal is there twice.
func CheckSignals(samples []Sample) error {
	// A set of one bit per hash settles the usual message of ten signals
	// without comparing names.
	var seen [4]uint64
	for i := range samples {
		h := signalHash(samples[i].Signal)
		word, bit := h>>6&3, uint64(1)<<(h&63)
		if seen[word]&bit == 0 {
			seen[word] |= bit
			continue
		}
		if i >= 64 { // the set is full of other names by now
			return checkSignalsByMap(samples)
		}
		for j := range i {
			if samples[j].Signal == samples[i].Signal {
				return fmt.Errorf("signal %q: %w", samples[i].Signal, ErrDuplicateSignal)
			}
		}
	}
	return nil
}

// signalHash mixes the length and three bytes of a name: enough to tell most
// names of one device apart.
func signalHash(s string) uint32 {
	n := len(s)
	if n == 0 {
		return 0
	}
	h := uint32(n) | uint32(s[0])<<8 | uint32(s[n/2])<<16 | uint32(s[n-1])<<24
	return h * 0x9E3779B1 >> 24
}

func checkSignalsByMap(samples []Sample) error {
	seen := make(map[string]struct{}, len(samples))
	for i := range samples {
		if _, twice := seen[samples[i].Signal]; twice {
			return fmt.Errorf("signal %q: %w", samples[i].Signal, ErrDuplicateSignal)
		}
		seen[samples[i].Signal] = struct{}{}
	}
	return nil
}
