// Package quality is the one place where every protocol's own quality codes
// become the canonical quality: an OPC UA StatusCode (OPC 10000-4 §7.39) with
// its limit bits (OPC 10000-8 §6.3.2). A value never travels without it, and
// the code as it came travels beside it.
//
// A code is mapped once, when a message is accepted, and both are stored: a
// later and better map changes no answer about the past.
package quality

import "fmt"

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

// String returns Good, Uncertain or Bad.
func (s Status) String() string {
	switch s {
	case IsGood:
		return "Good"
	case IsUncertain:
		return "Uncertain"
	default:
		return "Bad"
	}
}

// Limit says whether the value is held at the end of its range.
type Limit uint8

// The limits, numbered as the two lowest bits of an OPC DA quality.
const (
	Free     Limit = iota
	Low            // the value is at its lower limit
	High           // the value is at its upper limit
	Constant       // the value cannot move
)

// String returns Free, Low, High or Constant.
func (l Limit) String() string {
	switch l {
	case Free:
		return "Free"
	case Low:
		return "Low"
	case High:
		return "High"
	default:
		return "Constant"
	}
}

// Bits of the low half of a StatusCode (OPC 10000-4 §7.39.1, table 179).
const (
	infoDataValue Code = 1 << 10 // InfoType DataValue: the limit bits mean something
	limitShift         = 8
	limitMask     Code = 3 << limitShift
	subCodeMask   Code = 0xFFFF0000
)

// Status returns the severity. The reserved fourth severity counts as Bad.
func (c Code) Status() Status {
	switch c >> 30 {
	case 0:
		return IsGood
	case 1:
		return IsUncertain
	default:
		return IsBad
	}
}

// Limit returns the limit bits; Free where the InfoType is not DataValue.
func (c Code) Limit() Limit {
	if c&(3<<10) != infoDataValue {
		return Free
	}
	return Limit(c & limitMask >> limitShift)
}

// WithLimit returns the code with its limit bits replaced. Free clears the
// InfoType as well, so that Good with no limit is the plain Good.
func (c Code) WithLimit(l Limit) Code {
	c &^= limitMask | 3<<10
	if l == Free {
		return c
	}
	return c | infoDataValue | Code(l&3)<<limitShift
}

// Base returns severity and sub-code alone: what a code is compared with.
func (c Code) Base() Code { return c & subCodeMask }

// Name returns the symbolic name of OPC 10000-6 Annex A.2 without underscore,
// "UncertainLastUsableValue"; for a code that has none here the severity and
// the number in hexadecimal, "Bad(0x80FF0000)". Limit bits are not part of it.
func (c Code) Name() string {
	if name, ok := names[c.Base()]; ok {
		return name
	}
	return fmt.Sprintf("%s(0x%08X)", c.Status(), uint32(c.Base()))
}

// String returns the name, and the limit where there is one: "BadSensorFailure, Low".
func (c Code) String() string {
	if l := c.Limit(); l != Free {
		return c.Name() + ", " + l.String()
	}
	return c.Name()
}

// Scheme names whose code Raw is.
type Scheme uint8

// The schemes. The numbers are on disk and never change.
const (
	Assumed   Scheme = 0 // nothing came; Good was assumed, and is recorded as assumed
	OPCDA     Scheme = 1 // OPC DA 3.0 quality byte
	AppendixB Scheme = 2 // the reference's appendix B byte
	OPCUA     Scheme = 3 // StatusCode
)

// schemeNames are the names that contracts and messages use.
var schemeNames = [...]string{Assumed: "assumed", OPCDA: "opc-da", AppendixB: "appendix-b", OPCUA: "opc-ua"}

// String returns the name that contracts and messages use: "opc-da".
func (s Scheme) String() string {
	if int(s) < len(schemeNames) {
		return schemeNames[s]
	}
	return fmt.Sprintf("scheme %d", uint8(s))
}

// ParseScheme is the inverse of String; false for a name that is none. Nobody
// can send an assumed quality, so "assumed" is none either.
func ParseScheme(name string) (Scheme, bool) {
	for s, n := range schemeNames {
		if n == name && Scheme(s) != Assumed {
			return Scheme(s), true
		}
	}
	return 0, false
}

// Quality is how far to trust one sample.
type Quality struct {
	Code   Code   // canonical
	Raw    uint32 // as it came, in the words of Scheme
	Scheme Scheme
}

// AssumedGood is the quality of a value that came without one.
var AssumedGood = Quality{Code: Good, Scheme: Assumed}

// Of returns the quality of a value judged by ourselves: the code is its own raw form.
func Of(c Code) Quality { return Quality{Code: c, Raw: uint32(c), Scheme: OPCUA} }
