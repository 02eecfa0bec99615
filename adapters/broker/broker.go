// Package broker is the embedded MQTT broker: MQTT 5 (OASIS 2019) and 3.1.1
// (ISO/IEC 20922), by mochi-mqtt behind a small type of our own.
//
// Its one promise: a PUBACK leaves after the handler said that the message is
// durable, in the order of the messages of that client (MQTT 5 §4.6), while the
// client's next messages are already being read. The publish hook never waits
// for a disk. A handler that is slow slows the clients that have a full window,
// by not reading from them, and nobody else.
//
// What it does not do: it keeps nothing on disk. A restart ends all connections,
// so subscriptions and retained messages start empty; clients subscribe and say
// their status again when they come back (a retained "online" from before the
// restart would be a lie). The owner may put retained messages back with Retain.
//
// Subscriptions are granted QoS 0, but for the topics that lead to one device
// (commands, config, ota, diagnostics), which are granted up to 1. A subscriber
// that must not miss a sample reads the log; this also keeps telemetry away from
// mochi 2.7.9's in-flight lists, whose nested read lock (Inflight.NextImmediate)
// can deadlock under concurrent publishers.
package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// ErrBadConfig is a Config that no broker can run with.
var ErrBadConfig = errors.New("invalid broker configuration")

// A Publish is one message from a client. Its payload is the handler's to keep.
type Publish struct {
	Client   string // client id
	User     string // user name of the CONNECT, "" if none
	Topic    string
	Payload  []byte
	QoS      byte
	Retain   bool
	Dup      bool
	Will     bool // the client's last will, published by the broker
	Version  byte // 3, 4 (3.1.1) or 5
	Received time.Time
	// Connection numbers the client's connections to this Broker, from 1.
	Connection uint64
}

// An Ack is the handler's word on one message. The zero Ack says that it is durable.
type Ack struct {
	// Refused: the message is durable, but not as what it meant to be; the text,
	// "stream@revision", goes back as user property twinlog-refused (MQTT 5).
	Refused string
	// Disconnect: the message is not durable and must not be acknowledged. The
	// client is disconnected, so that it sends again from there (reason 0x97).
	Disconnect bool
	// Expected, with Disconnect, is the sequence number that the server wants
	// next; it goes along as user property twinlog-expected (MQTT 5). 0: unknown.
	Expected uint64
}

// A Handler takes a message and returns at once; it calls ack exactly once, from
// any goroutine, in any order, and may do so before it returns. Each client's
// messages come in their order. If it returns a channel, the client is not read
// until that is closed.
type Handler func(p Publish, ack func(Ack)) (wait <-chan struct{})

// A Client is who asks for access.
type Client struct {
	ID       string
	User     string
	Password []byte // at Connect only
	Remote   string // network address: personal data, not for the log
	// TLS is the connection's state, nil on plain TCP.
	TLS *tls.ConnectionState
}

// Access decides who may do what. A nil func allows.
type Access struct {
	Connect   func(Client) bool
	Publish   func(c Client, topic string) bool
	Subscribe func(c Client, filter string) bool
}

// Config says how a broker runs. Addr and Handler are needed.
type Config struct {
	Addr    string      // host:port; port 0 takes a free one
	TLS     *tls.Config // nil: plain TCP
	Handler Handler
	Access  Access
	// Window is how many messages of one client may be with the handler; 0 means
	// 1,024. It is the Receive Maximum told to MQTT 5 clients, and for others the
	// point from which the client is not read.
	Window uint16
	// MaxPacket bounds one packet in bytes; 0 means 1 MiB, the most that the log
	// can take in one event.
	MaxPacket uint32
	// MaxClients bounds the connections; 0 means 100,000.
	MaxClients int64
	// ConnectWithin is how long a connection may take to say CONNECT; 0 means 10 s.
	ConnectWithin time.Duration
	// WriteWithin is how long a client may take no acknowledgements before it is
	// cut off; 0 means 30 s.
	WriteWithin time.Duration
	Log         *slog.Logger // nil: no log
}

func (c *Config) defaults() error {
	if c.Handler == nil {
		return fmt.Errorf("no handler: %w", ErrBadConfig)
	}
	if c.Window == 0 {
		c.Window = 1024
	}
	if c.MaxPacket == 0 {
		c.MaxPacket = 1 << 20
	}
	if c.MaxClients == 0 {
		c.MaxClients = 100_000
	}
	if c.ConnectWithin == 0 {
		c.ConnectWithin = 10 * time.Second
	}
	if c.WriteWithin == 0 {
		c.WriteWithin = 30 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// A Broker listens from Listen on and serves from Run on.
type Broker struct {
	cfg      Config
	listener net.Listener
	pollers  *pollers // nil where there are none
	mqtt     *mqtt.Server
	own      *mqtt.Client // publishes what the server itself says
	sessions sync.Map     // *mqtt.Client → *session, while connected
	conns    sync.Map     // net.Conn → nothing, while open
	serving  sync.WaitGroup

	// mu guards all below. It is held while a will is handed over, so that a
	// client's will and its next connection's first message keep their order.
	mu      sync.Mutex
	live    map[string]*session    // by client id: the newest connection
	delayed map[string]*time.Timer // by client id: wills that wait
	closing bool

	counts counts
}

type counts struct {
	received, acked, refused, disconnected, wills, dropped, backPressure atomic.Uint64
	connected, inFlight                                                  atomic.Int64
	connections                                                          atomic.Uint64 // ever made
}

// Stats are counters since Listen and gauges of now.
type Stats struct {
	Connected    int64  // clients
	InFlight     int64  // messages with the handler
	Received     uint64 // messages handed to the handler, wills among them
	Acked        uint64 // of these durable
	Refused      uint64 // of these kept as refused
	Disconnected uint64 // clients cut off by an Ack
	Wills        uint64
	Dropped      uint64 // deliveries to subscribers that were too slow
	BackPressure uint64 // times that a client was not read, its window or the handler being full
	Retained     int64  // the broker's own $SYS topics among them
	Subscribers  int64  // subscriptions
}

// Listen opens the address.
func Listen(ctx context.Context, cfg Config) (*Broker, error) {
	if err := cfg.defaults(); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("mqtt: listen on %s: %w", cfg.Addr, err)
	}
	if cfg.TLS != nil {
		l = tls.NewListener(l, cfg.TLS)
	}
	capabilities := mqtt.NewDefaultServerCapabilities()
	capabilities.MaximumClients = cfg.MaxClients
	capabilities.MaximumPacketSize = cfg.MaxPacket
	capabilities.ReceiveMaximum = cfg.Window
	// A subscriber that has not read this many messages misses the next ones; it
	// is also the longest burst of retained messages that one may get.
	capabilities.MaximumClientWritesPending = 4096
	capabilities.MaximumSessionExpiryInterval = 72 * 60 * 60
	// Retained messages are the plant's status: they don't expire by themselves.
	capabilities.MaximumMessageExpiryInterval = 0
	b := &Broker{
		cfg: cfg, listener: l,
		mqtt: mqtt.New(&mqtt.Options{
			Capabilities: capabilities,
			// mochi's own log would print payloads.
			Logger: slog.New(slog.DiscardHandler),
			// Each round stops the world to read memory statistics.
			SysTopicResendInterval:   60,
			ClientNetReadBufferSize:  8 << 10,
			ClientNetWriteBufferSize: 4 << 10,
		}),
		live: map[string]*session{}, delayed: map[string]*time.Timer{},
	}
	if b.pollers, err = newPollers(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	b.own = b.mqtt.NewClient(nil, mqtt.LocalListener, mqtt.InlineClientId, true)
	if err := b.mqtt.AddHook(&hook{b: b}, nil); err != nil {
		return nil, errors.Join(fmt.Errorf("mqtt: %w", err), l.Close())
	}
	if err := b.mqtt.AddListener(&acceptor{b: b}); err != nil {
		return nil, errors.Join(fmt.Errorf("mqtt: %w", err), l.Close())
	}
	return b, nil
}

// Addr is the address that clients connect to.
func (b *Broker) Addr() net.Addr { return b.listener.Addr() }

// Run serves until ctx ends, then ends all connections and returns ctx's error.
// Messages that the handler still has are not acknowledged any more.
func (b *Broker) Run(ctx context.Context) error {
	if b.pollers != nil {
		b.serving.Go(b.pollers.run)
	}
	b.serving.Add(1) // the acceptor, which Serve starts
	if err := b.mqtt.Serve(); err != nil {
		return fmt.Errorf("mqtt: %w", err)
	}
	<-ctx.Done()
	b.shut()
	if err := b.mqtt.Close(); err != nil {
		return fmt.Errorf("mqtt: close: %w", err)
	}
	return ctx.Err()
}

// shut ends what could keep connections from ending.
func (b *Broker) shut() {
	_ = b.listener.Close()
	b.mu.Lock()
	b.closing = true
	for _, t := range b.delayed {
		t.Stop()
	}
	b.mu.Unlock()
	b.sessions.Range(func(_, v any) bool {
		v.(*session).end(packets.ErrServerShuttingDown)
		return true
	})
	b.conns.Range(func(c, _ any) bool { // those that never said CONNECT
		_ = c.(net.Conn).Close()
		return true
	})
	if b.pollers != nil {
		b.pollers.close()
	}
	b.serving.Wait()
}

func (b *Broker) hasSubscribers() bool { return atomic.LoadInt64(&b.mqtt.Info.Subscriptions) > 0 }

func (b *Broker) isClosing() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closing
}

// Publish says something to subscribers in the server's own name; it does not
// pass through the handler. A QoS above 0 reaches only subscriptions that were
// granted it.
func (b *Broker) Publish(topic string, payload []byte, qos byte, retain bool) error {
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos, Retain: retain},
		TopicName:   topic, Payload: payload,
		PacketID: uint16(qos), // never sent, but checked to go with the QoS
	}
	if err := b.mqtt.InjectPacket(b.own, pk); err != nil {
		return fmt.Errorf("mqtt: publish to %s: %w", topic, err)
	}
	return nil
}

// Retain puts a retained message back, before Run.
func (b *Broker) Retain(topic string, payload []byte) {
	b.mqtt.Topics.RetainMessage(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Retain: true},
		TopicName:   topic, Payload: payload, Created: time.Now().Unix(),
	})
}

// Stats returns the counters.
func (b *Broker) Stats() Stats {
	c := &b.counts
	return Stats{
		Connected: c.connected.Load(), InFlight: c.inFlight.Load(), Received: c.received.Load(), Acked: c.acked.Load(),
		Refused: c.refused.Load(), Disconnected: c.disconnected.Load(), Wills: c.wills.Load(), Dropped: c.dropped.Load(),
		BackPressure: c.backPressure.Load(), Retained: int64(b.mqtt.Topics.Retained.Len()),
		Subscribers: atomic.LoadInt64(&b.mqtt.Info.Subscriptions),
	}
}
