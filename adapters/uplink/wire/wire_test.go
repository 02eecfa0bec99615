package wire

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/domain/ingest"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

const pumpTopic = "acme/detroit/water/l3/centrifugal_pump/P-007/telemetry"

// full is the platform's own example of a message.
const full = `{ "schema_version": "2.1", "msg_id": "01HSB2X5T3QJ8Z9W7V6R4N2M1K", "device_id": "P-007", "device_type": "centrifugal_pump",
  "ts": 1710844800123, "seq": 48291,
  "d": { "temp_inlet_c": {"v": 72.4, "q": 192}, "vibration_rms": {"v": 0.82, "q": 68} },
  "meta": {"fw_version": "2.3.1", "gw_id": "gw-detroit-l3-01", "source_ts": 1710844799980, "edge_latency_ms": 143} }`

func ms(n int64) time.Time { return time.UnixMilli(n).UTC() }

var arrived = time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)

func read(t *testing.T, topic, payload string) (ingest.Uplink, error) {
	t.Helper()
	var u ingest.Uplink
	u.Reset()
	err := NewReader(Config{})(&ingest.Message{Topic: topic, Payload: []byte(payload), Arrived: arrived}, &u)
	return u, err
}

func da(raw uint32) quality.Quality { return quality.FromRaw(quality.OPCDA, raw) }

func TestReadFull(t *testing.T) {
	u, err := read(t, pumpTopic, full)
	if err != nil {
		t.Fatal(err)
	}
	want := ingest.Uplink{
		Kind: ingest.Telemetry, Source: "P-007", Incarnation: telemetry.Unordered,
		Device: "P-007", DeviceType: "centrifugal_pump", Place: "acme/detroit/water/l3",
		Row: telemetry.Row{
			Device: "P-007", DeviceType: "centrifugal_pump", Gateway: "gw-detroit-l3-01",
			MsgID: "01HSB2X5T3QJ8Z9W7V6R4N2M1K", Seq: 48291, HasSeq: true,
			SourceTime: ms(1710844799980), ServerTime: ms(1710844800123), Basis: telemetry.FromSourceTS,
			Firmware: "2.3.1", SchemaVersion: "2.1", EdgeLatency: 143 * time.Millisecond,
			Samples: []telemetry.Sample{
				{Signal: "temp_inlet_c", Value: telemetry.FloatValue(72.4), Quality: da(192)},
				{Signal: "vibration_rms", Value: telemetry.FloatValue(0.82), Quality: da(68)},
			},
		},
	}
	if d := cmp.Diff(want, u); d != "" {
		t.Error(d)
	}
	if c := u.Row.Samples[1].Quality.Code; c != quality.UncertainLastUsableValue {
		t.Errorf("68 is %s", c)
	}
}

// TestReadValues is what each form of a value becomes.
func TestReadValues(t *testing.T) {
	f := telemetry.FloatValue
	assumed := quality.AssumedGood
	for _, c := range []struct {
		text string
		want telemetry.Value
		q    quality.Quality
	}{
		{`72.4`, f(72.4), assumed},
		{`72`, f(72), assumed},
		{`-0`, f(math.Copysign(0, -1)), assumed},
		{`-0.0`, f(math.Copysign(0, -1)), assumed},
		{`0.1e1`, f(1), assumed},
		{`9007199254740992`, f(1 << 53), assumed},
		{`9007199254740993`, telemetry.IntValue(1<<53 + 1), assumed},
		{`-9007199254740993`, telemetry.IntValue(-1<<53 - 1), assumed},
		{`9223372036854775807`, telemetry.IntValue(math.MaxInt64), assumed},
		{`9223372036854775808`, f(1 << 63), assumed},
		{`9007199254740993.0`, f(9007199254740992), assumed},
		{`1e300`, f(1e300), assumed},
		{`4.9e-324`, f(5e-324), assumed},
		{`123456789012345.6`, f(123456789012345.6), assumed},
		{`0.30000000000000004`, f(0.30000000000000004), assumed},
		{`true`, telemetry.BoolValue(true), assumed},
		{`false`, telemetry.BoolValue(false), assumed},
		{`"open"`, telemetry.StringValue("open"), assumed},
		{`"NaN"`, telemetry.Value{Kind: telemetry.Float64, Bits: quietNaN}, assumed},
		{`"-Infinity"`, f(math.Inf(-1)), assumed},
		{`"Infinity"`, f(math.Inf(1)), assumed},
		{`"a\u00e4\n"`, telemetry.StringValue("aä\n"), assumed},
		{`null`, telemetry.Value{}, quality.Quality{Code: quality.BadNoData}},
		{`{"v":null,"q":0}`, telemetry.Value{}, da(0)},
		{`{"v":1}`, f(1), assumed},
		{`{"q":20,"v":1}`, f(1), da(20)},
		{`{"v":1,"q":68,"qs":"appendix-b"}`, f(1), quality.FromRaw(quality.AppendixB, 68)},
		{`{"v":1,"q":2156658688,"qs":"opc-ua"}`, f(1), quality.Of(quality.BadSensorFailure)},
		{`{"v":1,"q":192,"c":2156658688}`, f(1), quality.Quality{Code: quality.BadSensorFailure, Raw: 192, Scheme: quality.OPCDA}},
		{`{"v":5,"k":"int64"}`, telemetry.IntValue(5), assumed},
		{`{"v":9007199254740993,"k":"float64"}`, f(9007199254740992), assumed},
		{`{"v":"0x7ff8dead0000beef","k":"float64"}`, telemetry.Value{Kind: telemetry.Float64, Bits: 0x7ff8dead0000beef}, assumed},
		{`{"v":"NaN","k":"string"}`, telemetry.StringValue("NaN"), assumed},
	} {
		u, err := read(t, pumpTopic, `{"d":{"x":`+c.text+`}}`)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if d := cmp.Diff([]telemetry.Sample{{Signal: "x", Value: c.want, Quality: c.q}}, u.Row.Samples); d != "" {
			t.Errorf("%s: %s", c.text, d)
		}
	}
}

func TestReadTimes(t *testing.T) {
	for _, c := range []struct {
		text  string
		at    time.Time
		basis telemetry.TimeBasis
	}{
		{`{"d":{"x":1}}`, arrived, telemetry.FromArrival},
		{`{"ts":1710844800123,"d":{"x":1}}`, ms(1710844800123), telemetry.FromTS},
		{`{"ts":1710844800123,"d":{"x":1},"meta":{"source_ts":1710844799980}}`, ms(1710844799980), telemetry.FromSourceTS},
		{`{"d":{"x":1},"meta":{"source_ts":1710844799980.25}}`, time.Unix(1710844799, 980_250_000).UTC(), telemetry.FromSourceTS},
		{`{"d":{"x":1},"meta":{"source_ts":1710844799980.1234569}}`, time.Unix(1710844799, 980_123_456).UTC(), telemetry.FromSourceTS},
		{`{"ts":-0.5,"d":{"x":1}}`, time.Unix(0, -500_000).UTC(), telemetry.FromTS},
		{`{"ts":1.5e3,"d":{"x":1}}`, ms(1500), telemetry.FromTS},
		{`{"v":"2.1","id":"P-007","t":1710844800123,"ti":72.4}`, ms(1710844800123), telemetry.FromTS},
	} {
		u, err := read(t, pumpTopic, c.text)
		if err != nil || !u.Row.SourceTime.Equal(c.at) || u.Row.Basis != c.basis {
			t.Errorf("%s: %v by %d (%v), want %v by %d", c.text, u.Row.SourceTime, u.Row.Basis, err, c.at, c.basis)
		}
	}
}

func TestReadShort(t *testing.T) {
	for _, text := range []string{
		`{"v":"2.1","id":"P-007","t":1710844800123,"ti":72.4,"seq":3,"st":{"v":true,"q":192}}`,
		`{"id":"P-007","t":1710844800123,"ti":72.4,"seq":3,"v":"2.1","st":{"v":true,"q":192}}`,
	} {
		u, err := read(t, pumpTopic, text)
		if err != nil {
			t.Fatal(err)
		}
		want := telemetry.Row{
			Device: "P-007", DeviceType: "centrifugal_pump", SchemaVersion: "2.1", EdgeLatency: telemetry.NoLatency,
			SourceTime: ms(1710844800123), ServerTime: ms(1710844800123), Basis: telemetry.FromTS,
			Samples: []telemetry.Sample{
				{Signal: "ti", Value: telemetry.FloatValue(72.4), Quality: quality.AssumedGood},
				{Signal: "seq", Value: telemetry.FloatValue(3), Quality: quality.AssumedGood},
				{Signal: "st", Value: telemetry.BoolValue(true), Quality: da(192)},
			},
		}
		if d := cmp.Diff(want, u.Row); d != "" {
			t.Error(d)
		}
	}
}

func TestReadOwn(t *testing.T) {
	topic := "acme/detroit/water/l3/gateway/gw-1/telemetry"
	u, err := read(t, topic, `{"schema_version":"2.1","event":"source.started","seq":1,"ts":1710844800123,"d":{},
		"meta":{"gw_id":"gw-1~live","inc":"00112233445566aa"},"previous":"ffeeddccbbaa9988","last_acked":77,"reason":"replaced"}`)
	if err != nil {
		t.Fatal(err)
	}
	started := ingest.Started{Seq: 1, At: ms(1710844800123), Previous: "ffeeddccbbaa9988", LastAcked: 77, Reason: "replaced"}
	if u.Kind != ingest.Start || u.Source != "gw-1~live" || u.Incarnation != "00112233445566aa" || u.Device != "gw-1" {
		t.Errorf("started is %+v", u)
	}
	if d := cmp.Diff(started, u.Started); d != "" {
		t.Error(d)
	}
	u, err = read(t, topic, `{"schema_version":"2.1","event":"telemetry.lost","seq":5,"ts":1710844800123,"d":{},
		"meta":{"gw_id":"gw-1","inc":"00112233445566aa"},"from":5,"to":90,"counts":{"messages":80,"samples":800,"bytes":9000},"oldest":1710844000000,"newest":1710844100000,
		"tags":[{"device":"P-1","signal":"flow","samples":800,"from":1710844000000,"to":1710844100000.5}],"reason":"full"}`)
	if err != nil {
		t.Fatal(err)
	}
	lost := telemetry.Lost{
		From: 5, To: 90, Counts: telemetry.Counts{Messages: 80, Samples: 800, Bytes: 9000},
		Oldest: ms(1710844000000), Newest: ms(1710844100000), At: ms(1710844800123), Reason: "full",
		Tags: []telemetry.LostTag{{Device: "P-1", Signal: "flow", Samples: 800, From: ms(1710844000000), To: ms(1710844100000).Add(500 * time.Microsecond)}},
	}
	if d := cmp.Diff(lost, u.Lost); d != "" || u.Kind != ingest.Loss || u.Row.Seq != 5 {
		t.Errorf("kind %d, seq %d: %s", u.Kind, u.Row.Seq, d)
	}
}

func TestReadTagAndStatus(t *testing.T) {
	u, err := read(t, "acme/s/a/l/pump/P-1/telemetry/temp", `{"v":7,"q":192,"ts":1710844800123}`)
	if err != nil {
		t.Fatal(err)
	}
	want := []telemetry.Sample{{Signal: "temp", Value: telemetry.FloatValue(7), Quality: da(192)}}
	if d := cmp.Diff(want, u.Row.Samples); d != "" || u.Source != "P-1" || !u.Row.SourceTime.Equal(ms(1710844800123)) || u.Ignored != 0 {
		t.Errorf("%+v %s", u, d)
	}
	if u, err = read(t, "acme/s/a/l/pump/P-1/telemetry/temp", ` 7.5 `); err != nil || u.Row.Samples[0].Value != telemetry.FloatValue(7.5) {
		t.Errorf("plain value of one tag: %+v, %v", u.Row, err)
	}
	u, err = read(t, "acme/s/a/l/pump/P-1/status", `{"online":false,"reason":"conn_lost"}`)
	if err != nil || u.Kind != ingest.Status || u.Online || u.Reason != "conn_lost" || !u.At.Equal(arrived) || u.Device != "P-1" {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err = read(t, "acme/s/a/l/pump/P-1/status", `{"online":1}`); err == nil {
		t.Error("status without a boolean was taken")
	}
}

// TestRefused: what is wrong, and whose it is all the same.
func TestRefused(t *testing.T) {
	const meta = `"meta":{"gw_id":"gw-1","inc":"00112233445566aa"}`
	for _, c := range []struct {
		name, text string
		source     string // "" for nobody's
		seq        uint64
		err        error
	}{
		{"empty", ``, "", 0, ErrUnreadable},
		{"text", `hello`, "", 0, ErrUnreadable},
		{"an array", `[1]`, "", 0, ErrUnreadable},
		{"two values", `{"d":{}} {}`, "", 0, ErrUnreadable},
		{"not UTF-8", "{\"d\":{\"\xff\":1}}", "", 0, ErrUnreadable},
		{"broken, of a device", `{"seq":5,"d":{"x":`, "", 0, ErrUnreadable},
		{"broken, of a gateway", `{"seq":5,` + meta + `,"d":{"x":`, "gw-1", 5, ErrUnreadable},
		{"nothing in it", `{}`, "", 0, ErrInvalid},
		{"no samples", `{"msg_id":"a"}`, "P-007", 0, ErrInvalid},
		{"a signal twice", `{"msg_id":"a","d":{"x":1,"x":2}}`, "P-007", 0, ErrInvalid},
		{"a member twice", `{"seq":1,"seq":2,"d":{"x":1},` + meta + `}`, "gw-1", 1, ErrInvalid},
		{"v twice", `{"seq":7,"d":{"x":{"v":1,"v":2}},` + meta + `}`, "gw-1", 7, ErrInvalid},
		{"another device", `{"device_id":"P-008","d":{"x":1}}`, "P-007", 0, ErrInvalid},
		{"an array as value", `{"seq":8,"d":{"x":[1]},` + meta + `}`, "gw-1", 8, ErrInvalid},
		{"an object without v", `{"seq":8,"d":{"x":{"q":1}},` + meta + `}`, "gw-1", 8, ErrInvalid},
		{"a quality with a fraction", `{"d":{"x":{"v":1,"q":1.5}}}`, "P-007", 0, ErrInvalid},
		{"a negative quality", `{"d":{"x":{"v":1,"q":-1}}}`, "P-007", 0, ErrInvalid},
		{"a quality of 33 bits", `{"d":{"x":{"v":1,"q":4294967296}}}`, "P-007", 0, ErrInvalid},
		{"a scheme nobody knows", `{"d":{"x":{"v":1,"q":1}},"meta":{"q":"iec"}}`, "P-007", 0, ErrInvalid},
		{"beyond float64", `{"d":{"x":1e999}}`, "P-007", 0, ErrInvalid},
		{"a seq with a fraction", `{"seq":1.5,"d":{"x":1}}`, "P-007", 0, ErrInvalid},
		{"a time as text", `{"ts":"2026-01-01T00:00:00Z","d":{"x":1}}`, "P-007", 0, ErrInvalid},
		{"a time beyond 292 years", `{"ts":9999999999999999,"d":{"x":1}}`, "P-007", 0, ErrInvalid},
		{"half a surrogate pair", `{"d":{"x":"\ud800"}}`, "P-007", 0, ErrInvalid},
		{"an inc that is none", `{"seq":1,"d":{"x":1},"meta":{"gw_id":"g","inc":"1"}}`, "g", 1, ErrInvalid},
		{"an event that is none", `{"seq":1,"event":"x",` + meta + `}`, "gw-1", 1, ErrInvalid},
		{"a msg_id of a book", `{"msg_id":"` + strings.Repeat("x", 201) + `","d":{"x":1}}`, "P-007", 0, ErrInvalid},
		{"deep", `{"d":{"x":1},"y":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + `}`, "", 0, ErrInvalid},
	} {
		u, err := read(t, pumpTopic, c.text)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
		if u.Source != c.source || u.Row.Seq != c.seq {
			t.Errorf("%s: is of %q with seq %d, want %q with %d", c.name, u.Source, u.Row.Seq, c.source, c.seq)
		}
	}
	for _, topic := range []string{"a/b", "acme/s/a/l/pump/P-1/commands/1", "$SYS/s/a/l/pump/P-1/telemetry", "a/b/c/d/e/f/telemetry/"} {
		if _, err := read(t, topic, full); err == nil {
			t.Errorf("topic %q was taken", topic)
		}
	}
}

// TestUnknownMembersAreCounted: they mean nothing here, and are not hidden.
func TestUnknownMembersAreCounted(t *testing.T) {
	u, err := read(t, pumpTopic, `{"site":"x","msg_id":null,"d":{"x":{"v":1,"unit":"C"}},"meta":{"a":[1,{"b":2}]}}`)
	if err != nil || u.Ignored != 4 {
		t.Errorf("%d members ignored (%v), want 4", u.Ignored, err)
	}
}
