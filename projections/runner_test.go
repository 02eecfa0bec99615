package projections_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/adapters/rows/badgerrows"
	"github.com/twinlog/twinlog/adapters/rows/memrows"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/projectionstest"
	"github.com/twinlog/twinlog/projections/rowstest"
)

// tally counts events by stream and keeps a hash chain over all of them: a
// record skipped, repeated or out of order shows in its rows.
type tally struct {
	name    string
	version int
	filter  eventlog.Filter
	opened  atomic.Int32
	chain   uint64
	counts  map[string]uint64
	fail    func(eventlog.Record) error
}

func newTally(name string) *tally { return &tally{name: name, version: 1} }

func (f *tally) Name() string            { return f.name }
func (f *tally) Version() int            { return f.version }
func (f *tally) Filter() eventlog.Filter { return f.filter }

func (f *tally) Open(s projections.Snapshot, _ eventlog.Position) error {
	f.opened.Add(1)
	f.chain, f.counts = 0, map[string]uint64{}
	for w, err := range s.Scan(nil, nil, false) {
		if err != nil {
			return err
		}
		n := binary.BigEndian.Uint64(w.Value)
		if string(w.Key) == "chain" {
			f.chain = n
		} else {
			f.counts[string(w.Key)] = n
		}
	}
	return nil
}

func (f *tally) Fold(b eventlog.Batch, w *projections.Writes) (eventlog.Position, error) {
	for _, r := range b.Records {
		if f.fail != nil {
			if err := f.fail(r); err != nil {
				return 0, err
			}
		}
		f.chain = f.chain*1_000_003 + uint64(r.Position)
		f.counts[string(r.Stream)]++
		w.Put([]byte(r.Stream), binary.BigEndian.AppendUint64(nil, f.counts[string(r.Stream)]))
		w.Put([]byte("chain"), binary.BigEndian.AppendUint64(nil, f.chain))
	}
	return b.Through, nil
}

func fill(tb testing.TB, log eventlog.Log, n int) eventlog.Position {
	tb.Helper()
	var last eventlog.Position
	at := map[eventlog.StreamID]eventlog.Expected{}
	for i := 0; i < n; {
		stream := eventlog.Stream("thing", fmt.Sprint(i%17))
		var events []eventlog.NewEvent
		for range min(1+i%50, n-i) {
			var id eventlog.EventID
			binary.BigEndian.PutUint64(id[:], uint64(i)+1)
			events = append(events, eventlog.NewEvent{ID: id, Type: "thing.done.v1", Data: []byte("{}")})
			i++
		}
		app, err := log.Append(tb.Context(), stream, at[stream], events...)
		if err != nil {
			tb.Fatal(err)
		}
		at[stream], last = eventlog.At(app.Revision), app.Last
	}
	return last
}

func newLog() *memlog.Log { return memlog.New("test", time.Now) }

func memStore(testing.TB) projections.Store { return memrows.New() }

func badgerStore(tb testing.TB) projections.Store {
	tb.Helper()
	s, err := badgerrows.Open(tb.TempDir(), badgerrows.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

// start runs a Runner until the test or stop ends it; stop returns Run's error.
func start(t *testing.T, r *projections.Runner) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { stop() })
	return stop
}

func waitFor(t *testing.T, r *projections.Runner, pos eventlog.Position) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := r.WaitFor(ctx, pos); err != nil {
		t.Fatalf("%v; %+v", err, r.Status())
	}
}

func TestRebuildEqualsLive(t *testing.T) {
	log := newLog()
	fill(t, log, projectionstest.Events())
	for name, store := range map[string]func(testing.TB) projections.Store{"mem": memStore, "badger": badgerStore} {
		t.Run(name, func(t *testing.T) {
			projectionstest.RebuildEqualsLive(t, projectionstest.Setup{
				Fold:  func() projections.Fold { return newTally("tally") },
				Store: store,
				Same: func(tb testing.TB, live, rebuilt projections.Fold) {
					if a, b := live.(*tally).chain, rebuilt.(*tally).chain; a != b {
						tb.Errorf("chain %x live, %x rebuilt", a, b)
					}
				},
			}, log)
		})
	}
}

// TestWaitFor: when it returns, rows and memory hold the position, for all
// projections; and a write is readable long before Pace has passed.
func TestWaitFor(t *testing.T) {
	log, store := newLog(), memrows.New()
	a, b := newTally("a"), newTally("b")
	r := projections.NewRunner(log, store, projections.Config{Pace: time.Hour}, a, b)
	start(t, r)
	total := 0
	for range 50 {
		at := log1(t, log)
		total++
		waitFor(t, r, at)
		for _, name := range []string{"a", "b"} {
			got := rowstest.Dump(t, store, name)
			if n := binary.BigEndian.Uint64(got[1].Value); n != uint64(total) {
				t.Fatalf("%s: %d events in the rows after waiting for %v, want %d", name, n, at, total)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := r.WaitFor(ctx, eventlog.Position(total)+1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for what never comes: %v, want %v", err, context.DeadlineExceeded)
	}
}

// log1 appends one event to one stream.
func log1(tb testing.TB, log eventlog.Log) eventlog.Position {
	tb.Helper()
	stream, at, n := eventlog.Stream("thing", "one"), eventlog.NoStream, uint64(0)
	for rec, err := range log.Read(tb.Context(), stream, eventlog.LastRevision, eventlog.Backwards) {
		if err != nil {
			tb.Fatal(err)
		}
		at, n = eventlog.At(rec.Revision), uint64(rec.Revision)+1
		break
	}
	var id eventlog.EventID
	binary.BigEndian.PutUint64(id[8:], n+1)
	app, err := log.Append(tb.Context(), stream, at, eventlog.NewEvent{ID: id, Type: "thing.done.v1", Data: []byte("{}")})
	if err != nil {
		tb.Fatal(err)
	}
	return app.Last
}

// TestPace: small appends are folded into few commits while nobody waits.
func TestPace(t *testing.T) {
	log := newLog()
	store := &countingStore{Store: memrows.New()}
	r := projections.NewRunner(log, store, projections.Config{Pace: 20 * time.Millisecond}, newTally("a"))
	start(t, r)
	began := time.Now()
	var last eventlog.Position
	for range 300 {
		last = log1(t, log)
		time.Sleep(200 * time.Microsecond)
	}
	took := time.Since(began)
	waitFor(t, r, last)
	if n, most := store.commits.Load(), int64(took/(20*time.Millisecond))+3; n > most {
		t.Errorf("%d commits for 300 appends in %v, expected at most %d", n, took, most)
	}
}

type countingStore struct {
	projections.Store
	commits atomic.Int64
}

func (s *countingStore) Commit(ctx context.Context, name string, version int, at eventlog.Position, w *projections.Writes) error {
	s.commits.Add(1)
	return s.Store.Commit(ctx, name, version, at, w)
}

func TestVersionChangeRebuilds(t *testing.T) {
	log, store := newLog(), memrows.New()
	last := fill(t, log, 500)
	old := newTally("a")
	r := projections.NewRunner(log, store, projections.Config{}, old)
	stop := start(t, r)
	waitFor(t, r, last)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	var said []string
	next := newTally("a")
	next.version = 2
	next.filter.Types = []string{"nothing"} // its rows are others: none
	r = projections.NewRunner(log, store, projections.Config{Notice: func(p, what string) { said = append(said, p+" "+what) }}, next)
	stop = start(t, r)
	waitFor(t, r, last)
	if got := rowstest.Dump(t, store, "a"); len(got) > 0 {
		t.Errorf("%d rows of version 1 are left", len(got))
	}
	if s := r.Status()[0]; !strings.Contains(s.Rebuilt, "version 2") || s.Position != last {
		t.Errorf("status %+v, want a rebuild for version 2 through %v", s, last)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if len(said) != 1 || !strings.HasPrefix(said[0], "a rebuilt") {
		t.Errorf("notices %q, want one about the rebuild", said)
	}
}

// TestAheadOfTheLog: the log has lost its end, so the rows tell of events that
// are not there, and would skip the new ones that take their positions.
func TestAheadOfTheLog(t *testing.T) {
	store := badgerStore(t)
	long := newLog()
	end := fill(t, long, 800)
	r := projections.NewRunner(long, store, projections.Config{}, newTally("a"))
	stop := start(t, r)
	waitFor(t, r, end)
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	short := newLog()
	end = fill(t, short, 300)
	r = projections.NewRunner(short, store, projections.Config{}, newTally("a"))
	start(t, r)
	waitFor(t, r, end)
	if s := r.Status()[0]; !strings.Contains(s.Rebuilt, "not in the log") {
		t.Errorf("status %+v, want it to say that it was rebuilt", s)
	}
	fresh := memrows.New()
	r2 := projections.NewRunner(short, fresh, projections.Config{}, newTally("a"))
	start(t, r2)
	waitFor(t, r2, end)
	projectionstest.Equal(t, newTally("a"), store, fresh)
}

func TestRebuildOnDemand(t *testing.T) {
	log, store := newLog(), memrows.New()
	last := fill(t, log, 2000)
	a, b := newTally("a"), newTally("b")
	r := projections.NewRunner(log, store, projections.Config{}, a, b)
	start(t, r)
	waitFor(t, r, last)
	var w projections.Writes
	w.Put([]byte("wrong"), make([]byte, 8))
	if err := store.Commit(t.Context(), "a", 1, last, &w); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := r.Rebuild(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if s := r.Status()[0]; s.Position != last || s.Rebuilt != "asked for" {
			t.Errorf("status %+v, want it rebuilt through %v", s, last)
		}
	}
	for _, w := range rowstest.Dump(t, store, "a") {
		if string(w.Key) == "wrong" {
			t.Error("the wrong row is still there")
		}
	}
	if n := b.opened.Load(); n != 1 {
		t.Errorf("the other projection was opened %d times, want once", n)
	}
	if err := r.Rebuild(t.Context(), "c"); !errors.Is(err, projections.ErrUnknown) {
		t.Errorf("rebuild of c: %v, want %v", err, projections.ErrUnknown)
	}
}

func TestErrorOfAFoldEndsRun(t *testing.T) {
	log := newLog()
	fill(t, log, 100)
	bad := newTally("bad")
	boom := errors.New("boom")
	bad.fail = func(r eventlog.Record) error {
		if r.Position == 50 {
			return boom
		}
		return nil
	}
	r := projections.NewRunner(log, memrows.New(), projections.Config{}, newTally("good"), bad)
	if err := r.Run(t.Context()); !errors.Is(err, boom) || !strings.Contains(err.Error(), "projection bad") {
		t.Errorf("run: %v, want it to name the projection and the cause", err)
	}
}

// TestIdleCheckpoint: a projection that wants nothing of what is written still
// moves on, and a clean stop keeps how far it was.
func TestIdleCheckpoint(t *testing.T) {
	log, store := newLog(), memrows.New()
	last := fill(t, log, 3000)
	f := newTally("a")
	f.filter.Types = []string{"other"}
	r := projections.NewRunner(log, store, projections.Config{}, f)
	stop := start(t, r)
	waitFor(t, r, last)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if at, err := store.Checkpoint(t.Context(), "a", 1); err != nil || at != last {
		t.Errorf("checkpoint %v, %v; want %v", at, err, last)
	}
}

func TestVersions(t *testing.T) {
	for name, open := range map[string]func(testing.TB) projections.Store{"mem": memStore, "badger": badgerStore} {
		t.Run(name, func(t *testing.T) {
			store := open(t)
			var w projections.Writes
			row := func(s string) []byte { return projections.AppendText(nil, s) }
			projections.PutVersion(&w, row("a"), 10, []byte("a10"))
			projections.PutVersion(&w, row("a"), 20, []byte("a20"))
			projections.PutVersion(&w, row("a"), 30, nil) // gone
			projections.PutVersion(&w, row("a\x00"), 15, []byte("b15"))
			projections.PutVersion(&w, row("aa"), 5, []byte("c5"))
			if err := store.Commit(t.Context(), "v", 1, 30, &w); err != nil {
				t.Fatal(err)
			}
			snap, err := store.Snapshot(t.Context(), "v")
			if err != nil {
				t.Fatal(err)
			}
			defer snap.Close()
			for _, c := range []struct {
				row   string
				known eventlog.Position
				want  string
				at    eventlog.Position
			}{
				{"a", 9, "", 0},
				{"a", 10, "a10", 10},
				{"a", 19, "a10", 10},
				{"a", 29, "a20", 20},
				{"a", 30, "", 0},
				{"a", eventlog.End, "", 0},
				{"a\x00", eventlog.End, "b15", 15},
				{"aa", eventlog.End, "c5", 5},
				{"b", eventlog.End, "", 0},
			} {
				got, at, err := projections.VersionAt(snap, row(c.row), c.known)
				if err != nil || string(got) != c.want || at != c.at {
					t.Errorf("%q known at %d: %q from %d, %v; want %q from %d", c.row, c.known, got, at, err, c.want, c.at)
				}
			}
			for known, want := range map[eventlog.Position]string{4: "", 12: "a10 c5 ", 25: "a20 b15 c5 ", 99: "b15 c5 "} {
				got := ""
				for v, err := range projections.VersionsAt(snap, nil, nil, known) {
					if err != nil {
						t.Fatal(err)
					}
					got += string(v.Value) + " "
				}
				if got != want {
					t.Errorf("all known at %d: %q, want %q", known, got, want)
				}
			}
		})
	}
}

func TestCutText(t *testing.T) {
	for _, s := range []string{"", "a", "\x00", "\x00\x01\xff", "a\x00b"} {
		key := append(projections.AppendText(nil, s), "rest"...)
		got, rest, err := projections.CutText(key)
		if err != nil || got != s || string(rest) != "rest" {
			t.Errorf("%q: %q, %q, %v", s, got, rest, err)
		}
	}
	for _, bad := range []string{"", "abc", "a\x00", "a\x00\x02"} {
		if _, _, err := projections.CutText([]byte(bad)); err == nil {
			t.Errorf("%q was read as a key part", bad)
		}
	}
}
