package telemetry

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
)

// pumpRow is the platform's own example of a message.
func pumpRow() Row {
	return Row{
		Device: "P-007", DeviceType: "centrifugal_pump", Gateway: "gw-detroit-l3-01",
		MsgID: "01HSB2X5T3QJ8Z9W7V6R4N2M1K", Seq: 48291, HasSeq: true,
		SourceTime: time.UnixMilli(1710844799980).UTC(), ServerTime: time.UnixMilli(1710844800123).UTC(),
		Firmware: "2.3.1", SchemaVersion: "2.1", EdgeLatency: 143 * time.Millisecond,
		Samples: []Sample{
			{"temp_inlet_c", FloatValue(72.4), quality.FromRaw(quality.OPCDA, 192)},
			{"vibration_rms", FloatValue(0.82), quality.FromRaw(quality.OPCDA, 68)},
		},
	}
}

// TestBytes spells one row out, byte by byte, from docs/formats/telemetry.md.
func TestBytes(t *testing.T) {
	r := pumpRow()
	want := strings.Join([]string{
		"c50f",                   // flags: seq, ULID, source_ts; ServerTime, latency, gateway, type, firmware, schema
		"02", "00", "8080c08404", // two quality runs: Good, UncertainLastUsableValue
		"a3f902",                           // seq 48291
		"018e562e9743bc91f4f0fb3609515033", // the ULID's 16 bytes
		"05" + hex.EncodeToString([]byte("P-007")),
		"10" + hex.EncodeToString([]byte("centrifugal_pump")),
		"10" + hex.EncodeToString([]byte("gw-detroit-l3-01")),
		"05" + hex.EncodeToString([]byte("2.3.1")),
		"03" + hex.EncodeToString([]byte("2.1")),
		"d8afdfe4ca63",     // source time: 1710844799980 ms
		"9e02",             // server time 143 ms later
		"9e02",             // latency 143 ms
		"02",               // two samples
		"01", "01", "c001", // one of OPC DA 192
		"01", "01", "44", // one of OPC DA 68
		"1b", // 27 bytes of names
		"0c" + hex.EncodeToString([]byte("temp_inlet_c")),
		"0d" + hex.EncodeToString([]byte("vibration_rms")),
		"11", "a80b", // 724 / 10
		"12", "a401", // 82 / 100
	}, "")
	if got := hex.EncodeToString(r.AppendBinary(nil)); got != want {
		t.Errorf("row is\n%s, want\n%s", got, want)
	}
}

// TestFloatForms: which doubles are short, and that all come back by their bits.
func TestFloatForms(t *testing.T) {
	for _, c := range []struct {
		f    float64
		size int
	}{
		{0, 2},
		{1, 2},
		{-1, 2},
		{63, 2},
		{72.4, 3},
		{-0.5, 2},
		{0.001, 2},
		{20.625, 4},
		{0.0625, 3},
		{1e-9, 2},
		{123456.789, 5},
		{1e6, 4},
		{math.Copysign(0, -1), 9},
		{math.NaN(), 9},
		{math.Inf(1), 9},
		{math.Inf(-1), 9},
		{math.Pi, 9},
		{math.MaxFloat64, 9},
		{math.SmallestNonzeroFloat64, 9},
		{1 << 53, 9},
		{0.30000000000000004, 9},
		{math.Float64frombits(0x7ff8dead0000beef), 9},
		{math.Float64frombits(0xfff0000000000001), 9},
	} {
		r := Row{Samples: []Sample{{"x", FloatValue(c.f), quality.Quality{}}}, EdgeLatency: NoLatency}
		before := len(appendSamples(nil, []Sample{{"x", Value{}, quality.Quality{}}})) - 1
		if got := len(appendSamples(nil, r.Samples)) - before; got != c.size {
			t.Errorf("%v takes %d bytes, want %d", c.f, got, c.size)
		}
		back, err := Decode(r.AppendBinary(nil))
		if err != nil || back.Samples[0].Value.Bits != math.Float64bits(c.f) {
			t.Errorf("%v (%x) came back as %x (%v)", c.f, math.Float64bits(c.f), back.Samples[0].Value.Bits, err)
		}
	}
}

// anyTime draws times of all grains and far beyond int64 nanoseconds.
var anyTime = rapid.Custom(func(t *rapid.T) time.Time {
	sec := rapid.OneOf(rapid.Int64Range(-1<<40, 1<<40), rapid.Int64Range(1.6e9, 1.9e9)).Draw(t, "sec")
	nano := rapid.OneOf(rapid.Int64Range(0, 999_999_999), rapid.Map(rapid.Int64Range(0, 999), func(n int64) int64 { return n * 1e6 })).Draw(t, "nano")
	return time.Unix(sec, nano).UTC()
})

var anyValue = rapid.Custom(func(t *rapid.T) Value {
	switch Kind(rapid.IntRange(0, 4).Draw(t, "kind")) {
	case Float64:
		return Value{Kind: Float64, Bits: rapid.OneOf(
			rapid.Uint64(),
			rapid.Map(rapid.Float64(), math.Float64bits),
			rapid.Map(rapid.Int64Range(-1<<52, 1<<52), func(m int64) uint64 { return math.Float64bits(float64(m) / 1000) }),
		).Draw(t, "bits")}
	case Int64:
		return IntValue(rapid.Int64().Draw(t, "int"))
	case Bool:
		return BoolValue(rapid.Bool().Draw(t, "bool"))
	case String:
		return StringValue(rapid.String().Draw(t, "string"))
	default:
		return Value{}
	}
})

// anyRow draws a row that Check takes, of whatever strangeness.
var anyRow = rapid.Custom(func(t *rapid.T) Row {
	text := rapid.OneOf(rapid.Just(""), rapid.StringMatching(`[A-Za-z0-9.~_-]{1,20}`), rapid.String())
	r := Row{
		Device: text.Draw(t, "device"), DeviceType: text.Draw(t, "type"), Gateway: text.Draw(t, "gateway"),
		Firmware: text.Draw(t, "firmware"), SchemaVersion: text.Draw(t, "schema"),
		SourceTime: anyTime.Draw(t, "source"), Basis: TimeBasis(rapid.IntRange(0, 2).Draw(t, "basis")),
		EdgeLatency: NoLatency,
	}
	switch rapid.IntRange(0, 3).Draw(t, "msg") {
	case 1:
		r.MsgID = text.Draw(t, "msg_id")
	case 2:
		r.MsgID = MsgID("00112233445566aa", rapid.Uint64().Draw(t, "ulid"))
	case 3:
		r.MsgIDDerived = true
	}
	if rapid.Bool().Draw(t, "hasSeq") {
		r.Seq, r.HasSeq = rapid.Uint64().Draw(t, "seq"), true
	}
	if rapid.Bool().Draw(t, "hasServer") {
		if r.ServerTime = anyTime.Draw(t, "server"); r.ServerTime.IsZero() {
			r.ServerTime = time.Time{}
		}
	}
	if rapid.Bool().Draw(t, "hasLatency") {
		r.EdgeLatency = time.Duration(rapid.OneOf(rapid.Int64(), rapid.Map(rapid.Int64Range(-1000, 1e6), func(n int64) int64 { return n * 1e6 })).Draw(t, "latency"))
	}
	qualities := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) quality.Quality {
		q := quality.FromRaw(quality.Scheme(rapid.Uint8Range(0, 4).Draw(t, "scheme")), rapid.Uint32().Draw(t, "raw"))
		if rapid.Bool().Draw(t, "own") {
			q.Code = quality.Code(rapid.Uint32().Draw(t, "code"))
		}
		return q
	}), 1, 3).Draw(t, "qualities")
	for i := range rapid.OneOf(rapid.IntRange(0, 5), rapid.IntRange(60, 80)).Draw(t, "n") {
		r.Samples = append(r.Samples, Sample{
			text.Draw(t, "signal") + fmt.Sprint("/", i), anyValue.Draw(t, "value"), rapid.SampledFrom(qualities).Draw(t, "quality"),
		})
	}
	return r
})

// TestRoundTrip: what Check takes, Decode gives back, and a View and an
// Interner say the same.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyRow.Draw(t, "row")
		if err := r.Check(); err != nil {
			t.Fatal(err)
		}
		data := r.AppendBinary([]byte("before"))[len("before"):]
		back, err := Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(r, back); d != "" {
			t.Fatal(d)
		}
		var v View
		if err := v.Reset(data); err != nil {
			t.Fatal(err)
		}
		in := NewInterner()
		first, err := in.Row(&v)
		if err != nil {
			t.Fatal(err)
		}
		for i, n := range first {
			if p := in.Point(n); p != (Point{r.Device, r.Samples[i].Signal}) {
				t.Fatalf("sample %d is %+v", i, p)
			}
		}
		if in.Len() != len(r.Samples) {
			t.Fatalf("%d points of %d samples", in.Len(), len(r.Samples))
		}
	})
}

// TestSent: two deliveries of one message are alike in what they say as they
// came, whatever the clock and the quality maps of the server; two messages are not.
func TestSent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyRow.Draw(t, "row")
		again := r
		again.Samples = append([]Sample(nil), r.Samples...)
		if r.Basis == FromArrival {
			again.SourceTime = r.SourceTime.Add(time.Duration(rapid.Int64Range(1, 1e12).Draw(t, "later")))
		}
		// A changed map changes codes, alike for alike qualities.
		for i := range again.Samples {
			again.Samples[i].Quality.Code ^= 1 << 20
		}
		same := func(a, b Row) bool {
			fa, ra, err := Sent(a.AppendBinary(nil))
			if err != nil {
				t.Fatal(err)
			}
			fb, rb, err := Sent(b.AppendBinary(nil))
			if err != nil {
				t.Fatal(err)
			}
			return fa == fb && string(ra) == string(rb)
		}
		if !same(r, again) {
			t.Fatalf("a second delivery differs: %+v", r)
		}
		switch {
		case len(again.Samples) > 0 && rapid.Bool().Draw(t, "value"):
			again.Samples[0].Value = StringValue("something else altogether")
		case r.Basis != FromArrival:
			again.SourceTime = again.SourceTime.Add(time.Millisecond)
		default:
			again.Device += "x"
		}
		if same(r, again) {
			t.Fatalf("another message is the same: %+v", again)
		}
	})
}

func TestCheck(t *testing.T) {
	good := pumpRow()
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Row)
		want   error
	}{
		"a signal twice":         {func(r *Row) { r.Samples[1].Signal = "temp_inlet_c" }, ErrDuplicateSignal},
		"a basis that is none":   {func(r *Row) { r.Basis = 3 }, ErrBadRow},
		"msg_id twice":           {func(r *Row) { r.MsgIDDerived = true }, ErrBadRow},
		"seq without HasSeq":     {func(r *Row) { r.HasSeq = false }, ErrBadRow},
		"a kind that is none":    {func(r *Row) { r.Samples[0].Value.Kind = 5 }, ErrBadRow},
		"a bool of two":          {func(r *Row) { r.Samples[0].Value = Value{Kind: Bool, Bits: 2} }, ErrBadRow},
		"a number with a string": {func(r *Row) { r.Samples[0].Value.Str = "x" }, ErrBadRow},
	} {
		r := pumpRow()
		c.change(&r)
		if err := r.Check(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// Names that share length and ends, and more of them than the bit set holds.
	many := Row{}
	for i := range 500 {
		many.Samples = append(many.Samples, Sample{Signal: fmt.Sprintf("t%03dx", i)})
	}
	if err := many.Check(); err != nil {
		t.Error(err)
	}
	for _, i := range []int{1, 63, 64, 65, 499} {
		twice := Row{Samples: append([]Sample(nil), many.Samples...)}
		twice.Samples[i].Signal = twice.Samples[0].Signal
		if err := twice.Check(); !errors.Is(err, ErrDuplicateSignal) {
			t.Errorf("signal 0 again at %d: %v", i, err)
		}
	}
}

// TestDecodeRefuses: damaged rows are errors, never guesses.
func TestDecodeRefuses(t *testing.T) {
	r := pumpRow()
	good := r.AppendBinary(nil)
	for n := range good {
		if _, err := Decode(good[:n]); !errors.Is(err, ErrBadRow) {
			t.Errorf("first %d of %d bytes: %v", n, len(good), err)
		}
	}
	if _, err := Decode(append(good, 0)); !errors.Is(err, ErrBadRow) {
		t.Errorf("a byte more: %v", err)
	}
	twice := Row{EdgeLatency: NoLatency, Samples: []Sample{{Signal: "x"}, {Signal: "x"}}}
	if _, err := Decode(twice.AppendBinary(nil)); !errors.Is(err, ErrDuplicateSignal) {
		t.Errorf("a signal twice: %v", err)
	}
	bad := append([]byte(nil), good...)
	bad[1] |= 0x10
	if _, err := Decode(bad); !errors.Is(err, ErrBadRow) {
		t.Errorf("an unknown flag: %v", err)
	}
}

// FuzzDecode: never a panic, bounded, and what is accepted is written and read
// back as the same row.
func FuzzDecode(f *testing.F) {
	for _, g := range goldenRows() {
		f.Add(g.row.AppendBinary(nil))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v View
		if err := v.Reset(data); err == nil {
			it, n := v.Iter(), 0
			for it.Next() {
				n++
			}
			if n > len(data) {
				t.Fatalf("%d samples in %d bytes", n, len(data))
			}
			_, _ = NewInterner().Row(&v)
			DeriveID("o", Stream("s", Unordered), eventlog.TelemetryRecorded, data)
		}
		if _, _, err := Sent(data); err != nil && v.Reset(data) == nil {
			t.Fatalf("a row without a sent part: %v", err)
		}
		r, err := Decode(data)
		if err != nil {
			return
		}
		if err := r.Check(); err != nil {
			t.Fatalf("decoded a row that cannot be: %v", err)
		}
		back, err := Decode(r.AppendBinary(nil))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(r, back); d != "" {
			t.Fatal(d)
		}
	})
}

func TestIDs(t *testing.T) {
	r := pumpRow()
	data := r.AppendBinary(nil)
	want := UnorderedID("plant", "P-007", r.MsgID)
	if id, ok := DeriveID("plant", Stream("P-007", Unordered), eventlog.TelemetryRecorded, data); !ok || id != want {
		t.Errorf("unordered: %s, %v, want %s", id, ok, want)
	}
	const inc = "00112233445566aa"
	want = OrderedID("plant", inc, 48291)
	if id, ok := DeriveID("plant", Stream("gw.1~live", inc), eventlog.TelemetryRecorded, data); !ok || id != want {
		t.Errorf("ordered: %s, %v, want %s", id, ok, want)
	}
	if want.String()[14] != '8' || !strings.ContainsRune("89ab", rune(want.String()[19])) {
		t.Errorf("%s is no UUIDv8", want)
	}
	r.MsgID, r.HasSeq, r.Seq = "", false, 0
	data = r.AppendBinary(nil)
	for _, s := range []eventlog.StreamID{Stream("P-007", Unordered), Stream("gw", inc), "telemetry-P-007", "device-x.0"} {
		if id, ok := DeriveID("plant", s, eventlog.TelemetryRecorded, data); ok {
			t.Errorf("%s: derived %s from nothing", s, id)
		}
	}
	if _, ok := DeriveID("plant", Stream("P-007", Unordered), Lost{}.EventType(), data); ok {
		t.Error("derived the id of another type")
	}
	seen := map[eventlog.EventID]bool{}
	for _, id := range []eventlog.EventID{
		OrderedID("a", "b", 1), OrderedID("a", "b", 2), OrderedID("ab", "", 1), OrderedID("", "ab", 1),
		UnorderedID("a", "b", "c"), UnorderedID("ab", "", "c"), UnorderedID("a", "bc", ""), SideID(want, "a"), SideID(want, "b"),
	} {
		if seen[id] {
			t.Errorf("%s twice", id)
		}
		seen[id] = true
	}
}

func TestStreamNames(t *testing.T) {
	for _, source := range []string{"P-007", "gw.1~live", "pump/7 – Süd", "$stats", "a.0"} {
		for _, inc := range []string{Unordered, "00112233445566aa"} {
			id := Stream(source, inc)
			if err := id.Check(); err != nil {
				t.Error(err)
			}
			if s, i, ok := ParseStream(id); !ok || s != source || i != inc {
				t.Errorf("%s is %q of %q, %v", id, i, s, ok)
			}
		}
	}
	for _, id := range []eventlog.StreamID{"telemetry-x", "telemetry-x.1", "device-x.0", "telemetry-x.00112233445566AA"} {
		if _, _, ok := ParseStream(id); ok {
			t.Errorf("%s is taken for a telemetry stream", id)
		}
	}
}

func TestMsgID(t *testing.T) {
	id := MsgID("00112233445566aa", 7)
	if _, ok := parseULID(id); !ok || len(id) != 26 {
		t.Errorf("%q is no ULID", id)
	}
	if !IsMsgID(id, "00112233445566aa", 7) || IsMsgID(id, "00112233445566aa", 8) || IsMsgID("", "00112233445566aa", 7) {
		t.Error("IsMsgID disagrees with MsgID")
	}
	for _, text := range []string{"01hsb2x5t3qj8z9w7v6r4n2m1k", "81HSB2X5T3QJ8Z9W7V6R4N2M1K", "01HSB2X5T3QJ8Z9W7V6R4N2M1I", "01HSB2X5T3QJ8Z9W7V6R4N2M1"} {
		if _, ok := parseULID(text); ok {
			t.Errorf("%s was taken for a canonical ULID", text)
		}
	}
}

func BenchmarkAppendBinary(b *testing.B) {
	r := benchRow()
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = r.AppendBinary(buf[:0])
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10, "ns/sample")
	b.ReportMetric(float64(len(buf))/10, "B/sample")
}

// BenchmarkFold is what a projection pays to read: points and values.
func BenchmarkFold(b *testing.B) {
	r := benchRow()
	data := r.AppendBinary(nil)
	in := NewInterner()
	var v View
	last := make([]uint64, 10)
	b.ReportAllocs()
	for b.Loop() {
		if err := v.Reset(data); err != nil {
			b.Fatal(err)
		}
		points, err := in.Row(&v)
		if err != nil {
			b.Fatal(err)
		}
		it := v.Iter()
		for i := 0; it.Next(); i++ {
			last[points[i]] = it.Bits
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10, "ns/sample")
}

func benchRow() Row {
	r := pumpRow()
	r.Samples = nil
	for i := range 10 {
		r.Samples = append(r.Samples, Sample{fmt.Sprintf("signal_%02d", i), FloatValue(float64(200+70*i+i) / 10), quality.FromRaw(quality.OPCDA, 192)})
	}
	return r
}
