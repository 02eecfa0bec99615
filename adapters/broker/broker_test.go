package broker_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/twinlog/twinlog/adapters/broker"
	"github.com/twinlog/twinlog/test/budget"
)

const telemetry = "acme/site/area/line/pump/P-1/telemetry"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a broker for the length of the test.
func start(t testing.TB, cfg broker.Config) *broker.Broker {
	t.Helper()
	cfg.Addr = "127.0.0.1:0"
	b, err := broker.Listen(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run does not return")
		}
	})
	return b
}

// desk is a handler whose answers the test gives.
type desk struct {
	mu   sync.Mutex
	got  []broker.Publish
	acks []func(broker.Ack)
	news chan struct{}
}

func newDesk() *desk { return &desk{news: make(chan struct{}, 1)} }

func (d *desk) handle(p broker.Publish, ack func(broker.Ack)) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.got, d.acks = append(d.got, p), append(d.acks, ack)
	select {
	case d.news <- struct{}{}:
	default:
	}
	return nil
}

// wait returns when n messages have come.
func (d *desk) wait(t testing.TB, n int) []broker.Publish {
	t.Helper()
	late := time.After(10 * time.Second)
	for {
		d.mu.Lock()
		got := d.got
		d.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-d.news:
		case <-late:
			t.Fatalf("%d messages, want %d", len(got), n)
		}
	}
}

func (d *desk) ack(i int, a broker.Ack) {
	d.mu.Lock()
	ack := d.acks[i]
	d.mu.Unlock()
	ack(a)
}

// at once answers every message in the handler.
func atOnce(_ broker.Publish, ack func(broker.Ack)) <-chan struct{} {
	ack(broker.Ack{})
	return nil
}

func each(t *testing.T, f func(t *testing.T, version byte)) {
	for _, v := range []byte{4, 5} {
		t.Run(fmt.Sprintf("MQTT %d", v), func(t *testing.T) { f(t, v) })
	}
}

func TestNothingIsAcknowledgedBeforeTheHandlerSays(t *testing.T) {
	each(t, func(t *testing.T, v byte) {
		d := newDesk()
		b := start(t, broker.Config{Handler: d.handle})
		c := dial(t, b.Addr().String(), hello{id: "P-1", version: v, clean: true})
		for id := uint16(1); id <= 3; id++ {
			c.publish(1, id, telemetry, fmt.Sprint("m", id))
		}
		got := d.wait(t, 3) // the hook does not wait: all three are here
		for i, p := range got {
			if p.Client != "P-1" || p.Topic != telemetry || string(p.Payload) != fmt.Sprint("m", i+1) || p.QoS != 1 || p.Version != v || p.Will || p.Connection != 1 {
				t.Fatalf("message %d: %+v", i, p)
			}
		}
		c.silent(100 * time.Millisecond)
		d.ack(0, broker.Ack{})
		if id, _ := c.ack(puback); id != 1 {
			t.Fatalf("PUBACK %d", id)
		}
		c.silent(50 * time.Millisecond)
	})
}

func TestAcknowledgementsKeepTheOrderOfTheMessages(t *testing.T) {
	each(t, func(t *testing.T, v byte) {
		d := newDesk()
		b := start(t, broker.Config{Handler: d.handle})
		c := dial(t, b.Addr().String(), hello{id: "P-1", version: v, clean: true})
		const n = 300
		for id := uint16(1); id <= n; id++ {
			c.publish(1, id, telemetry, "x")
		}
		d.wait(t, n)
		rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
		order := rng.Perm(n)
		last := order[n-1]
		for _, i := range order[:n-1] {
			d.ack(i, broker.Ack{})
		}
		for id := uint16(1); id <= uint16(last); id++ {
			if got, _ := c.ack(puback); got != id {
				t.Fatalf("PUBACK %d where %d is due", got, id)
			}
		}
		c.silent(50 * time.Millisecond)
		d.ack(last, broker.Ack{})
		for id := uint16(last + 1); id <= n; id++ {
			if got, _ := c.ack(puback); got != id {
				t.Fatalf("PUBACK %d where %d is due", got, id)
			}
		}
	})
}

func TestRefusedIsAcknowledgedWithItsPlace(t *testing.T) {
	each(t, func(t *testing.T, v byte) {
		d := newDesk()
		b := start(t, broker.Config{Handler: d.handle})
		c := dial(t, b.Addr().String(), hello{id: "P-1", version: v, clean: true})
		c.publish(1, 7, telemetry, "junk")
		d.wait(t, 1)
		place := "telemetry-P-1.0@" + strings.Repeat("9", 150) // longer than one length byte
		d.ack(0, broker.Ack{Refused: place})
		id, property := c.ack(puback)
		want := ""
		if v == 5 {
			want = "twinlog-refused=" + place
		}
		if id != 7 || property != want {
			t.Fatalf("PUBACK %d with %q, want %q", id, property, want)
		}
		if s := b.Stats(); s.Refused != 1 || s.Acked != 1 {
			t.Fatalf("%+v", s)
		}
	})
	t.Run("not to a client that wants no problem information", func(t *testing.T) {
		d := newDesk()
		b := start(t, broker.Config{Handler: d.handle})
		c := dial(t, b.Addr().String(), hello{id: "P-1", version: 5, clean: true, props: []byte{0x17, 0}})
		c.publish(1, 7, telemetry, "junk")
		d.wait(t, 1)
		d.ack(0, broker.Ack{Refused: "a@1"})
		if id, property := c.ack(puback); id != 7 || property != "" {
			t.Fatalf("PUBACK %d with %q", id, property)
		}
	})
}

func TestDisconnectAcknowledgesOnlyWhatCameBefore(t *testing.T) {
	each(t, func(t *testing.T, v byte) {
		d := newDesk()
		b := start(t, broker.Config{Handler: d.handle})
		c := dial(t, b.Addr().String(), hello{id: "P-1", version: v, clean: true})
		for id := uint16(1); id <= 3; id++ {
			c.publish(1, id, telemetry, "x")
		}
		d.wait(t, 3)
		d.ack(2, broker.Ack{})
		d.ack(1, broker.Ack{Disconnect: true, Expected: 48292})
		d.ack(0, broker.Ack{})
		if id, _ := c.ack(puback); id != 1 {
			t.Fatalf("PUBACK %d", id)
		}
		if v == 5 {
			p := c.read()
			if p.kind != disconnect || p.body[0] != 0x97 || !strings.Contains(string(p.body), "48292") {
				t.Fatalf("%+v: want DISCONNECT 0x97 with the expected number", p)
			}
		}
		c.closed()
		if s := b.Stats(); s.Disconnected != 1 || s.Acked != 1 {
			t.Fatalf("%+v", s)
		}
	})
}

func TestQoS0And2(t *testing.T) {
	each(t, func(t *testing.T, v byte) {
		d := newDesk()
		b := start(t, broker.Config{Handler: d.handle})
		c := dial(t, b.Addr().String(), hello{id: "P-1", version: v, clean: true})
		c.publish(0, 0, telemetry, "zero")
		c.publish(2, 9, telemetry, "two")
		d.wait(t, 2)
		c.silent(50 * time.Millisecond)
		d.ack(0, broker.Ack{})
		d.ack(1, broker.Ack{})
		if id, _ := c.ack(pubrec); id != 9 {
			t.Fatalf("PUBREC %d", id)
		}
		c.send([]byte{0x62, 2, 0, 9})
		p := c.read()
		if p.kind != pubcomp || (len(p.body) > 2 && p.body[2] != 0) {
			t.Fatalf("PUBCOMP: %+v", p)
		}
		// The packet id is free again.
		c.publish(2, 9, telemetry, "three")
		d.wait(t, 3)
		d.ack(2, broker.Ack{})
		if id, _ := c.ack(pubrec); id != 9 {
			t.Fatalf("PUBREC %d", id)
		}
	})
}

// TestFullWindowStopsOneClientOnly holds 20 messages of one client, which may
// have 8 in flight, while another client goes on.
func TestFullWindowStopsOneClientOnly(t *testing.T) {
	d := newDesk()
	b := start(t, broker.Config{Window: 8, Handler: func(p broker.Publish, ack func(broker.Ack)) <-chan struct{} {
		if p.Client == "quick" {
			return atOnce(p, ack)
		}
		return d.handle(p, ack)
	}})
	slow := dial(t, b.Addr().String(), hello{id: "slow", version: 4, clean: true})
	for id := uint16(1); id <= 20; id++ {
		slow.publish(1, id, telemetry, "x")
	}
	d.wait(t, 8)
	quick := dial(t, b.Addr().String(), hello{id: "quick", version: 4, clean: true})
	for id := uint16(1); id <= 100; id++ {
		quick.publish(1, id, telemetry, "x")
		quick.ack(puback)
	}
	if n := len(d.wait(t, 8)); n != 8 {
		t.Fatalf("%d messages with the handler, the window is 8", n)
	}
	for i := range 20 {
		d.wait(t, i+1)
		d.ack(i, broker.Ack{})
		if id, _ := slow.ack(puback); id != uint16(i+1) {
			t.Fatalf("PUBACK %d where %d is due", id, i+1)
		}
	}
}

func TestHandlerMayAskAClientToWait(t *testing.T) {
	wait := make(chan struct{})
	var n int
	var mu sync.Mutex
	count := func() int { mu.Lock(); defer mu.Unlock(); return n }
	b := start(t, broker.Config{Handler: func(_ broker.Publish, ack func(broker.Ack)) <-chan struct{} {
		mu.Lock()
		n++
		mu.Unlock()
		ack(broker.Ack{})
		return wait
	}})
	c := dial(t, b.Addr().String(), hello{id: "P-1", version: 4, clean: true})
	c.publish(1, 1, telemetry, "x")
	c.publish(1, 2, telemetry, "x")
	c.ack(puback)
	c.silent(50 * time.Millisecond)
	if count() != 1 {
		t.Fatalf("%d messages while waiting", count())
	}
	close(wait)
	c.ack(puback)
}

func TestSubscribersGetWhatIsDurable(t *testing.T) {
	each(t, func(t *testing.T, v byte) {
		d := newDesk()
		b := start(t, broker.Config{Handler: d.handle})
		sub := dial(t, b.Addr().String(), hello{id: "uns", version: v, clean: true})
		if granted := sub.subscribe(1, 1, "acme/#"); granted != 0 {
			t.Fatalf("granted QoS %d, want 0", granted)
		}
		if granted := sub.subscribe(2, 2, "acme/site/area/line/pump/P-1/commands/+"); granted != 1 {
			t.Fatalf("granted QoS %d for commands, want 1", granted)
		}
		c := dial(t, b.Addr().String(), hello{id: "P-1", version: v, clean: true})
		c.publish(1, 1, telemetry, "a")
		c.publish(1, 2, telemetry, "b")
		d.wait(t, 2)
		sub.silent(50 * time.Millisecond)
		d.ack(0, broker.Ack{})
		d.ack(1, broker.Ack{})
		for _, want := range []string{"a", "b"} {
			if topic, payload, _ := sub.message(); topic != telemetry || payload != want {
				t.Fatalf("got %s %s, want %s", topic, payload, want)
			}
		}
	})
}

func TestUserPropertiesReachSubscribers(t *testing.T) {
	b := start(t, broker.Config{Handler: atOnce})
	sub := dial(t, b.Addr().String(), hello{id: "uns", version: 5, clean: true})
	sub.subscribe(1, 0, "#")
	c := dial(t, b.Addr().String(), hello{id: "P-1", version: 5, clean: true})
	p := userProperty("unit", "degC")
	body := append(str(nil, telemetry), byte(len(p)))
	c.send(framed(0x30, append(append(body, p...), "21.5"...)))
	if got := sub.read(); !strings.Contains(string(got.body), "degC") || !strings.HasSuffix(string(got.body), "21.5") {
		t.Fatalf("got %q", got.body)
	}
}

func TestRetainedStatus(t *testing.T) {
	const status = "acme/site/area/line/pump/P-1/status"
	d := newDesk()
	b := start(t, broker.Config{Handler: d.handle})
	b.Retain("acme/site/area/line/pump/P-2/status", []byte(`{"online":false}`))
	c := dial(t, b.Addr().String(), hello{id: "P-1", version: 4, clean: true})
	c.send(appendPublish(nil, 4, 1, 1, true, status, []byte(`{"online":true}`)))
	if p := d.wait(t, 1)[0]; !p.Retain {
		t.Fatalf("%+v", p)
	}
	early := dial(t, b.Addr().String(), hello{id: "early", version: 4, clean: true})
	early.subscribe(1, 0, status)
	early.silent(50 * time.Millisecond) // not durable yet, so nobody sees it
	d.ack(0, broker.Ack{})
	c.ack(puback)
	if _, payload, retain := early.message(); payload != `{"online":true}` || retain {
		t.Fatalf("%s retain=%v", payload, retain)
	}
	late := dial(t, b.Addr().String(), hello{id: "late", version: 4, clean: true})
	late.subscribe(1, 0, "acme/+/+/+/+/+/status")
	got := map[string]string{}
	for range 2 {
		topic, payload, retain := late.message()
		if !retain {
			t.Fatalf("%s is not marked as retained", topic)
		}
		got[topic] = payload
	}
	if got[status] != `{"online":true}` || len(got) != 2 {
		t.Fatalf("retained: %v", got)
	}
}

func TestWill(t *testing.T) {
	const status = "acme/site/area/line/pump/P-1/status"
	gone := &will{topic: status, payload: `{"online":false}`, retain: true}
	each(t, func(t *testing.T, v byte) {
		d := newDesk()
		b := start(t, broker.Config{Handler: d.handle})
		addr := b.Addr().String()
		watch := dial(t, addr, hello{id: "watch", version: v, clean: true})
		watch.subscribe(1, 0, "acme/+/+/+/+/+/status")

		c := dial(t, addr, hello{id: "P-1", version: v, clean: true, will: gone})
		c.publish(1, 1, telemetry, "last words")
		d.wait(t, 1)
		_ = c.conn.Close()
		p := d.wait(t, 2)[1]
		if !p.Will || p.Client != "P-1" || p.Topic != status || !p.Retain || string(p.Payload) != gone.payload {
			t.Fatalf("will: %+v", p)
		}
		d.ack(1, broker.Ack{})
		watch.silent(50 * time.Millisecond) // after what the client said before
		d.ack(0, broker.Ack{})
		if _, payload, _ := watch.message(); payload != gone.payload {
			t.Fatalf("watcher got %s", payload)
		}

		c = dial(t, addr, hello{id: "P-1", version: v, clean: true, will: gone})
		c.send([]byte{0xe0, 0}) // DISCONNECT: the will is void
		c.closed()
		time.Sleep(50 * time.Millisecond)
		if n := len(d.wait(t, 2)); n != 2 {
			t.Fatalf("%d messages after a clean disconnect", n)
		}
	})
	t.Run("not when the client is back already", func(t *testing.T) {
		d := newDesk()
		b := start(t, broker.Config{Handler: d.handle})
		old := dial(t, b.Addr().String(), hello{id: "P-1", version: 4, clean: true, will: gone})
		again := dial(t, b.Addr().String(), hello{id: "P-1", version: 4, clean: true, will: gone})
		old.t = discard{t}
		_, _ = old.tryRead(5 * time.Second)
		again.publish(1, 1, status, `{"online":true}`)
		time.Sleep(100 * time.Millisecond)
		got := d.wait(t, 1)
		if len(got) != 1 || got[0].Will {
			t.Fatalf("%+v", got)
		}
	})
	t.Run("after its delay, unless the client comes back", func(t *testing.T) {
		d := newDesk()
		b := start(t, broker.Config{Handler: d.handle})
		later := *gone
		later.delay = 1
		expiry := []byte{0x11, 0, 0, 0, 60}
		c := dial(t, b.Addr().String(), hello{id: "P-1", version: 5, will: &later, props: expiry})
		_ = c.conn.Close()
		time.Sleep(300 * time.Millisecond)
		c = dial(t, b.Addr().String(), hello{id: "P-1", version: 5, will: &later, props: expiry})
		time.Sleep(1200 * time.Millisecond)
		if n := len(d.wait(t, 0)); n != 0 {
			t.Fatalf("%d messages although it came back", n)
		}
		_ = c.conn.Close()
		if p := d.wait(t, 1)[0]; !p.Will {
			t.Fatalf("%+v", p)
		}
	})
}

type discard struct{ testing.TB }

func (discard) Fatal(...any) {}

func TestLimits(t *testing.T) {
	b := start(t, broker.Config{Handler: atOnce, MaxPacket: 2000, MaxClients: 2, ConnectWithin: 200 * time.Millisecond})
	addr := b.Addr().String()
	t.Run("a packet too large ends the connection", func(t *testing.T) {
		c := dial(t, addr, hello{id: "big", version: 4, clean: true})
		c.publish(1, 1, telemetry, strings.Repeat("x", 2000))
		c.closed()
	})
	t.Run("a connection that says nothing is ended", func(t *testing.T) {
		dialOnly(t, addr, 4).closed()
	})
	t.Run("clients beyond the limit are refused", func(t *testing.T) {
		dial(t, addr, hello{id: "a", version: 5, clean: true})
		dial(t, addr, hello{id: "b", version: 5, clean: true})
		c := dialOnly(t, addr, 5)
		c.send(connect(hello{id: "c", version: 5, clean: true}))
		if p := c.read(); p.kind != connack || p.body[1] != 0x89 {
			t.Fatalf("%+v, want CONNACK 0x89", p)
		}
	})
}

func TestAccess(t *testing.T) {
	b := start(t, broker.Config{Handler: atOnce, Access: broker.Access{
		Connect:   func(c broker.Client) bool { return c.ID != "evil" },
		Publish:   func(c broker.Client, topic string) bool { return strings.Contains(topic, "/"+c.ID+"/") },
		Subscribe: func(_ broker.Client, filter string) bool { return !strings.HasPrefix(filter, "#") },
	}})
	addr := b.Addr().String()
	c := dialOnly(t, addr, 5)
	c.send(connect(hello{id: "evil", version: 5, clean: true}))
	if p := c.read(); p.kind != connack || p.body[1] != 0x86 {
		t.Fatalf("%+v, want CONNACK 0x86", p)
	}
	c = dial(t, addr, hello{id: "P-1", version: 5, clean: true})
	if granted := c.subscribe(1, 0, "#"); granted != 0x87 {
		t.Fatalf("granted %#x, want 0x87", granted)
	}
	c.publish(1, 1, "acme/site/area/line/pump/P-2/telemetry", "not mine")
	if p := c.read(); p.kind != puback || p.body[2] != 0x87 {
		t.Fatalf("%+v, want PUBACK 0x87", p)
	}
	c.publish(1, 2, telemetry, "mine")
	if p := c.read(); p.kind != puback || len(p.body) != 2 {
		t.Fatalf("%+v, want PUBACK", p)
	}
}

// TestServerPublishes: what the server says reaches a subscription at QoS 1 and
// not the handler.
func TestServerPublishes(t *testing.T) {
	d := newDesk()
	b := start(t, broker.Config{Handler: d.handle})
	c := dial(t, b.Addr().String(), hello{id: "P-1", version: 5, clean: true})
	topic := "acme/site/area/line/pump/P-1/commands/01"
	c.subscribe(1, 1, topic)
	if err := b.Publish(topic, []byte("open"), 1, false); err != nil {
		t.Fatal(err)
	}
	p, first := c.readFirst()
	if p.kind != publish || first&6 != 2 {
		t.Fatalf("%+v, first byte %#x, want PUBLISH of QoS 1", p, first)
	}
	if len(d.got) != 0 {
		t.Fatalf("the handler got %+v", d.got)
	}
}

// TestManyPublishersAndASubscriber is the load under which mochi's own QoS 1
// fan-out deadlocks within seconds.
func TestManyPublishersAndASubscriber(t *testing.T) {
	b := start(t, broker.Config{Handler: atOnce})
	addr := b.Addr().String()
	sub := dial(t, addr, hello{id: "uns", version: 5, clean: true})
	sub.subscribe(1, 1, "#")
	sub.subscribe(2, 1, "acme/site/area/line/pump/P-1/commands/+")
	var seen sync.WaitGroup
	var received int
	end := time.Now().Add(min(budget.For(t)/4, 3*time.Second))
	seen.Go(func() {
		for {
			p, err := sub.tryRead(time.Second)
			if err != nil {
				return
			}
			if p.kind == publish {
				received++
				if topic, rest := cutString(p.body); strings.Contains(topic, "/commands/") {
					_, _ = sub.conn.Write([]byte{0x40, 2, rest[0], rest[1]}) // PUBACK
				}
			}
		}
	})
	var publishers sync.WaitGroup
	var sent int
	var mu sync.Mutex
	for i := range 4 {
		publishers.Go(func() {
			c := dial(t, addr, hello{id: fmt.Sprint("pub", i), version: 4, clean: true})
			for n := 0; time.Now().Before(end); n++ {
				var batch []byte
				for id := range uint16(8) {
					batch = appendPublish(batch, 4, 1, id+1, false, telemetry, []byte("x"))
				}
				c.send(batch)
				_ = b.Publish("acme/site/area/line/pump/P-1/commands/01", []byte("x"), 1, false)
				for range 8 {
					c.ack(puback)
				}
				mu.Lock()
				sent += 8
				mu.Unlock()
			}
		})
	}
	publishers.Wait()
	seen.Wait()
	s := b.Stats()
	t.Logf("%d messages acknowledged, %d deliveries, %d dropped", sent, received, s.Dropped)
	if uint64(sent) != s.Acked || received == 0 {
		t.Fatalf("%d sent, %+v", sent, s)
	}
}

func TestBadConfig(t *testing.T) {
	if _, err := broker.Listen(t.Context(), broker.Config{Addr: "127.0.0.1:0"}); !errors.Is(err, broker.ErrBadConfig) {
		t.Fatal(err)
	}
}

// TestCommandsUnderLoad: four goroutines publish at QoS 1 to one subscriber that
// acknowledges. With mochi's own send quota this stands still within a second:
// its reader and a publisher wait for each other in Inflight.NextImmediate.
func TestCommandsUnderLoad(t *testing.T) {
	const topic = "acme/site/area/line/pump/P-1/commands/01"
	b := start(t, broker.Config{Handler: atOnce})
	receiveMaximum := []byte{0x21, 0xff, 0xff} // without it mochi has no quota
	sub := dial(t, b.Addr().String(), hello{id: "P-1", version: 5, clean: true, props: receiveMaximum})
	sub.subscribe(1, 1, topic)
	var sent, acked atomic.Int64
	go func() {
		for {
			p, err := sub.tryRead(20 * time.Second)
			if err != nil {
				return
			}
			if p.kind == publish {
				_, id := cutString(p.body)
				if _, err := sub.conn.Write([]byte{0x40, 2, id[0], id[1]}); err != nil {
					return
				}
				acked.Add(1)
			}
		}
	}()
	end := time.Now().Add(min(budget.For(t)/4, 2*time.Second))
	done := make(chan error, 4)
	for range 4 {
		go func() {
			for time.Now().Before(end) {
				if sent.Load()-acked.Load() > 32 {
					time.Sleep(20 * time.Microsecond)
					continue
				}
				sent.Add(1)
				if err := b.Publish(topic, []byte("open"), 1, false); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(20 * time.Second):
			panic("the publishers stand still") // Run can't return either
		}
	}
	t.Logf("%d acknowledged, %d dropped", acked.Load(), b.Stats().Dropped)
	if acked.Load() == 0 {
		t.Fatal("nothing was acknowledged")
	}
}
