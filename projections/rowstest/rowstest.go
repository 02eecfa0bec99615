// Package rowstest holds the tests that every projections.Store must pass.
package rowstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/projections"
)

// Kit says how to make the stores under test.
type Kit struct {
	// Open returns a new, empty store.
	Open func(tb testing.TB) projections.Store
	// Reopen closes the store and opens what it left; nil for one that keeps
	// nothing.
	Reopen func(tb testing.TB, s projections.Store) projections.Store
	// Kill is like Reopen but without closing properly; nil if it cannot be done.
	Kill func(tb testing.TB, s projections.Store) projections.Store
}

// Run runs all tests.
func Run(t *testing.T, k Kit) {
	for name, test := range map[string]func(*testing.T, Kit){
		"rows and checkpoint go together":          together,
		"a later write of a key wins":              laterWins,
		"a snapshot does not move":                 snapshotStays,
		"projections do not see each other":        apart,
		"drop forgets rows and checkpoint":         drop,
		"another version has no checkpoint":        versions,
		"a cancelled commit leaves nothing behind": cancelled,
		"a commit may be large":                    large,
		"rows survive":                             survive,
		"like a sorted map":                        model,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t, k) })
	}
}

// Dump returns all rows of a projection, in order.
func Dump(tb testing.TB, s projections.Store, name string) []projections.Write {
	tb.Helper()
	snap, err := s.Snapshot(context.Background(), name)
	if err != nil {
		tb.Fatal(err)
	}
	defer snap.Close()
	return scan(tb, snap, nil, nil, false)
}

func scan(tb testing.TB, snap projections.Snapshot, from, to []byte, reverse bool) []projections.Write {
	tb.Helper()
	var all []projections.Write
	for w, err := range snap.Scan(from, to, reverse) {
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, projections.Write{Key: bytes.Clone(w.Key), Value: bytes.Clone(w.Value)})
	}
	return all
}

func commit(tb testing.TB, s projections.Store, name string, version int, at eventlog.Position, rows ...string) {
	tb.Helper()
	var w projections.Writes
	for i := 0; i+1 < len(rows); i += 2 {
		w.Put([]byte(rows[i]), []byte(rows[i+1]))
	}
	if err := s.Commit(context.Background(), name, version, at, &w); err != nil {
		tb.Fatal(err)
	}
}

func checkpoint(tb testing.TB, s projections.Store, name string, version int, want eventlog.Position) {
	tb.Helper()
	got, err := s.Checkpoint(context.Background(), name, version)
	if err != nil {
		tb.Fatal(err)
	}
	if got != want {
		tb.Errorf("checkpoint of %s version %d: %v, want %v", name, version, got, want)
	}
}

func rows(list []projections.Write) []string {
	all := []string{}
	for _, w := range list {
		all = append(all, string(w.Key), string(w.Value))
	}
	return all
}

func want(tb testing.TB, s projections.Store, name string, kv ...string) {
	tb.Helper()
	if kv == nil {
		kv = []string{}
	}
	if d := cmp.Diff(kv, rows(Dump(tb, s, name))); d != "" {
		tb.Errorf("rows of %s (-want +got):\n%s", name, d)
	}
}

func together(t *testing.T, k Kit) {
	s := k.Open(t)
	checkpoint(t, s, "a", 1, 0)
	want(t, s, "a")
	commit(t, s, "a", 1, 7, "k", "v")
	checkpoint(t, s, "a", 1, 7)
	commit(t, s, "a", 1, 9) // no rows: only the checkpoint moves
	checkpoint(t, s, "a", 1, 9)
	want(t, s, "a", "k", "v")
}

func laterWins(t *testing.T, k Kit) {
	s := k.Open(t)
	var w projections.Writes
	w.Put([]byte("a"), []byte("1"))
	w.Put([]byte("b"), []byte("1"))
	w.Put([]byte("c"), nil)
	w.Delete([]byte("a"))
	w.Put([]byte("b"), []byte("2"))
	w.Delete([]byte("d"))
	w.Put([]byte("d"), []byte("3"))
	w.Delete([]byte("nothing"))
	if err := s.Commit(t.Context(), "a", 1, 1, &w); err != nil {
		t.Fatal(err)
	}
	want(t, s, "a", "b", "2", "c", "", "d", "3")
	snap, err := s.Snapshot(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	for key, want := range map[string][]byte{"a": nil, "b": []byte("2"), "c": {}} {
		got, err := snap.Get([]byte(key))
		if err != nil || !bytes.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("get %q: %q, %v; want %q (nil: %t)", key, got, err, want, want == nil)
		}
	}
}

func snapshotStays(t *testing.T, k Kit) {
	s := k.Open(t)
	commit(t, s, "a", 1, 1, "x", "1", "y", "1")
	snap, err := s.Snapshot(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	commit(t, s, "a", 1, 2, "x", "2", "z", "2")
	if err := s.Drop(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	commit(t, s, "a", 1, 3, "y", "3")
	if d := cmp.Diff([]string{"x", "1", "y", "1"}, rows(scan(t, snap, nil, nil, false))); d != "" {
		t.Errorf("snapshot moved (-want +got):\n%s", d)
	}
	if got, err := snap.Get([]byte("x")); err != nil || string(got) != "1" {
		t.Errorf("get x: %q, %v; want 1", got, err)
	}
	want(t, s, "a", "y", "3")
}

func apart(t *testing.T, k Kit) {
	s := k.Open(t)
	commit(t, s, "a", 1, 1, "k", "a")
	commit(t, s, "ab", 1, 2, "k", "ab")
	commit(t, s, "b", 1, 3, "k", "b")
	want(t, s, "a", "k", "a")
	want(t, s, "ab", "k", "ab")
	if err := s.Drop(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	want(t, s, "a")
	want(t, s, "ab", "k", "ab")
	want(t, s, "b", "k", "b")
	checkpoint(t, s, "ab", 1, 2)
}

func drop(t *testing.T, k Kit) {
	s := k.Open(t)
	if err := s.Drop(t.Context(), "never"); err != nil {
		t.Fatal(err)
	}
	var kv []string
	for i := range 3000 {
		kv = append(kv, fmt.Sprintf("%06d", i), "v")
	}
	commit(t, s, "a", 1, 1, kv...)
	if err := s.Drop(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	checkpoint(t, s, "a", 1, 0)
	want(t, s, "a")
	commit(t, s, "a", 1, 5, "new", "1")
	want(t, s, "a", "new", "1")
	if k.Reopen != nil {
		s = k.Reopen(t, s)
		want(t, s, "a", "new", "1")
	}
}

func versions(t *testing.T, k Kit) {
	s := k.Open(t)
	commit(t, s, "a", 1, 4, "k", "v")
	checkpoint(t, s, "a", 2, 0)
	checkpoint(t, s, "a", 1, 4)
	if err := s.Drop(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	commit(t, s, "a", 2, 3, "l", "w")
	checkpoint(t, s, "a", 1, 0)
	checkpoint(t, s, "a", 2, 3)
	want(t, s, "a", "l", "w")
}

func cancelled(t *testing.T, k Kit) {
	s := k.Open(t)
	commit(t, s, "a", 1, 4, "k", "v")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var w projections.Writes
	w.Put([]byte("k"), []byte("w"))
	if err := s.Commit(ctx, "a", 1, 5, &w); !errors.Is(err, context.Canceled) {
		t.Errorf("commit: %v, want %v", err, context.Canceled)
	}
	checkpoint(t, s, "a", 1, 4)
	want(t, s, "a", "k", "v")
}

// large is why a store may not pass the limit of its transactions on to the
// folds: a window of history is one commit.
func large(t *testing.T, k Kit) {
	s := k.Open(t)
	commit(t, s, "a", 1, 1, "gone", "1", "kept", "1")
	rng := rand.New(rand.NewPCG(1, 1))
	var w projections.Writes
	sum := map[string][]byte{"kept": []byte("1")}
	w.Delete([]byte("gone"))
	for i := range 1200 {
		value := make([]byte, 20_000)
		for j := range value {
			value[j] = byte(rng.Uint32())
		}
		key := fmt.Sprintf("big%06d", i)
		w.Put([]byte(key), value)
		sum[key] = value
	}
	for i := range 150_000 {
		key := fmt.Sprintf("small%06d", i)
		w.Put([]byte(key), []byte{1})
		sum[key] = []byte{1}
	}
	if err := s.Commit(t.Context(), "a", 1, 2, &w); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		checkpoint(t, s, "a", 1, 2)
		got := Dump(t, s, "a")
		if len(got) != len(sum) {
			t.Errorf("%s: %d rows, want %d", when, len(got), len(sum))
		}
		for _, w := range got {
			if !bytes.Equal(w.Value, sum[string(w.Key)]) {
				t.Fatalf("%s: row %s differs", when, w.Key)
			}
		}
	}
	check("after the commit")
	if k.Reopen != nil {
		s = k.Reopen(t, s)
		check("after reopening")
	}
}

func survive(t *testing.T, k Kit) {
	s := k.Open(t)
	commit(t, s, "a", 3, 1, "k", "v")
	commit(t, s, "a", 3, 2, "l", "w")
	for _, again := range []func(testing.TB, projections.Store) projections.Store{k.Reopen, k.Kill} {
		if again == nil {
			continue
		}
		s = again(t, s)
		checkpoint(t, s, "a", 3, 2)
		want(t, s, "a", "k", "v", "l", "w")
	}
}

// model compares with a sorted map through random commits, drops and scans.
func model(t *testing.T, k Kit) {
	s := k.Open(t)
	rng := rand.New(rand.NewPCG(7, 7))
	ref := map[string]map[string]string{"p": {}, "pq": {}}
	key := func() []byte {
		b := make([]byte, rng.IntN(4))
		for i := range b {
			b[i] = []byte{0, 1, 'a', 0xff}[rng.IntN(4)]
		}
		return b
	}
	for step := range 300 {
		name := []string{"p", "pq"}[rng.IntN(2)]
		if rng.IntN(50) == 0 {
			if err := s.Drop(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			ref[name] = map[string]string{}
		}
		var w projections.Writes
		for range rng.IntN(10) {
			if b := key(); rng.IntN(3) == 0 {
				w.Delete(b)
				delete(ref[name], string(b))
			} else {
				w.Put(b, fmt.Append(nil, step))
				ref[name][string(b)] = fmt.Sprint(step)
			}
		}
		if err := s.Commit(t.Context(), name, 1, eventlog.Position(step+1), &w); err != nil {
			t.Fatal(err)
		}
		if k.Reopen != nil && rng.IntN(100) == 0 {
			s = k.Reopen(t, s)
		}
		from, to, reverse := key(), key(), rng.IntN(2) == 0
		if rng.IntN(3) == 0 {
			to = nil
		}
		snap, err := s.Snapshot(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		wanted := []string{}
		keys := slices.Sorted(maps.Keys(ref[name]))
		if reverse {
			slices.Reverse(keys)
		}
		for _, key := range keys {
			if key >= string(from) && (to == nil || key < string(to)) {
				wanted = append(wanted, key, ref[name][key])
			}
		}
		if d := cmp.Diff(wanted, rows(scan(t, snap, from, to, reverse))); d != "" {
			t.Fatalf("step %d, %s [%x, %x) reverse %t (-want +got):\n%s", step, name, from, to, reverse, d)
		}
		snap.Close()
	}
}
