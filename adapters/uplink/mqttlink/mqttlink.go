// Package mqttlink is the MQTT 5 side of the uplink: a gateway's outbox.Link to
// the server's broker, and the server's Subscriber to somebody else's broker.
//
// The link promises what outbox.Session asks for: messages go out at QoS 1 in
// order, up to a window of them unanswered, and an answer is a PUBACK, which the
// server sends once the message is durable. The MQTT session carries nothing
// over from one connection to the next (clean start, expiry 0), because the
// outbox is the only queue; docs/formats/outbox.md has the table of answers.
package mqttlink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

// ErrBadConfig is a Config that leads nowhere.
var ErrBadConfig = errors.New("invalid MQTT link configuration")

// An Endpoint is a broker and how to enter it.
type Endpoint struct {
	// URL is mqtt://host:port, or mqtts:// for TLS; ports 1883 and 8883 may be
	// left out. Where several servers share a log, all are named, separated by
	// commas (mqtt://a:1883,b): each connection tries the next one.
	URL      string
	ClientID string
	User     string
	Password []byte
	TLS      *tls.Config // for mqtts; nil: the system's roots
	// KeepAlive is how often an idle connection says that it lives; 0 means 30 s.
	KeepAlive time.Duration
	// ConnectWithin bounds dialling and CONNECT together; 0 means 10 s.
	ConnectWithin time.Duration
}

// check fills in the defaults and returns whom to dial.
func (e *Endpoint) check() (*brokers, error) {
	scheme, hosts, _ := strings.Cut(e.URL, "://")
	port := "1883"
	switch scheme {
	case "mqtt", "tcp":
		e.TLS = nil
	case "mqtts", "ssl", "tls":
		port = "8883"
		if e.TLS == nil {
			e.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		}
	default:
		return nil, fmt.Errorf("URL %q: expected mqtt://host:port or mqtts://host:port: %w", e.URL, ErrBadConfig)
	}
	b := &brokers{}
	for host := range strings.SplitSeq(hosts, ",") {
		u, err := url.Parse(scheme + "://" + host)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%w: %w", ErrBadConfig, err)
		case u.Hostname() == "":
			return nil, fmt.Errorf("URL %q names no host: %w", e.URL, ErrBadConfig)
		case u.Port() != "":
			b.list = append(b.list, u.Host)
		default:
			b.list = append(b.list, net.JoinHostPort(u.Hostname(), port))
		}
	}
	if e.ClientID == "" {
		return nil, fmt.Errorf("no client id for %s: %w", e.URL, ErrBadConfig)
	}
	if e.KeepAlive <= 0 {
		e.KeepAlive = 30 * time.Second
	}
	if e.ConnectWithin <= 0 {
		e.ConnectWithin = 10 * time.Second
	}
	return b, nil
}

// brokers are those of an Endpoint, each host:port.
type brokers struct {
	list []string
	next atomic.Uint64
}

// String names them all.
func (b *brokers) String() string { return strings.Join(b.list, ",") }

// dial connects to the next of the brokers that answers.
func (e *Endpoint) dial(ctx context.Context, b *brokers) (net.Conn, error) {
	var errs []error
	for range b.list {
		address := b.list[(b.next.Add(1)-1)%uint64(len(b.list))]
		conn, err := e.dialOne(ctx, address)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// dialOne opens the connection that paho needs: safe for concurrent writers.
func (e *Endpoint) dialOne(ctx context.Context, address string) (net.Conn, error) {
	if e.TLS == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	conn, err := (&tls.Dialer{Config: e.TLS}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return packets.NewThreadSafeConn(conn), nil
}

// packet returns the CONNECT without will and properties.
func (e *Endpoint) packet() *paho.Connect {
	return &paho.Connect{
		ClientID: e.ClientID, KeepAlive: uint16(min(e.KeepAlive/time.Second, 1<<16-1)), CleanStart: true,
		Username: e.User, UsernameFlag: e.User != "", Password: e.Password, PasswordFlag: len(e.Password) > 0,
	}
}

// leave ends a connection. Reason 4 makes the server publish the last will.
func leave(client *paho.Client, conn net.Conn, reason byte) {
	_ = conn.SetDeadline(time.Now().Add(time.Second)) // a dead peer must not hold us
	_ = client.Disconnect(&paho.Disconnect{ReasonCode: reason})
}
