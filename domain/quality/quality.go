// Package quality is the one place where every protocol's own quality codes
// become the canonical quality: an OPC UA StatusCode (OPC 10000-4 §7.39) with
// its limit bits (OPC 10000-8 §6.3.3). A value never travels without it, and
// the code as it came travels beside it.
package quality

// Code is an OPC UA StatusCode: severity in the two top bits, sub-code, and in
// the low half the info bits, of which the limit bits are used here.
type Code uint32

// Status is the severity of a Code.
type Status uint8

// The three severities.
const (
	IsGood Status = iota
	IsUncertain
	IsBad
)

// Scheme names whose code Raw is.
type Scheme uint8

// The schemes. The numbers are on disk and never change.
const (
	Assumed   Scheme = 0 // nothing came; Good was assumed, and is recorded as assumed
	OPCDA     Scheme = 1 // OPC DA 3.0 quality byte
	AppendixB Scheme = 2 // the reference's appendix B byte
	OPCUA     Scheme = 3 // StatusCode
)

// Quality is how far to trust one sample.
type Quality struct {
	Code   Code   // canonical
	Raw    uint32 // as it came, in the words of Scheme
	Scheme Scheme
}
