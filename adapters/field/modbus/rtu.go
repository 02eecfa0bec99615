package modbus

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"time"
)

// maxRTUBytes is the longest RTU frame: address, a PDU of at most 253 bytes, CRC
// (Serial Line V1.02 §2.5.1).
const maxRTUBytes = 256

// appendRTU appends the RTU frame of a question: address, PDU, CRC.
func appendRTU(b []byte, q question) []byte {
	start := len(b)
	b = q.appendPDU(append(b, q.to()))
	return binary.LittleEndian.AppendUint16(b, crc16(b[start:]))
}

// crc16 is the checksum of Serial Line V1.02 §6.2.2: polynomial 0xA001, from
// 0xFFFF, low byte first on the line.
func crc16(b []byte) uint16 {
	crc := uint16(0xFFFF)
	for _, x := range b {
		crc ^= uint16(x)
		for range 8 {
			odd := crc&1 == 1
			if crc >>= 1; odd {
				crc ^= 0xA001
			}
		}
	}
	return crc
}

// readRTU reads the next frame. Its length follows from its function, and its
// CRC has to be right: one that is not leaves the reader somewhere inside a
// frame, from where only silence leads on. The PDU is valid until the next call.
func readRTU(r *bufio.Reader) (frame, error) {
	head, err := r.Peek(3)
	if err != nil {
		return frame{}, short(err, len(head))
	}
	n := rtuBytes(head[1], head[2])
	if n == 0 || n > maxRTUBytes {
		return frame{}, fmt.Errorf("function 0x%02x with byte count %d, expected a reply to functions 1 to 6, 15, 16 or 22: %w", head[1], head[2], ErrFrame)
	}
	b, err := r.Peek(n)
	if err != nil {
		return frame{}, short(err, len(b))
	}
	if got, want := binary.LittleEndian.Uint16(b[n-2:]), crc16(b[:n-2]); got != want {
		return frame{}, fmt.Errorf("crc 0x%04x, expected 0x%04x: %w", got, want, ErrFrame)
	}
	f := frame{unit: b[0], pdu: b[1 : n-2]}
	_, _ = r.Discard(n) // cannot fail: the bytes are in the buffer, and stay valid until it is filled again
	return f, nil
}

// rtuBytes is how long the reply of a function is, with the byte that follows
// it; 0 for a function that is not spoken here.
func rtuBytes(function, next byte) int {
	switch {
	case function&0x80 != 0:
		return 5
	case function >= byte(Coils) && function <= byte(InputRegisters):
		return 3 + int(next) + 2
	case function == writeCoil, function == writeRegister, function == writeCoils, function == writeRegisters:
		return 8
	case function == maskRegister:
		return 10
	}
	return 0
}

// A Line is how bits stand on a serial line.
type Line struct {
	Baud     int    // bits a second; zero means 19200
	Parity   string // even, odd or none; "" means even, the standard's (§2.5.1)
	StopBits int    // 0 means 1, or 2 without parity
}

// silence is how long a line has to be silent between two frames: 3.5 characters
// of 11 bits, and a fixed 1.75 ms above 19200 baud (§2.5.1.1).
func (l Line) silence() time.Duration {
	baud := l.Baud
	if baud <= 0 {
		baud = 19200
	}
	if baud > 19200 {
		return 1750 * time.Microsecond
	}
	return time.Duration(38.5 / float64(baud) * float64(time.Second))
}
