// Package telemetry says what a measurement is: a Row of Samples that one
// message brought, exactly as it came, and the bytes that keep it
// (telemetry.recorded.v1; docs/formats/telemetry.md draws them).
//
// A sample's identity is (stream, revision, index), index being the order in
// the message as received. Nothing here is ever re-keyed or overwritten.
package telemetry

import (
	"time"

	"github.com/twinlog/twinlog/domain/quality"
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

// Row is what one uplink message said: the decoded telemetry.recorded.v1.
type Row struct {
	Device        string // device_id
	DeviceType    string
	Gateway       string // gw_id, "" for a device that publishes by itself
	MsgID         string // as it came, "" if none
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
