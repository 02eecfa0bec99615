package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/adapters/field/station"
	"github.com/twinlog/twinlog/cmd/gateway"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge"
	"github.com/twinlog/twinlog/test/peer"
)

// background runs something until stop, or the end of the test, and waits for
// its end.
func background(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// startStation runs a station and returns a configuration that polls it twenty
// times a second.
func startStation(t *testing.T, config station.Config) (c gateway.Config, stop func()) {
	t.Helper()
	s, err := station.New(config)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(
		"every: 1s", "every: 50ms", "frozen: 10s", "frozen: 400ms", "timeout: 300ms", "timeout: 150ms",
		"min: 500ms, max: 5s", "min: 50ms, max: 200ms",
	).Replace(string(station.GatewayConfig(s.ModbusAddr())))
	c, err = gateway.Parse("station.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c, background(t, s.Run)
}

// A record keeps what a gateway says, by point.
type record struct {
	mu sync.Mutex // guards got: Put and the test
	// got is, for each point, each quality that it had in turn.
	got map[telemetry.Point][]quality.Code
	err error
}

func (r *record) Put(_ context.Context, messages ...edge.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range messages {
		for _, s := range m.Row.Samples {
			p := telemetry.Point{Device: m.Row.Device, Signal: s.Signal}
			if n := len(r.got[p]); n == 0 || r.got[p][n-1] != s.Quality.Code {
				r.got[p] = append(r.got[p], s.Quality.Code)
			}
			if bad := s.Quality.Code.Status() == quality.IsBad; bad != (s.Value.Kind == telemetry.Null) && r.err == nil {
				r.err = fmt.Errorf("%v is %+v, %v", p, s.Value, s.Quality.Code)
			}
		}
	}
	return nil
}

func (r *record) of(device, signal string) []quality.Code {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]quality.Code(nil), r.got[telemetry.Point{Device: device, Signal: signal}]...)
}

// TestABadDay runs the pipelines of the demonstration against the simulated
// station: its sensor freezes, breaks and is repaired, then the machines are cut
// off and come back. A failed sensor is told from a failed network, and neither
// disturbs what is well.
func TestABadDay(t *testing.T) {
	t.Parallel()
	c, _ := startStation(t, station.Config{
		Seed:    3,
		Failure: station.Failure{Frozen: time.Second, Broken: 2500 * time.Millisecond, Repaired: 3500 * time.Millisecond},
		Outage:  station.Outage{After: 4500 * time.Millisecond, Machines: time.Second},
	})
	pipelines, err := c.Pipelines(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r := &record{got: map[telemetry.Point][]quality.Code{}}
	g, err := edge.New(r, slog.New(slog.DiscardHandler), pipelines)
	if err != nil {
		t.Fatal(err)
	}
	background(t, g.Run)
	time.Sleep(7 * time.Second)

	lost := []quality.Code{quality.BadCommunicationError}
	frozen := quality.UncertainLastUsableValue.WithLimit(quality.Constant)
	well := append(append([]quality.Code{quality.Good}, lost...), quality.Good)
	sick := append(append([]quality.Code{quality.Good, frozen, quality.BadSensorFailure, quality.Good}, lost...), quality.Good)
	if diff := cmp.Diff(sick, r.of("P-102", "motor_temp")); diff != "" {
		t.Errorf("the bad sensor (-want +got):\n%s", diff)
	}
	for _, signal := range [][2]string{{"P-101", "motor_temp"}, {"P-102", "vibration"}, {"P-104", "running"}, {"T-202", "level"}, {"V-301", "command"}} {
		if diff := cmp.Diff(well, r.of(signal[0], signal[1])); diff != "" {
			t.Errorf("%v (-want +got):\n%s", signal, diff)
		}
	}
	if r.mu.Lock(); r.err != nil {
		t.Error(r.err)
	}
	if len(r.got) != 38 {
		t.Errorf("%d signals, want 38", len(r.got))
	}
	r.mu.Unlock()
}

// mosquitto starts an independent broker and returns its host:port.
func mosquitto(t *testing.T) string {
	t.Helper()
	program := peer.Need(t, "mosquitto")
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a free port
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(address)
	file := filepath.Join(t.TempDir(), "mosquitto.conf")
	if err := os.WriteFile(file, []byte("listener "+port+" 127.0.0.1\nallow_anonymous true\npersistence false\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-c", file)
	cmd.Stderr = io.Discard
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() })
	for range 100 {
		if conn, err := net.Dial("tcp", address); err == nil { //nolint:noctx // loopback
			_ = conn.Close()
			return address
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("mosquitto does not listen")
	return ""
}

// A message is what both kinds of publishers say, as far as this test cares.
type message struct {
	topic    string
	DeviceID string `json:"device_id"`
	Event    string
	Seq      uint64
	MsgID    string                     `json:"msg_id"`
	D        map[string]json.RawMessage `json:"d"`
	Meta     struct {
		GwID string `json:"gw_id"`
		Inc  string
	}
	Online *bool
}

// listen hands on everything that the broker carries.
func listen(t *testing.T, broker string) func() []message {
	t.Helper()
	var mu sync.Mutex // guards got
	var got []message
	cfg := autopaho.ClientConfig{
		ServerUrls: []*url.URL{{Scheme: "mqtt", Host: broker}}, KeepAlive: 30, CleanStartOnInitialConnection: true,
		OnConnectionUp: func(cm *autopaho.ConnectionManager, _ *paho.Connack) {
			_, _ = cm.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "#", QoS: 1}}})
		},
		ClientConfig: paho.ClientConfig{ClientID: "listener", OnPublishReceived: []func(paho.PublishReceived) (bool, error){
			func(p paho.PublishReceived) (bool, error) {
				m := message{topic: p.Packet.Topic}
				if err := json.Unmarshal(p.Packet.Payload, &m); err != nil {
					t.Errorf("%s: %v", p.Packet.Payload, err)
				}
				mu.Lock()
				defer mu.Unlock()
				got = append(got, m)
				return true, nil
			},
		}},
	}
	cm, err := autopaho.NewConnection(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := cm.AwaitConnection(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	return func() []message {
		mu.Lock()
		defer mu.Unlock()
		return append([]message(nil), got...)
	}
}

// TestThroughABroker runs the whole gateway and the publishing pumps through a
// real broker and a network that is cut: the gateway's numbers arrive without a
// hole and in order, also across a restart; the pumps that keep nothing have
// holes, and their last will says that they were gone.
func TestThroughABroker(t *testing.T) {
	t.Parallel()
	broker := mosquitto(t)
	got := listen(t, broker)
	uplink, err := station.NewLink("", broker)
	if err != nil {
		t.Fatal(err)
	}
	background(t, uplink.Run)
	c, stop := startStation(t, station.Config{
		Seed: 4, MQTT: "mqtt://" + broker, Uplinks: []*station.Link{uplink},
		Outage: station.Outage{After: 2 * time.Second, Machines: 2500 * time.Millisecond, Uplink: 2700 * time.Millisecond},
	})
	c.Uplink.URL = "mqtt://" + uplink.Addr()
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
	defer cancel()
	g, err := gateway.Open(ctx, c, dir, log)
	if err != nil {
		t.Fatal(err)
	}
	deepest := make(chan uint64, 1)
	go func() {
		deep := uint64(0)
		for ctx.Err() == nil {
			deep = max(deep, g.Status().Outbox.Depth)
			time.Sleep(20 * time.Millisecond)
		}
		deepest <- deep
	}()
	if err := g.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run returned %v", err)
	}
	status := g.Status()
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	// A second life on the same directory.
	ctx2, cancel2 := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel2()
	if err := gateway.Run(ctx2, c, dir, log); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run returned %v", err)
	}

	if deep := <-deepest; deep < 10 {
		t.Errorf("the outbox was never deeper than %d: was the link cut?", deep)
	}
	if status.Outbox.Links < 2 || status.Outbox.Lost != 0 {
		t.Errorf("outbox %+v", status.Outbox)
	}
	stop()
	time.Sleep(200 * time.Millisecond)
	checkNumbers(t, got(), status.Outbox.Incarnation, status.Outbox.Acked)
}

func checkNumbers(t *testing.T, got []message, incarnation string, acked uint64) {
	t.Helper()
	last := map[string]uint64{}
	holes := map[string]uint64{}
	states := map[string][]bool{}
	for _, m := range got {
		if m.Online != nil {
			states[m.topic] = append(states[m.topic], *m.Online)
			continue
		}
		source := m.DeviceID
		if m.Meta.GwID != "" {
			source = m.Meta.GwID
			if m.Meta.Inc != incarnation {
				t.Errorf("incarnation %q, want %q all along", m.Meta.Inc, incarnation)
			}
		}
		if m.Seq > last[source]+1 {
			holes[source] += m.Seq - last[source] - 1
		}
		last[source] = max(last[source], m.Seq)
		if m.Event == "" && len(m.D) == 0 {
			t.Errorf("an empty message %+v", m)
		}
	}
	if got[0].Meta.GwID == station.GatewayID && got[0].Event != "source.started" {
		t.Errorf("the first message is %+v", got[0])
	}
	gw := station.GatewayID
	if holes[gw] != 0 || last[gw] < acked || last[gw] < 200 {
		t.Errorf("the gateway's numbers go to %d of %d with %d missing", last[gw], acked, holes[gw])
	}
	for _, pump := range []string{"P-105", "P-106"} {
		if holes[pump] < 1 || holes[pump] > 5 || last[pump] < 6 {
			t.Errorf("%s: numbers to %d with %d missing", pump, last[pump], holes[pump])
		}
		topic := station.Place + "/centrifugal_pump/" + pump + "/status"
		if diff := cmp.Diff([]bool{true, false, true, false}, states[topic]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", topic, diff)
		}
	}
}
