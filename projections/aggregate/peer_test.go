package aggregate

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os/exec"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/test/budget"
	"github.com/twinlog/twinlog/test/peer"
)

type question struct {
	Samples             [][3]float64 `json:"samples"`
	From                int64        `json:"from"`
	To                  int64        `json:"to"`
	Interval            int64        `json:"interval"`
	TreatUncertainAsBad bool         `json:"treatUncertainAsBad"`
	Functions           []string     `json:"functions"`

	series []Sample
}

// ask draws a series with spans of Bad and Uncertain, at irregular times.
func ask(r *rand.Rand) question {
	q := question{
		From: 1.7e12, Interval: int64(1+r.IntN(60)) * 1000, TreatUncertainAsBad: r.IntN(2) == 0,
		Functions: []string{"Average", "Min", "Max", "Count", "PercentGood", "PercentBad", "DurationGood"},
	}
	q.To = q.From + q.Interval*int64(1+r.IntN(12))
	codes := []quality.Code{quality.Good, quality.Uncertain, quality.Bad}
	code := codes[0]
	v := 20.0
	for t := q.From + r.Int64N(q.Interval); t < q.To; t += 1 + r.Int64N(q.Interval/3) {
		if r.IntN(5) == 0 {
			code = codes[r.IntN(3)]
		}
		v += math.Round(r.NormFloat64()*10) / 10
		q.Samples = append(q.Samples, [3]float64{float64(t), v, float64(code)})
		q.series = append(q.series, Sample{t * 1e6, telemetry.FloatValue(v), code})
	}
	return q
}

// TestAgainstNodeOPCUA compares with an independent implementation. It differs
// from OPC 10000-13 in these places. Left out of the comparison and counted are
// PercentGood, PercentBad and DurationGood of an interval without a Good sample
// after its start (0, nothing or Bad there, where §5.4.3.31 gives the interval
// the status that it had at its start), and of one with an Uncertain sample
// exactly at its start and TreatUncertainAsBad = False (Bad there). The others
// are StatusCodes: that of Count, which it weighs by time where §5.4.3.2.1 counts
// values, and those of Minimum and Maximum, which it lets depend on Uncertain
// values that TreatUncertainAsBad = False treats as Good and that are no extremes.
func TestAgainstNodeOPCUA(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "node", "aggregates.mjs")
	cmd.Dir = peer.Node(t)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	answers := bufio.NewReader(out)
	r := rand.New(rand.NewPCG(budget.Seed(t), 0))
	compared, left := 0, 0
	const least = 200 // questions, however short the time
	asked := 0
	for end := time.Now().Add(budget.For(t) / 8); time.Now().Before(end) || asked < least; asked++ {
		q := ask(r)
		if len(q.Samples) == 0 {
			continue // the peer fails on an empty history
		}
		b, _ := json.Marshal(q)
		fmt.Fprintf(in, "%s\n", b)
		line, err := answers.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		theirs := map[string][][2]*float64{}
		if err := json.Unmarshal(line, &theirs); err != nil {
			t.Fatal(err)
		}
		n, m := q.compare(t, theirs)
		compared, left = compared+n, left+m
	}
	t.Logf("%d values compared, %d left out", compared, left)
	if compared < 4*left || compared == 0 {
		t.Errorf("only %d values compared, %d left out", compared, left)
	}
}

func (q *question) compare(t *testing.T, theirs map[string][][2]*float64) (compared, left int) {
	t.Helper()
	fns := []Function{Average, Minimum, Maximum, Count, PercentGood, PercentBad, DurationGood}
	cfg := Standard()
	cfg.TreatUncertainAsBad = q.TreatUncertainAsBad
	span := Span{time.UnixMilli(q.From), time.UnixMilli(q.To), time.Duration(q.Interval) * time.Millisecond}
	f := NewFolder(span, fns, cfg)
	for _, s := range q.series {
		f.Add(s)
	}
	ours := f.Results()
	for k, name := range q.Functions {
		for i, r := range ours[k] {
			from := (q.From + int64(i)*q.Interval) * 1e6
			if fns[k] >= PercentGood && !comparable(q, from, from+q.Interval*1e6) {
				left++
				continue
			}
			their := theirs[name][i]
			code := quality.Code(*their[1])
			got, ok := r.Value.Number()
			switch {
			case their[0] == nil:
				if r.Status.Status() != quality.IsBad && (fns[k] != Count || got != 0) {
					t.Fatalf("%s, interval %d: %v %v, the peer has none and %v\n%v", name, i, got, r.Status, code, q)
				}
			case !ok || math.Abs(got-*their[0]) > 1e-9*math.Max(1, math.Abs(got)):
				t.Fatalf("%s, interval %d: %v, the peer has %v\n%v", name, i, got, *their[0], q)
			case fns[k] != Count && (cfg.TreatUncertainAsBad || fns[k] != Minimum && fns[k] != Maximum) && code.Status() != r.Status.Status():
				t.Fatalf("%s, interval %d: %v is %v, the peer says %v\n%v", name, i, got, r.Status, code, q)
			}
			compared++
		}
	}
	return compared, left
}

// comparable reports whether the peer computes the durations of the interval as
// the standard does.
func comparable(q *question, from, to int64) bool {
	good := false
	for _, s := range q.series {
		if s.Time == from && s.Code.Status() == quality.IsUncertain && !q.TreatUncertainAsBad {
			return false
		}
		good = good || s.Time > from && s.Time < to && s.Code.Status() == quality.IsGood
	}
	return good
}
