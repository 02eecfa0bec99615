package broker_test

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// A raw client writes the packets of MQTT 3.1.1 and 5 by hand, so that a test
// says exactly what goes over the wire.
type raw struct {
	t       testing.TB
	conn    net.Conn
	r       *bufio.Reader
	version byte
}

type packet struct {
	kind byte // high four bits of the first byte
	body []byte
}

const (
	connack    = 2
	publish    = 3
	puback     = 4
	pubrec     = 5
	pubcomp    = 7
	suback     = 9
	pingresp   = 13
	disconnect = 14
)

type will struct {
	topic, payload string
	retain         bool
	delay          uint32
}

type hello struct {
	id      string
	version byte
	will    *will
	clean   bool
	props   []byte // MQTT 5 CONNECT properties
	// keepalive in seconds; 0 means 60.
	keepalive byte
}

func dial(t testing.TB, addr string, h hello) *raw {
	t.Helper()
	c := dialOnly(t, addr, h.version)
	c.send(connect(h))
	if p := c.read(); p.kind != connack || p.body[1] != 0 {
		t.Fatalf("CONNACK: %+v", p)
	}
	return c
}

func dialOnly(t testing.TB, addr string, version byte) *raw {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &raw{t: t, conn: conn, r: bufio.NewReaderSize(conn, 1<<16), version: version}
}

func connect(h hello) []byte {
	flags := byte(0)
	if h.clean {
		flags |= 2
	}
	var b []byte
	b = str(b, "MQTT")
	b = append(b, h.version)
	if h.will != nil {
		flags |= 4 | 1<<3 // QoS 1
		if h.will.retain {
			flags |= 32
		}
	}
	b = append(b, flags, 0, cmp.Or(h.keepalive, 60))
	if h.version == 5 {
		b = append(length(b, len(h.props)), h.props...)
	}
	b = str(b, h.id)
	if h.will != nil {
		if h.version == 5 {
			var p []byte
			if h.will.delay > 0 {
				p = binary.BigEndian.AppendUint32([]byte{0x18}, h.will.delay)
			}
			b = append(length(b, len(p)), p...)
		}
		b = str(b, h.will.topic)
		b = str(b, h.will.payload)
	}
	return framed(0x10, b)
}

func framed(first byte, body []byte) []byte {
	return append(length([]byte{first}, len(body)), body...)
}

func str(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func length(b []byte, n int) []byte {
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// appendPublish appends a PUBLISH.
func appendPublish(b []byte, version, qos byte, id uint16, retain bool, topic string, payload []byte) []byte {
	body := str(nil, topic)
	if qos > 0 {
		body = binary.BigEndian.AppendUint16(body, id)
	}
	if version == 5 {
		body = append(body, 0)
	}
	first := byte(0x30) | qos<<1
	if retain {
		first |= 1
	}
	return append(b, framed(first, append(body, payload...))...)
}

func (c *raw) publish(qos byte, id uint16, topic, payload string) {
	c.t.Helper()
	c.send(appendPublish(nil, c.version, qos, id, false, topic, []byte(payload)))
}

func (c *raw) subscribe(id uint16, qos byte, filter string) (granted byte) {
	c.t.Helper()
	b := binary.BigEndian.AppendUint16(nil, id)
	if c.version == 5 {
		b = append(b, 0)
	}
	b = append(str(b, filter), qos)
	c.send(framed(0x82, b))
	p := c.read()
	if p.kind != suback {
		c.t.Fatalf("SUBACK: %+v", p)
	}
	return p.body[len(p.body)-1]
}

func (c *raw) send(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// read returns the next packet and fails if none comes.
func (c *raw) read() packet {
	c.t.Helper()
	p, err := c.tryRead(10 * time.Second)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

func (c *raw) tryRead(within time.Duration) (packet, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(within))
	first, err := c.r.ReadByte()
	if err != nil {
		return packet{}, err
	}
	n, shift := 0, 0
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			return packet{}, err
		}
		n |= int(b&0x7f) << shift
		if b < 0x80 {
			break
		}
		shift += 7
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c.r, body); err != nil {
		return packet{}, err
	}
	return packet{first >> 4, body}, nil
}

// silent fails if anything comes within d.
func (c *raw) silent(d time.Duration) {
	c.t.Helper()
	if p, err := c.tryRead(d); err == nil {
		c.t.Fatalf("unexpected packet %+v", p)
	}
}

// closed fails unless the connection ends without another packet.
func (c *raw) closed() {
	c.t.Helper()
	switch p, err := c.tryRead(10 * time.Second); {
	case err == nil:
		c.t.Fatalf("unexpected packet %+v", p)
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.t.Fatal("still open")
	}
}

// ack reads one PUBACK or PUBREC and returns its packet id and user property.
func (c *raw) ack(kind byte) (id uint16, property string) {
	c.t.Helper()
	p := c.read()
	if p.kind != kind {
		c.t.Fatalf("packet %+v, want kind %d", p, kind)
	}
	id = binary.BigEndian.Uint16(p.body)
	if len(p.body) > 4 { // reason, length of properties, 0x26, key, value
		at := 3
		for p.body[at] >= 0x80 {
			at++
		}
		key, rest := cutString(p.body[at+2:])
		value, _ := cutString(rest)
		property = fmt.Sprintf("%s=%s", key, value)
	}
	return id, property
}

func cutString(b []byte) (string, []byte) {
	n := int(binary.BigEndian.Uint16(b))
	return string(b[2 : 2+n]), b[2+n:]
}

// message reads one PUBLISH of QoS 0 and returns topic and payload.
func (c *raw) message() (topic, payload string, retain bool) {
	c.t.Helper()
	p, first := c.readFirst()
	if p.kind != publish || first&6 != 0 {
		c.t.Fatalf("packet %+v, first byte %#x: want PUBLISH of QoS 0", p, first)
	}
	topic, rest := cutString(p.body)
	if c.version == 5 {
		rest = rest[1+rest[0]:]
	}
	return topic, string(rest), first&1 == 1
}

func (c *raw) readFirst() (packet, byte) {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	first, err := c.r.Peek(1)
	if err != nil {
		c.t.Fatal(err)
	}
	b := first[0]
	return c.read(), b
}

func userProperty(key, value string) []byte {
	return str(str([]byte{0x26}, key), value)
}
