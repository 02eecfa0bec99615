package badgerlog_test

import (
	"crypto/sha256"
	"errors"
	"os"
	"testing"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/eventlog/eventlogtest"
	"github.com/twinlog/twinlog/test/budget"
)

// derive is an id function like that of telemetry: some ids come from the
// data, most do not.
func derive(origin string, stream eventlog.StreamID, typ string, data []byte) (eventlog.EventID, bool) {
	if typ != eventlog.TelemetryRecorded {
		return eventlog.EventID{}, false
	}
	sum := sha256.Sum256(append([]byte(origin+"\x00"+string(stream)+"\x00"), data...))
	return eventlog.EventID(sum[:16]), true
}

// open opens a log that the test closes at its end.
func open(t *testing.T, dir string, cfg badgerlog.Config) *badgerlog.Log {
	t.Helper()
	l, err := badgerlog.Open(t.Context(), dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestConformance(t *testing.T) {
	eventlogtest.Run(t, func(t *testing.T) eventlog.Log {
		return open(t, t.TempDir(), badgerlog.Config{IDs: derive})
	})
}

func TestConformanceOfAppendAsync(t *testing.T) {
	eventlogtest.Run(t, func(t *testing.T) eventlog.Log {
		return eventlogtest.ByAsync(open(t, t.TempDir(), badgerlog.Config{IDs: derive}))
	})
}

// TestConformanceOfSmallWindows makes what is rare in a day's log frequent:
// windows that close all the time, and nothing left in memory.
func TestConformanceOfSmallWindows(t *testing.T) {
	eventlogtest.Run(t, func(t *testing.T) eventlog.Log {
		return open(t, t.TempDir(), badgerlog.Config{IDs: derive, Window: 7, RecentBytes: 1})
	})
}

func TestModel(t *testing.T) {
	n := 0
	eventlogtest.RunModel(t, budget.For(t)/2, func() (eventlogtest.Store, error) {
		dir, err := os.MkdirTemp(t.TempDir(), "log")
		if err != nil {
			return eventlogtest.Store{}, err
		}
		n++
		cfg := badgerlog.Config{IDs: derive}
		if n%2 == 0 {
			cfg.Window, cfg.RecentBytes = 50, 2000
		}
		l, err := badgerlog.Open(t.Context(), dir, cfg)
		return eventlogtest.Store{
			Log: l,
			Restart: func() (eventlog.Log, error) {
				if err := l.Close(); err != nil {
					return nil, err
				}
				l, err = badgerlog.Open(t.Context(), dir, cfg)
				return l, err
			},
			Close: func() error { return errors.Join(l.Close(), os.RemoveAll(dir)) },
		}, err
	})
}
