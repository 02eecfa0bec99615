package mqttlink_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/twinlog/twinlog/adapters/uplink/mqttlink"
	"github.com/twinlog/twinlog/domain/ingest"
	"github.com/twinlog/twinlog/test/peer"
)

// mosquitto starts somebody else's broker and returns its address.
func mosquitto(t *testing.T) string {
	t.Helper()
	program := peer.Need(t, "mosquitto")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	_ = l.Close()
	conf := filepath.Join(t.TempDir(), "mosquitto.conf")
	text := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n", port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, "-c", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	eventually(t, "mosquitto listens", func() bool {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return addr
}

// a device publishes and waits for each acknowledgement of the broker.
type device struct {
	t *testing.T
	c *paho.Client
}

func newDevice(t *testing.T, addr string) *device {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := paho.NewClient(paho.ClientConfig{ClientID: "P-1", Conn: conn})
	if _, err := c.Connect(t.Context(), &paho.Connect{ClientID: "P-1", KeepAlive: 30, CleanStart: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Disconnect(&paho.Disconnect{}) })
	return &device{t, c}
}

func (d *device) publish(from, to int) {
	d.t.Helper()
	for n := from; n < to; n++ {
		if _, err := d.c.Publish(d.t.Context(), &paho.Publish{Topic: place + "/pump/P-1/telemetry", QoS: 1, Payload: []byte(fmt.Sprint(n))}); err != nil {
			d.t.Fatal(err)
		}
	}
}

// shelf is an Ingester that the test can close.
type shelf struct {
	mu      sync.Mutex
	got     []string // as they came
	kept    map[string]int
	conns   map[uint64]bool
	drop    int // so many messages get no answer at all, as before a crash
	notNow  int // so many are not taken
	pending []func(ingest.Outcome)
}

func (s *shelf) submit(m ingest.Message, done func(ingest.Outcome)) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, string(m.Payload))
	s.conns[m.Connection] = true
	switch {
	case s.drop > 0:
		s.drop--
		s.pending = append(s.pending, done)
		return nil
	case s.notNow > 0:
		s.notNow--
		done(ingest.Outcome{Disconnect: true, Err: errors.New("ahead")})
		return nil
	}
	s.kept[string(m.Payload)]++
	done(ingest.Outcome{Ack: true})
	return nil
}

func (s *shelf) has(n int) func() bool {
	return func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.kept) == n }
}

// TestSubscriberOfAnExternalBroker: messages that came while the server was
// away, was killed before it answered, or could not take one, are all kept.
func TestSubscriberOfAnExternalBroker(t *testing.T) {
	addr := mosquitto(t)
	s := &shelf{kept: map[string]int{}, conns: map[uint64]bool{}}
	run := func() (stop func() mqttlink.SubscriberStats) {
		sub, err := mqttlink.NewSubscriber(mqttlink.SubscriberConfig{
			Endpoint: mqttlink.Endpoint{URL: "mqtt://" + addr, ClientID: "twinlog-test"}, Filters: []string{"+/+/+/+/+/+/telemetry"}, Submit: s.submit,
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- sub.Run(ctx) }()
		eventually(t, "the subscriber is connected", func() bool { return sub.Stats().Links > 0 })
		return func() mqttlink.SubscriberStats { cancel(); <-done; return sub.Stats() }
	}
	d := newDevice(t, addr)

	stop := run()
	time.Sleep(100 * time.Millisecond) // SUBACK
	d.publish(0, 100)
	eventually(t, "100 messages are kept", s.has(100))
	time.Sleep(50 * time.Millisecond) // paho sends acknowledgements now and then
	stop()
	d.publish(100, 200) // nobody is there: the broker keeps them

	s.mu.Lock()
	s.drop = 10
	s.mu.Unlock()
	stop = run()
	eventually(t, "the messages after the ten are kept", s.has(190))
	stop() // killed before the ten were answered, and so before all behind them

	s.mu.Lock()
	s.notNow = 1
	s.mu.Unlock()
	stop = run()
	eventually(t, "all 200 are kept", s.has(200))
	d.publish(200, 300)
	eventually(t, "all 300 are kept", s.has(300))
	if stats := stop(); stats.Links < 2 {
		t.Errorf("%+v: a message that was not taken must end the connection", stats)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range 100 {
		if s.kept[fmt.Sprint(n)] != 1 {
			t.Errorf("message %d, acknowledged, came %d times", n, s.kept[fmt.Sprint(n)])
		}
	}
}

func TestBadSubscriber(t *testing.T) {
	if _, err := mqttlink.NewSubscriber(mqttlink.SubscriberConfig{Endpoint: mqttlink.Endpoint{URL: "mqtt://h", ClientID: "x"}}); !errors.Is(err, mqttlink.ErrBadConfig) {
		t.Fatal(err)
	}
}
