package broker

import (
	"crypto/tls"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// maxKeepalive is the longest keep-alive that mochi's 16-bit arithmetic (one and
// a half times it) can hold.
const maxKeepalive = 43_000

// hook is what mochi calls.
type hook struct {
	mqtt.HookBase
	b *Broker
}

func (h *hook) ID() string { return "twinlog" }

func (h *hook) Provides(b byte) bool {
	switch b {
	case mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnConnect, mqtt.OnSessionEstablished, mqtt.OnDisconnect,
		mqtt.OnSubscribe, mqtt.OnPublish, mqtt.OnPublishDropped:
		return true
	}
	return false
}

func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	if h.b.cfg.Access.Connect == nil {
		return true
	}
	c := client(cl)
	c.Password = pk.Connect.Password
	return h.b.cfg.Access.Connect(c)
}

// OnACLCheck is asked for publishing, for subscribing, and for each delivery.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	a := h.b.cfg.Access
	switch {
	case write:
		return a.Publish == nil || a.Publish(client(cl), topic)
	case reachesOne(topic) && h.full(cl):
		h.b.counts.dropped.Add(1)
		return false
	}
	return a.Subscribe == nil || a.Subscribe(client(cl), topic)
}

// full reports whether the client has as many unacknowledged messages as it said
// it would take (its Receive Maximum). mochi's own quota is switched off.
func (h *hook) full(cl *mqtt.Client) bool {
	most := int(cl.Properties.Props.ReceiveMaximum)
	return most > 0 && cl.State.Inflight.Len() >= most
}

func client(cl *mqtt.Client) Client {
	c := Client{ID: cl.ID, User: string(cl.Properties.Username), Remote: cl.Net.Remote}
	if conn, ok := cl.Net.Conn.(*tls.Conn); ok {
		state := conn.ConnectionState()
		c.TLS = &state
	}
	return c
}

func (h *hook) OnConnect(cl *mqtt.Client, _ packets.Packet) error {
	if cl.State.Keepalive > maxKeepalive {
		cl.State.Keepalive = maxKeepalive
		cl.State.ServerKeepalive = true // MQTT 5 clients are told
	}
	return nil
}

// OnSessionEstablished runs after CONNACK and before the first packet is read.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	// Without a send quota mochi never looks for the next message to send
	// (Inflight.NextImmediate), which is where it can deadlock.
	cl.State.Inflight.ResetSendQuota(0)
	s := newSession(h.b, cl)
	// The will is ours: mochi forgets it when it finds the connection closed by
	// the server, and publishes it without asking.
	atomic.StoreUint32(&cl.Properties.Will.Flag, 0)
	h.b.sessions.Store(cl, s)
	h.b.counts.connected.Add(1)
	if c, ok := cl.Net.Conn.(*conn); ok {
		c.session = s // from here on it can be lent
	}
	h.b.arrive(s)
}

func (h *hook) OnDisconnect(cl *mqtt.Client, _ error, _ bool) {
	v, ok := h.b.sessions.LoadAndDelete(cl)
	if !ok {
		return
	}
	h.b.counts.connected.Add(-1)
	s := v.(*session)
	s.close()
	h.b.leave(s, errors.Is(cl.StopCause(), packets.CodeDisconnect))
}

// OnSubscribe grants QoS 0 where many may listen to many.
func (h *hook) OnSubscribe(_ *mqtt.Client, pk packets.Packet) packets.Packet {
	for i, f := range pk.Filters {
		if most := byte(1); !reachesOne(f.Filter) {
			pk.Filters[i].Qos = 0
		} else {
			pk.Filters[i].Qos = min(f.Qos, most)
		}
	}
	return pk
}

// OnPublish hands the message over. Whatever happens, it answers ErrRejectPacket
// or nothing at all: mochi acknowledges a message for which the hook returned
// any other error to a 3.1.1 client.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if cl.Net.Inline {
		return pk, nil // our own, already durable or not meant to be
	}
	v, ok := h.b.sessions.Load(cl)
	if !ok {
		return pk, packets.ErrRejectPacket
	}
	v.(*session).receive(&pk, time.Now())
	return pk, packets.ErrRejectPacket
}

func (h *hook) OnPublishDropped(*mqtt.Client, packets.Packet) { h.b.counts.dropped.Add(1) }

// reachesOne reports whether a topic or filter is of a class that leads to one
// device: {enterprise}/{site}/{area}/{line}/{device_type}/{device_id}/{class}.
func reachesOne(topic string) bool {
	const classLevel = 6
	for range classLevel {
		_, rest, ok := strings.Cut(topic, "/")
		if !ok {
			return false
		}
		topic = rest
	}
	class, _, _ := strings.Cut(topic, "/")
	switch class {
	case "commands", "config", "ota", "diagnostics":
		return true
	}
	return false
}
