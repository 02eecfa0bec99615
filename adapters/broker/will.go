package broker

import (
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// arrive makes s the connection of its client. A will that waited for the client
// is not published any more.
func (b *Broker) arrive(s *session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.delayed[s.cl.ID]; t != nil {
		t.Stop()
		delete(b.delayed, s.cl.ID)
	}
	b.live[s.cl.ID] = s
	if b.closing {
		s.end(packets.ErrServerShuttingDown)
	}
}

// leave publishes the will of a connection that ended without a DISCONNECT.
//
// It departs from MQTT 5 §3.1.4-3 in one case: when the client has already come
// back on another connection, its old will is not published. It would say
// "offline" after the new connection's "online", for ever.
func (b *Broker) leave(s *session, clean bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.live[s.cl.ID] != s {
		return
	}
	delete(b.live, s.cl.ID)
	switch {
	case clean || s.will == nil || b.closing:
	case s.delay == 0:
		b.publishWill(s)
	default:
		var t *time.Timer
		t = time.AfterFunc(s.delay, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.delayed[s.cl.ID] == t { // or else the client came back
				delete(b.delayed, s.cl.ID)
				b.publishWill(s)
			}
		})
		b.delayed[s.cl.ID] = t
	}
}

// publishWill hands the will to the handler after all that the connection sent.
// The caller holds b.mu.
func (b *Broker) publishWill(s *session) {
	b.counts.wills.Add(1)
	s.mu.Lock()
	e := s.entry(s.will, true)
	s.window = append(s.window, e)
	s.mu.Unlock()
	s.hand(e, time.Now())
}

// remember notes that a QoS 2 message has been received, so that mochi answers
// its PUBREL with PUBCOMP.
func (s *session) remember(id uint16) {
	if s.cl.State.Inflight.Set(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Pubrec}, PacketID: id, Created: time.Now().Unix(),
	}) {
		atomic.AddInt64(&s.b.mqtt.Info.Inflight, 1)
	}
}
