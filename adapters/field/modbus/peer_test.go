package modbus_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"testing"

	"github.com/twinlog/twinlog/adapters/field/modbus"
	"github.com/twinlog/twinlog/test/peer"
)

// A server is npm modbus-serial under the test's command.
type server struct {
	tb      testing.TB
	in      io.WriteCloser
	out     *bufio.Scanner
	address string
}

// startPeer starts the independent server. It ends with the test.
func startPeer(tb testing.TB) *server {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), "node", "modbus-server.mjs")
	cmd.Dir = peer.Node(tb)
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = in.Close() // it exits at the end of its input
		_ = cmd.Wait()
	})
	s := &server{tb: tb, in: in, out: bufio.NewScanner(out)}
	var first struct{ Port int }
	s.answer(&first)
	s.address = fmt.Sprintf("127.0.0.1:%d", first.Port)
	return s
}

func (s *server) answer(into any) {
	s.tb.Helper()
	if !s.out.Scan() {
		s.tb.Fatalf("the peer ended: %v", s.out.Err())
	}
	if err := json.Unmarshal(s.out.Bytes(), into); err != nil {
		s.tb.Fatalf("the peer said %q: %v", s.out.Text(), err)
	}
}

func (s *server) command(c map[string]any) (answer struct{ Requests int }) {
	s.tb.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		s.tb.Fatal(err)
	}
	if _, err := s.in.Write(append(b, '\n')); err != nil {
		s.tb.Fatal(err)
	}
	s.answer(&answer)
	return answer
}

// set puts a value, in decimal, where item will look for it.
func (s *server) set(item modbus.Item, value string) {
	s.tb.Helper()
	s.command(map[string]any{"set": map[string]any{
		"table": item.Table.String(), "address": item.Address,
		"type": item.Type.String(), "order": item.Order.String(), "value": value,
	}})
}

// refuse makes an address answer with an exception.
func (s *server) refuse(table modbus.Table, address uint16, code modbus.Exception) {
	s.tb.Helper()
	s.command(map[string]any{"refuse": map[string]any{"table": table.String(), "address": address, "code": uint8(code)}})
}

// requests returns how many requests came in since the last call.
func (s *server) requests() int {
	s.tb.Helper()
	return s.command(map[string]any{"count": true}).Requests
}
