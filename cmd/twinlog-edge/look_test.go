package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/field/station"
)

// plant starts the simulated station and returns the file that reads it.
func plant(t *testing.T) string {
	t.Helper()
	machines, err := station.New(station.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- machines.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	path := filepath.Join(t.TempDir(), "plant.yaml")
	if err := os.WriteFile(path, station.GatewayConfig(machines.ModbusAddr()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// output is a buffer that may be read while it is written.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// wait returns what matches once it is there.
func (o *output) wait(t *testing.T, pattern string) []string {
	t.Helper()
	for re, end := regexp.MustCompile(pattern), time.Now().Add(30*time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if m := re.FindStringSubmatch(o.String()); m != nil {
			return m
		}
	}
	t.Fatalf("%q did not come, but: %s", pattern, o.String())
	return nil
}

func TestRead(t *testing.T) {
	path := plant(t)
	var out output
	if err := run(t.Context(), []string{"read", "--config", path, "P-101/flow"}, streams{&out, io.Discard}); err != nil {
		t.Fatal(err)
	}
	if want := regexp.MustCompile(`^20\d\d-\S+Z  P-101/flow  [-0-9.e+]+  \w+\n$`); !want.MatchString(out.String()) {
		t.Errorf("got %q", out.String())
	}
	err := run(t.Context(), []string{"read", "--config", path, "P-101/flux"}, streams{&out, io.Discard})
	if err == nil || !strings.Contains(err.Error(), `"P-101/flux" is no tag`) {
		t.Errorf("got %v", err)
	}
}

func TestWatch(t *testing.T) {
	path := plant(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out output
	done := make(chan error, 1)
	go func() { done <- run(ctx, []string{"watch", "--config", path}, streams{&out, io.Discard}) }()
	out.wait(t, `P-101/flow  [0-9.]+  `)
	out.wait(t, `P-102/`)
	cancel()
	if err := <-done; err != nil {
		t.Errorf("interrupted, it ended with %v", err)
	}
}

func TestBrowseOfWhatHasNothingToSay(t *testing.T) {
	err := run(t.Context(), []string{"browse", "--config", plant(t), "nobody"}, streams{io.Discard, io.Discard})
	if err == nil || !strings.Contains(err.Error(), `"nobody" is no source`) {
		t.Errorf("got %v", err)
	}
}

// TestStatusPage: page and JSON tell the state of each source with its reason.
func TestStatusPage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plant.yaml")
	config := station.GatewayConfig("127.0.0.1:1")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var log output
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"run", "--config", path, "--data", t.TempDir(), "--uplink", "mqtt://127.0.0.1:1", "--status", "127.0.0.1:0"}, streams{io.Discard, &log})
	}()
	address := log.wait(t, `status page" address=(\S+)`)[1]
	log.wait(t, `is=waiting`)
	get := func(path string) string {
		t.Helper()
		r, err := http.Get("http://" + address + path) //nolint:noctx // loopback
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close() //nolint:errcheck // read whole
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if page := get("/"); !strings.Contains(page, "waiting") || !strings.Contains(page, "connection refused") {
		t.Errorf("page: %s", page)
	}
	var status struct {
		Sources []struct {
			Health struct{ State, Reason string }
		}
	}
	if err := json.Unmarshal([]byte(get("/status.json")), &status); err != nil || len(status.Sources) == 0 || status.Sources[0].Health.State != "waiting" || status.Sources[0].Health.Reason == "" {
		t.Errorf("status: %+v, %v", status, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("interrupted, it ended with %v", err)
	}
}

func TestCertificateAndSchema(t *testing.T) {
	dir := t.TempDir()
	if err := run(t.Context(), []string{"certificate", "--out", dir}, streams{io.Discard, io.Discard}); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), []string{"certificate", "--out", dir}, streams{io.Discard, io.Discard}); err == nil {
		t.Error("a key that was there was replaced")
	}
	var out output
	if err := run(t.Context(), []string{"schema"}, streams{&out, io.Discard}); err != nil || !json.Valid([]byte(out.String())) {
		t.Errorf("%v: %s", err, out.String())
	}
}
