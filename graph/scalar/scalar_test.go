package scalar_test

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/graph/scalar"
)

func TestDuration(t *testing.T) {
	for text, d := range map[string]time.Duration{
		"PT5M": 5 * time.Minute, "P1DT0.5S": 24*time.Hour + 500*time.Millisecond, "PT0S": 0, "P2W": 14 * 24 * time.Hour,
		"-PT1H30M": -90 * time.Minute, "PT0.000000001S": 1, "PT1.5H": 90 * time.Minute, "PT2562047H47M16.854775807S": math.MaxInt64,
	} {
		got, err := scalar.ParseDuration(text)
		if err != nil || got != d {
			t.Errorf("%s: %v, %v; expected %v", text, got, err, d)
		}
	}
	for _, text := range []string{
		"", "P", "PT", "5M", "P1Y", "P1M", "PT5", "PT5M5H", "PT5M5M", "P1H", "PT1D", "PT1.5H1M", "PT.5S", "PT1..5S", "PT99999999999H",
		"PT2562047H47M16.9S", "P1DT", "PT1S ", "PT-1S", "PT1e3S", "P106751DT23H47M17S",
	} {
		if got, err := scalar.ParseDuration(text); err == nil {
			t.Errorf("%q: %v, expected an error", text, got)
		}
	}
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"PT5M", "P1DT0.5S", "-PT1H", "P2W", "PT0.000000001S"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := scalar.ParseDuration(s)
		if err != nil {
			return
		}
		again, err := scalar.ParseDuration(scalar.FormatDuration(d))
		if err != nil || again != d {
			t.Errorf("%q is %d, written %q, read %d, %v", s, d, scalar.FormatDuration(d), again, err)
		}
	})
}

func TestDurationWritten(t *testing.T) {
	for d, text := range map[time.Duration]string{
		0: "PT0S", 1: "PT0.000000001S", 90 * time.Minute: "PT1H30M", 48 * time.Hour: "PT48H", -time.Second: "-PT1S",
		math.MinInt64: "-PT2562047H47M16.854775808S",
	} {
		if got := scalar.FormatDuration(d); got != text {
			t.Errorf("%d: %s, expected %s", d, got, text)
		}
	}
}

// TestValue is the promise of the scalar: JavaScript reads every value back, or
// reads a string that says it.
func TestValue(t *testing.T) {
	for want, v := range map[string]telemetry.Value{
		"1.5": telemetry.FloatValue(1.5), "-0": telemetry.FloatValue(math.Copysign(0, -1)), `"NaN"`: telemetry.FloatValue(math.NaN()),
		`"Infinity"`: telemetry.FloatValue(math.Inf(1)), `"-Infinity"`: telemetry.FloatValue(math.Inf(-1)),
		"1e-07": telemetry.FloatValue(1e-7), "1e+21": telemetry.FloatValue(1e21), "100000000000000000000": telemetry.FloatValue(1e20),
		"9007199254740991": telemetry.IntValue(1<<53 - 1), `"9007199254740992"`: telemetry.IntValue(1 << 53),
		`"-9223372036854775808"`: telemetry.IntValue(math.MinInt64), "true": telemetry.BoolValue(true), "null": {},
		`"a\"b\u0001"`: telemetry.StringValue("a\"b\x01"), `"Ölstand"`: telemetry.StringValue("Ölstand"),
	} {
		got := string(scalar.AppendValue(nil, v))
		if got != want {
			t.Errorf("%+v: %s, expected %s", v, got, want)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("%s is not JSON", got)
		}
	}
	for range 10_000 {
		f := math.Float64frombits(rand.Uint64())
		if f != f || math.IsInf(f, 0) {
			continue
		}
		var back float64
		if err := json.Unmarshal(scalar.AppendFloat(nil, f), &back); err != nil || math.Float64bits(back) != math.Float64bits(f) {
			t.Fatalf("%v came back as %v, %v", f, back, err)
		}
	}
}

func TestNumber(t *testing.T) {
	for _, v := range []telemetry.Value{{}, telemetry.FloatValue(math.NaN()), telemetry.FloatValue(math.Inf(1)), telemetry.BoolValue(true), telemetry.StringValue("1")} {
		if n := scalar.Number(v); n != nil {
			t.Errorf("%+v is the number %v", v, *n)
		}
	}
	if n := scalar.Number(telemetry.IntValue(7)); n == nil || *n != 7 {
		t.Errorf("7 is %v", n)
	}
}

func TestColumns(t *testing.T) {
	var runs scalar.StatusRuns
	runs.Add(2, 0)
	runs.Add(1, 0)
	runs.Add(3, 0x808C0000)
	runs.Add(0, 0x80000000)
	for want, column := range map[string]interface {
		MarshalGQL(w *bytes.Buffer)
	}{
		`[0,1.5,null,-0.000001,-1500]`: on(func(b *bytes.Buffer) {
			scalar.TimeColumn{Start: 1e9, Times: []int64{1e9, 1e9 + 1_500_000, 0, 1e9 - 1, -500_000_000}, Missing: []bool{false, false, true, false, false}}.MarshalGQL(b)
		}),
		`[1,null,"x"]`: on(func(b *bytes.Buffer) {
			scalar.Column{ValueColumn: scalar.Values{telemetry.IntValue(1), {}, telemetry.StringValue("x")}}.MarshalGQL(b)
		}),
		`[[3,"0x00000000"],[3,"0x808C0000"]]`: on(func(b *bytes.Buffer) { runs.MarshalGQL(b) }),
		`["a","b"]`:                           on(func(b *bytes.Buffer) { scalar.StringColumn{"a", "b"}.MarshalGQL(b) }),
		`[]`:                                  on(func(b *bytes.Buffer) { scalar.StringColumn(nil).MarshalGQL(b) }),
	} {
		var b bytes.Buffer
		column.MarshalGQL(&b)
		if b.String() != want {
			t.Errorf("%s, expected %s", b.String(), want)
		}
	}
}

type on func(*bytes.Buffer)

func (f on) MarshalGQL(b *bytes.Buffer) { f(b) }

// TestLongColumn crosses the buffer many times and must stay one JSON array.
func TestLongColumn(t *testing.T) {
	c := make(scalar.StringColumn, 20_000)
	for i := range c {
		c[i] = strings.Repeat("é\"", i%7)
	}
	var b bytes.Buffer
	c.MarshalGQL(&b)
	var back []string
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || len(back) != len(c) {
		t.Fatalf("%d rows of %d, %v", len(back), len(c), err)
	}
	for i := range c {
		if c[i] != back[i] {
			t.Fatalf("row %d: %q, expected %q", i, back[i], c[i])
		}
	}
}

func TestUnmarshal(t *testing.T) {
	if got, err := scalar.UnmarshalTime("2026-03-01T07:00:00.123456789+01:00"); err != nil || got.Format(time.RFC3339Nano) != "2026-03-01T06:00:00.123456789Z" {
		t.Errorf("time %v, %v", got, err)
	}
	if got, err := scalar.UnmarshalRevision(json.Number("7")); err != nil || got != eventlog.Revision(7) {
		t.Errorf("revision %v, %v", got, err)
	}
	if got, err := scalar.UnmarshalStatusCode("0x808C0000"); err != nil || got != quality.Code(0x808C0000) {
		t.Errorf("status %v, %v", got, err)
	}
	for name, f := range map[string]func(any) error{
		"time":     func(v any) error { _, err := scalar.UnmarshalTime(v); return err },
		"position": func(v any) error { _, err := scalar.UnmarshalPosition(v); return err },
		"revision": func(v any) error { _, err := scalar.UnmarshalRevision(v); return err },
		"status":   func(v any) error { _, err := scalar.UnmarshalStatusCode(v); return err },
		"duration": func(v any) error { _, err := scalar.UnmarshalDuration(v); return err },
	} {
		for _, v := range []any{nil, true, "nonsense", -1, 1.5, []any{}} {
			if f(v) == nil {
				t.Errorf("%s took %v", name, v)
			}
		}
	}
}

// BenchmarkDay is one tag's day at 1 Hz.
func BenchmarkDay(b *testing.B) {
	const rows = 86_400
	times, values := make([]int64, rows), make(scalar.Values, rows)
	for i := range rows {
		times[i], values[i] = int64(i)*1e9, telemetry.FloatValue(math.Round(700+100*math.Sin(float64(i)/900))/10)
	}
	var out bytes.Buffer
	for b.Loop() {
		out.Reset()
		scalar.TimeColumn{Times: times}.MarshalGQL(&out)
		scalar.Column{ValueColumn: values}.MarshalGQL(&out)
	}
	b.ReportMetric(float64(out.Len()), "bytes")
}
