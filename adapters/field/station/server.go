package station

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A server answers Modbus TCP from a bank: functions 1 to 4, and 6 and 16 for
// what can be written (MODBUS Application Protocol V1.1b3). It shares no code
// with the client that reads it.
type server struct {
	listener net.Listener
	bank     bank
	down     atomic.Bool // the network is cut: what arrives is lost, and so is what leaves
}

// maxConns is more than any controller of this kind takes.
const maxConns = 32

// cut cuts the network, or joins it again.
func (s *server) cut(down bool) { s.down.Store(down) }

// run serves until ctx ends.
func (s *server) run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	stop := context.AfterFunc(ctx, func() { _ = s.listener.Close() })
	defer stop()
	places := make(chan struct{}, maxConns)
	for {
		conn, err := s.listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case places <- struct{}{}:
			all.Go(func() {
				defer func() { <-places }()
				s.serve(ctx, conn)
			})
		default:
			_ = conn.Close() // as controllers do
		}
	}
}

// serve answers one connection, request by request.
func (s *server) serve(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close() //nolint:errcheck // nothing is left to say
	head := make([]byte, 7)
	body := make([]byte, 256)
	for {
		_ = conn.SetDeadline(time.Now().Add(5 * time.Minute)) // a client that is gone gives its place back
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(head[4:])) - 1
		if binary.BigEndian.Uint16(head[2:]) != 0 || n < 1 || n > 253 {
			return // no Modbus: there is no telling where the next request begins
		}
		if _, err := io.ReadFull(conn, body[:n]); err != nil {
			return
		}
		if s.down.Load() {
			continue
		}
		pdu := s.answer(body[:n])
		out := append([]byte(nil), head...)
		binary.BigEndian.PutUint16(out[4:], uint16(len(pdu)+1)) //nolint:gosec // at most 254
		if _, err := conn.Write(append(out, pdu...)); err != nil {
			return
		}
	}
}

// The exceptions that it makes.
const (
	illegalFunction = 1
	illegalAddress  = 2
	illegalValue    = 3
)

// answer returns the reply to a request of at least one byte.
func (s *server) answer(pdu []byte) []byte {
	function := pdu[0]
	refuse := func(code byte) []byte { return []byte{function | 0x80, code} }
	if len(pdu) < 5 {
		return refuse(illegalValue)
	}
	address, count := binary.BigEndian.Uint16(pdu[1:]), binary.BigEndian.Uint16(pdu[3:])
	switch function {
	case 1, 2:
		if len(pdu) != 5 || count < 1 || count > 2000 {
			return refuse(illegalValue)
		}
		return s.bits(function, address, count)
	case 3, 4:
		if len(pdu) != 5 || count < 1 || count > 125 {
			return refuse(illegalValue)
		}
		return s.registers(function, address, count)
	case 6:
		if len(pdu) != 5 {
			return refuse(illegalValue)
		}
		if !s.bank.write(address, count) { // the second word is the value
			return refuse(illegalAddress)
		}
		return append([]byte(nil), pdu...)
	case 16:
		if len(pdu) != 8 || count != 1 || pdu[5] != 2 {
			return refuse(illegalValue)
		}
		if !s.bank.write(address, binary.BigEndian.Uint16(pdu[6:])) {
			return refuse(illegalAddress)
		}
		return append([]byte(nil), pdu[:5]...)
	}
	return refuse(illegalFunction)
}

func (s *server) bits(function byte, address, count uint16) []byte {
	im := s.bank.snapshot()
	out := make([]byte, 2+(int(count)+7)/8)
	out[0], out[1] = function, byte(len(out)-2)
	for i := range int(count) {
		on, ok := im.discrete[address+uint16(i)] //nolint:gosec // below 2000
		if !ok || function == 1 || int(address)+i > 65535 {
			return []byte{function | 0x80, illegalAddress}
		}
		if on {
			out[2+i/8] |= 1 << (i % 8)
		}
	}
	return out
}

// registers answers a read. Between the registers of one machine there are
// some that exist and hold nothing, as in most controllers.
func (s *server) registers(function byte, address, count uint16) []byte {
	im := s.bank.snapshot()
	table, end := im.input, 130
	if function == 3 {
		table, end = im.holding, 2
	}
	if int(address)+int(count) > end {
		return []byte{function | 0x80, illegalAddress}
	}
	out := []byte{function, byte(2 * count)}
	for i := range count {
		out = binary.BigEndian.AppendUint16(out, table[address+i])
	}
	return out
}
