package modbus

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrFrame reports bytes that are no Modbus frame. Where the next frame
// would begin is then unknown, so the connection is of no more use.
var ErrFrame = errors.New("invalid modbus frame")

const (
	headerBytes = 7 // transaction, protocol and length (2 bytes each), unit
	// maxFrameBytes is the longest frame: the length field counts the unit and
	// a PDU of at most 253 bytes (Messaging on TCP/IP V1.0b §3.1.3, §4.1).
	maxFrameBytes = 6 + 254
)

// appendFrame appends the frame of a question.
func appendFrame(b []byte, transaction uint16, q question) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint16(b, transaction)
	b = append(b, 0, 0, 0, 0) // protocol 0: Modbus; the length comes below
	b = q.appendPDU(append(b, q.to()))
	binary.BigEndian.PutUint16(b[start+4:], uint16(len(b)-start-6)) //nolint:gosec // a PDU is at most 253 bytes
	return b
}

// A frame is one reply as it came.
type frame struct {
	transaction uint16
	unit        uint8
	pdu         []byte
}

// readFrame reads the next frame. A read that is cut off by a deadline leaves
// its bytes in r, so the next call goes on where it stopped. The frame's PDU is
// valid until the next call.
func readFrame(r *bufio.Reader) (frame, error) {
	head, err := r.Peek(headerBytes)
	if err != nil {
		return frame{}, short(err, len(head))
	}
	protocol, length := binary.BigEndian.Uint16(head[2:]), int(binary.BigEndian.Uint16(head[4:]))
	if protocol != 0 || length < 2 || length > maxFrameBytes-6 {
		return frame{}, fmt.Errorf("protocol %d and length %d, expected 0 and 2 to %d: %w", protocol, length, maxFrameBytes-6, ErrFrame)
	}
	b, err := r.Peek(6 + length)
	if err != nil {
		return frame{}, short(err, len(b))
	}
	f := frame{transaction: binary.BigEndian.Uint16(b), unit: b[6], pdu: b[headerBytes:]}
	_, _ = r.Discard(len(b)) // cannot fail: the bytes are in the buffer, and stay valid until it is filled again
	return f, nil
}

// short says that a connection ended inside a frame.
func short(err error, have int) error {
	if errors.Is(err, io.EOF) && have > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}
