//go:build linux

package e2e

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/twinlog/twinlog/adapters/queue/badgerqueue"
	"github.com/twinlog/twinlog/adapters/uplink/mqttlink"
	"github.com/twinlog/twinlog/adapters/uplink/wire"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge/outbox"
)

const place = "acme/site/area/line"

func topic(device string) string { return place + "/pump/" + device + "/telemetry" }

// message is the n-th message of a device that publishes by itself. It is the
// same whenever it is made: a repeat with another time would be another message.
func message(device string, n int) []byte {
	return fmt.Appendf(nil, `{"schema_version":"2.1","msg_id":"%s-%08d","device_id":%q,"device_type":"pump","ts":%d,"seq":%d,"d":{"n":{"v":%d,"q":192}},"meta":{"fw_version":"2.3.1"}}`,
		device, n, device, 1_790_000_000_000+int64(n), n+1, n)
}

// A ledger is what a client knows to be acknowledged.
type ledger struct {
	mu    sync.Mutex
	acked []int
	made  int // messages made so far; all below are acknowledged or pending
	quiet bool
}

func (l *ledger) note(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked = append(l.acked, n)
}

// next makes a message, unless the client has been told to be quiet.
func (l *ledger) next() (n int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.quiet {
		return 0, false
	}
	l.made++
	return l.made - 1, true
}

func (l *ledger) hush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.quiet = true
}

func (l *ledger) acknowledged() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]int{}, l.acked...)
}

// settled reports whether everything made is acknowledged.
func (l *ledger) settled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.quiet && len(l.acked) == l.made
}

// A pipeliner speaks MQTT 3.1.1 by hand, with a window of messages in flight. It
// sends again what has no PUBACK after each reconnect, as QoS 1 asks for.
type pipeliner struct {
	ledger
	device  string
	window  int
	pending []int // oldest first
	trouble error // of the protocol: an answer out of order
}

// run publishes until ctx ends.
func (p *pipeliner) run(ctx context.Context, addr string) {
	for ctx.Err() == nil {
		_ = p.session(ctx, addr)
		pause(ctx, 20*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (p *pipeliner) session(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	r := bufio.NewReader(conn)
	if err := hello(conn, r, p.device); err != nil {
		return err
	}
	ids := map[int]uint16{}
	var id uint16
	send := func(n int, dup bool) error {
		if id++; id == 0 {
			id = 1
		}
		ids[n] = id
		_, err := conn.Write(publishPacket(topic(p.device), id, dup, message(p.device, n)))
		return err
	}
	for _, n := range p.pending {
		if err := send(n, true); err != nil {
			return err
		}
	}
	for {
		for len(p.pending) < p.window {
			n, ok := p.next()
			if !ok {
				break
			}
			p.pending = append(p.pending, n)
			if err := send(n, false); err != nil {
				return err
			}
		}
		if len(p.pending) == 0 {
			pause(ctx, 5*time.Millisecond)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		got, err := readAck(r)
		if err != nil {
			return err
		}
		n := p.pending[0]
		if got != ids[n] {
			p.trouble = fmt.Errorf("PUBACK %d where %d is due", got, ids[n])
			return p.trouble
		}
		p.pending = p.pending[1:]
		delete(ids, n)
		p.note(n)
	}
}

// hello connects as MQTT 3.1.1 with a clean session.
func hello(conn net.Conn, r *bufio.Reader, client string) error {
	body := append([]byte{0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 30}, byte(len(client)>>8), byte(len(client)))
	body = append(body, client...)
	if _, err := conn.Write(append([]byte{0x10, byte(len(body))}, body...)); err != nil {
		return err
	}
	var ack [4]byte
	if _, err := io.ReadFull(r, ack[:]); err != nil {
		return err
	}
	if ack != [4]byte{0x20, 2, 0, 0} {
		return fmt.Errorf("CONNACK %x", ack)
	}
	return nil
}

func publishPacket(topic string, id uint16, dup bool, payload []byte) []byte {
	first := byte(0x32)
	if dup {
		first |= 8
	}
	n := 2 + len(topic) + 2 + len(payload)
	b := []byte{first}
	for ; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	b = append(b, byte(n))
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(topic))), topic...)
	return append(binary.BigEndian.AppendUint16(b, id), payload...)
}

func readAck(r *bufio.Reader) (uint16, error) {
	var ack [4]byte
	if _, err := io.ReadFull(r, ack[:]); err != nil {
		return 0, err
	}
	if ack[0] != 0x40 || ack[1] != 2 {
		return 0, fmt.Errorf("packet %x, want PUBACK", ack)
	}
	return binary.BigEndian.Uint16(ack[2:]), nil
}

// A sequencer speaks MQTT 5 through paho and waits for each PUBACK.
type sequencer struct {
	ledger
	device string
}

func (s *sequencer) run(ctx context.Context, addr string) {
	n, ok := s.next()
	for ctx.Err() == nil {
		if !ok {
			pause(ctx, 10*time.Millisecond)
			continue
		}
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			pause(ctx, 20*time.Millisecond)
			continue
		}
		c := paho.NewClient(paho.ClientConfig{ClientID: s.device, Conn: conn, PacketTimeout: 3 * time.Second})
		if _, err := c.Connect(ctx, &paho.Connect{ClientID: s.device, KeepAlive: 30, CleanStart: true}); err != nil {
			_ = conn.Close()
			pause(ctx, 20*time.Millisecond)
			continue
		}
		for ok {
			res, err := c.Publish(ctx, &paho.Publish{Topic: topic(s.device), QoS: 1, Payload: message(s.device, n)})
			if err != nil || res.ReasonCode != 0 {
				break
			}
			s.note(n)
			n, ok = s.next()
		}
		_ = c.Disconnect(&paho.Disconnect{})
	}
}

// A gateway is the product's: an outbox on disk that drains over MQTT. What its
// Put accepted counts as acknowledged.
type gateway struct {
	ledger
	device string
	box    *outbox.Outbox
	stop   func()
}

// newGateway opens the gateway and drains to addr until the test ends.
func newGateway(t *testing.T, id, device, addr string) *gateway {
	t.Helper()
	store, err := badgerqueue.Open(filepath.Join(t.TempDir(), id), badgerqueue.Config{})
	if err != nil {
		t.Fatal(err)
	}
	q, err := store.Lane("")
	if err != nil {
		t.Fatal(err)
	}
	box, err := outbox.Open(t.Context(), q, outbox.Config{
		Gateway: id, Topic: place + "/gateway/" + id + "/telemetry", RetryMin: 20 * time.Millisecond, RetryMax: 200 * time.Millisecond,
		AnswerWithin: 3 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	link, err := mqttlink.New(mqttlink.Config{
		Endpoint: mqttlink.Endpoint{URL: "mqtt://" + addr, ClientID: id}, StatusTopic: place + "/gateway/" + id + "/status",
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- box.Drain(ctx, link) }()
	g := &gateway{device: device, box: box}
	g.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: drain: %v", id, err)
		}
		if err := errors.Join(box.Close(), q.Close()); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	})
	t.Cleanup(g.stop)
	return g
}

// produce puts messages, a few at a time, until ctx ends or the gateway is hushed.
func (g *gateway) produce(ctx context.Context, t *testing.T, every time.Duration) {
	for ctx.Err() == nil {
		pause(ctx, every)
		n, ok := g.next()
		if !ok {
			return
		}
		if _, err := g.box.Put(context.WithoutCancel(ctx), g.body(n)); err != nil {
			t.Errorf("put: %v", err)
			return
		}
		g.note(n)
	}
}

func (g *gateway) body(n int) outbox.Body {
	now := time.Now().Truncate(time.Millisecond)
	row := telemetry.Row{
		Device: g.device, DeviceType: "pump", SourceTime: now, ServerTime: now, Basis: telemetry.FromSourceTS,
		SchemaVersion: wire.SchemaVersion, EdgeLatency: telemetry.NoLatency, HasSeq: true,
		Samples: []telemetry.Sample{{Signal: "n", Value: telemetry.IntValue(int64(n)), Quality: quality.Quality{Scheme: quality.OPCUA}}},
	}
	return outbox.Body{Topic: topic(g.device), Samples: 1, Encode: func(no outbox.Number) ([]byte, error) {
		row.Seq, row.Gateway = no.Seq, g.gatewayID()
		return wire.AppendRow(nil, &row, no.Incarnation), nil
	}}
}

func (g *gateway) gatewayID() string { return "gw-" + g.device }

// drained reports whether the server has everything.
func (g *gateway) drained() bool { return g.settled() && g.box.Stats().Depth == 0 }

// eventually waits for ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
