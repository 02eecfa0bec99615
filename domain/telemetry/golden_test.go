package telemetry

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/test/peer"
)

// A golden file is written once (-update, only if absent) and then only read.
// A failure means old logs would read differently: add a new version.
var update = flag.Bool("update", false, "write golden files that do not exist")

type goldenRow struct {
	name string
	row  Row
}

// goldenRows are rows of every shape. They are never edited; new ones get new names.
func goldenRows() []goldenRow {
	da := func(raw uint32) quality.Quality { return quality.FromRaw(quality.OPCDA, raw) }
	at := time.UnixMilli(1710844799980).UTC()
	rows := []goldenRow{
		{"platform-example", pumpRow()},
		{"empty", Row{Device: "P-1", SourceTime: at, Basis: FromTS, ServerTime: at, EdgeLatency: NoLatency}},
		{"plain-numbers-on-arrival", Row{
			Device: "sensor/7 – Süd", SourceTime: time.Unix(1710844799, 980_123_456).UTC(), Basis: FromArrival, EdgeLatency: NoLatency,
			Samples: []Sample{{"t", FloatValue(72.4), quality.AssumedGood}, {"n", Value{}, quality.Quality{Code: quality.BadNoData}}},
		}},
		{"gateway-msg-id-derived", Row{
			Device: "P-1", Gateway: "gw-1~live", MsgIDDerived: true, Seq: 1, HasSeq: true, SourceTime: at, ServerTime: at.Add(-time.Second),
			EdgeLatency: -5 * time.Millisecond, SchemaVersion: "2.1",
			Samples: []Sample{{"count", IntValue(-9007199254740993), quality.Of(quality.UncertainInitialValue)}},
		}},
		{"nanoseconds-and-text-msg-id", Row{
			Device: "P-1", MsgID: "not-a-ulid", Seq: math.MaxUint64, HasSeq: true,
			SourceTime: time.Unix(-1, 1).UTC(), ServerTime: time.Unix(1<<40, 999_999_999).UTC(), EdgeLatency: 1500 * time.Nanosecond,
			Samples: []Sample{{"", StringValue(""), da(0)}, {"s", StringValue("zu\x00\xff"), da(3)}},
		}},
	}
	kinds := Row{Device: "all-kinds", SourceTime: at, EdgeLatency: NoLatency}
	for i, v := range []Value{
		{},
		BoolValue(false), BoolValue(true), IntValue(0), IntValue(math.MaxInt64), IntValue(math.MinInt64),
		StringValue("offen – geöffnet"), StringValue(strings.Repeat("x", 200)),
		FloatValue(0), FloatValue(math.Copysign(0, -1)), FloatValue(math.Inf(1)), FloatValue(math.Inf(-1)),
		{Kind: Float64, Bits: 0x7ff8000000000000},
		{Kind: Float64, Bits: 0x7ff8dead0000beef},
		{Kind: Float64, Bits: 0xfff0000000000001},
		FloatValue(72), FloatValue(72.4), FloatValue(-0.001), FloatValue(20.0625), FloatValue(1e-9), FloatValue(123456.789),
		FloatValue(math.Pi), FloatValue(math.MaxFloat64), FloatValue(math.SmallestNonzeroFloat64), FloatValue(1 << 53),
		FloatValue(1<<50 - 1), FloatValue(1 << 50), FloatValue(0.30000000000000004), FloatValue(1125899906842.623),
	} {
		q := []quality.Quality{da(192), da(192), da(68), quality.FromRaw(quality.AppendixB, 68), quality.Of(quality.BadSensorFailure.WithLimit(quality.Low))}[i/6]
		kinds.Samples = append(kinds.Samples, Sample{fmt.Sprintf("v%02d", i), v, q})
	}
	return append(rows, goldenRow{"all-kinds", kinds})
}

const rowsDir = "testdata/rows"

func TestGoldenRows(t *testing.T) {
	for _, g := range goldenRows() {
		file := filepath.Join(rowsDir, g.name+".bin")
		data := g.row.AppendBinary(nil)
		want := golden(t, file, data)
		if !bytes.Equal(data, want) {
			t.Errorf("%s is\n%x, want\n%x", g.name, data, want)
		}
		row, err := Decode(want)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(g.row, row); d != "" {
			t.Errorf("%s: %s", g.name, d)
		}
	}
}

func golden(t *testing.T, file string, data []byte) []byte {
	t.Helper()
	if _, err := os.Stat(file); os.IsNotExist(err) && *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return want
}

func TestGoldenEvents(t *testing.T) {
	at := time.Date(2024, 3, 19, 10, 39, 59, 980_000_000, time.UTC)
	for _, ev := range []eventlog.Event{
		Refused{Seq: 48292, MsgID: "01HSB2X5T3QJ8Z9W7V6R4N2M1K", Reason: `signal "x" twice`, Topic: "acme/s/a/l/pump/P-7/telemetry", Client: "gw-1", Payload: []byte(`{"d":{}}`)},
		Lost{From: 5, To: 90, Counts: Counts{Messages: 80, Samples: 800}, Oldest: at, At: at.Add(time.Second), Reason: "outbox over its budget"},
		Gap{Reason: GapMissing, From: 4, To: 9, LastSeq: 3},
		Reordered{Seq: 5, Highest: 10, Closes: true},
	} {
		data, err := eventlog.CanonicalJSON(ev)
		if err != nil {
			t.Fatal(err)
		}
		want := golden(t, filepath.Join("testdata/events", ev.EventType()+".json"), data)
		if !bytes.Equal(data, want) {
			t.Errorf("%s is\n%s, want\n%s", ev.EventType(), data, want)
		}
	}
}

// TestPeerDecoder: a decoder written in another language, from the
// documentation alone, reads the golden rows and agrees value by value.
func TestPeerDecoder(t *testing.T) {
	node := peer.Need(t, "node")
	for _, g := range goldenRows() {
		out, err := exec.Command(node, "../../test/peers/telemetry-decoder.mjs", filepath.Join(rowsDir, g.name+".bin")).Output()
		if err != nil {
			t.Fatalf("%s: %v: %s", g.name, err, stderr(err))
		}
		var got peerRow
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%s: %v in %s", g.name, err, out)
		}
		if d := cmp.Diff(peerRowOf(g.row), got); d != "" {
			t.Errorf("%s (-ours +theirs): %s", g.name, d)
		}
	}
}

func stderr(err error) string {
	if e, ok := err.(*exec.ExitError); ok { //nolint:errorlint // os/exec returns it bare
		return string(e.Stderr)
	}
	return ""
}

// peerRow is what the peer prints. Numbers are texts, floats the hexadecimal
// digits of their bits, texts hexadecimal bytes.
type peerRow struct {
	Device, DeviceType, Gateway, Firmware, SchemaVersion string
	MsgID, Seq, Basis, SourceTime, ServerTime, Latency   string
	Samples                                              []peerSample
}

type peerSample struct{ Signal, Kind, Value, Scheme, Raw, Code string }

func peerRowOf(r Row) peerRow {
	x := func(s string) string { return fmt.Sprintf("%x", s) }
	p := peerRow{
		Device: x(r.Device), DeviceType: x(r.DeviceType), Gateway: x(r.Gateway), Firmware: x(r.Firmware), SchemaVersion: x(r.SchemaVersion),
		MsgID: x(r.MsgID), Basis: []string{"source_ts", "ts", "arrival"}[r.Basis],
		SourceTime: nanos(r.SourceTime), Samples: []peerSample{},
	}
	if r.MsgIDDerived {
		p.MsgID = "derived"
	}
	if r.HasSeq {
		p.Seq = fmt.Sprint(r.Seq)
	}
	if !r.ServerTime.IsZero() {
		p.ServerTime = nanos(r.ServerTime)
	}
	if r.EdgeLatency != NoLatency {
		p.Latency = fmt.Sprint(int64(r.EdgeLatency))
	}
	for _, s := range r.Samples {
		o := peerSample{
			Signal: x(s.Signal), Scheme: fmt.Sprint(uint8(s.Quality.Scheme)), Raw: fmt.Sprint(s.Quality.Raw), Code: fmt.Sprint(uint32(s.Quality.Code)),
			Kind: []string{"null", "float64", "int64", "bool", "string"}[s.Value.Kind],
		}
		switch s.Value.Kind {
		case Float64:
			o.Value = fmt.Sprintf("%016x", s.Value.Bits)
		case Int64:
			o.Value = fmt.Sprint(int64(s.Value.Bits))
		case Bool:
			o.Value = fmt.Sprint(s.Value.Bits == 1)
		case String:
			o.Value = x(s.Value.Str)
		case Null:
		}
		p.Samples = append(p.Samples, o)
	}
	return p
}

// nanos is a time as nanoseconds since 1970, beyond int64 as well.
func nanos(t time.Time) string {
	s := fmt.Sprintf("%d%09d", t.Unix(), t.Nanosecond())
	if t.Unix() < 0 && t.Nanosecond() > 0 {
		s = fmt.Sprint(t.UnixNano())
	}
	return s
}
