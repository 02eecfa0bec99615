package memlog_test

import (
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/eventlog/eventlogtest"
	"github.com/twinlog/twinlog/test/budget"
)

func open(*testing.T) eventlog.Log { return memlog.New("test", time.Now) }

func TestConformance(t *testing.T) { eventlogtest.Run(t, open) }

// TestClockStepsBack: Recorded never falls, and the raw clock is told.
func TestClockStepsBack(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 30, 0, time.UTC)
	l := memlog.New("test", func() time.Time { return at })
	for i, step := range []time.Duration{0, -30 * time.Second, 31 * time.Second} {
		at = at.Add(step)
		e := eventlog.NewEvent{ID: eventlog.EventID{byte(i + 1)}, Type: "x.y.v1"}
		if _, err := l.Append(t.Context(), eventlog.Stream("asset", "1"), expect(i), e); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		`{"rec":"2026-01-01T00:00:30Z"}`,
		`{"clk":{"off":-30000000},"rec":"2026-01-01T00:00:30Z"}`,
		`{"rec":"2026-01-01T00:00:31Z"}`,
	}
	for r, err := range l.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil || string(r.RawEnvelope) != want[r.Revision] {
			t.Errorf("%s, %v, want %s", r.RawEnvelope, err, want[r.Revision])
		}
	}
}

func expect(next int) eventlog.Expected {
	if next == 0 {
		return eventlog.NoStream
	}
	return eventlog.At(eventlog.Revision(next - 1))
}

func TestModel(t *testing.T) {
	eventlogtest.RunModel(t, budget.For(t)/10, func() (eventlogtest.Store, error) {
		return eventlogtest.Store{Log: memlog.New("test", time.Now), Close: func() error { return nil }}, nil
	})
}
