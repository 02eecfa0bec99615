package kurrentlog_test

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/adapters/eventlog/esdbgrpc"
	"github.com/twinlog/twinlog/adapters/eventlog/kurrentlog"
	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/eventlog/eventlogtest"
	"github.com/twinlog/twinlog/test/budget"
)

// listen opens a port on the loopback, a certain one if asked for.
func listen(t testing.TB, at string) net.Listener {
	t.Helper()
	if at == "" {
		at = "127.0.0.1:0"
	}
	on, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	return on
}

// serve serves a log on a real socket until stop is called, or the test ends.
func serve(t testing.TB, log eventlog.Log, at string) (address string, stop func()) {
	t.Helper()
	on := listen(t, at)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- esdbgrpc.New(log, esdbgrpc.Config{}).Serve(ctx, on) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return on.Addr().String(), stop
}

// open opens the log on a server.
func open(t testing.TB, address string, change ...func(*kurrentlog.Config)) *kurrentlog.Log {
	t.Helper()
	cfg := kurrentlog.Config{Connection: "esdb://" + address + "?tls=false", Origin: "test"}
	for _, c := range change {
		c(&cfg)
	}
	l, err := kurrentlog.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestConformanceOnMemory(t *testing.T) {
	eventlogtest.Run(t, func(t *testing.T) eventlog.Log {
		address, _ := serve(t, memlog.New("served", time.Now), "")
		return open(t, address)
	})
}

func openBadger(t testing.TB) eventlog.Log {
	l, err := badgerlog.Open(t.Context(), t.TempDir(), badgerlog.Config{})
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

func TestConformanceOnBadger(t *testing.T) {
	if testing.Short() {
		t.Skip("TestConformanceOnMemory holds the client side to the same kit")
	}
	eventlogtest.Run(t, func(t *testing.T) eventlog.Log {
		address, _ := serve(t, openBadger(t), "")
		return open(t, address)
	})
}

// TestConformanceOnCluster runs against a server that somebody else started.
func TestConformanceOnCluster(t *testing.T) {
	connection := os.Getenv("TWINLOG_TEST_KURRENTDB")
	if connection == "" {
		t.Skip("TWINLOG_TEST_KURRENTDB names no server")
	}
	eventlogtest.Run(t, func(t *testing.T) eventlog.Log {
		return open(t, "", func(c *kurrentlog.Config) {
			c.Connection, c.Prefix = connection, time.Now().Format("t150405.000000000~")
		})
	})
}

func TestModel(t *testing.T) {
	eventlogtest.RunModel(t, budget.For(t)/4, func() (eventlogtest.Store, error) {
		address, stop := serve(t, memlog.New("served", time.Now), "")
		l := open(t, address)
		return eventlogtest.Store{
			Log: l,
			Restart: func() (eventlog.Log, error) {
				_ = l.Close()
				l = open(t, address)
				return l, nil
			},
			Close: func() error { err := l.Close(); stop(); return err },
		}, nil
	})
}
