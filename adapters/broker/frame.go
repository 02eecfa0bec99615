package broker

import (
	"encoding/binary"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mochi-mqtt/server/v2/packets"
)

// framing follows the packets in a stream of bytes.
type framing struct {
	head [5]byte // fixed header of the packet that has begun
	n    int     // bytes of it
	left int     // bytes to come of the packet, the fixed header being whole
}

// whole reports whether the bytes end where a packet does.
func (f *framing) whole() bool { return f.n == 0 && f.left == 0 }

// pass goes on with the next bytes.
func (f *framing) pass(p []byte) {
	for len(p) > 0 {
		if f.left > 0 {
			n := min(f.left, len(p))
			f.left -= n
			p = p[n:]
			continue
		}
		f.head[f.n] = p[0]
		f.n++
		p = p[1:]
		switch size := frameSize(f.head[:f.n]); {
		case size > 0:
			f.left, f.n = size-f.n, 0
		case size < 0:
			f.n = len(f.head) - 1 // mochi will say so and end the connection; never whole again
		}
	}
}

// frameSize returns the size of the packet that data begins with, its fixed
// header included; 0 if data is too short to tell, negative if the length is
// malformed (MQTT 5 §1.5.5).
func frameSize(data []byte) int {
	size, shift := 0, 0
	for i := 1; i < len(data); i++ {
		size |= int(data[i]&0x7f) << shift
		if data[i] < 0x80 {
			return 1 + i + size
		}
		if shift += 7; shift > 21 {
			return -1
		}
	}
	return 0
}

// publish hands a whole packet to the session if it is a plain PUBLISH: QoS 0 or
// 1, not retained, without properties, on a topic without surprises. It reports
// whether it has done so; any other packet is mochi's to judge.
func (c *conn) publish(frame []byte, now time.Time) bool {
	const retain = 1
	first := frame[0]
	qos := first >> 1 & 3
	if first>>4 != packets.Publish || qos > 1 || first&retain != 0 || uint32(len(frame)) > c.session.b.cfg.MaxPacket {
		return false
	}
	body := frame[1:]
	for body[0] >= 0x80 {
		body = body[1:]
	}
	body = body[1:]
	topic, body, ok := cutString(body)
	if !ok || !c.knows(topic) {
		return false
	}
	var id uint16
	if qos > 0 {
		if len(body) < 2 {
			return false
		}
		if id, body = binary.BigEndian.Uint16(body), body[2:]; id == 0 {
			return false
		}
	}
	if c.session.cl.Properties.ProtocolVersion == 5 {
		if len(body) == 0 || body[0] != 0 {
			return false
		}
		body = body[1:]
	}
	s := c.session
	if may := s.b.cfg.Access.Publish; may != nil && !may(client(s.cl), c.topic) {
		return false
	}
	e := &entry{s: s, id: id, qos: qos, topic: c.topic, data: append([]byte(nil), body...), dup: first&8 != 0}
	if !s.tryPush(e) {
		return false
	}
	if c.wait = s.hand(e, now); c.wait != nil {
		s.b.counts.backPressure.Add(1)
	}
	return true
}

// cutString takes an MQTT string off the front (MQTT 5 §1.5.4).
func cutString(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; n > len(b) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// knows makes topic the connection's, if it is a topic name that needs no
// judgement (MQTT 5 §4.7): most connections have only one.
func (c *conn) knows(topic []byte) bool {
	if string(topic) == c.topic {
		return c.topic != ""
	}
	t := string(topic)
	if t == "" || t[0] == '$' || strings.ContainsAny(t, "+#\x00") || !utf8.ValidString(t) {
		return false
	}
	c.topic = t
	return true
}
