package wire

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/twinlog/twinlog/domain/ingest"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

var seeds = []string{
	full,
	`{"v":"2.1","id":"P-007","t":1710844800123,"ti":72.4,"st":true,"n":null}`,
	`{"d":{"x":-0.0,"y":1e-7,"z":9007199254740993,"s":"NaN","b":false}}`,
	`{"schema_version":"2.1","event":"source.started","seq":1,"ts":1,"d":{},"meta":{"gw_id":"g","inc":"00112233445566aa"},"previous":"","last_acked":0,"reason":"new outbox"}`,
	`{"event":"telemetry.lost","seq":5,"ts":1,"meta":{"gw_id":"g","inc":"00112233445566aa"},"from":5,"to":9,"counts":{"messages":5,"samples":9},"oldest":1,"reason":"r"}`,
	`{"d":{"x":{"v":1,"q":192,"k":"int64"},"y":{"q":1,"qs":"opc-ua","v":"é","c":4}},"meta":{"q":"appendix-b","inc":"","gw_id":""}}`,
	`{"d":{"x":1,"x":2}}`, `{"seq":01,"d":{}}`, `{"d":{"x":1.}}`, `{"ts":1,"d":{"x":1},}`, `{"d":{"a\u0041":"\ud83d\ude00"}}`,
}

// FuzzScanner holds the scanner to encoding/json: what it takes, parse takes
// with the same result, and so does a plain Unmarshal; it panics on nothing.
func FuzzScanner(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	cfg := Config{Quality: quality.OPCDA}
	m := ingest.Message{Topic: pumpTopic, Arrived: arrived}
	f.Fuzz(func(t *testing.T, text string) {
		var fast, slow fields
		if !fast.scan(text, []byte(text)) {
			return
		}
		if err := slow.parse(text); err != nil {
			if strings.Contains(err.Error(), "twice") && telemetry.CheckSignals(fast.samples) != nil {
				return // both refuse it, one a little later
			}
			t.Fatalf("scanned %q, which parse refuses: %v", text, err)
		}
		var a, b ingest.Uplink
		a.Reset()
		b.Reset()
		a.Device, b.Device = "P-007", "P-007"
		errA, errB := cfg.finish(&fast, &m, &a), cfg.finish(&slow, &m, &b)
		if fmt.Sprint(errA) != fmt.Sprint(errB) {
			t.Fatalf("%q: %v, by parse %v", text, errA, errB)
		}
		if d := cmp.Diff(b, a); d != "" {
			t.Fatalf("%q (-parse +scan): %s", text, d)
		}
		if errA == nil {
			unmarshalled(t, text, a.Row)
		}
	})
}

// unmarshalled compares the samples with what encoding/json makes of the text.
func unmarshalled(t *testing.T, text string, r telemetry.Row) {
	var m map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	values := m
	if inner, ok := m["d"].(map[string]any); ok {
		values = inner
	}
	for _, s := range r.Samples {
		want, q := values[s.Signal], quality.AssumedGood
		if o, ok := want.(map[string]any); ok {
			want = o["v"]
			if n, ok := o["q"].(json.Number); ok {
				raw, _ := n.Int64()
				if q = da(uint32(raw)); s.Quality.Scheme != quality.OPCDA {
					q = quality.FromRaw(s.Quality.Scheme, uint32(raw))
				}
			}
		}
		got := any(s.Value.Str)
		switch n, _ := want.(json.Number); s.Value.Kind {
		case telemetry.Float64:
			f, _ := strconv.ParseFloat(string(n), 64)
			if want, got = math.Float64bits(f), s.Value.Bits; n == "" {
				continue // NaN and the infinities, which come as texts
			}
		case telemetry.Int64:
			i, _ := strconv.ParseInt(string(n), 10, 64)
			want, got = i, int64(s.Value.Bits)
		case telemetry.Bool:
			got = s.Value.Bits == 1
		case telemetry.Null:
			if got = nil; q.Scheme == quality.Assumed {
				q.Code = quality.BadNoData
			}
		case telemetry.String:
		}
		if got != want || s.Quality != q {
			t.Fatalf("%q: %s is %v (%v), encoding/json has %v (%v)", text, s.Signal, got, s.Quality, want, q)
		}
	}
}

// FuzzRead: never a panic, never more samples than the text has bytes, and what
// is accepted comes back from the encoder alike.
func FuzzRead(f *testing.F) {
	for _, s := range seeds {
		f.Add(pumpTopic, s)
	}
	f.Add("a/b/c/d/e/f/status", `{"online":true,"ts":5}`)
	f.Add("a/b/c/d/e/f/telemetry/t", `{"v":5,"ts":5}`)
	reader := NewReader(Config{})
	f.Fuzz(func(t *testing.T, topic, text string) {
		var u ingest.Uplink
		u.Reset()
		if err := reader(&ingest.Message{Topic: topic, Payload: []byte(text), Arrived: arrived}, &u); err != nil {
			return
		}
		if len(u.Row.Samples) > len(text) {
			t.Fatalf("%d samples from %d bytes", len(u.Row.Samples), len(text))
		}
		if u.Kind != ingest.Telemetry {
			return
		}
		again(t, u)
	})
}

// again writes u and reads it back.
func again(t interface{ Fatalf(string, ...any) }, u ingest.Uplink) {
	inc := u.Incarnation
	if inc == telemetry.Unordered {
		inc = ""
	}
	text := AppendRow(nil, &u.Row, inc)
	var back ingest.Uplink
	back.Reset()
	topic := Topic{Place: u.Place, DeviceType: u.DeviceType, Device: u.Device}.String()
	m := ingest.Message{Topic: topic, Payload: text, Arrived: u.Row.SourceTime}
	if err := NewReader(Config{})(&m, &back); err != nil {
		t.Fatalf("written %s: %v", text, err)
	}
	back.Ignored = u.Ignored
	if inc != "" && u.Row.MsgID == "" {
		back.Row.MsgID = "" // the one that follows from inc and seq
	}
	if u.Row.DeviceType == "" {
		back.Row.DeviceType = "" // the topic's stands in for none
	}
	if len(u.Row.Samples) == 0 {
		back.Row.Samples = u.Row.Samples
	}
	if d := cmp.Diff(u, back); d != "" {
		t.Fatalf("%s: %s", text, d)
	}
}

// TestRoundTrip: every row that a sender can make reads back alike.
func TestRoundTrip(t *testing.T) {
	name := rapid.OneOf(rapid.StringMatching(`[a-z_]{1,12}`), rapid.String())
	rapid.Check(t, func(t *rapid.T) {
		r := telemetry.Row{
			Device: "P-007", DeviceType: rapid.StringMatching(`[a-z]{1,8}`).Draw(t, "type"),
			Gateway: rapid.SampledFrom([]string{"", "gw-1", "gw \"ä\""}).Draw(t, "gw"),
			MsgID:   rapid.SampledFrom([]string{"", "01HSB2X5T3QJ8Z9W7V6R4N2M1K", "m\t1"}).Draw(t, "msg"),
			HasSeq:  rapid.Bool().Draw(t, "hasSeq"), SchemaVersion: SchemaVersion,
			EdgeLatency: telemetry.NoLatency,
			Firmware:    rapid.SampledFrom([]string{"", "2.3.1"}).Draw(t, "fw"),
		}
		inc := ""
		if r.Gateway != "" && r.HasSeq && rapid.Bool().Draw(t, "ordered") {
			inc = "00112233445566aa"
		}
		if r.HasSeq {
			r.Seq = rapid.Uint64Range(1, 1<<53).Draw(t, "seq")
		}
		at := rapid.Int64Range(-1<<61, 1<<61)
		r.ServerTime = time.Unix(0, at.Draw(t, "ts")).UTC()
		r.SourceTime, r.Basis = r.ServerTime, telemetry.FromTS
		if rapid.Bool().Draw(t, "source") {
			r.SourceTime, r.Basis = time.Unix(0, at.Draw(t, "source_ts")).UTC(), telemetry.FromSourceTS
		}
		if rapid.Bool().Draw(t, "latency") {
			r.EdgeLatency = time.Duration(rapid.Int64Range(0, 1<<50).Draw(t, "ns"))
		}
		for i := range rapid.IntRange(1, 6).Draw(t, "n") {
			q := quality.FromRaw(quality.Scheme(rapid.IntRange(0, 3).Draw(t, "scheme")), rapid.Uint32().Draw(t, "raw"))
			if q.Scheme == quality.Assumed {
				q.Raw = 0
			}
			if rapid.Bool().Draw(t, "own code") {
				q.Code = quality.Code(rapid.Uint32().Draw(t, "code"))
			}
			s := telemetry.Sample{Signal: name.Draw(t, "signal") + fmt.Sprint(i), Quality: q}
			switch telemetry.Kind(rapid.IntRange(0, 4).Draw(t, "kind")) {
			case telemetry.Float64:
				bits := rapid.OneOf(rapid.Uint64(), rapid.Custom(func(t *rapid.T) uint64 {
					return math.Float64bits(rapid.Float64().Draw(t, "f"))
				})).Draw(t, "bits")
				s.Value = telemetry.Value{Kind: telemetry.Float64, Bits: bits}
			case telemetry.Int64:
				s.Value = telemetry.IntValue(rapid.Int64().Draw(t, "int"))
			case telemetry.Bool:
				s.Value = telemetry.BoolValue(rapid.Bool().Draw(t, "bool"))
			case telemetry.String:
				s.Value = telemetry.StringValue(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"NaN", "Infinity", ""})).Draw(t, "str"))
			case telemetry.Null:
				if q.Scheme == quality.Assumed && q.Code == quality.Good {
					s.Quality.Code = quality.BadNoData
				}
			}
			r.Samples = append(r.Samples, s)
		}
		u := ingest.Uplink{
			Kind: ingest.Telemetry, Source: "P-007", Incarnation: telemetry.Unordered,
			Device: "P-007", DeviceType: "pump", Place: "a/b/c/d", Row: r,
		}
		if inc != "" {
			u.Source, u.Incarnation = r.Gateway, inc
		}
		again(t, u)
	})
}

// FuzzTopic: what is accepted is written as it was read.
func FuzzTopic(f *testing.F) {
	for _, s := range []string{
		pumpTopic, "a/b/c/d/e/f/telemetry/t", "a/b/c/d/e/f/commands/1/ack", "a/b/c/d/e/f/waveform/u/chunk/12",
		"a/b/c/d/e/f/waveform/u/complete", "a/b/c/d/e/f/config/desired", "a/b/c/d/e/f/diagnostics/ping",
		"a/b/c/d/e/f/waveform/u/chunk/012", "a//c/d/e/f/status", "a/b/c/d/e/f/ota/status",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		topic, err := ParseTopic(s)
		if err != nil {
			return
		}
		if topic.String() != s {
			t.Fatalf("%q is written as %q (%+v)", s, topic.String(), topic)
		}
	})
}

// TestTopicClasses: each class, both ways, and what belongs to none.
func TestTopicClasses(t *testing.T) {
	const at = "acme/detroit/water/l3/pump/P-007/"
	for end, want := range map[string]Topic{
		"telemetry": {}, "telemetry/ti": {Class: TelemetryTag, Arg: "ti"}, "status": {Class: Status},
		"commands/c1": {Class: Command, Arg: "c1"}, "commands/c1/ack": {Class: CommandAck, Arg: "c1"},
		"config/desired": {Class: ConfigDesired}, "config/reported": {Class: ConfigReported},
		"ota/notification": {Class: OTANotification}, "ota/status": {Class: OTAStatus},
		"diagnostics/ping": {Class: Diagnostics, Arg: "ping"}, "waveform/u/complete": {Class: WaveformComplete, Arg: "u"},
		"waveform/u/chunk/7": {Class: WaveformChunk, Arg: "u", Chunk: 7},
	} {
		want.Place, want.DeviceType, want.Device = "acme/detroit/water/l3", "pump", "P-007"
		got, err := ParseTopic(at + end)
		if err != nil || got != want || got.String() != at+end {
			t.Errorf("%s: %+v (%v), written %q", end, got, err, got.String())
		}
	}
	for _, s := range []string{
		"", "/", "a/b/c/d/e/f", "a/b/c/d/e//telemetry", "a/b/c/d/e/+/telemetry", "a/b/c/d/e/#", "a/b/c/d/e/f/config",
		"a/b/c/d/e/f/telemetry/", "a/b/c/d/e/f/telemetry/x/y", "a/b/c/d/e/f/waveform/u/chunk/-1", "a/b/c/d/e/f/waveform/u/chunk/01",
		"a/b/c/d/e/f\x00/telemetry", "a/b/c/d/e/\xff/telemetry", strings.Repeat("a", 1100) + "/b/c/d/e/f/telemetry",
	} {
		if got, err := ParseTopic(s); err == nil {
			t.Errorf("%.60q is %+v", s, got)
		}
	}
}

// TestNumbersAgainstJSON: the scanner's short cut for decimals rounds as
// strconv does, for a million of them.
func TestNumbersAgainstJSON(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1_000_000 {
		text := fmt.Sprintf("%d.%d", rng.Int64N(1<<uint(rng.IntN(40)+1)), rng.Int64N(1<<uint(rng.IntN(40)+1)))
		p := scanner{s: text + ","}
		var v telemetry.Value
		if _, ok := p.value(&v); !ok {
			t.Fatalf("%s is no number", text)
		}
		if want, _ := numberValue(text); v != want {
			t.Fatalf("%s is %x, want %x", text, v.Bits, want.Bits)
		}
	}
}
