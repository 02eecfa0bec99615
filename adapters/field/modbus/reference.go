package modbus

import (
	"fmt"
	"strconv"
)

// ParseTable returns the Table of a name: coil, discrete, holding or input.
func ParseTable(name string) (Table, error) {
	for t := Coils; t <= InputRegisters; t++ {
		if t.String() == name {
			return t, nil
		}
	}
	return 0, fmt.Errorf("table %q, expected coil, discrete, holding or input: %w", name, ErrBadItem)
}

// ParseReference returns the table and the 0-based address of a register in the
// notation of manuals, five or six digits of which the first is the table and
// the others count from 1: "40001" and "400001" are holding register 0, "30010"
// is input register 9, "10001" discrete input 0, "00001" coil 0.
func ParseReference(ref string) (Table, uint16, error) {
	tables := map[byte]Table{'0': Coils, '1': DiscreteInputs, '3': InputRegisters, '4': HoldingRegisters}
	refuse := func() (Table, uint16, error) {
		return 0, 0, fmt.Errorf("register %q, expected five or six digits from 00001, 10001, 30001 or 40001, with leading zeros in quotes: %w", ref, ErrBadItem)
	}
	if len(ref) != 5 && len(ref) != 6 {
		return refuse()
	}
	table, ok := tables[ref[0]]
	n, err := strconv.ParseUint(ref[1:], 10, 32)
	if !ok || err != nil || n < 1 || n > 1<<16 {
		return refuse()
	}
	return table, uint16(n - 1), nil //nolint:gosec // at most 65535
}
