package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge/acquire"
)

var _ acquire.Writer = (*Source)(nil)

// The functions that write (V1.1b3 §6.5, §6.6, §6.11, §6.12, §6.16).
const (
	writeCoil      = 0x05
	writeRegister  = 0x06
	writeCoils     = 0x0f
	writeRegisters = 0x10
	maskRegister   = 0x16
)

// A command is a question that changes something. Its reply repeats the
// beginning of it.
type command struct {
	unit uint8
	pdu  []byte
	echo int // bytes of the PDU that the reply repeats, and all of the reply
}

func (c command) to() uint8 { return c.unit }

func (c command) appendPDU(b []byte) []byte { return append(b, c.pdu...) }

func (c command) decodePDU(pdu []byte) ([]byte, error) {
	switch {
	case len(pdu) == 2 && pdu[0] == c.pdu[0]|0x80:
		return nil, Exception(pdu[1])
	case len(pdu) != c.echo || string(pdu) != string(c.pdu[:c.echo]):
		return nil, fmt.Errorf("% x, expected % x: %w", pdu, c.pdu[:c.echo], ErrReply)
	}
	return nil, nil
}

// Write writes one item and returns when the device has confirmed it. A write
// that was not answered is not repeated: it may have been carried out.
//
// A bit of a register is written by function 22, which the device carries out
// in one step. A device that lacks it has its register read and written, between
// which another master may change the other bits.
func (s *Source) Write(ctx context.Context, item int, v telemetry.Value) error {
	if item < 0 || item >= len(s.items) {
		return refused(quality.BadNotFound, fmt.Errorf("item %d, expected 0 to %d", item, len(s.items)-1))
	}
	it := s.items[item]
	if it.Table == DiscreteInputs || it.Table == InputRegisters {
		return refused(quality.BadNotWritable, fmt.Errorf("a %v is an input", it.Table))
	}
	data, err := it.encode(v)
	if err != nil {
		return err
	}
	if it.Type == Bit || it.Type == Bits {
		return s.writeBits(ctx, it, binary.BigEndian.Uint16(data))
	}
	return s.order(ctx, it.command(data))
}

// ReadBack reads one item now.
func (s *Source) ReadBack(ctx context.Context, item int) (acquire.Reading, error) {
	if item < 0 || item >= len(s.items) {
		return acquire.Reading{}, fmt.Errorf("item %d, expected 0 to %d", item, len(s.items)-1)
	}
	it := s.items[item]
	data, err := s.client.ask(ctx, it.request(), s.config.Tries)
	at := time.Now().UTC()
	if err != nil {
		return acquire.Reading{}, err
	}
	value, ok := it.decode(data)
	if !ok {
		r := bad(quality.BadOutOfRange, at)
		r.Item = item
		return r, nil
	}
	return acquire.Reading{Item: item, Value: value, Quality: quality.AssumedGood, At: at}, nil
}

func (i Item) request() request {
	return request{unit: i.Unit, table: i.Table, start: i.Address, count: uint16(i.registers())} //nolint:gosec // at most 125
}

// command returns what writes data, as it stands on the wire.
func (i Item) command(data []byte) command {
	single := !i.Multiple && i.registers() == 1
	pdu := binary.BigEndian.AppendUint16([]byte{0}, i.Address)
	switch {
	case i.Table == Coils && single:
		pdu[0] = writeCoil
		return command{i.Unit, append(pdu, data[0]*0xff, 0), 5}
	case i.Table == Coils:
		pdu[0] = writeCoils
		return command{i.Unit, append(pdu, 0, 1, 1, data[0]), 5}
	case single:
		pdu[0] = writeRegister
		return command{i.Unit, append(pdu, data...), 5}
	}
	pdu[0] = writeRegisters
	pdu = append(pdu, 0, byte(i.registers()), byte(len(data))) //nolint:gosec // at most 123 registers
	return command{i.Unit, append(pdu, data...), 5}
}

// order gives one command, and says of its failure whether the device may have
// carried it out.
func (s *Source) order(ctx context.Context, c command) error {
	_, err := s.client.ask(ctx, c, 1)
	exception, answered := errors.AsType[Exception](err)
	switch {
	case err == nil:
		return nil
	case answered && exception == Acknowledge:
		return &acquire.WriteError{Code: quality.BadTimeout, Unknown: true, Err: err}
	case answered:
		return refused(refusalOf(exception), err)
	case errors.Is(err, errUnsent):
		return refused(quality.BadNoCommunication, err)
	}
	return &acquire.WriteError{Code: quality.BadTimeout, Unknown: true, Err: err}
}

func (s *Source) writeBits(ctx context.Context, it Item, value uint16) error {
	mask := uint16(1) << it.Bit
	if it.Type == Bits {
		mask = it.mask() << it.Bit
	}
	value = value << it.Bit & mask
	mask, value = it.Order.word(mask), it.Order.word(value)
	pdu := binary.BigEndian.AppendUint16([]byte{maskRegister}, it.Address)
	pdu = binary.BigEndian.AppendUint16(pdu, ^mask)
	pdu = binary.BigEndian.AppendUint16(pdu, value)
	err := s.order(ctx, command{it.Unit, pdu, 7})
	if e, ok := errors.AsType[Exception](err); !ok || e != IllegalFunction {
		return err
	}
	old, err := s.client.ask(ctx, it.request(), s.config.Tries)
	if err != nil {
		return refused(silenceCode(err), err)
	}
	word := binary.BigEndian.Uint16(old)&^mask | value
	return s.order(ctx, it.command(binary.BigEndian.AppendUint16(nil, word)))
}

// word puts the bytes of one register in the device's order, or back.
func (o Order) word(w uint16) uint16 {
	if o == BADC || o == DCBA {
		return w<<8 | w>>8
	}
	return w
}

func refused(code quality.Code, err error) error { return &acquire.WriteError{Code: code, Err: err} }

// refusalOf is what an exception says of a write.
func refusalOf(e Exception) quality.Code {
	if e == IllegalFunction || e == IllegalAddress {
		return quality.BadNotWritable
	}
	if e == IllegalValue {
		return quality.BadOutOfRange
	}
	return codeOf(e)
}

// encode returns the bytes that write v: two for each register, one (0 or 1) for
// a coil. For Bit and Bits they are the number alone, in one register. A value
// that the type does not hold is refused and never cut short; a fraction is
// rounded to the integer that the device can hold.
func (i Item) encode(v telemetry.Value) ([]byte, error) {
	if i.Type == String {
		return i.encodeText(v)
	}
	x, ok := v.Number()
	if !ok {
		return nil, refused(quality.BadTypeMismatch, fmt.Errorf("no number for a %v", i.Type))
	}
	if i.Type == Float32 || i.Type == Float64 {
		return i.encodeFloat(x)
	}
	low, high := i.bounds()
	n := int64(v.Bits) //nolint:gosec // two's complement
	if v.Kind != telemetry.Int64 {
		x = math.Round(x)
		if !(x >= -1<<63 && x < 1<<63) {
			return nil, outOfRange(x, i.Type)
		}
		n = int64(x)
	}
	if n < low || n > high {
		return nil, outOfRange(float64(n), i.Type)
	}
	if i.Type == Bool {
		return []byte{byte(n)}, nil
	}
	if i.Type == Bit || i.Type == Bits {
		return binary.BigEndian.AppendUint16(nil, uint16(n)), nil //nolint:gosec // in bounds
	}
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], uint64(n)) //nolint:gosec // two's complement
	return i.Order.wire(raw[8-2*i.registers():]), nil
}

// bounds are the least and the greatest integer that the type holds.
func (i Item) bounds() (low, high int64) {
	switch i.Type {
	case Bool, Bit:
		return 0, 1
	case Bits:
		return 0, int64(i.mask())
	case Uint16:
		return 0, math.MaxUint16
	case Int16:
		return math.MinInt16, math.MaxInt16
	case Uint32:
		return 0, math.MaxUint32
	case Int32:
		return math.MinInt32, math.MaxInt32
	case Uint64:
		return 0, math.MaxInt64
	case Int64, Float32, Float64, String:
	}
	return math.MinInt64, math.MaxInt64
}

func (i Item) encodeFloat(x float64) ([]byte, error) {
	var raw [8]byte
	if math.IsNaN(x) || math.IsInf(x, 0) || i.Type == Float32 && math.Abs(x) > math.MaxFloat32 {
		return nil, outOfRange(x, i.Type)
	}
	if i.Type == Float32 {
		binary.BigEndian.PutUint32(raw[:], math.Float32bits(float32(x)))
		return i.Order.wire(raw[:4]), nil
	}
	binary.BigEndian.PutUint64(raw[:], math.Float64bits(x))
	return i.Order.wire(raw[:8]), nil
}

func (i Item) encodeText(v telemetry.Value) ([]byte, error) {
	if v.Kind != telemetry.String || len(v.Str) > 2*int(i.Length) {
		return nil, refused(quality.BadTypeMismatch, fmt.Errorf("expected a text of at most %d bytes", 2*i.Length))
	}
	b := make([]byte, 2*int(i.Length))
	copy(b, v.Str)
	return i.Order.characters(b), nil
}

// wire is the inverse of bigEndian: each order undoes itself.
func (o Order) wire(data []byte) []byte {
	b := o.bigEndian(data)
	return append([]byte(nil), b[:len(data)]...)
}

func outOfRange(x float64, t Type) error {
	return refused(quality.BadOutOfRange, fmt.Errorf("%v, beyond a %v", x, t))
}
