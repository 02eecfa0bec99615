package ingest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/adapters/uplink/wire"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/ingest"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// plant is an Ingester over a log in memory, with a clock that stands still
// unless it is told to move.
type plant struct {
	tb  fataler
	log eventlog.Log
	g   *ingest.Ingester
	cfg ingest.Config
	// whole and shallow, if set, are the depth of the windows.
	whole, shallow int

	// mu guards now, which the log reads too.
	mu  sync.Mutex
	now time.Time
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func newPlant(tb fataler) *plant {
	p := &plant{tb: tb, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), cfg: ingest.Config{Retry: time.Millisecond}}
	p.log = memlog.New("plant", p.clock)
	p.start()
	return p
}

func (p *plant) start() {
	p.g = ingest.New(p.log, wire.NewReader(wire.Config{}), p.cfg)
	if p.whole > 0 {
		p.g.SetDepth(p.whole, p.shallow)
	}
}

// restart forgets everything but the log.
func (p *plant) restart() {
	p.g.Close()
	p.start()
}

func (p *plant) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *plant) wait(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = p.now.Add(d)
}

// delivery is what a broker hands over.
type delivery struct {
	topic, client, payload string
	connection             uint64
}

func (d delivery) message(at time.Time) ingest.Message {
	client := d.client
	if client == "" {
		client = "client"
	}
	return ingest.Message{Topic: d.topic, Client: client, Payload: []byte(d.payload), Arrived: at, Connection: d.connection}
}

// send submits deliveries all at once and returns their outcomes in order.
func (p *plant) send(all ...delivery) []ingest.Outcome {
	p.tb.Helper()
	out := make([]ingest.Outcome, len(all))
	var answered sync.WaitGroup
	answered.Add(len(all))
	for i, d := range all {
		if wait := p.g.Submit(d.message(p.clock()), func(o ingest.Outcome) { out[i] = o; answered.Done() }); wait != nil {
			<-wait
		}
	}
	done := make(chan struct{})
	go func() { answered.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		p.tb.Fatalf("no answer within 30 s")
	}
	return out
}

// answer is an outcome in a word.
func answer(o ingest.Outcome) string {
	switch {
	case o.Duplicate:
		return "duplicate"
	case o.Refused != nil:
		return "refused"
	case o.Ack:
		return "stored"
	case o.Expected != 0:
		return fmt.Sprintf("expected %d", o.Expected)
	case o.Disconnect:
		return "not stored"
	default:
		return "nothing"
	}
}

func answers(all []ingest.Outcome) string {
	var words []string
	for _, o := range all {
		words = append(words, answer(o))
	}
	return strings.Join(words, ", ")
}

// stream returns the events of a stream, each in a few words.
func (p *plant) stream(id eventlog.StreamID) []string {
	p.tb.Helper()
	var all []string
	for rec, err := range p.log.Read(context.Background(), id, 0, eventlog.Forwards) {
		if err != nil {
			p.tb.Fatalf("read %s: %v", id, err)
		}
		all = append(all, words(p.tb, rec))
	}
	return all
}

func words(tb fataler, rec eventlog.Record) string {
	tb.Helper()
	if rec.Type == eventlog.TelemetryRecorded {
		r, err := telemetry.Decode(rec.Data)
		if err != nil {
			tb.Fatalf("%s@%d: %v", rec.Stream, rec.Revision, err)
		}
		id := r.MsgID
		if r.MsgIDDerived {
			id = "derived"
		}
		s := "row"
		if r.HasSeq {
			s += fmt.Sprint(" ", r.Seq)
		}
		if id != "" {
			s += " " + id
		}
		for _, v := range r.Samples {
			f, _ := v.Value.Number()
			s += fmt.Sprintf(" %s=%v", v.Signal, f)
		}
		return s
	}
	var data map[string]any
	if err := json.Unmarshal(rec.Data, &data); err != nil {
		tb.Fatalf("%s@%d: %v", rec.Stream, rec.Revision, err)
	}
	name := strings.TrimSuffix(strings.TrimPrefix(rec.Type, "telemetry."), ".v1")
	for _, k := range []string{"seq", "from", "to", "highest", "closes", "previous", "incarnation", "msg_id"} {
		if v, ok := data[k]; ok {
			name += fmt.Sprintf(" %s=%v", k, v)
		}
	}
	if data["reason"] != nil && strings.HasPrefix(name, "gap") {
		name += " " + data["reason"].(string)
	}
	return name
}

const (
	gatewayTopic = "acme/s/a/l/gateway/gw-1/telemetry"
	pumpTopic    = "acme/s/a/l/pump/P-1/telemetry"
	incA         = "aaaaaaaaaaaaaaaa"
	incB         = "bbbbbbbbbbbbbbbb"
)

// started is the first message of an outbox.
func started(inc, previous string) delivery {
	return delivery{topic: gatewayTopic, client: "gw-1", payload: fmt.Sprintf(
		`{"schema_version":"2.1","event":"source.started","seq":1,"ts":1710844800000,"d":{},"meta":{"gw_id":"gw-1","inc":%q},"previous":%q,"last_acked":0,"reason":"new outbox"}`,
		inc, previous)}
}

func lost(inc string, from, to int) delivery {
	return delivery{topic: gatewayTopic, client: "gw-1", payload: fmt.Sprintf(
		`{"event":"telemetry.lost","seq":%d,"ts":1710844800000,"d":{},"meta":{"gw_id":"gw-1","inc":%q},"from":%d,"to":%d,"counts":{"messages":%d,"samples":9},"oldest":1,"reason":"full"}`,
		from, inc, from, to, to-from+1)}
}

// sample is a gateway's message about P-1.
func sample(inc string, seq, value int) delivery {
	return delivery{topic: pumpTopic, client: "gw-1", payload: fmt.Sprintf(
		`{"msg_id":%q,"device_id":"P-1","ts":%d,"seq":%d,"d":{"x":%d},"meta":{"gw_id":"gw-1","inc":%q}}`,
		telemetry.MsgID(inc, uint64(seq)), 1710844800000+seq, seq, value, inc)}
}

// broken is a gateway's message whose body is invalid.
func broken(inc string, seq int) delivery {
	return delivery{topic: pumpTopic, client: "gw-1", payload: fmt.Sprintf(
		`{"ts":1,"seq":%d,"d":{"x":[]},"meta":{"gw_id":"gw-1","inc":%q}}`, seq, inc)}
}

// own is a message of P-1 that publishes by itself.
func own(msgID string, seq int, at int64, value int) delivery {
	s := `{"device_id":"P-1"`
	if msgID != "" {
		s += fmt.Sprintf(`,"msg_id":%q`, msgID)
	}
	if seq >= 0 {
		s += fmt.Sprintf(`,"seq":%d`, seq)
	}
	if at > 0 {
		s += fmt.Sprintf(`,"ts":%d`, at)
	}
	return delivery{topic: pumpTopic, client: "P-1", payload: s + fmt.Sprintf(`,"d":{"x":%d}}`, value)}
}

var (
	streamA = telemetry.Stream("gw-1", incA)
	streamB = telemetry.Stream("gw-1", incB)
	streamP = telemetry.Stream("P-1", telemetry.Unordered)
)

func (p *plant) expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}
