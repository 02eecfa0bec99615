package mqttlink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session/state"

	"github.com/twinlog/twinlog/edge/outbox"
)

// The status that a link keeps on its status topic, retained.
const (
	online  = `{"online":true}`
	offline = `{"online":false,"reason":"conn_lost"}`
)

const (
	withWill     = 4                // DISCONNECT reason: publish the will
	sendWithin   = 30 * time.Second // for room in the server's receive maximum
	firstFailure = 0x80             // reason codes from here on are failures
	noSubscriber = 0x10             // PUBACK reason: a broker threw the message away
)

// Config of a Link.
type Config struct {
	Endpoint
	// StatusTopic, if set, tells whether the gateway is there: retained "online"
	// after each connect, and "offline" by last will when the connection ends.
	StatusTopic string
}

// A Link is an outbox.Link. It keeps no state between sessions.
type Link struct {
	cfg     Config
	brokers *brokers
}

// New returns the link to cfg's broker without connecting.
func New(cfg Config) (*Link, error) {
	brokers, err := cfg.check()
	if err != nil {
		return nil, err
	}
	return &Link{cfg: cfg, brokers: brokers}, nil
}

// Connect implements outbox.Link.
func (l *Link) Connect(ctx context.Context) (outbox.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.ConnectWithin)
	defer cancel()
	conn, err := l.cfg.dial(ctx, l.brokers)
	if err != nil {
		return nil, fmt.Errorf("mqtt %s: %w", l.brokers, err)
	}
	s := &session{conn: conn, acks: &acks{State: state.NewInMemory(), news: make(chan struct{}, 1)}, lost: make(chan struct{})}
	s.client = paho.NewClient(paho.ClientConfig{
		ClientID: l.cfg.ClientID, Conn: conn, Session: s.acks, PacketTimeout: sendWithin,
		OnServerDisconnect: func(d *paho.Disconnect) { s.end(disconnected(d)) },
		OnClientError:      func(err error) { s.end(err) },
		// The link subscribes to nothing, so nothing is received.
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){},
		Router:            paho.NewStandardRouter(),
	})
	hello := l.cfg.packet()
	if l.cfg.StatusTopic != "" {
		hello.WillMessage = &paho.WillMessage{Topic: l.cfg.StatusTopic, Payload: []byte(offline), QoS: 1, Retain: true}
		hello.WillProperties = &paho.WillProperties{}
	}
	if _, err := s.client.Connect(ctx, hello); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("mqtt %s: connect as %q: %w", l.brokers, l.cfg.ClientID, err)
	}
	if l.cfg.StatusTopic != "" {
		if err := s.publish(ctx, &paho.Publish{Topic: l.cfg.StatusTopic, Payload: []byte(online), QoS: 1, Retain: true}); err != nil {
			s.Close()
			return nil, fmt.Errorf("mqtt %s: status: %w", l.brokers, err)
		}
	}
	return s, nil
}

// disconnected says why the server ended the connection.
func disconnected(d *paho.Disconnect) error {
	err := fmt.Errorf("the server disconnects with reason %#02x", d.ReasonCode)
	if d.Properties != nil {
		for _, p := range d.Properties.User {
			err = fmt.Errorf("%w, %s %s", err, p.Key, p.Value)
		}
	}
	return err
}

// A session is one connection.
type session struct {
	client *paho.Client
	conn   net.Conn
	acks   *acks
	lost   chan struct{} // closed by end
	once   sync.Once
	cause  error // valid when lost is closed
}

// end notes why the connection ended; only the first reason counts.
func (s *session) end(err error) {
	s.once.Do(func() {
		s.cause = fmt.Errorf("%w: %w", outbox.ErrLinkLost, err)
		close(s.lost)
	})
}

// Send implements outbox.Session.
func (s *session) Send(ctx context.Context, m outbox.Message) error {
	s.acks.expect(m.Seq)
	return s.publish(ctx, &paho.Publish{Topic: m.Topic, Payload: m.Payload, QoS: 1})
}

// publish writes a message and does not wait for its PUBACK.
func (s *session) publish(ctx context.Context, p *paho.Publish) error {
	select {
	case <-s.lost:
		return s.cause
	default:
	}
	if _, err := s.client.PublishWithOptions(ctx, p, paho.PublishOptions{Method: paho.PublishMethod_AsyncSend}); err != nil {
		s.end(err)
		<-s.lost
		return s.cause
	}
	return nil
}

// Answer implements outbox.Session.
func (s *session) Answer(ctx context.Context) (outbox.Answer, error) {
	for {
		if a, ok, err := s.acks.next(); err != nil {
			s.end(err)
			<-s.lost
			return outbox.Answer{}, s.cause
		} else if ok {
			return a, nil
		}
		select {
		case <-s.acks.news:
		case <-s.lost:
			if a, ok, err := s.acks.next(); ok && err == nil { // it came just before
				return a, nil
			}
			return outbox.Answer{}, s.cause
		case <-ctx.Done():
			return outbox.Answer{}, ctx.Err()
		}
	}
}

// Close implements outbox.Session.
func (s *session) Close() {
	s.end(errors.New("closed"))
	leave(s.client, s.conn, withWill)
}
