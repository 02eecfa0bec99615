package edge_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	codes "github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge"
	"github.com/twinlog/twinlog/edge/acquire"
	"github.com/twinlog/twinlog/edge/deadband"
	"github.com/twinlog/twinlog/edge/normalize"
	"github.com/twinlog/twinlog/edge/quality"
)

// epoch is when a synctest bubble begins.
func epoch() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

func float(f float64) telemetry.Value {
	return telemetry.Value{Kind: telemetry.Float64, Bits: math.Float64bits(f)}
}

// A polled source answers from a function: the reading of an item at a second.
type polled struct {
	read func(second, item int) acquire.Reading
	fail func(second int) error
}

func (polled) Connect(context.Context) error { return nil }
func (polled) Close() error                  { return nil }

func (p polled) Read(_ context.Context, items []int) ([]acquire.Reading, error) {
	second := int(time.Since(epoch()) / time.Second)
	out := make([]acquire.Reading, len(items))
	for i, item := range items {
		out[i] = p.read(second, item)
		out[i].Item = item
	}
	if p.fail != nil {
		return out, p.fail(second)
	}
	return out, nil
}

// A sink keeps what it takes and refuses what it is told to.
type sink struct {
	mu     sync.Mutex // guards got: every pipeline puts
	got    []edge.Message
	refuse func(second int) bool
}

func (s *sink) Put(_ context.Context, messages ...edge.Message) error {
	if s.refuse != nil && s.refuse(int(time.Since(epoch())/time.Second)) {
		return errors.New("disk full")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, messages...)
	return nil
}

// said is what the sink took, a line each: "second device signal=value/quality".
func (s *sink) said() []string {
	var out []string
	for _, m := range s.got {
		var b strings.Builder
		fmt.Fprintf(&b, "%v %s", m.Row.SourceTime.Sub(epoch()).Seconds(), m.Row.Device)
		for _, x := range m.Row.Samples {
			value := "null"
			if x.Value.Kind == telemetry.Float64 {
				value = fmt.Sprint(math.Float64frombits(x.Value.Bits))
			}
			fmt.Fprintf(&b, " %s=%s/%v", x.Signal, value, x.Quality.Code)
		}
		out = append(out, b.String())
	}
	return out
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// run runs a gateway for some seconds.
func run(t *testing.T, s *sink, seconds int, pipelines ...edge.Pipeline) *edge.Gateway {
	t.Helper()
	g, err := edge.New(s, quiet(), pipelines)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(seconds)*time.Second+time.Millisecond)
	defer cancel()
	if err := g.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run returned %v", err)
	}
	return g
}

func wide(width float64) deadband.Rule {
	f, err := deadband.Absolute(width)
	if err != nil {
		panic(err)
	}
	return deadband.Rule{Filter: f}
}

// pump is a pipeline of two devices: P-1 with flow and level, P-2 with flow.
func pump(src edge.Pipeline) edge.Pipeline {
	src.Name = "plc"
	src.Devices = []edge.Device{{ID: "P-1", Type: "pump", Place: "a/b/c/d"}, {ID: "P-2", Type: "pump", Place: "a/b/c/e"}}
	src.Tags = []edge.Tag{
		{Device: 0, Signal: "flow", Every: time.Second, Deadband: wide(1)},
		{Device: 1, Signal: "flow", Every: time.Second, Deadband: wide(1)},
		{Device: 0, Signal: "level", Every: time.Second, Deadband: wide(1), Limits: quality.Limits{EURange: &quality.Range{Low: 0, High: 100}}},
	}
	return src
}

func good(x float64) acquire.Reading {
	return acquire.Reading{Value: float(x), Quality: codes.AssumedGood}
}

func bad(code codes.Code) acquire.Reading { return acquire.Reading{Quality: codes.Of(code)} }

func TestOneMessagePerDeviceAndScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := polled{read: func(second, item int) acquire.Reading {
			if item == 2 {
				return good(float64(60 * second)) // leaves its range after the first second
			}
			return good(0.4 * float64(second) * float64(1-item)) // P-1 drifts, P-2 stands still
		}}
		var s sink
		g := run(t, &s, 4, pump(edge.Pipeline{Polled: src}))
		want := []string{
			"0 P-1 flow=0/Good level=0/Good",
			"0 P-2 flow=0/Good",
			"1 P-1 level=60/Good",
			"2 P-1 level=120/UncertainEngineeringUnitsExceeded, High",
			"3 P-1 flow=1.2000000000000002/Good level=180/UncertainEngineeringUnitsExceeded, High",
			"4 P-1 level=240/UncertainEngineeringUnitsExceeded, High",
		}
		if diff := cmp.Diff(want, s.said()); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		m := s.got[1]
		if m.Place != "a/b/c/e" || m.Row.DeviceType != "pump" || !m.Row.ServerTime.Equal(epoch()) || m.Row.Basis != telemetry.FromSourceTS {
			t.Errorf("message %+v", m)
		}
		if st := g.Status()[0]; st.Scans != 5 || st.Readings != 15 || st.Messages != 6 || st.Samples != 8 || st.Bad != 0 {
			t.Errorf("status %+v", st)
		}
	})
}

// TestWhatWasNotReadHasNoValue: a machine that is lost is Bad at once and under
// the time at which that was found; its last value is not sent again.
func TestWhatWasNotReadHasNoValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := polled{
			read: func(second, _ int) acquire.Reading {
				if second == 2 {
					return bad(codes.BadCommunicationError)
				}
				return good(7)
			},
			fail: func(second int) error {
				if second == 2 {
					return errors.New("gone")
				}
				return nil
			},
		}
		p := pump(edge.Pipeline{Polled: src, Retry: acquire.Retry{Min: 100 * time.Millisecond, Max: 100 * time.Millisecond}})
		p.Devices, p.Tags = p.Devices[:1], p.Tags[:1]
		var s sink
		run(t, &s, 4, p)
		want := []string{"0 P-1 flow=7/Good", "2 P-1 flow=null/BadCommunicationError", "3 P-1 flow=7/Good"}
		if diff := cmp.Diff(want, s.said()); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
	})
}

// TestRefusedIsSaidAgain: what the sink did not take is not taken for sent, even
// if the value stands still from then on.
func TestRefusedIsSaidAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := polled{read: func(second, _ int) acquire.Reading { return good(float64(min(second, 1)) * 50) }}
		p := pump(edge.Pipeline{Polled: src})
		p.Devices, p.Tags = p.Devices[:1], p.Tags[:1]
		s := sink{refuse: func(second int) bool { return second == 1 || second == 2 }}
		g := run(t, &s, 5, p)
		if diff := cmp.Diff([]string{"0 P-1 flow=0/Good", "3 P-1 flow=50/Good"}, s.said()); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		if st := g.Status()[0]; st.Refused != 2 || st.Restarts != 0 {
			t.Errorf("status %+v", st)
		}
	})
}

// TestAPanicStaysInItsPipeline: the other source goes on, and the one that fell
// comes back without saying again what it had said.
func TestAPanicStaysInItsPipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		falls := polled{read: func(second, _ int) acquire.Reading {
			if second == 2 {
				panic("index out of range")
			}
			return good(1)
		}}
		stands := polled{read: func(second, _ int) acquire.Reading { return good(float64(10 * second)) }}
		one, other := pump(edge.Pipeline{Polled: falls, Retry: acquire.Retry{Min: 2 * time.Second, Max: 2 * time.Second}}), pump(edge.Pipeline{Polled: stands})
		one.Devices, one.Tags = one.Devices[:1], one.Tags[:1]
		other.Devices, other.Tags = other.Devices[1:], []edge.Tag{{Signal: "x", Every: time.Second, Deadband: wide(1)}}
		var s sink
		g := run(t, &s, 6, one, other)
		var first, second []string
		for _, line := range s.said() {
			if strings.Contains(line, "P-1") {
				first = append(first, line)
			} else {
				second = append(second, line)
			}
		}
		if diff := cmp.Diff([]string{"0 P-1 flow=1/Good"}, first); diff != "" {
			t.Errorf("the source that fell (-want +got):\n%s", diff)
		}
		if len(second) != 7 {
			t.Errorf("the other source said %v", second)
		}
		st := g.Status()
		if st[0].Restarts != 1 || st[0].Scans < 4 || st[1].Restarts != 0 {
			t.Errorf("status %+v", st)
		}
	})
}

// TestARefusalIsLoggedOnce each time it begins, and not at every scan.
func TestARefusalIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pump(edge.Pipeline{Polled: polled{read: func(second, _ int) acquire.Reading { return good(float64(10 * second)) }}})
		p.Devices, p.Tags = p.Devices[:1], p.Tags[:1]
		var log bytes.Buffer
		s := sink{refuse: func(second int) bool { return second == 1 || second == 2 || second == 4 }}
		g, err := edge.New(&s, slog.New(slog.NewTextHandler(&log, nil)), []edge.Pipeline{p})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
		defer cancel()
		if err := g.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run returned %v", err)
		}
		if n := strings.Count(log.String(), "messages not taken"); n != 2 {
			t.Errorf("%d lines, want 2:\n%s", n, &log)
		}
	})
}

// TestTheGraverReasonStands: what a protocol and the scaling say of one reading
// are joined to the worse of the two, the protocol's where they are alike.
func TestTheGraverReasonStands(t *testing.T) {
	loop, err := normalize.Current(1, 0, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	substitute, pegged := codes.UncertainSubstituteValue, codes.UncertainSensorNotAccurate.WithLimit(codes.Low)
	for _, tt := range []struct {
		mA   float64
		came codes.Code
		want codes.Code
	}{
		{12, codes.Good, codes.Good},
		{12, substitute, substitute},
		{3.7, codes.Good, pegged},
		{3.7, substitute, substitute},
		{0, codes.Good, codes.BadSensorFailure},
		{0, substitute, codes.BadSensorFailure},
		{0, codes.BadOutOfService, codes.BadOutOfService},
		{12, codes.BadOutOfService, codes.BadOutOfService},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := edge.Pipeline{Polled: polled{read: func(int, int) acquire.Reading {
				return acquire.Reading{Value: float(tt.mA), Quality: codes.Of(tt.came)}
			}}, Devices: make([]edge.Device, 1), Tags: []edge.Tag{{Signal: "x", Every: time.Second, Scale: loop}}}
			var s sink
			run(t, &s, 0, p)
			got := s.got[0].Row.Samples[0]
			if got.Quality.Code != tt.want || (tt.want.Status() == codes.IsBad) != (got.Value.Kind == telemetry.Null) {
				t.Errorf("%v mA that came as %v became %+v, %v; want %v", tt.mA, tt.came, got.Value, got.Quality.Code, tt.want)
			}
		})
	}
}

// TestRateOverThePeriod: a read that was late is followed at once by the next,
// and what noise does in between is no rate.
func TestRateOverThePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := polled{read: func(second, _ int) acquire.Reading {
			if second == 2 {
				time.Sleep(990 * time.Millisecond)
			}
			return good(50 + 0.3*float64(second%2))
		}}
		p := pump(edge.Pipeline{Polled: src})
		p.Devices, p.Tags = p.Devices[:1], p.Tags[:1]
		p.Tags[0].Limits.MaxRate = 1
		var s sink
		run(t, &s, 6, p)
		if diff := cmp.Diff([]string{"0 P-1 flow=50/Good"}, s.said()); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
	})
}

func TestPipelinesThatContradictThemselves(t *testing.T) {
	src := polled{}
	for name, p := range map[string]edge.Pipeline{
		"no source":            {},
		"two sources":          {Polled: src, Reporting: reporting(nil)},
		"a tag of no device":   {Polled: src, Tags: []edge.Tag{{Every: 1}}},
		"a tag never read":     {Polled: src, Devices: make([]edge.Device, 1), Tags: []edge.Tag{{}}},
		"a range upside down":  {Polled: src, Devices: make([]edge.Device, 1), Tags: []edge.Tag{{Every: 1, Limits: quality.Limits{EURange: &quality.Range{}}}}},
		"a device before zero": {Polled: src, Devices: make([]edge.Device, 1), Tags: []edge.Tag{{Every: 1, Device: -1}}},
	} {
		if _, err := edge.New(&sink{}, quiet(), []edge.Pipeline{p}); err == nil || (!errors.Is(err, edge.ErrBadPipeline) && !errors.Is(err, quality.ErrBadLimits)) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// TestAScanIsPutTogether: a bus of many devices costs the sink few puts, and
// none larger than it may be.
func TestAScanIsPutTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := edge.Pipeline{Polled: polled{read: func(int, int) acquire.Reading { return good(1) }}}
		for d := range 150 {
			p.Devices = append(p.Devices, edge.Device{ID: fmt.Sprint(d)})
			tags := 1
			if d >= 140 {
				tags = 1500
			}
			for s := range tags {
				p.Tags = append(p.Tags, edge.Tag{Device: d, Signal: fmt.Sprint(s), Every: time.Minute})
			}
		}
		var c counter
		g, err := edge.New(&c, quiet(), []edge.Pipeline{p})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run returned %v", err)
		}
		// 64 + 64 + 12 small devices and two large ones, then two at a time.
		if diff := cmp.Diff(counter{64, 64, 14, 2, 2, 2, 2}, c); diff != "" {
			t.Errorf("messages of each put (-want +got):\n%s", diff)
		}
	})
}

// A counter notes how many messages each put has.
type counter []int

func (c *counter) Put(_ context.Context, messages ...edge.Message) error {
	*c = append(*c, len(messages))
	return nil
}
