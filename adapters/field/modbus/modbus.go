// Package modbus reads and writes Modbus devices: MODBUS Application Protocol
// V1.1b3 over the framing of MODBUS Messaging on TCP/IP V1.0b, and over that of
// MODBUS over Serial Line V1.02 in RTU mode, on a serial line or through a
// serial server that passes bytes over TCP.
//
// It promises that every item of a read is answered for: with its value, or as
// Bad with the reason, told apart by who failed (no session, no answer, or an
// exception that the device named). Neighbouring registers are read together
// in few requests, and an address that the device refuses costs its own tag and
// no other one.
//
// Modbus has no quality and no time of its own, so a value that was read is
// Good as assumed, and its time is that of the answer. Modbus does not say
// either in which order a device keeps the words of a number: that comes with
// the item. Functions 1 to 6, 15, 16 and 22 are spoken; nothing is written that
// was not asked for by Write, and a write that was not answered is not repeated.
package modbus

import (
	"errors"
	"fmt"
	"time"
)

// ErrBadItem reports an item that no device could have.
var ErrBadItem = errors.New("invalid modbus item")

// A Table is one of the four kinds of data of a device, with the function that
// reads it (V1.1b3 §4.3, §6).
type Table uint8

// The tables. The number is the function code.
const (
	Coils            Table = 1 // one bit, reference 0xxxx
	DiscreteInputs   Table = 2 // one bit, reference 1xxxx
	HoldingRegisters Table = 3 // 16 bits, reference 4xxxx
	InputRegisters   Table = 4 // 16 bits, reference 3xxxx
)

// String returns the table's name as the configuration writes it.
func (t Table) String() string {
	switch t {
	case Coils:
		return "coil"
	case DiscreteInputs:
		return "discrete"
	case HoldingRegisters:
		return "holding"
	case InputRegisters:
		return "input"
	}
	return fmt.Sprintf("table %d", uint8(t))
}

// bits reports whether the table's addresses are bits and not registers.
func (t Table) bits() bool { return t == Coils || t == DiscreteInputs }

// most is how much of the table one request may ask for (V1.1b3 §6.1, §6.3).
func (t Table) most() int {
	if t.bits() {
		return 2000
	}
	return 125
}

// An Item is one value of a device.
type Item struct {
	Unit    uint8 // unit identifier: 0 or 255 for the device itself, else a unit behind it
	Table   Table
	Address uint16 // 0-based, as on the wire
	Type    Type
	Order   Order
	Bit     uint8 // for Bit and Bits: 0 (lowest) to 15 of the register, after Order
	Width   uint8 // for Bits: 1 to 16 bits
	Length  uint8 // for String: 1 to 125 registers
	// Multiple writes one coil or register with function 15 or 16, which some
	// devices want, in place of 5 or 6.
	Multiple bool
}

// Check refuses an item that no request could ask for.
func (i Item) Check() error {
	switch {
	case i.Table < Coils || i.Table > InputRegisters:
		return fmt.Errorf("table %d, expected 1 to 4: %w", i.Table, ErrBadItem)
	case i.Table.bits() != (i.Type == Bool):
		return fmt.Errorf("type %v of a %v, expected bool for a coil or discrete input and a register type for a register: %w", i.Type, i.Table, ErrBadItem)
	case i.Type > String:
		return fmt.Errorf("type %d, expected one of the types: %w", uint8(i.Type), ErrBadItem)
	case i.Type == String && (i.Length < 1 || i.Length > 125 || i.Order == CDAB || i.Order == DCBA):
		return fmt.Errorf("string of %d registers in order %v, expected a length of 1 to 125 in order ABCD or BADC: %w", i.Length, i.Order, ErrBadItem)
	case i.Type != String && i.Length > 0:
		return fmt.Errorf("length %d of type %v, expected none but of a string: %w", i.Length, i.Type, ErrBadItem)
	case i.Type == Bits && (i.Width < 1 || i.Bit+i.Width > 16):
		return fmt.Errorf("%d bits from bit %d, expected at least one and all within 16: %w", i.Width, i.Bit, ErrBadItem)
	case i.Type != Bits && i.Width > 0:
		return fmt.Errorf("width %d of type %v, expected none but of bits: %w", i.Width, i.Type, ErrBadItem)
	case i.Order > DCBA:
		return fmt.Errorf("word order %d, expected ABCD, CDAB, BADC or DCBA: %w", uint8(i.Order), ErrBadItem)
	case i.Bit > 15 || (i.Bit > 0 && i.Type != Bit && i.Type != Bits):
		return fmt.Errorf("bit %d of type %v, expected 0 to 15 of a bit: %w", i.Bit, i.Type, ErrBadItem)
	case i.end() > 1<<16:
		return fmt.Errorf("address %d of type %v ends beyond 65535: %w", i.Address, i.Type, ErrBadItem)
	}
	return nil
}

// checkUnit refuses a unit that nothing on a serial line answers for: 0 is
// everybody, and nobody answers (Serial Line V1.02 §2.2).
func (i Item) checkUnit(rtu bool) error {
	if rtu && (i.Unit < 1 || i.Unit > 247) {
		return fmt.Errorf("unit %d on a serial line, expected 1 to 247: %w", i.Unit, ErrBadItem)
	}
	return nil
}

// end is the address after the item's last.
func (i Item) end() int { return int(i.Address) + i.registers() }

// Config says how to reach a device. The zero value of a field means its
// standard.
type Config struct {
	Address string // host:port; the port of Modbus TCP is 502
	Serial  string // or a serial line's device file
	RTU     bool   // RTU framing; always on a serial line
	Line    Line   // of Serial

	Timeout time.Duration // for one answer; zero means 1 s
	Tries   int           // how often one request is made; zero means 3
	Pause   time.Duration // between two tries; zero means 50 ms

	// Gap is how many registers (or, eightfold, bits) nobody asked for may be
	// read to join two blocks; negative means none, zero means 16: two more
	// bytes cost less than one more request, on a serial line behind a
	// gateway by far.
	Gap int
	// Most is how many registers one request may ask for; zero means 125, the
	// standard's limit. Small devices have less.
	Most int
	// Relearn is how long a refused address is left out before it is tried
	// again; zero means 10 minutes.
	Relearn time.Duration
}

// withDefaults replaces zero fields by their standard.
func (c Config) withDefaults() Config {
	set := func(d *time.Duration, standard time.Duration) {
		if *d <= 0 {
			*d = standard
		}
	}
	set(&c.Timeout, time.Second)
	set(&c.Pause, 50*time.Millisecond)
	set(&c.Relearn, 10*time.Minute)
	if c.Tries <= 0 {
		c.Tries = 3
	}
	switch {
	case c.Gap < 0:
		c.Gap = 0
	case c.Gap == 0:
		c.Gap = 16
	}
	if c.Most <= 0 || c.Most > 125 {
		c.Most = 125
	}
	return c
}
