package broker

import (
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// A session is one connection: the messages of it that the handler has, in the
// order in which they came.
type session struct {
	b       *Broker
	cl      *mqtt.Client
	will    *packets.Packet // nil if none
	delay   time.Duration   // of the will
	voice   *mqtt.Client    // publishes in the client's name; made when first needed, by flush
	number  uint64          // of the connection
	gone    chan struct{}   // closed with the session
	severed bool            // flush has cut the client off
	details bool            // the client may be told user properties on acknowledgements
	raw     syscall.RawConn // of a plain TCP connection, else nil

	// mu guards all below. The handler's goroutine, the connection's reader and
	// flush hold it, briefly.
	mu       sync.Mutex
	room     sync.Cond // broadcast when window has room or the session closed
	window   []*entry  // oldest first
	flushing bool      // a flush is running
	closed   bool
}

// An entry is one message in the window.
type entry struct {
	s      *session
	id     uint16
	qos    byte
	retain bool
	dup    bool
	will   bool
	topic  string
	data   []byte
	props  *packets.Properties // nil if it has none to pass on
	done   bool                // guarded by s.mu, as is ack
	ack    Ack
}

func newSession(b *Broker, cl *mqtt.Client) *session {
	s := &session{b: b, cl: cl, number: b.counts.connections.Add(1), gone: make(chan struct{})}
	s.room.L = &s.mu
	if conn, ok := cl.Net.Conn.(syscall.Conn); ok {
		s.raw, _ = conn.SyscallConn() // nil if it is closed
	}
	p := &cl.Properties
	s.details = p.ProtocolVersion == 5 && (!p.Props.RequestProblemInfoFlag || p.Props.RequestProblemInfo != 0)
	if atomic.LoadUint32(&p.Will.Flag) == 1 {
		s.will = &packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: p.Will.Qos, Retain: p.Will.Retain},
			TopicName:   p.Will.TopicName, Payload: p.Will.Payload,
			Properties: packets.Properties{User: p.Will.User},
		}
		// MQTT 5 §3.1.3.2.2: the will is published when the delay or the session ends.
		s.delay = time.Duration(min(p.Will.WillDelayInterval, p.Props.SessionExpiryInterval)) * time.Second
	}
	return s
}

// receive hands a message to the handler. It is called by the connection's
// reader and blocks it while the window is full.
func (s *session) receive(pk *packets.Packet, now time.Time) {
	s.mu.Lock()
	if len(s.window) >= int(s.b.cfg.Window) && !s.closed {
		s.b.counts.backPressure.Add(1)
		for len(s.window) >= int(s.b.cfg.Window) && !s.closed {
			s.room.Wait()
		}
	}
	if s.closed { // cut off while waiting: it will send this again
		s.mu.Unlock()
		return
	}
	e := s.entry(pk, false)
	s.window = append(s.window, e)
	s.mu.Unlock()
	if wait := s.hand(e, now); wait != nil {
		s.b.counts.backPressure.Add(1)
		select {
		case <-wait:
		case <-s.gone:
		}
	}
}

// tryPush appends a message to the window if that has room.
func (s *session) tryPush(e *entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.window) >= int(s.b.cfg.Window) {
		return false
	}
	s.window = append(s.window, e)
	return true
}

func (s *session) entry(pk *packets.Packet, will bool) *entry {
	e := &entry{
		s: s, id: pk.PacketID, qos: pk.FixedHeader.Qos, retain: pk.FixedHeader.Retain, dup: pk.FixedHeader.Dup,
		topic: pk.TopicName, data: pk.Payload, will: will,
	}
	if p := &pk.Properties; len(p.User) > 0 || p.PayloadFormatFlag || p.MessageExpiryInterval > 0 || p.ContentType != "" ||
		p.ResponseTopic != "" || len(p.CorrelationData) > 0 {
		e.props = &packets.Properties{
			User: p.User, PayloadFormat: p.PayloadFormat, PayloadFormatFlag: p.PayloadFormatFlag, ContentType: p.ContentType,
			MessageExpiryInterval: p.MessageExpiryInterval, ResponseTopic: p.ResponseTopic, CorrelationData: p.CorrelationData,
		}
	}
	return e
}

func (s *session) hand(e *entry, now time.Time) (wait <-chan struct{}) {
	s.b.counts.received.Add(1)
	s.b.counts.inFlight.Add(1)
	return s.b.cfg.Handler(Publish{
		Client: s.cl.ID, User: string(s.cl.Properties.Username), Topic: e.topic, Payload: e.data, QoS: e.qos,
		Retain: e.retain, Dup: e.dup, Will: e.will, Version: s.cl.Properties.ProtocolVersion, Received: now, Connection: s.number,
	}, e.finish)
}

// finish is the handler's answer. Only the first one counts.
func (e *entry) finish(a Ack) {
	s := e.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.done {
		return
	}
	e.done, e.ack = true, a
	s.b.counts.inFlight.Add(-1)
	if s.flushing || len(s.window) == 0 || !s.window[0].done {
		return
	}
	if s.answerOne() {
		return
	}
	s.flushing = true
	go s.flush()
}

// answerOne answers the only message in the window on the spot, if that is a
// PUBACK, the client takes it without a wait, and nobody else wants the message:
// what clients with one message in flight do all the time. s.mu is held.
func (s *session) answerOne() bool {
	e := s.window[0]
	if len(s.window) != 1 || e.qos != 1 || e.will || e.retain || e.ack != (Ack{}) || s.closed || s.b.hasSubscribers() {
		return false
	}
	var packet [4]byte
	if !s.tryWrite(e.appendAck(packet[:0])) {
		return false
	}
	s.window[0] = nil
	s.window = s.window[:0]
	s.count(e)
	s.room.Broadcast()
	return true
}

// tryWrite writes a packet if that needs no waiting.
func (s *session) tryWrite(packet []byte) bool {
	if s.raw == nil || !s.cl.TryLock() {
		return false
	}
	defer s.cl.Unlock()
	n := 0
	err := s.raw.Write(func(fd uintptr) bool {
		n, _ = syscall.Write(int(fd), packet)
		return true
	})
	// A socket that takes a part of four bytes does not exist, but if it did the
	// connection would be beyond help.
	if n > 0 && n < len(packet) {
		s.cl.Stop(io.ErrShortWrite)
	}
	return err == nil && n == len(packet)
}

// flush writes the acknowledgements that are due, oldest first, as many as there
// are with one write, and then passes the messages on. At most one runs for a
// session, and only a slow client's own flush waits for it.
func (s *session) flush() {
	var buf []byte
	for {
		due := s.due()
		if len(due) == 0 {
			return
		}
		buf = buf[:0]
		good, cut := s.sort(due)
		for _, e := range good {
			if e.qos == 2 && !e.will {
				s.remember(e.id) // before the PUBREC, which the client answers at once
			}
			buf = e.appendAck(buf)
			s.count(e)
		}
		s.write(buf)
		if cut != nil {
			s.cut(cut.ack)
		}
		for _, e := range good {
			s.pass(e)
		}
	}
}

// sort returns the messages that are durable, up to the first one that can't be
// taken, which is returned too. What comes after that one will be sent again;
// only the will still counts.
func (s *session) sort(due []*entry) (good []*entry, cut *entry) {
	good = due[:0]
	for _, e := range due {
		switch {
		case e.ack.Disconnect && !s.severed:
			cut, s.severed = e, true
		case !e.ack.Disconnect && (!s.severed || e.will):
			good = append(good, e)
		}
	}
	return good, cut
}

// due takes the answered messages off the front of the window.
func (s *session) due() []*entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.window) && s.window[n].done {
		n++
	}
	if n == 0 {
		s.flushing = false
		return nil
	}
	due := s.window[:n:n]
	if s.window = s.window[n:]; len(s.window) == 0 {
		s.window = nil // the array is due's; a new one is made when needed
	}
	s.room.Broadcast()
	return due
}

// write sends acknowledgements. Their packets and mochi's don't mix: both write
// whole packets under the client's lock.
func (s *session) write(buf []byte) {
	if len(buf) == 0 || s.cl.Closed() {
		return
	}
	s.cl.Lock()
	_ = s.cl.Net.Conn.SetWriteDeadline(time.Now().Add(s.b.cfg.WriteWithin))
	_, err := s.cl.Net.Conn.Write(buf)
	_ = s.cl.Net.Conn.SetWriteDeadline(time.Time{}) // it must not end one of mochi's
	s.cl.Unlock()
	if err != nil {
		s.cl.Stop(err) // it will come back and send what it got no answer for
	}
}

func (s *session) count(e *entry) {
	s.b.counts.acked.Add(1)
	if e.ack.Refused != "" {
		s.b.counts.refused.Add(1)
	}
}

// pass gives a durable message to subscribers and to the retained messages, in
// the client's name.
func (s *session) pass(e *entry) {
	if !e.retain && !s.b.hasSubscribers() {
		return
	}
	if s.voice == nil {
		s.voice = s.b.mqtt.NewClient(nil, mqtt.LocalListener, s.cl.ID, true)
		s.voice.Properties.ProtocolVersion = s.cl.Properties.ProtocolVersion
	}
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: e.qos, Retain: e.retain},
		TopicName:   e.topic, Payload: e.data,
		PacketID: uint16(min(e.qos, 1)), // never sent, but checked to go with the QoS
	}
	if e.props != nil {
		pk.Properties = *e.props
	}
	_ = s.b.mqtt.InjectPacket(s.voice, pk) // it was valid when it came
}

// end ends the connection from our side. MQTT 5 clients are told why; 3.1.1 has
// no packet for it.
func (s *session) end(why packets.Code) {
	s.close()
	if s.cl.Properties.ProtocolVersion == 5 && s.cl.TryLock() { // or else a write is stuck, and telling is pointless
		_ = s.cl.Net.Conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = s.cl.Net.Conn.Write([]byte{packets.Disconnect << 4, 2, why.Code, 0})
		s.cl.Unlock()
	}
	s.cl.Stop(why)
}

// cut disconnects a client whose message can't be taken now.
func (s *session) cut(a Ack) {
	s.b.counts.disconnected.Add(1)
	s.close()
	if s.cl.Properties.ProtocolVersion == 5 {
		s.write(disconnect(a, s.details))
	}
	s.cl.Stop(packets.ErrQuotaExceeded)
}

// close makes the session take no more messages.
func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	close(s.gone)
	s.room.Broadcast()
}
