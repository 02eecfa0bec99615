package mqttlink_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/twinlog/twinlog/adapters/broker"
	"github.com/twinlog/twinlog/adapters/queue/memqueue"
	"github.com/twinlog/twinlog/adapters/uplink/mqttlink"
	"github.com/twinlog/twinlog/edge/outbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	place  = "acme/site/area/line"
	status = place + "/gateway/gw-7/status"
)

// server is a broker whose handler keeps an ordered source, by the rules of
// docs/formats/outbox.md.
type server struct {
	*broker.Broker
	stop func()

	mu       sync.Mutex
	last     uint64
	seqs     []uint64 // stored, in order
	statuses []string
	repeats  int
	refuse   map[uint64]bool
	hold     bool // answer nothing
	cut      int  // disconnect at the next so many telemetry messages
}

func start(t *testing.T) *server {
	t.Helper()
	s := &server{refuse: map[uint64]bool{}}
	s.serve(t, "127.0.0.1:0")
	return s
}

func (s *server) serve(t *testing.T, addr string) {
	t.Helper()
	b, err := broker.Listen(t.Context(), broker.Config{Addr: addr, Handler: s.handle})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	s.Broker, s.stop = b, sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(s.stop)
}

func (s *server) handle(p broker.Publish, ack func(broker.Ack)) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.HasSuffix(p.Topic, "/status") {
		s.statuses = append(s.statuses, string(p.Payload))
		ack(broker.Ack{})
		return nil
	}
	if s.cut > 0 {
		s.cut--
		ack(broker.Ack{Disconnect: true, Expected: s.last + 1})
		return nil
	}
	if s.hold {
		return nil
	}
	var m struct{ Seq uint64 }
	if err := json.Unmarshal(p.Payload, &m); err != nil {
		panic(err)
	}
	switch {
	case m.Seq <= s.last:
		s.repeats++
		ack(broker.Ack{})
	case m.Seq > s.last+1:
		ack(broker.Ack{Disconnect: true, Expected: s.last + 1})
	default:
		s.last = m.Seq
		s.seqs = append(s.seqs, m.Seq)
		a := broker.Ack{}
		if s.refuse[m.Seq] {
			a.Refused = fmt.Sprintf("telemetry-gw-7.x@%d", m.Seq)
		}
		ack(a)
	}
	return nil
}

func (s *server) stored() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seqs)
}

// gateway is an outbox that drains to addr until the test ends.
func gateway(t *testing.T, addr string) *outbox.Outbox {
	t.Helper()
	box, err := outbox.Open(t.Context(), memqueue.New(outbox.Previous{}), outbox.Config{
		Gateway: "gw-7", Topic: place + "/gateway/gw-7/telemetry", RetryMin: 10 * time.Millisecond, RetryMax: 50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	link, err := mqttlink.New(mqttlink.Config{
		Endpoint: mqttlink.Endpoint{URL: "mqtt://" + addr, ClientID: "gw-7"}, StatusTopic: status,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- box.Drain(ctx, link) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Drain: %v", err)
		}
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	})
	return box
}

func put(t *testing.T, box *outbox.Outbox, n int) {
	t.Helper()
	bodies := make([]outbox.Body, n)
	for i := range bodies {
		bodies[i] = outbox.Body{Topic: place + "/pump/P-1/telemetry", Samples: 1, Encode: func(n outbox.Number) ([]byte, error) {
			return fmt.Appendf(nil, `{"seq":%d,"meta":{"inc":%q},"d":{"x":1}}`, n.Seq, n.Incarnation), nil
		}}
	}
	for len(bodies) > 0 {
		k := min(len(bodies), 500)
		if _, err := box.Put(t.Context(), bodies[:k]...); err != nil {
			t.Fatal(err)
		}
		bodies = bodies[k:]
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func TestDrainThroughABroker(t *testing.T) {
	s := start(t)
	s.mu.Lock()
	s.refuse[7] = true
	s.cut = 3
	s.mu.Unlock()
	box := gateway(t, s.Addr().String())
	const n = 5000
	began := time.Now()
	put(t, box, n)
	eventually(t, "all messages are stored", func() bool { return s.stored() == n+1 }) // and source.started
	eventually(t, "all are answered", func() bool { return box.Stats().Depth == 0 })
	t.Logf("%d messages in %v", n, time.Since(began))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, seq := range s.seqs {
		if seq != uint64(i+1) {
			t.Fatalf("message %d has number %d", i, seq)
		}
	}
	if st := box.Stats(); st.Refused != 1 || st.Links < 2 || st.Acked != n+1 {
		t.Fatalf("%+v", st)
	}
}

func TestServerGoesAndComesBack(t *testing.T) {
	s := start(t)
	addr := s.Addr().String()
	box := gateway(t, addr)
	for round := range 4 {
		put(t, box, 700)
		if round%2 == 0 {
			eventually(t, "some are stored", func() bool { return s.stored() > round*600 })
		}
		s.stop()
		put(t, box, 300)
		s.serve(t, addr)
	}
	eventually(t, "all are stored", func() bool { return s.stored() == 4001 })
	eventually(t, "all are answered", func() bool { return box.Stats().Depth == 0 })
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Logf("%d repeats", s.repeats)
}

func TestStatus(t *testing.T) {
	s := start(t)
	link, err := mqttlink.New(mqttlink.Config{
		Endpoint: mqttlink.Endpoint{URL: "mqtt://" + s.Addr().String(), ClientID: "gw-7"}, StatusTopic: status,
	})
	if err != nil {
		t.Fatal(err)
	}
	session, err := link.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	said := func(n int) func() bool {
		return func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.statuses) == n }
	}
	eventually(t, "online", said(1))
	session.Close()
	eventually(t, "offline", said(2))
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := strings.Join(s.statuses, " "); got != `{"online":true} {"online":false,"reason":"conn_lost"}` {
		t.Fatal(got)
	}
}

func TestASessionEndsWithItsConnection(t *testing.T) {
	s := start(t)
	link, err := mqttlink.New(mqttlink.Config{Endpoint: mqttlink.Endpoint{URL: "mqtt://" + s.Addr().String(), ClientID: "gw-7"}})
	if err != nil {
		t.Fatal(err)
	}
	session, err := link.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	s.mu.Lock()
	s.hold = true
	s.mu.Unlock()
	if err := session.Send(t.Context(), outbox.Message{Seq: 1, Last: 1, Topic: "t", Payload: []byte(`{"seq":1}`)}); err != nil {
		t.Fatal(err)
	}
	within, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if a, err := session.Answer(within); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%+v, %v: expected no answer", a, err)
	}
	s.stop()
	if a, err := session.Answer(t.Context()); !errors.Is(err, outbox.ErrLinkLost) {
		t.Fatalf("%+v, %v: expected ErrLinkLost", a, err)
	}
	if err := session.Send(t.Context(), outbox.Message{Seq: 2, Last: 2, Topic: "t"}); !errors.Is(err, outbox.ErrLinkLost) {
		t.Fatalf("%v: expected ErrLinkLost", err)
	}
}

func TestTheServerSaysWhyItDisconnects(t *testing.T) {
	s := start(t)
	s.mu.Lock()
	s.cut = 1
	s.mu.Unlock()
	link, err := mqttlink.New(mqttlink.Config{Endpoint: mqttlink.Endpoint{URL: "mqtt://" + s.Addr().String(), ClientID: "gw-7"}})
	if err != nil {
		t.Fatal(err)
	}
	session, err := link.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := session.Send(t.Context(), outbox.Message{Seq: 9, Last: 9, Topic: "t", Payload: []byte(`{"seq":9}`)}); err != nil {
		t.Fatal(err)
	}
	_, err = session.Answer(t.Context())
	if !errors.Is(err, outbox.ErrLinkLost) || !strings.Contains(err.Error(), "0x97, twinlog-expected 1") {
		t.Fatal(err)
	}
}

func TestConnectFails(t *testing.T) {
	link, err := mqttlink.New(mqttlink.Config{Endpoint: mqttlink.Endpoint{URL: "mqtt://127.0.0.1:1", ClientID: "gw-7"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := link.Connect(t.Context()); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Fatal(err)
	}
}

// TestAnotherServer: of two servers that are named, the one that is there gets the
// messages.
func TestAnotherServer(t *testing.T) {
	a, b := start(t), start(t)
	box := gateway(t, a.Addr().String()+","+b.Addr().String())
	put(t, box, 100)
	eventually(t, "all are answered", func() bool { return box.Stats().Depth == 0 })
	first, second := a, b
	if a.stored() == 0 {
		first, second = b, a
	}
	first.stop()
	second.mu.Lock()
	second.last = first.last // they share a log
	second.mu.Unlock()
	put(t, box, 100)
	eventually(t, "the other has the rest", func() bool { return second.stored() == 100 })
}

func TestBadEndpoints(t *testing.T) {
	for _, e := range []mqttlink.Endpoint{
		{URL: "http://host", ClientID: "x"},
		{URL: "mqtt://", ClientID: "x"},
		{URL: "mqtt://host"},
		{URL: "mqtt://%zz", ClientID: "x"},
		{URL: "mqtt://a,", ClientID: "x"},
		{URL: "mqtt://a:1883,b:x", ClientID: "x"},
	} {
		if _, err := mqttlink.New(mqttlink.Config{Endpoint: e}); !errors.Is(err, mqttlink.ErrBadConfig) {
			t.Errorf("%+v: %v", e, err)
		}
	}
}
