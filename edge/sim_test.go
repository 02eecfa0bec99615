package edge_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	codes "github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge"
	"github.com/twinlog/twinlog/edge/acquire"
	"github.com/twinlog/twinlog/edge/normalize"
	"github.com/twinlog/twinlog/test/budget"
)

// TestServerViewIsTrue is a bad day from one seed: a signal with jumps, a
// machine that comes and goes, a sink that refuses. After every scan that
// nothing hindered, what the sink took last is within the deadband of what the
// machine has, with the quality it has.
func TestServerViewIsTrue(t *testing.T) {
	seed := budget.Seed(t)
	for round := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, round))
			const width, seconds = 2.0, 300
			scale, err := normalize.Linear(0.5, 10)
			if err != nil {
				t.Fatal(err)
			}
			x := 0.0
			truth := make([]acquire.Reading, seconds+1)
			refused := make([]bool, seconds+1)
			down := false
			for i := range truth {
				if rng.IntN(20) == 0 {
					down = !down
				}
				if x += rng.NormFloat64(); rng.IntN(30) == 0 {
					x += 100 * rng.NormFloat64()
				}
				truth[i] = good(x)
				if down {
					truth[i] = bad(codes.BadCommunicationError)
				}
				refused[i] = rng.IntN(10) == 0
			}
			src := polled{read: func(second, _ int) acquire.Reading { return truth[second] }}
			p := edge.Pipeline{Name: "x", Polled: src, Devices: []edge.Device{{ID: "D"}}, Tags: []edge.Tag{{Signal: "s", Every: time.Second, Scale: scale, Deadband: wide(width)}}}
			s := sink{refuse: func(second int) bool { return refused[second] }}
			run(t, &s, seconds, p)

			next := 0
			var shown telemetry.Sample
			for i, want := range truth {
				for next < len(s.got) && !s.got[next].Row.SourceTime.After(epoch().Add(time.Duration(i)*time.Second)) {
					shown = s.got[next].Row.Samples[0]
					next++
				}
				if refused[i] {
					continue
				}
				if shown.Quality.Code != want.Quality.Code {
					t.Fatalf("round %d, second %d: server shows %v, machine has %v", round, i, shown.Quality.Code, want.Quality.Code)
				}
				is := 0.5*math.Float64frombits(want.Value.Bits) + 10
				if off := math.Abs(math.Float64frombits(shown.Value.Bits) - is); want.Value.Kind != telemetry.Null && off > width {
					t.Fatalf("round %d, second %d: server is off by %v", round, i, off)
				}
			}
		})
	}
}
