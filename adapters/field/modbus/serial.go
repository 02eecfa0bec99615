package modbus

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"go.bug.st/serial"
)

// slice is the longest that a read of a serial line blocks before it looks
// whether its deadline has been moved.
const slice = 20 * time.Millisecond

// A port is a serial line with a deadline, as a net.Conn has one.
type port struct {
	serial.Port
	deadline atomic.Int64 // Unix nanoseconds
}

func openSerial(path string, l Line) (*port, error) {
	mode := serial.Mode{BaudRate: l.Baud, DataBits: 8, Parity: serial.EvenParity, StopBits: serial.OneStopBit}
	if mode.BaudRate <= 0 {
		mode.BaudRate = 19200
	}
	switch l.Parity {
	case "odd":
		mode.Parity = serial.OddParity
	case "none":
		mode.Parity, mode.StopBits = serial.NoParity, serial.TwoStopBits
	}
	switch l.StopBits {
	case 1:
		mode.StopBits = serial.OneStopBit
	case 2:
		mode.StopBits = serial.TwoStopBits
	}
	p, err := serial.Open(path, &mode)
	if err != nil {
		return nil, fmt.Errorf("modbus %s: %w", path, err)
	}
	return &port{Port: p}, nil
}

// SetDeadline bounds reads. A write to a serial line ends by itself.
func (p *port) SetDeadline(t time.Time) error {
	p.deadline.Store(t.UnixNano())
	return nil
}

// Read waits for bytes until the deadline, then returns an error that is a
// timeout.
func (p *port) Read(b []byte) (int, error) {
	for {
		left := time.Until(time.Unix(0, p.deadline.Load()))
		if left <= 0 {
			return 0, os.ErrDeadlineExceeded
		}
		if err := p.SetReadTimeout(max(min(left, slice), time.Millisecond)); err != nil {
			return 0, err
		}
		if n, err := p.Port.Read(b); n > 0 || err != nil {
			return n, err
		}
	}
}
