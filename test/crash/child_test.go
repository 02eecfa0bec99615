// Package crash holds the embedded log and the views beside it to their
// promises when the process dies or the power goes.
//
// A child process writes: facts that whoever reads them can check, several
// writers at once, in windows so short that sealing, merging and the folds are
// always under way. It says what was acknowledged. The parent ends it at a
// moment of badgerlog.Moments, a random time later, at a system call, or
// whenever, and looks: every acknowledged event is there once and in place, no
// append is half there, and the views equal a fold from the beginning.
package crash

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/adapters/rows/badgerrows"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
)

// orders are what the parent tells the child, in the environment.
type orders struct {
	Dir    string
	Acks   string        // the file that acknowledgements are appended to
	Moment string        // when to die; empty: at the parent's hand
	Nth    int           // the how manieth time
	Later  time.Duration // die so long after, in the midst of what follows; 0: there
}

const ordersEnv = "TWINLOG_CRASH"

func TestMain(m *testing.M) {
	text := os.Getenv(ordersEnv)
	if text == "" {
		flag.Parse()
		_ = flag.Set("test.parallel", fmt.Sprint(lives)) // they mostly wait
		os.Exit(m.Run())
	}
	var o orders
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		err = o.obey()
	}
	fmt.Fprintln(os.Stderr, "the child gives up:", err)
	os.Exit(1)
}

// child returns the command that obeys o; before is a program to run it under.
func child(t *testing.T, o orders, before ...string) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	args := append(before, os.Args[0])
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), ordersEnv+"="+string(text))
	return cmd
}

// The moments of a view's commit; the log's are in badgerlog.Moments.
const (
	viewBefore = "view: before its commit"
	viewAfter  = "view: after its commit"
)

var moments = append([]string{viewBefore, viewAfter}, badgerlog.Moments...)

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// hook returns what ends the process at the ordered moment.
func (o orders) hook() func(string) {
	var n atomic.Int64
	return func(now string) {
		if now != o.Moment || n.Add(1) != int64(o.Nth) {
			return
		}
		if o.Later == 0 {
			die()
		}
		time.AfterFunc(o.Later, die)
	}
}

const (
	writers    = 6
	window     = 60 // positions: closed many times a second
	maxPerCall = 12 // events in one append
)

func logConfig() badgerlog.Config {
	return badgerlog.Config{Window: window, RecentBytes: 1 << 16, IDs: telemetry.DeriveID}
}

func logDir(dir string) string  { return filepath.Join(dir, "log") }
func viewDir(dir string) string { return filepath.Join(dir, "views") }

// obey writes until it is killed.
func (o orders) obey() error {
	ctx := context.Background()
	moment := o.hook()
	cfg := logConfig()
	cfg.Moment = moment
	log, err := badgerlog.Open(ctx, logDir(o.Dir), cfg)
	if err != nil {
		return err
	}
	rows, err := badgerrows.Open(viewDir(o.Dir), rowsConfig)
	if err != nil {
		return err
	}
	acks, err := os.OpenFile(o.Acks, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	errs := make(chan error, writers+2)
	runner := projections.NewRunner(log, tellingStore{rows, moment}, projections.Config{}, newLedger())
	go func() { errs <- runner.Run(ctx) }()
	if strings.HasPrefix(o.Moment, "collect:") {
		go func() { errs <- collect(ctx, log) }()
	}
	for w := range writers {
		go func() { errs <- write(ctx, log, streamOf(w), acks) }()
	}
	select {
	case err := <-errs:
		return err
	case err := <-log.Failed():
		return err
	}
}

// collect merges tables and collects value files without a pause.
func collect(ctx context.Context, log *badgerlog.Log) error {
	for {
		time.Sleep(20 * time.Millisecond) // let writers in
		if err := log.Collect(ctx); err != nil {
			return err
		}
	}
}

// write appends to one stream for ever.
func write(ctx context.Context, log *badgerlog.Log, id eventlog.StreamID, acks *os.File) error {
	next := uint64(0)
	for r, err := range log.Read(ctx, id, eventlog.LastRevision, eventlog.Backwards) {
		if err != nil {
			return err
		}
		next = uint64(r.Revision) + 1
		break
	}
	if n := min(next, 3); n > 0 { // perhaps it was not answered: ask again
		a, err := log.Append(ctx, id, expect(next-n), facts(id, next-n, n)...)
		if err != nil || !a.Repeated {
			return fmt.Errorf("append of %d events that are there: %+v, %w", n, a, err)
		}
	}
	for {
		n := 1 + rand.Uint64N(maxPerCall)
		a, err := log.Append(ctx, id, expect(next), facts(id, next, n)...)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(acks, "%s %d %d %d\n", id, a.Revision, a.First, a.Last); err != nil { // one write each
			return err
		}
		next += n
	}
}

// tellingStore tells when a view is committed.
type tellingStore struct {
	projections.Store
	moment func(string)
}

func (s tellingStore) Commit(ctx context.Context, name string, version int, at eventlog.Position, w *projections.Writes) error {
	s.moment(viewBefore)
	err := s.Store.Commit(ctx, name, version, at, w)
	s.moment(viewAfter)
	return err
}

// rowsConfig makes transactions small, so that some commits need a journal.
var rowsConfig = badgerrows.Config{MemTableBytes: 8 << 20}
