//go:build linux

package e2e

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"
)

// A talker publishes at QoS 1 over one MQTT 3.1.1 connection, one message at a time.
type talker struct {
	conn net.Conn
	r    *bufio.Reader
	id   uint16
}

func newTalker(t *testing.T, addr, client string) *talker {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &talker{conn: conn, r: bufio.NewReader(conn)}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if err := hello(conn, c.r, client); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Time{})
	return c
}

// try publishes and waits for the PUBACK.
func (c *talker) try(topic string, payload []byte, within time.Duration) error {
	c.id = c.id%60000 + 1
	_ = c.conn.SetDeadline(time.Now().Add(within))
	if _, err := c.conn.Write(publishPacket(topic, c.id, false, payload)); err != nil {
		return err
	}
	got, err := readAck(c.r)
	if err == nil && got != c.id {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (c *talker) publish(t *testing.T, topic string, payload []byte) {
	t.Helper()
	if err := c.try(topic, payload, 20*time.Second); err != nil {
		t.Fatalf("publish to %s: %v", topic, err)
	}
}
