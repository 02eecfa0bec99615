package aggregate

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/test/budget"
)

func series(r *rand.Rand, n int) []Sample {
	codes := []quality.Code{quality.Good, quality.Good, quality.GoodLocalOverride, quality.Uncertain, quality.UncertainSubNormal, quality.Bad, quality.BadSensorFailure}
	kind, code := r.IntN(4), quality.Good
	mixed := r.IntN(3) > 0
	t := at(0) + r.Int64N(5e9)
	if kind != 3 {
		t -= t % 1e6
	}
	out := make([]Sample, n)
	v := 100.0
	for i := range out {
		if mixed && r.IntN(6) == 0 {
			code = codes[r.IntN(len(codes))]
		}
		v += r.NormFloat64()
		s := Sample{t, telemetry.FloatValue(math.Round(v*10) / 10), code}
		switch kind {
		case 1:
			s.Value = telemetry.IntValue(int64(r.Uint64()) >> r.IntN(60))
		case 2:
			s.Value = telemetry.BoolValue(r.IntN(2) == 0)
		case 3:
			s.Value = telemetry.FloatValue(v * 1e300)
			t += r.Int64N(5e9)
		}
		if code.Status() == quality.IsBad && r.IntN(2) == 0 {
			s.Value = telemetry.Value{}
		}
		out[i] = s
		t += (1 + r.Int64N(4000)) * 1e6
	}
	return out
}

// TestRunsAreTheirSamples: cut anywhere, summed up, encoded and joined, the
// answers are those of the samples one by one, bit for bit.
func TestRunsAreTheirSamples(t *testing.T) {
	r := rand.New(rand.NewPCG(budget.Seed(t), 0))
	fns := []Function{
		Interpolative, Average, TimeAverage, Minimum, Maximum, Range, Count, Total, Start, End, Delta,
		PercentGood, PercentBad, WorstQuality, DurationGood, DurationBad,
	}
	count := 0
	for end := time.Now().Add(budget.For(t) / 8); time.Now().Before(end); count++ {
		samples := series(r, 1+r.IntN(300))
		cfg := Standard()
		cfg.TreatUncertainAsBad = r.IntN(2) == 0
		span := Span{noon.Add(time.Duration(r.Int64N(60e9))), noon.Add(time.Duration(60e9 + r.Int64N(400e9))), time.Duration(5e8 + r.Int64N(60e9))}
		one, many := NewFolder(span, fns, cfg), NewFolder(span, fns, cfg)
		for _, s := range samples {
			one.Add(s)
		}
		for i := 0; i < len(samples); {
			n := min(1+r.IntN(20), len(samples)-i)
			base := samples[i].Time - r.Int64N(2)*1e6
			if r.IntN(3) > 0 || !many.Whole(base, samples[i+n-1].Time+1) {
				many.Add(samples[i])
				i++
				continue
			}
			var run Run
			for _, s := range samples[i : i+n] {
				run.Add(s)
			}
			if err := many.AddRun(run.Append(nil, base), base); err != nil {
				t.Fatal(err)
			}
			i += n
		}
		if diff := cmp.Diff(one.Results(), many.Results()); diff != "" {
			t.Fatalf("of samples (-) and of runs (+): %s", diff)
		}
	}
	t.Logf("%d series", count)
}

// TestJoin: an encoded run joined to another is the run of all samples.
func TestJoin(t *testing.T) {
	r := rand.New(rand.NewPCG(budget.Seed(t), 1))
	for range 500 {
		samples := series(r, 2+r.IntN(60))
		base := samples[0].Time - samples[0].Time%1e6
		cut := 1 + r.IntN(len(samples)-1)
		var whole, head, tail, joined Run
		for i, s := range samples {
			whole.Add(s)
			if i < cut {
				head.Add(s)
			} else {
				tail.Add(s)
			}
		}
		for _, part := range []*Run{&head, &tail} {
			rest, err := joined.AddEncoded(append(part.Append(nil, base), 0x5A), base)
			if err != nil || !bytes.Equal(rest, []byte{0x5A}) {
				t.Fatalf("rest %x, error %v", rest, err)
			}
		}
		if got, want := joined.Append(nil, base), whole.Append(nil, base); !bytes.Equal(got, want) {
			t.Fatalf("joined %x, whole %x", got, want)
		}
		if _, err := joined.AddEncoded(head.Append(nil, base), base); err == nil {
			t.Fatal("an earlier run was joined behind a later one")
		}
	}
}

func FuzzAddEncoded(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 4 {
		var run Run
		for _, s := range series(r, 20) {
			run.Add(s)
		}
		f.Add(run.Append(nil, run.first.Time))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var run Run
		_, _ = run.AddEncoded(b, 0)
	})
}

func BenchmarkAdd(b *testing.B) {
	var run Run
	t := int64(0)
	for b.Loop() {
		t += 1e9
		run.Add(Sample{t, telemetry.FloatValue(float64(t%977) / 10), quality.Good})
	}
}

func BenchmarkAddRun(b *testing.B) {
	var run Run
	for i := range int64(900) {
		run.Add(Sample{at(float64(i)), telemetry.FloatValue(float64(i%977) / 10), quality.Good})
	}
	enc := run.Append(nil, at(0))
	b.ReportMetric(float64(len(enc)), "bytes")
	var into Run
	for base := at(0); b.Loop(); base += 900e9 {
		if _, err := into.AddEncoded(enc, base); err != nil {
			b.Fatal(err)
		}
	}
}
