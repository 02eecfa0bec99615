//go:build linux

// Package e2e holds the server's promise of durability to real processes, real
// sockets and real clients: what was acknowledged is in the log exactly once,
// whatever ends the process.
//
// The server under test is this test binary itself, started again: log, ingest
// and broker, with nothing in between that the product does not have.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/broker"
	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/adapters/uplink/wire"
	"github.com/twinlog/twinlog/cmd/logurl"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/ingest"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// The environment of a server process.
const (
	envDir   = "TWINLOG_E2E_DIR"
	envAddr  = "TWINLOG_E2E_ADDR"
	envLog   = "TWINLOG_E2E_LOG"   // URL of the log; none: embedded in the directory
	envHasty = "TWINLOG_E2E_HASTY" // acknowledges before the log has it: what the tests must find
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envDir); dir != "" {
		if err := serve(dir, os.Getenv(envAddr), os.Getenv(envHasty) != ""); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

func openLog(ctx context.Context, dir string) (*badgerlog.Log, error) {
	return badgerlog.Open(ctx, filepath.Join(dir, "log"), badgerlog.Config{IDs: telemetry.DeriveID})
}

// serve is the server process. It ends with its standard input, so that it never
// outlives the test.
func serve(dir, addr string, hasty bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); stop() }()
	at := os.Getenv(envLog)
	if at == "" {
		at = filepath.Join(dir, "log")
	}
	log, err := logurl.Open(ctx, at, logurl.Config{})
	if err != nil {
		return err
	}
	g := ingest.New(log, wire.NewReader(wire.Config{}), ingest.Config{})
	handler := broker.Into(g)
	if hasty {
		handler = func(p broker.Publish, ack func(broker.Ack)) <-chan struct{} {
			ack(broker.Ack{})
			return broker.Into(g)(p, func(broker.Ack) {})
		}
	}
	b, err := broker.Listen(ctx, broker.Config{Addr: addr, Handler: handler, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	fmt.Println("ready", os.Getpid())
	err = b.Run(ctx)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, g.Close(), log.Close())
}

// A process is a server under test.
type process struct {
	cmd    *exec.Cmd
	pid    int // of the server itself, also under another program
	stderr *strings.Builder
	stdin  io.Closer
}

// launch starts a server and waits until it listens. Under is the program to run
// it under, with its arguments; nil: none.
func launch(t *testing.T, dir, addr string, under []string, env ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(append([]string{}, under...), self, "-test.run=^$")
	p := &process{cmd: exec.CommandContext(context.WithoutCancel(t.Context()), args[0], args[1:]...), stderr: &strings.Builder{}}
	p.cmd.Env = append(append(os.Environ(), envDir+"="+dir, envAddr+"="+addr), env...)
	p.cmd.Stderr = p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	ready := make(chan int, 1)
	go func() {
		var pid int
		_, _ = fmt.Fscanf(stdout, "ready %d\n", &pid)
		ready <- pid
		_, _ = io.Copy(io.Discard, stdout)
	}()
	select {
	case p.pid = <-ready:
		if p.pid == 0 {
			p.kill()
			t.Fatalf("the server does not start: %s", p.stderr)
		}
	case <-time.After(60 * time.Second):
		p.kill()
		t.Fatalf("the server is not ready within a minute: %s", p.stderr)
	}
	return p
}

// kill ends the server with SIGKILL and waits for it.
func (p *process) kill() {
	if p.cmd.ProcessState != nil {
		return
	}
	if p.pid != 0 {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
	_ = p.stdin.Close() // ends a server that is not ready and hides under strace
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// freeAddr returns an address that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A census counts, by device, how often each of its messages is in the log. The
// tests' messages have one signal, "n", which counts them.
type census struct {
	devices map[string]map[int]int
	events  map[string]int // by type
}

// count reads the log of a server that has ended.
func count(t *testing.T, dir string) census {
	t.Helper()
	log, err := openLog(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	return censusOf(t, log)
}

// add counts one event.
func (c census) add(t *testing.T, rec eventlog.Record) {
	t.Helper()
	c.events[rec.Type]++
	if rec.Type == (telemetry.Refused{}).EventType() && c.events[rec.Type] < 4 {
		t.Logf("%s@%d: %s", rec.Stream, rec.Revision, rec.Data)
	}
	if rec.Type != eventlog.TelemetryRecorded {
		return
	}
	row, err := telemetry.Decode(rec.Data)
	if err != nil {
		t.Fatalf("%s@%d: %v", rec.Stream, rec.Revision, err)
	}
	n, ok := row.Samples[0].Value.Number()
	if !ok || row.Samples[0].Signal != "n" {
		t.Fatalf("%s@%d: %+v", rec.Stream, rec.Revision, row)
	}
	if c.devices[row.Device] == nil {
		c.devices[row.Device] = map[int]int{}
	}
	c.devices[row.Device][int(n)]++
}

// want fails unless every message of the device that was acknowledged is in the
// log, and no message is there twice.
func (c census) want(t *testing.T, device string, acknowledged []int) {
	t.Helper()
	if len(acknowledged) == 0 {
		t.Errorf("%s: no message was acknowledged", device)
	}
	missing, twice := 0, 0
	for _, n := range acknowledged {
		if c.devices[device][n] == 0 {
			missing++
		}
	}
	for _, times := range c.devices[device] {
		if times > 1 {
			twice++
		}
	}
	if missing > 0 || twice > 0 {
		t.Errorf("%s: %d of %d acknowledged messages are missing, %d are stored twice", device, missing, len(acknowledged), twice)
	}
}
