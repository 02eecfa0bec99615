package modbus

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/twinlog/twinlog/domain/telemetry"
)

// A Type is how the registers of an item make a value.
type Type uint8

// The types.
const (
	Bool Type = iota // one coil or discrete input
	Bit              // one bit of a register
	Uint16
	Int16
	Uint32
	Int32
	Uint64 // above 2^63-1 it has no Int64 and is refused
	Int64
	Float32 // IEEE 754 binary32
	Float64 // IEEE 754 binary64
	Bits    // Width bits of a register from Bit upwards, as an unsigned number
	String  // Length registers of two characters each
)

// typeNames are the names in the configuration, by Type.
var typeNames = [...]string{"bool", "bit", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64", "bits", "string"}

// String returns the type's name as the configuration writes it.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// registers is how many addresses of its table the item covers; 0 for a type
// that is none.
func (i Item) registers() int {
	switch i.Type {
	case Bool, Bit, Uint16, Int16, Bits:
		return 1
	case String:
		return int(i.Length)
	case Uint32, Int32, Float32:
		return 2
	case Uint64, Int64, Float64:
		return 4
	}
	return 0
}

// ParseType returns the Type of a name.
func ParseType(name string) (Type, error) {
	for t, n := range typeNames {
		if n == name {
			return Type(t), nil //nolint:gosec // twelve names
		}
	}
	return 0, fmt.Errorf("type %q, expected one of %v: %w", name, typeNames, ErrBadItem)
}

// An Order is where a device keeps the bytes of a number, A being the highest of
// a 32-bit one. In 64-bit numbers CDAB is the words from last to first and BADC
// the bytes of each word swapped; in 16-bit ones only the bytes count.
type Order uint8

// The orders.
const (
	ABCD Order = iota // big-endian, as the standard has it
	CDAB              // low word first
	BADC              // bytes swapped in each word
	DCBA              // little-endian
)

var orderNames = [...]string{"ABCD", "CDAB", "BADC", "DCBA"}

// String returns the order's name as the configuration writes it.
func (o Order) String() string {
	if int(o) < len(orderNames) {
		return orderNames[o]
	}
	return fmt.Sprintf("order %d", uint8(o))
}

// ParseOrder returns the Order of a name; "" is ABCD.
func ParseOrder(name string) (Order, error) {
	if name == "" {
		return ABCD, nil
	}
	for o, n := range orderNames {
		if n == name {
			return Order(o), nil //nolint:gosec // four names
		}
	}
	return 0, fmt.Errorf("word order %q, expected one of %v: %w", name, orderNames, ErrBadItem)
}

// bigEndian returns the bytes of one number from its highest to its lowest.
// data holds its registers as they came and is not changed.
func (o Order) bigEndian(data []byte) (out [8]byte) {
	n := len(data)
	for i := range n {
		from := i
		if o == CDAB || o == DCBA {
			from = n - 2 - i&^1 + i&1 // the words from last to first
		}
		if o == BADC || o == DCBA {
			from ^= 1 // the other byte of the word
		}
		out[i] = data[from]
	}
	return out
}

// Decode returns the value of the item's registers in data (two bytes each, as
// they came) or, for Bool, of one byte that is 0 or 1. ok is false for a Uint64
// that no Int64 holds.
func (i Item) decode(data []byte) (v telemetry.Value, ok bool) {
	if i.Type == Bool {
		return telemetry.BoolValue(data[0] != 0), true
	}
	if i.Type == String {
		return telemetry.StringValue(text(i.Order.characters(data))), true
	}
	b := i.Order.bigEndian(data)
	u16, u32, u64 := binary.BigEndian.Uint16(b[:]), binary.BigEndian.Uint32(b[:]), binary.BigEndian.Uint64(b[:])
	switch i.Type {
	case Bool, String, Bit:
		return telemetry.BoolValue(u16>>i.Bit&1 == 1), true
	case Bits:
		return telemetry.IntValue(int64(u16 >> i.Bit & i.mask())), true
	case Uint16:
		return telemetry.IntValue(int64(u16)), true
	case Int16:
		return telemetry.IntValue(int64(int16(u16))), true //nolint:gosec // two's complement
	case Uint32:
		return telemetry.IntValue(int64(u32)), true
	case Int32:
		return telemetry.IntValue(int64(int32(u32))), true //nolint:gosec // two's complement
	case Int64:
		return telemetry.Value{Kind: telemetry.Int64, Bits: u64}, true
	case Uint64:
		if u64 > math.MaxInt64 {
			return telemetry.Value{}, false
		}
		return telemetry.Value{Kind: telemetry.Int64, Bits: u64}, true
	case Float32:
		return telemetry.FloatValue(float64(math.Float32frombits(u32))), true
	case Float64:
		return telemetry.Value{Kind: telemetry.Float64, Bits: u64}, true
	}
	return telemetry.Value{}, false
}

// mask has the Width lowest bits set.
func (i Item) mask() uint16 { return uint16(1<<i.Width - 1) } //nolint:gosec // Width is 1 to 16

// characters returns the bytes of a text in the order of reading.
func (o Order) characters(data []byte) []byte {
	out := bytes.Clone(data)
	if o == BADC {
		for i := 0; i+1 < len(out); i += 2 {
			out[i], out[i+1] = out[i+1], out[i]
		}
	}
	return out
}

// text ends at the first NUL and has no blanks at its end. Devices are older
// than UTF-8: what is not it is taken for Latin-1.
func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	b = bytes.TrimRight(b, " ")
	if utf8.Valid(b) {
		return string(b)
	}
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}
