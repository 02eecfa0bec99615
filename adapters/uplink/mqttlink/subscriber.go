package mqttlink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session/state"

	"github.com/twinlog/twinlog/domain/ingest"
)

// SubscriberConfig says what to take from somebody else's broker.
type SubscriberConfig struct {
	Endpoint
	Filters []string // topic filters; none of them shared: a shared subscription breaks the order of a source
	// Submit takes the messages (ingest.Ingester.Submit).
	Submit func(ingest.Message, func(ingest.Outcome)) (wait <-chan struct{})
	// Window is how many messages may be unacknowledged; 0 means 1,024.
	Window uint16
	// SessionExpiry is how long the broker keeps messages while we are away; 0
	// means 72 h.
	SessionExpiry time.Duration
	RetryMax      time.Duration // between connections; 0 means 30 s
	Log           *slog.Logger  // nil: no log
}

// A Subscriber feeds the server from an external broker. Each message is
// acknowledged after it is durable, in the order of the messages, so the broker
// keeps what a crash interrupts and sends it again.
//
// A message that the server can't take now (its source is ahead) ends the
// connection; the broker sends what is unacknowledged again.
type Subscriber struct {
	cfg     SubscriberConfig
	brokers *brokers
	session *state.State // outlives connections, as the broker's does
	number  uint64       // of the connection

	received, acked, links atomic.Uint64
}

// ackEvery is how often paho looks for acknowledgements to send.
const ackEvery = 5 * time.Millisecond

// NewSubscriber checks cfg and returns the subscriber without connecting.
func NewSubscriber(cfg SubscriberConfig) (*Subscriber, error) {
	brokers, err := cfg.check()
	if err != nil {
		return nil, err
	}
	if len(cfg.Filters) == 0 || cfg.Submit == nil {
		return nil, fmt.Errorf("subscriber of %s without filters or without Submit: %w", cfg.URL, ErrBadConfig)
	}
	if cfg.Window == 0 {
		cfg.Window = 1024
	}
	if cfg.SessionExpiry <= 0 {
		cfg.SessionExpiry = 72 * time.Hour
	}
	if cfg.RetryMax <= 0 {
		cfg.RetryMax = 30 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Subscriber{cfg: cfg, brokers: brokers, session: state.NewInMemory()}, nil
}

// SubscriberStats counts since NewSubscriber.
type SubscriberStats struct{ Received, Acked, Links uint64 }

// Stats returns the counters.
func (s *Subscriber) Stats() SubscriberStats {
	return SubscriberStats{s.received.Load(), s.acked.Load(), s.links.Load()}
}

// Run keeps the subscription until ctx ends and returns ctx's error.
func (s *Subscriber) Run(ctx context.Context) error {
	const retryMin = 500 * time.Millisecond
	for wait := retryMin; ; {
		before := s.acked.Load()
		err := s.once(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "mqtt: subscription lost", slog.String("broker", s.brokers.String()), slog.Any("error", err))
		if s.acked.Load() > before {
			wait = retryMin // it worked
		}
		select {
		case <-time.After(wait/2 + rand.N(wait/2)):
		case <-ctx.Done():
			return ctx.Err()
		}
		wait = min(2*wait, s.cfg.RetryMax)
	}
}

// once connects, subscribes and returns when the connection has ended.
func (s *Subscriber) once(ctx context.Context) error {
	connecting, cancel := context.WithTimeout(ctx, s.cfg.ConnectWithin)
	defer cancel()
	conn, err := s.cfg.dial(connecting, s.brokers)
	if err != nil {
		return err
	}
	s.number++
	number := s.number
	lost := make(chan error, 4) // paho's two callbacks, and the first message not taken
	gone := make(chan struct{}) // paho's own Done waits for take to return
	end := func(err error) {
		select {
		case lost <- err:
		default:
		}
	}
	client := paho.NewClient(paho.ClientConfig{
		ClientID: s.cfg.ClientID, Conn: conn, Session: s.session,
		EnableManualAcknowledgment: true, SendAcksInterval: ackEvery,
		OnServerDisconnect: func(d *paho.Disconnect) { end(disconnected(d)) },
		OnClientError:      end,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){
			func(p paho.PublishReceived) (bool, error) { s.take(p, number, end, gone); return true, nil },
		},
	})
	hello := s.cfg.packet()
	hello.CleanStart = false
	expiry := uint32(s.cfg.SessionExpiry / time.Second)
	hello.Properties = &paho.ConnectProperties{SessionExpiryInterval: &expiry, ReceiveMaximum: &s.cfg.Window}
	if _, err := client.Connect(connecting, hello); err != nil {
		_ = conn.Close()
		return fmt.Errorf("connect as %q: %w", s.cfg.ClientID, err)
	}
	defer leave(client, conn, 0)
	defer close(gone)
	s.links.Add(1)
	subscribe := &paho.Subscribe{}
	for _, f := range s.cfg.Filters {
		subscribe.Subscriptions = append(subscribe.Subscriptions, paho.SubscribeOptions{Topic: f, QoS: 1})
	}
	if _, err := client.Subscribe(connecting, subscribe); err != nil {
		return fmt.Errorf("subscribe to %q: %w", s.cfg.Filters, err)
	}
	select {
	case err := <-lost:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// why says why a message can't be taken.
func why(o ingest.Outcome) error {
	if o.Err != nil {
		return o.Err
	}
	return errAhead
}

var errAhead = errors.New("its source is ahead")

// take hands a message over. It runs in paho's router and holds it while the
// handler asks to wait, so that the broker's window fills.
func (s *Subscriber) take(p paho.PublishReceived, number uint64, end func(error), gone <-chan struct{}) {
	s.received.Add(1)
	m := ingest.Message{
		Topic: p.Packet.Topic, Client: s.cfg.ClientID, Payload: p.Packet.Payload, Retained: p.Packet.Retain,
		Arrived: time.Now(), Connection: number,
	}
	wait := s.cfg.Submit(m, func(o ingest.Outcome) {
		if !o.Ack || o.Disconnect {
			end(fmt.Errorf("message on %s can't be taken now: %w", m.Topic, why(o)))
			return
		}
		s.acked.Add(1)
		_ = p.Client.Ack(p.Packet) // fails if the connection is gone; then it comes again
	})
	if wait != nil {
		select {
		case <-wait:
		case <-gone:
		}
	}
}
