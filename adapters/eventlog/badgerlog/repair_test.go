package badgerlog

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// TestSalvage: of a log that lost a block, every other event comes over to the
// byte and to its place, what was lost is named and filled, and the result is a
// whole log; a whole log is not salvaged.
func TestSalvage(t *testing.T) {
	if _, err := Salvage(t.Context(), closed(t), filepath.Join(t.TempDir(), "x"), Config{}, nil); !errors.Is(err, ErrWhole) {
		t.Fatalf("a whole log: %v", err)
	}
	for n := range 12 {
		dir, to := closed(t), filepath.Join(t.TempDir(), "salvaged")
		before := recordsOf(t, dir)
		db, err := badger.Open(badgerOptions(filepath.Join(dir, storeName), &badgerVoice{}))
		if err != nil {
			t.Fatal(err)
		}
		keys := append(keysOf(t, db, telemetryKey), keysOf(t, db, otherKey)...)
		key := keys[n*(len(keys)-1)/11]
		if err := errors.Join(db.Update(func(txn *badger.Txn) error { return txn.Delete(key) }), db.Close()); err != nil {
			t.Fatal(err)
		}
		s, err := Salvage(t.Context(), dir, to, Config{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		filled := uint64(0)
		for _, r := range s.Filled {
			filled += r.Last - r.First + 1
		}
		missing := uint64(0)
		if s.Missing.Last > 0 {
			missing = s.Missing.Last - s.Missing.First + 1
		}
		k, _ := parsePartKey(key)
		if s.Events+filled+missing != uint64(len(before)) || filled+missing == 0 || filled+missing > uint64(k.count) {
			t.Fatalf("without %v to %v: %+v of %d events", k.first(), k.last, s, len(before))
		}
		after := recordsOf(t, to)
		kept := uint64(0)
		for i, r := range after {
			if r.Position != before[i].Position {
				t.Fatalf("event %d is at %v, want %v", i, r.Position, before[i].Position)
			}
			if r.Type == (eventlog.EventLost{}).EventType() {
				if r.Position < k.first() || r.Position > k.last {
					t.Errorf("position %v was not lost", r.Position)
				}
				continue
			}
			if kept++; r.Digest() != before[i].Digest() || !r.Recorded.Equal(before[i].Recorded) {
				t.Errorf("event %d is not what it was", i)
			}
		}
		if kept != s.Events {
			t.Errorf("%d events, want %d", kept, s.Events)
		}
	}
}

func closed(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := holed(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// recordsOf reads a log that must be whole.
func recordsOf(t *testing.T, dir string) (all []eventlog.Record) {
	t.Helper()
	l, err := Open(t.Context(), dir, Config{NoSealing: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for r, err := range l.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	if r, err := l.Verify(t.Context(), nil); err != nil || r.Lost > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	return all
}
