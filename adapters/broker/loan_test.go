package broker_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/broker"
	"github.com/twinlog/twinlog/test/budget"
)

// TestPacketsKeepTheirOrder sends random packets, plain and not, cut anywhere and
// of any size, and expects each message once and in order, whoever read it.
func TestPacketsKeepTheirOrder(t *testing.T) {
	seed := budget.Seed(t)
	each(t, func(t *testing.T, v byte) {
		rng := rand.New(rand.NewPCG(seed, uint64(v)))
		for range 20 {
			d := newDesk()
			b := start(t, broker.Config{Handler: d.handle, Window: 60_000})
			c := dial(t, b.Addr().String(), hello{id: "P-1", version: v, clean: true})
			var wire []byte
			var want []string
			for i := range 200 {
				switch rng.IntN(8) {
				case 0:
					wire = append(wire, 0xC0, 0) // PINGREQ
				case 1: // QoS 0
					want = append(want, fmt.Sprint("zero", i))
					wire = appendPublish(wire, v, 0, 0, false, telemetry, []byte(want[len(want)-1]))
				case 2: // retained: mochi's
					want = append(want, fmt.Sprint("kept", i))
					wire = appendPublish(wire, v, 1, uint16(i+1), true, telemetry, []byte(want[len(want)-1]))
				case 3: // large
					want = append(want, strings.Repeat("x", rng.IntN(300_000)))
					wire = appendPublish(wire, v, 1, uint16(i+1), false, telemetry, []byte(want[len(want)-1]))
				default:
					want = append(want, fmt.Sprint("plain", i))
					wire = appendPublish(wire, v, 1, uint16(i+1), false, telemetry, []byte(want[len(want)-1]))
				}
			}
			for len(wire) > 0 {
				n := min(len(wire), 1+rng.IntN(1+rng.IntN(100_000)))
				c.send(wire[:n])
				wire = wire[n:]
				if rng.IntN(4) == 0 {
					time.Sleep(time.Duration(rng.IntN(300)) * time.Microsecond) // so that some reads end within a packet
				}
			}
			got := d.wait(t, len(want))
			for i, p := range got {
				if string(p.Payload) != want[i] {
					t.Fatalf("message %d of %d: %.20q, want %.20q", i, len(want), p.Payload, want[i])
				}
			}
		}
	})
}

// TestKeepAliveOfPublishers: a client that says nothing for one and a half times its
// keep-alive is cut off (MQTT 5 §3.1.2.10), one that goes on publishing is not. Bytes of
// a packet that never ends are no packet.
func TestKeepAliveOfPublishers(t *testing.T) {
	each(t, func(t *testing.T, v byte) {
		b := start(t, broker.Config{Handler: atOnce})
		quiet := dial(t, b.Addr().String(), hello{id: "quiet", version: v, clean: true, keepalive: 1})
		busy := dial(t, b.Addr().String(), hello{id: "busy", version: v, clean: true, keepalive: 1})
		quiet.publish(1, 1, telemetry, "x")
		quiet.ack(puback)
		drip := dial(t, b.Addr().String(), hello{id: "drip", version: v, clean: true, keepalive: 1})
		drip.publish(1, 1, telemetry, "x")
		drip.ack(puback)
		endless := appendPublish(nil, v, 1, 2, false, telemetry, make([]byte, 1000))
		began := time.Now()
		for id := uint16(1); time.Since(began) < 3*time.Second; id++ {
			busy.publish(1, id, telemetry, "x")
			busy.ack(puback)
			_, _ = drip.conn.Write(endless[id-1 : id]) // it fails once the server has had enough
			time.Sleep(100 * time.Millisecond)         // the client's own pace
		}
		quiet.closed()
		drip.closed()
		busy.publish(1, 99, telemetry, "x")
		busy.ack(puback)
	})
}

// TestWindowHoldsPublishersBack: a client with a full window is not read, and
// read on when there is room.
func TestWindowHoldsPublishersBack(t *testing.T) {
	each(t, func(t *testing.T, v byte) {
		d := newDesk()
		b := start(t, broker.Config{Handler: d.handle, Window: 10})
		c := dial(t, b.Addr().String(), hello{id: "P-1", version: v, clean: true})
		for id := uint16(1); id <= 30; id++ {
			c.publish(1, id, telemetry, fmt.Sprint(id))
		}
		for n := 10; n <= 30; n += 10 {
			if got := d.wait(t, n); len(got) != n {
				t.Fatalf("%d messages, want %d", len(got), n)
			}
			c.silent(20 * time.Millisecond)
			for i := n - 10; i < n; i++ {
				d.ack(i, broker.Ack{})
			}
			for i := n - 10; i < n; i++ {
				if id, _ := c.ack(puback); int(id) != i+1 {
					t.Fatalf("PUBACK %d, want %d", id, i+1)
				}
			}
		}
		if b.Stats().BackPressure == 0 {
			t.Error("back-pressure was not counted")
		}
	})
}

// TestTheEndComesWithTheLastBytes: a client that is gone in the middle of a packet
// has left, also where the server, busy elsewhere, finds its end in one piece
// with the bytes. (After a whole packet the answer would tell.)
func TestTheEndComesWithTheLastBytes(t *testing.T) {
	busy, free := make(chan struct{}, 100), make(chan struct{})
	b := start(t, broker.Config{Handler: func(p broker.Publish, ack func(broker.Ack)) <-chan struct{} {
		if string(p.Payload) == "wait" {
			busy <- struct{}{}
			<-free
		}
		ack(broker.Ack{})
		return nil
	}})
	join := func(id string) *raw {
		c := dial(t, b.Addr().String(), hello{id: id, version: 4, clean: true})
		c.publish(1, 1, telemetry, "x")
		c.ack(puback)
		return c
	}
	var leaving, keeping []*raw
	for i := range 2 * runtime.GOMAXPROCS(0) {
		leaving = append(leaving, join(fmt.Sprint("leaving-", i)))
	}
	for i := range runtime.GOMAXPROCS(0) { // whatever reads, is kept busy
		c := join(fmt.Sprint("keeping-", i))
		c.publish(1, 2, telemetry, "wait")
		<-busy
		keeping = append(keeping, c)
	}
	for _, c := range leaving {
		c.send(appendPublish(nil, 4, 1, 2, false, telemetry, []byte("half"))[:20])
		_ = c.conn.Close()
	}
	time.Sleep(20 * time.Millisecond) // both are in the server's socket
	close(free)
	for end := time.Now().Add(10 * time.Second); b.Stats().Connected > int64(len(keeping)); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d clients are connected, %d have not left", b.Stats().Connected, len(keeping))
		}
	}
}
