package mqttlink

import (
	"context"
	"fmt"
	"sync"

	"github.com/eclipse/paho.golang/packets"
	pahosession "github.com/eclipse/paho.golang/paho/session"
	"github.com/eclipse/paho.golang/paho/session/state"

	"github.com/twinlog/twinlog/edge/outbox"
)

// propertyRefused is the user property of a PUBACK that says where the server
// put a message that it could not take (docs/formats/outbox.md).
const propertyRefused = "twinlog-refused"

// acks is paho's session state of one connection, watched: it learns which
// packet id each message got and sees the PUBACKs, so that answers need no
// goroutine for each message.
type acks struct {
	*state.State
	news chan struct{} // capacity 1: an answer may be there

	mu      sync.Mutex // guards all below; Send, paho's reader and Answer hold it briefly
	seq     uint64     // of the message being sent; 0: not the outbox's
	pending []pending  // oldest first
}

// pending is a message on its way.
type pending struct {
	seq      uint64
	id       uint16
	answered bool
	refused  string
	err      error
}

// expect says which message is handed to paho next.
func (a *acks) expect(seq uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seq = seq
}

// AddToSession implements paho's SessionManager. It runs in Send, before the
// packet is written.
func (a *acks) AddToSession(ctx context.Context, p pahosession.Packet, resp chan<- packets.ControlPacket) error {
	if err := a.State.AddToSession(ctx, p, resp); err != nil {
		return err
	}
	if pb, ok := p.(*packets.Publish); ok {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.seq != 0 {
			a.pending = append(a.pending, pending{seq: a.seq, id: pb.PacketID})
		}
		a.seq = 0
	}
	return nil
}

// PacketReceived implements paho's SessionManager. It runs in paho's reader.
func (a *acks) PacketReceived(p *packets.ControlPacket, received chan<- *packets.Publish) error {
	if ack, ok := p.Content.(*packets.Puback); ok {
		a.answer(ack)
	}
	return a.State.PacketReceived(p, received)
}

func (a *acks) answer(ack *packets.Puback) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.pending { // nearly always the first: servers answer in order
		m := &a.pending[i]
		if m.id != ack.PacketID || m.answered {
			continue
		}
		m.answered = true
		if ack.Properties != nil {
			for _, p := range ack.Properties.User {
				if p.Key == propertyRefused {
					m.refused = p.Value
				}
			}
		}
		if ack.ReasonCode >= firstFailure || ack.ReasonCode == noSubscriber {
			m.err = fmt.Errorf("message %d is answered with reason %#02x", m.seq, ack.ReasonCode)
		}
		break
	}
	select {
	case a.news <- struct{}{}:
	default:
	}
}

// next takes the answer to the oldest message, if it has come.
func (a *acks) next() (outbox.Answer, bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.pending) == 0 || !a.pending[0].answered {
		return outbox.Answer{}, false, nil
	}
	m := a.pending[0]
	a.pending = a.pending[1:]
	return outbox.Answer{Seq: m.seq, Refused: m.refused}, true, m.err
}
