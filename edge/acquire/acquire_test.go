package acquire_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge/acquire"
)

var errLost = errors.New("lost")

// A machine is a polled source in a bubble: what it does is told by functions.
type machine struct {
	mu      sync.Mutex // guards the next three, where a test changes them meanwhile
	connect func() error
	read    func(ctx context.Context, items []int) error
	mark    map[int]quality.Code // items that are Bad by themselves
	open    int
	closed  int
	visits  []visit
}

type visit struct {
	At    time.Duration
	Items []int
}

// change changes the machine while it is polled.
func (m *machine) change(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

func (m *machine) Connect(context.Context) error {
	m.mu.Lock()
	connect := m.connect
	m.mu.Unlock()
	if connect != nil {
		if err := connect(); err != nil {
			return err
		}
	}
	m.open++
	return nil
}

func (m *machine) Close() error { m.closed++; return nil }

func (m *machine) Read(ctx context.Context, items []int) ([]acquire.Reading, error) {
	m.visits = append(m.visits, visit{time.Since(epoch()), slices.Clone(items)})
	m.mu.Lock()
	read, mark := m.read, m.mark
	m.mu.Unlock()
	var err error
	if read != nil {
		err = read(ctx, items)
	}
	out := make([]acquire.Reading, len(items))
	for i, item := range items {
		out[i].Item = item
		if err != nil {
			out[i].Quality = quality.Of(quality.BadCommunicationError)
			continue
		}
		out[i].Value, out[i].Quality = telemetry.Value{Kind: telemetry.Int64, Bits: uint64(item)}, quality.AssumedGood
		if code, ok := mark[item]; ok {
			out[i].Value, out[i].Quality = telemetry.Value{}, quality.Of(code)
		}
	}
	return out, err
}

// epoch is when a synctest bubble begins.
func epoch() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// poll runs Poll for a while and returns what was heard.
func poll(t *testing.T, m *machine, groups []acquire.Group, retry acquire.Retry, during time.Duration) (heard []acquire.Scan) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), during)
	defer cancel()
	err := acquire.Poll(ctx, m, groups, retry, &acquire.Vitals{}, quiet(), func(_ context.Context, s acquire.Scan) error {
		heard = append(heard, s)
		return nil
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Poll returned %v, want its context's error", err)
	}
	if m.closed != 1 {
		t.Errorf("closed %d times", m.closed)
	}
	return heard
}

func TestPollKeepsItsGrid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{}
		m.read = func(context.Context, []int) error { time.Sleep(130 * time.Millisecond); return nil }
		heard := poll(t, m, []acquire.Group{{Every: time.Second, Items: []int{0, 1}}, {Every: 2500 * time.Millisecond, Items: []int{2}}}, acquire.Retry{}, 5100*time.Millisecond)
		ms := time.Millisecond
		want := []visit{
			{0, []int{0, 1}},
			{130 * ms, []int{2}},
			{1000 * ms, []int{0, 1}},
			{2000 * ms, []int{0, 1}},
			{2500 * ms, []int{2}},
			{3000 * ms, []int{0, 1}},
			{4000 * ms, []int{0, 1}},
			{5000 * ms, []int{0, 1}},
		}
		// Reading takes a while, and yet no visit drifts.
		if diff := cmp.Diff(want, m.visits); diff != "" {
			t.Errorf("visits (-want +got):\n%s", diff)
		}
		for _, s := range heard {
			for _, r := range s.Readings {
				if !r.At.Equal(s.At) {
					t.Errorf("a reading without a time of its own is of %v, want the end of the visit %v", r.At, s.At)
				}
			}
		}
	})
}

func TestPollSkipsWhatItMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{}
		m.read = func(context.Context, []int) error {
			if len(m.visits) == 2 {
				time.Sleep(3200 * time.Millisecond)
			}
			return nil
		}
		poll(t, m, []acquire.Group{{Every: time.Second, Items: []int{0}}}, acquire.Retry{}, 7500*time.Millisecond)
		var at []time.Duration
		for _, v := range m.visits {
			at = append(at, v.At)
		}
		s := time.Second
		if diff := cmp.Diff([]time.Duration{0, s, 4200 * time.Millisecond, 5 * s, 6 * s, 7 * s}, at); diff != "" {
			t.Errorf("visits (-want +got):\n%s", diff)
		}
	})
}

// TestPollBacksOff: the waits double up to their limit, each is shortened by at
// most half, everything is Bad at each attempt, and after the machine is back
// the next failure starts over.
func TestPollBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts []time.Duration
		m := &machine{connect: func() error {
			attempts = append(attempts, time.Since(epoch()))
			if len(attempts) == 9 {
				return nil
			}
			return errLost
		}}
		m.read = func(context.Context, []int) error {
			if len(m.visits) == 2 {
				return errLost
			}
			return nil
		}
		heard := poll(t, m, []acquire.Group{{Every: time.Second, Items: []int{0}}, {Every: time.Hour, Items: []int{1}}},
			acquire.Retry{Min: time.Second, Max: 8 * time.Second}, 70*time.Second)
		if len(attempts) < 11 {
			t.Fatalf("%d attempts", len(attempts))
		}
		limits := []time.Duration{1, 2, 4, 8, 8, 8, 8, 8, 1} // the last after the session was lost
		for i, limit := range limits {
			limit *= time.Second
			wait := attempts[i+1] - attempts[i]
			if i == len(limits)-1 {
				wait -= m.visits[1].At - attempts[i] // it was open in between
			}
			if wait < limit/2 || wait > limit {
				t.Errorf("wait %d is %v, want %v to %v", i, wait, limit/2, limit)
			}
		}
		for i, s := range heard[:8] {
			if len(s.Readings) != 2 {
				t.Fatalf("attempt %d accounts for %d of 2 items", i, len(s.Readings))
			}
			for _, r := range s.Readings {
				if r.Value != (telemetry.Value{}) || r.Quality.Code != quality.BadNoCommunication {
					t.Errorf("attempt %d: %+v, %v", i, r.Value, r.Quality.Code)
				}
			}
		}
	})
}

// TestReadThatWasCutShort: what a stopped gateway did not finish reading is not
// reported as a failure of the machine.
func TestReadThatWasCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{read: func(ctx context.Context, _ []int) error { <-ctx.Done(); return ctx.Err() }}
		if heard := poll(t, m, []acquire.Group{{Every: time.Second, Items: []int{0}}}, acquire.Retry{}, 3*time.Second); len(heard) > 0 {
			t.Errorf("heard %+v", heard)
		}
	})
}

func TestPollStopsWhenNobodyHears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{}
		deaf := errors.New("deaf")
		err := acquire.Poll(t.Context(), m, []acquire.Group{{Every: time.Second, Items: []int{0}}}, acquire.Retry{}, &acquire.Vitals{}, quiet(),
			func(context.Context, acquire.Scan) error { return deaf })
		if !errors.Is(err, deaf) || m.closed != 1 {
			t.Errorf("Poll returned %v and closed %d times", err, m.closed)
		}
	})
}

func TestRetryWait(t *testing.T) {
	for n, limit := range []time.Duration{500, 1000, 2000, 4000, 8000, 16000, 30000, 30000} {
		limit *= time.Millisecond
		low, high := limit, time.Duration(0)
		for range 1000 {
			w := acquire.Retry{}.Wait(n)
			low, high = min(low, w), max(high, w)
		}
		if low < limit/2 || high > limit || high-low < limit/4 {
			t.Errorf("waits %d are %v to %v, want them spread over %v to %v", n, low, high, limit/2, limit)
		}
	}
}

// A talker is a source that speaks by itself.
type talker func(ctx context.Context, hear func([]acquire.Reading)) error

func (f talker) Report(ctx context.Context, hear func([]acquire.Reading)) error { return f(ctx, hear) }

// TestListenStartsOver: a session in which something was heard is followed by
// the shortest wait, however many there were.
func TestListenStartsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var began []time.Duration
		src := talker(func(_ context.Context, hear func([]acquire.Reading)) error {
			began = append(began, time.Since(epoch()))
			if len(began) > 5 {
				hear([]acquire.Reading{{}})
			}
			return errLost
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := acquire.Listen(ctx, src, 1, time.Hour, acquire.Retry{Min: time.Second, Max: time.Hour}, &acquire.Vitals{}, quiet(), func(context.Context, acquire.Scan) error { return nil })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Listen returned %v", err)
		}
		if wait := began[4] - began[3]; wait < 4*time.Second || wait > 8*time.Second {
			t.Errorf("the fourth wait is %v, want 4 s to 8 s", wait)
		}
		for i := 6; i < len(began); i++ {
			if wait := began[i] - began[i-1]; wait > time.Second {
				t.Errorf("after a session that worked the wait is %v, want at most 1 s", wait)
			}
		}
		if len(began) < 20 {
			t.Errorf("%d sessions", len(began))
		}
	})
}

func TestListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sessions := 0
		src := talker(func(ctx context.Context, hear func([]acquire.Reading)) error {
			sessions++
			if sessions == 2 {
				return errLost // not even connected
			}
			for range 3 {
				time.Sleep(700 * time.Millisecond)
				hear([]acquire.Reading{{Item: 1, SourceTime: epoch()}})
			}
			if sessions == 1 {
				return errLost
			}
			<-ctx.Done()
			return ctx.Err()
		})
		var said []string
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
		defer cancel()
		err := acquire.Listen(ctx, src, 2, time.Second, acquire.Retry{Min: time.Second, Max: 2 * time.Second}, &acquire.Vitals{}, quiet(), func(_ context.Context, s acquire.Scan) error {
			switch {
			case len(s.Readings) == 0:
				said = append(said, "tick")
			case s.Readings[0].Quality.Code == quality.BadNoCommunication && len(s.Readings) == 2:
				said = append(said, "lost")
			case s.Readings[0].SourceTime.Equal(epoch()) && s.Readings[0].At.Equal(s.At):
				said = append(said, "heard")
			default:
				t.Errorf("scan %+v", s)
			}
			return nil
		})
		if !errors.Is(err, context.DeadlineExceeded) || sessions != 3 {
			t.Errorf("Listen returned %v after %d sessions", err, sessions)
		}
		want := []string{"heard", "tick", "heard", "tick", "heard", "lost", "lost", "heard", "tick", "heard", "tick", "heard", "tick", "tick"}
		if diff := cmp.Diff(want, said[:min(len(said), len(want))]); diff != "" {
			t.Errorf("heard (-want +got):\n%s", diff)
		}
	})
}
