package modbus

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrReply reports a reply that does not answer its request: another function,
// another length than asked for, or trailing bytes. It is not an answer, and the
// request is tried again.
var ErrReply = errors.New("invalid modbus reply")

// An Exception is a device's own refusal (V1.1b3 §7). It is an answer: the
// device lives and says why not.
type Exception uint8

// The exception codes of V1.1b3 §7.
const (
	IllegalFunction     Exception = 0x01
	IllegalAddress      Exception = 0x02
	IllegalValue        Exception = 0x03
	ServerFailure       Exception = 0x04
	Acknowledge         Exception = 0x05
	ServerBusy          Exception = 0x06
	MemoryParity        Exception = 0x08
	GatewayPath         Exception = 0x0a
	GatewayTargetSilent Exception = 0x0b
)

// Error names the exception as the standard does.
func (e Exception) Error() string {
	name := "unknown code"
	switch e {
	case IllegalFunction:
		name = "illegal function"
	case IllegalAddress:
		name = "illegal data address"
	case IllegalValue:
		name = "illegal data value"
	case ServerFailure:
		name = "server device failure"
	case Acknowledge:
		name = "acknowledge"
	case ServerBusy:
		name = "server device busy"
	case MemoryParity:
		name = "memory parity error"
	case GatewayPath:
		name = "gateway path unavailable"
	case GatewayTargetSilent:
		name = "gateway target device failed to respond"
	}
	return fmt.Sprintf("modbus exception 0x%02x, %s", uint8(e), name)
}

// later reports whether the device asks to be asked again.
func (e Exception) later() bool { return e == Acknowledge || e == ServerBusy }

// A question is a request of any function: to whom, how it is written, and which
// reply answers it.
type question interface {
	to() uint8
	appendPDU(b []byte) []byte
	// decodePDU returns the data of the reply. The error is an Exception or
	// wraps ErrReply. It takes any input and keeps no reference to it.
	decodePDU(pdu []byte) ([]byte, error)
}

// A request asks for count addresses of a table from start.
type request struct {
	unit  uint8
	table Table
	start uint16
	count uint16
}

func (r request) to() uint8 { return r.unit }

// appendPDU appends function, start and count.
func (r request) appendPDU(b []byte) []byte {
	b = append(b, byte(r.table))
	b = binary.BigEndian.AppendUint16(b, r.start)
	return binary.BigEndian.AppendUint16(b, r.count)
}

// decodePDU returns the data of the reply to r: 2 bytes a register, or one byte
// a bit, 0 or 1. The error is an Exception or wraps ErrReply. It takes any
// input, keeps no reference to pdu, and accepts only what answers r exactly: a
// device that returns more or less than was asked has not understood, and whose
// value a register is would be a guess.
func (r request) decodePDU(pdu []byte) ([]byte, error) {
	if len(pdu) < 2 {
		return nil, fmt.Errorf("%d bytes, expected at least 2: %w", len(pdu), ErrReply)
	}
	function := byte(r.table)
	switch {
	case pdu[0] == function|0x80 && len(pdu) == 2:
		return nil, Exception(pdu[1])
	case pdu[0] != function:
		return nil, fmt.Errorf("function 0x%02x in %d bytes, expected 0x%02x: %w", pdu[0], len(pdu), function, ErrReply)
	}
	want := 2 * int(r.count)
	if r.table.bits() {
		want = (int(r.count) + 7) / 8
	}
	if int(pdu[1]) != want || len(pdu)-2 != want {
		return nil, fmt.Errorf("byte count %d and %d bytes of data, expected %d of both: %w", pdu[1], len(pdu)-2, want, ErrReply)
	}
	data := make([]byte, 0, max(want, int(r.count)))
	if !r.table.bits() {
		return append(data, pdu[2:]...), nil
	}
	for i := range int(r.count) {
		data = append(data, pdu[2+i/8]>>(i%8)&1)
	}
	return data, nil
}
