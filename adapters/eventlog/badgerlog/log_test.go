package badgerlog_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/domain/eventlog"
)

func someRow(n uint64) eventlog.NewEvent {
	e := fact("telemetry-t.0", n)
	e.Type, e.ContentType = eventlog.TelemetryRecorded, "application/octet-stream"
	return e
}

func mustAppend(t testing.TB, l eventlog.Log, id eventlog.StreamID, next uint64, events ...eventlog.NewEvent) eventlog.Appended {
	t.Helper()
	a, err := l.Append(t.Context(), id, expect(next), events...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func count(t testing.TB, seq func(func(eventlog.Record, error) bool)) (n int) {
	t.Helper()
	for _, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// TestTelemetryIsNotTouched counts block reads: whoever does not want
// telemetry opens none of its blocks, and a category's reader only those
// blocks that hold an event of it.
func TestTelemetryIsNotTouched(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, badgerlog.Config{RecentBytes: 1, Window: 300, NoSealing: true})
	for i := range uint64(200) {
		mustAppend(t, l, "telemetry-t.0", i*4, someRow(i*4), someRow(i*4+1), someRow(i*4+2), someRow(i*4+3))
		if i%10 == 0 {
			mustAppend(t, l, eventlog.StreamID(fmt.Sprintf("asset-%d", i)), 0, fact("asset-1", i))
		}
		if i%100 == 50 {
			mustAppend(t, l, eventlog.StreamID(fmt.Sprintf("person-%d", i)), 0, fact("person-1", i))
		}
	}
	head, _, _ := l.Head(t.Context())
	for _, c := range []struct {
		f                  eventlog.Filter
		n                  int
		telemetry, atLeast uint64 // blocks: exactly, and of other kinds at most
	}{
		{eventlog.Filter{NoTelemetry: true}, 22, 0, 22},
		{eventlog.Filter{Types: []string{"asset.moved.v1"}}, 22, 0, 22},
		{eventlog.Filter{Categories: []string{"asset"}}, 20, 0, 20},
		{eventlog.Filter{Categories: []string{"person"}}, 2, 0, 2},
		{eventlog.Filter{Categories: []string{"person", "asset"}}, 22, 0, 22},
		{eventlog.Filter{Categories: []string{"none"}}, 0, 0, 0},
		{eventlog.Filter{Types: []string{eventlog.TelemetryRecorded}}, 800, 200, 0},
		{eventlog.Filter{}, 822, 200, 22},
	} {
		for _, read := range []struct {
			name string
			read func() int
		}{
			{"forwards", func() int { return count(t, l.ReadAll(t.Context(), 0, eventlog.Forwards, c.f)) }},
			{"backwards", func() int { return count(t, l.ReadAll(t.Context(), eventlog.End, eventlog.Backwards, c.f)) }},
			{"subscription", func() int { return followed(t, l, c.f, head) }},
		} {
			before := l.Counters()
			n := read.read()
			after := l.Counters()
			if rows, others := after.TelemetryBlocks-before.TelemetryBlocks, after.OtherBlocks-before.OtherBlocks; n != c.n ||
				rows != c.telemetry || others > c.atLeast {
				t.Errorf("%+v %s: %d events, %d telemetry blocks and %d others read, want %d, %d and %d", c.f, read.name, n, rows, others, c.n, c.telemetry, c.atLeast)
			}
		}
	}
}

func followed(t testing.TB, l eventlog.Log, f eventlog.Filter, through eventlog.Position) (n int) {
	t.Helper()
	s, err := l.Subscribe(t.Context(), 0, f)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for {
		b, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n += len(b.Records); b.Through >= through {
			return n
		}
	}
}

// TestTails is what a server does when it starts: the newest event of each of
// a thousand sources. Each costs one block, wherever its window is.
func TestTails(t *testing.T) {
	const sources, rounds = 1000, 6
	dir := t.TempDir()
	id := func(i int) eventlog.StreamID { return eventlog.StreamID(fmt.Sprintf("telemetry-s%d.0", i)) }
	l, err := badgerlog.Open(t.Context(), dir, badgerlog.Config{Window: 2500})
	if err != nil {
		t.Fatal(err)
	}
	for round := range uint64(rounds) {
		var wg sync.WaitGroup
		for i := range sources {
			wg.Go(func() {
				if _, err := l.Append(t.Context(), id(i), expect(round), fact(id(i), round)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, badgerlog.Config{Window: 2500})
	before, start := l.Counters(), time.Now()
	for i := range sources {
		for r, err := range l.Read(t.Context(), id(i), eventlog.LastRevision, eventlog.Backwards) {
			if err != nil || r.Revision != rounds-1 || r.ID != fact(id(i), rounds-1).ID {
				t.Fatalf("%s@%d: %v", r.Stream, r.Revision, err)
			}
			break
		}
	}
	took, after := time.Since(start), l.Counters()
	if n := after.TelemetryBlocks + after.OtherBlocks - before.TelemetryBlocks - before.OtherBlocks; n > sources {
		t.Errorf("%d blocks read for %d tails", n, sources)
	}
	t.Logf("%d tails in %v", sources, took)
}

// TestGroupCommit: writers at the same time share syncs, and the events of a
// commit share one Recorded.
func TestGroupCommit(t *testing.T) {
	l := open(t, t.TempDir(), badgerlog.Config{})
	const writers, each = 64, 20
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range uint64(each) {
				id := eventlog.StreamID(fmt.Sprintf("asset-%d", w))
				if _, err := l.Append(t.Context(), id, expect(i), fact(id, i)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	commits := l.Counters().Commits
	if commits > writers*each/4 {
		t.Errorf("%d appends took %d syncs", writers*each, commits)
	}
	stamps := map[time.Time]bool{}
	for r, err := range l.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		stamps[r.Recorded] = true
	}
	if uint64(len(stamps)) > commits {
		t.Errorf("%d times of recording in %d commits", len(stamps), commits)
	}
}

// TestClock: Recorded never falls, also across a restart, and the raw clock is told.
func TestClock(t *testing.T) {
	dir, at := t.TempDir(), time.Date(2026, 1, 1, 0, 0, 30, 0, time.UTC)
	cfg := badgerlog.Config{
		Now:   func() time.Time { return at },
		Clock: func() eventlog.ClockState { return eventlog.ClockState{State: "SYNCED"} },
	}
	for i, step := range []time.Duration{0, -30 * time.Second, 31 * time.Second} {
		at = at.Add(step)
		l, err := badgerlog.Open(t.Context(), dir, cfg)
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, "asset-1", uint64(i), fact("asset-1", uint64(i)))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, dir, cfg)
	want := []string{
		`{"clk":{"st":"SYNCED"},"rec":"2026-01-01T00:00:30Z"}`,
		`{"clk":{"off":-30000000,"st":"SYNCED"},"rec":"2026-01-01T00:00:30Z"}`,
		`{"clk":{"st":"SYNCED"},"rec":"2026-01-01T00:00:31Z"}`,
	}
	for r, err := range l.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil || string(r.RawEnvelope) != want[r.Revision] {
			t.Errorf("%s, %v, want %s", r.RawEnvelope, err, want[r.Revision])
		}
	}
	if p, err := l.KnownAt(t.Context(), at.Add(-time.Microsecond)); p != 2 || err != nil {
		t.Error(p, err)
	}
}

// TestFullDisk: the guard refuses before the disk is full, answers retries all
// the same, keeps reads alive and recovers by itself.
func TestFullDisk(t *testing.T) {
	var free atomic.Uint64
	free.Store(3 << 30)
	l := open(t, t.TempDir(), badgerlog.Config{Free: func() (uint64, error) { return free.Load(), nil }})
	mustAppend(t, l, "asset-1", 0, fact("asset-1", 0))
	free.Store(1<<30 - 1)
	refused := func() bool {
		_, err := l.Append(t.Context(), "asset-2", eventlog.NoStream, fact("asset-2", 0))
		if err != nil && !errors.Is(err, eventlog.ErrStorageFull) {
			t.Fatal(err)
		}
		if err == nil {
			return false
		}
		return true
	}
	time.Sleep(600 * time.Millisecond)
	if !refused() {
		t.Error("below the reserve an append was taken")
	}
	if a, err := l.Append(t.Context(), "asset-1", eventlog.NoStream, fact("asset-1", 0)); err != nil || !a.Repeated {
		t.Error("a retry on a full disk:", a, err)
	}
	if n := count(t, l.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{})); n != 1 {
		t.Errorf("%d events are read on a full disk, want 1", n)
	}
	free.Store(3 << 30)
	for end := time.Now().Add(5 * time.Second); refused(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not recover")
		}
	}
	// Between two looks it counts what it writes itself: here the file system
	// answers once and then not again.
	looks, release := atomic.Int64{}, make(chan struct{})
	l2 := open(t, t.TempDir(), badgerlog.Config{Free: func() (uint64, error) {
		if looks.Add(1) > 1 {
			<-release
		}
		return 1<<30 + 10_000_000, nil
	}})
	defer close(release)
	n := 0
	for ; n < 100; n++ {
		big := eventlog.NewEvent{ID: eventlog.EventID{1, byte(n)}, Type: "x.y.v1", Data: make([]byte, 900_000)}
		if _, err := l2.Append(t.Context(), "asset-1", expect(uint64(n)), big); errors.Is(err, eventlog.ErrStorageFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n == 0 || n == 100 {
		t.Errorf("%d appends of 0.9 MB fit into 10 MB", n)
	}
	_, err := badgerlog.Open(t.Context(), t.TempDir(), badgerlog.Config{Free: func() (uint64, error) { return 1000, nil }})
	if !errors.Is(err, eventlog.ErrStorageFull) {
		t.Error("open on a full disk:", err)
	}
}

func TestLockAndOrigin(t *testing.T) {
	dir := t.TempDir()
	l, err := badgerlog.Open(t.Context(), dir, badgerlog.Config{})
	if err != nil {
		t.Fatal(err)
	}
	origin := l.Origin()
	if len(origin) != 16 {
		t.Errorf("origin %q", origin)
	}
	if _, err := badgerlog.Open(t.Context(), dir, badgerlog.Config{}); !errors.Is(err, badgerlog.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = l.Append(t.Context(), "asset-1", eventlog.NoStream, fact("asset-1", 0))
	if !errors.Is(err, eventlog.ErrClosed) {
		t.Error("append after Close:", err)
	}
	for _, err := range l.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
		t.Error("read of an empty closed log:", err)
	}
	if _, err := badgerlog.Open(t.Context(), dir, badgerlog.Config{Origin: "other"}); err == nil || !strings.Contains(err.Error(), origin) {
		t.Error("opened as another origin:", err)
	}
	if l = open(t, dir, badgerlog.Config{Origin: origin}); l.Origin() != origin {
		t.Errorf("origin %q became %q", origin, l.Origin())
	}
	if l := open(t, t.TempDir(), badgerlog.Config{Origin: "north"}); l.Origin() != "north" {
		t.Errorf("origin %q", l.Origin())
	}
	if _, err := badgerlog.Open(t.Context(), t.TempDir(), badgerlog.Config{Origin: "no spaces"}); !errors.Is(err, eventlog.ErrBadEvent) {
		t.Error(err)
	}
	// A creation that was cut short before ORIGIN is made again.
	cut := t.TempDir()
	if err := os.WriteFile(filepath.Join(cut, "HEAD"), []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	open(t, cut, badgerlog.Config{})
}

// TestCaughtUpReadersShare: a thousand subscribers at the end read at most 1.1
// times the blocks that one reads, which is none, and one that never reads costs
// the writer nothing: it holds a position, and its lag is there to be seen.
func TestCaughtUpReadersShare(t *testing.T) {
	one, thousand := blocksRead(t, 1), blocksRead(t, 1000)
	t.Logf("blocks read: %d with one subscriber, %d with a thousand", one, thousand)
	if 10*thousand > 11*one {
		t.Errorf("%d blocks read with a thousand subscribers, %d with one", thousand, one)
	}
}

// blocksRead appends before so many subscribers and returns the blocks that
// were read from the store until all have got everything.
func blocksRead(t *testing.T, readers int) uint64 {
	t.Helper()
	l := open(t, t.TempDir(), badgerlog.Config{})
	const appends = 50
	var wg sync.WaitGroup
	var got atomic.Int64
	sleeper, err := l.Subscribe(t.Context(), 0, eventlog.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	defer sleeper.Close()
	for range readers {
		s, err := l.Subscribe(t.Context(), 0, eventlog.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer s.Close()
			for n := 0; n < appends*2; {
				b, err := s.Next(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				n += len(b.Records)
				got.Add(int64(len(b.Records)))
			}
			if lag := s.Lag(); lag != 0 {
				t.Errorf("lag %d of one that has everything", lag)
			}
		})
	}
	for i := range uint64(appends) {
		mustAppend(t, l, "telemetry-t.0", i, someRow(i))
		mustAppend(t, l, "asset-1", i, fact("asset-1", i))
	}
	wg.Wait()
	if got.Load() != int64(readers*appends*2) {
		t.Errorf("%d records given to %d readers", got.Load(), readers)
	}
	if lag := sleeper.Lag(); lag != appends*2 {
		t.Errorf("lag %d of one that never read", lag)
	}
	c := l.Counters()
	return c.TelemetryBlocks + c.OtherBlocks
}

// TestUnderivable: a log opened without the function that its ids were derived
// by says so instead of giving other ids.
func TestUnderivable(t *testing.T) {
	dir := t.TempDir()
	l, err := badgerlog.Open(t.Context(), dir, badgerlog.Config{IDs: derive})
	if err != nil {
		t.Fatal(err)
	}
	e := someRow(1)
	e.ID, _ = derive(l.Origin(), "telemetry-t.0", e.Type, e.Data)
	mustAppend(t, l, "telemetry-t.0", 0, e, someRow(2))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]badgerlog.Config{"with": {IDs: derive}, "without": {}} {
		l, err := badgerlog.Open(t.Context(), dir, cfg)
		if err != nil {
			t.Fatal(err)
		}
		var failed error
		for r, err := range l.Read(t.Context(), "telemetry-t.0", 0, eventlog.Forwards) {
			if err == nil && r.ID != []eventlog.EventID{e.ID, someRow(2).ID}[r.Revision] {
				t.Errorf("%s: id %s of revision %d", name, r.ID, r.Revision)
			}
			failed = err
		}
		if errors.Is(failed, eventlog.ErrDamaged) != (name == "without") {
			t.Errorf("%s: %v", name, failed)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCancelledWaiter: an Append whose context ends is either withdrawn, and
// then nothing of it is there, or answered.
func TestCancelledWaiter(t *testing.T) {
	l := open(t, t.TempDir(), badgerlog.Config{})
	var wg sync.WaitGroup
	var withdrawn, appended atomic.Int64
	for w := range 200 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(w*10)*time.Microsecond)
			defer cancel()
			id := eventlog.StreamID(fmt.Sprintf("asset-%d", w))
			_, err := l.Append(ctx, id, eventlog.NoStream, fact(id, 0))
			want := 0
			switch {
			case err == nil:
				appended.Add(1)
				want = 1
			case errors.Is(err, context.DeadlineExceeded):
				withdrawn.Add(1)
			default:
				t.Error(err)
			}
			if n := count(t, l.Read(t.Context(), id, 0, eventlog.Forwards)); n != want {
				t.Errorf("%s holds %d events after %v", id, n, err)
			}
		})
	}
	wg.Wait()
	t.Logf("%d appended, %d withdrawn", appended.Load(), withdrawn.Load())
}
