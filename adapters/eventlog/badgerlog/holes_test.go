package badgerlog

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// holed makes a log of twelve commits: telemetry, other events, or both. Each
// commit is one append of two events.
func holed(t *testing.T, dir string) *Log {
	t.Helper()
	l, err := Open(t.Context(), dir, Config{Window: 6, RecentBytes: 1, NoSealing: true})
	if err != nil {
		t.Fatal(err)
	}
	next := map[eventlog.StreamID]uint64{}
	for i := range 12 {
		id := []eventlog.StreamID{"telemetry-a.0", "asset-1", "telemetry-a.0"}[i%3]
		types := [][]string{{eventlog.TelemetryRecorded, eventlog.TelemetryRecorded}, {"x.y.v1", "x.z.v1"}, {eventlog.TelemetryRecorded, "telemetry.gap.v1"}}[i%3]
		expected := eventlog.NoStream
		if next[id] > 0 {
			expected = eventlog.At(eventlog.Revision(next[id] - 1))
		}
		var events []eventlog.NewEvent
		for j, typ := range types {
			events = append(events, eventlog.NewEvent{ID: eventlog.EventID{1, byte(i), byte(j)}, Type: typ, Data: []byte(fmt.Sprint(i, j))})
		}
		if _, err := l.Append(t.Context(), id, expected, events...); err != nil {
			t.Fatal(err)
		}
		next[id] += 2
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) { // windows to the disk
		l.mu.RLock()
		n := len(l.closing)
		l.mu.RUnlock()
		if n == 0 {
			return l
		}
		if time.Now().After(end) {
			t.Fatal("windows are not written")
		}
	}
}

// keysOf lists the keys of a kind.
func keysOf(t *testing.T, db *badger.DB, kind byte) (keys [][]byte) {
	t.Helper()
	err := db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{kind}})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			keys = append(keys, it.Item().KeyCopy(nil))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

type answer struct {
	name string
	ids  []eventlog.EventID
	err  error
}

func answers(t *testing.T, l *Log) (all []answer) {
	t.Helper()
	add := func(name string, seq func(func(eventlog.Record, error) bool)) {
		a := answer{name: name}
		for r, err := range seq {
			if err != nil {
				a.err = err
				break
			}
			a.ids = append(a.ids, r.ID)
		}
		all = append(all, a)
	}
	for _, f := range []eventlog.Filter{
		{},
		{NoTelemetry: true},
		{Types: []string{eventlog.TelemetryRecorded}},
		{Categories: []string{"asset"}},
		{Categories: []string{"telemetry"}, NoTelemetry: true},
	} {
		add(fmt.Sprintf("%+v", f), l.ReadAll(t.Context(), 0, eventlog.Forwards, f))
		add(fmt.Sprintf("%+v after 7", f), l.ReadAll(t.Context(), 7, eventlog.Forwards, f))
		add(fmt.Sprintf("%+v back", f), l.ReadAll(t.Context(), eventlog.End, eventlog.Backwards, f))
		add(fmt.Sprintf("%+v back from 17", f), l.ReadAll(t.Context(), 17, eventlog.Backwards, f))
	}
	for _, id := range []eventlog.StreamID{"telemetry-a.0", "asset-1"} {
		add(string(id), l.Read(t.Context(), id, 0, eventlog.Forwards))
		add(string(id)+" back", l.Read(t.Context(), id, eventlog.LastRevision, eventlog.Backwards))
	}
	return all
}

// TestHolesAreFound takes single keys out of the store behind the log's back:
// every read gives what it gave before, or fails with ErrDamaged after a part
// of it; none steps over the hole.
func TestHolesAreFound(t *testing.T) {
	l := holed(t, t.TempDir())
	defer l.Close()
	want := answers(t, l)
	found := map[byte]int{}
	for _, kind := range []byte{telemetryKey, otherKey, streamKey, windowKey, categoryKey} {
		keys := keysOf(t, l.db, kind)
		if len(keys) < 3 {
			t.Fatalf("%d keys of kind %c", len(keys), kind)
		}
		for _, key := range keys {
			var was []byte
			err := l.db.Update(func(txn *badger.Txn) error {
				item, err := txn.Get(key)
				if err != nil {
					return err
				}
				if was, err = item.ValueCopy(nil); err != nil {
					return err
				}
				return txn.Delete(key)
			})
			if err != nil {
				t.Fatal(err)
			}
			for i, got := range answers(t, l) {
				switch {
				case got.err == nil && !slices.Equal(got.ids, want[i].ids):
					t.Errorf("without key %x: %s gives %d events, want %d", key, got.name, len(got.ids), len(want[i].ids))
				case got.err != nil && !errors.Is(got.err, eventlog.ErrDamaged):
					t.Errorf("without key %x: %s fails with %v", key, got.name, got.err)
				case got.err != nil && !slices.Equal(got.ids, want[i].ids[:len(got.ids)]):
					t.Errorf("without key %x: %s gives other events before it fails", key, got.name)
				case got.err != nil:
					found[kind]++
				}
			}
			if err := l.db.Update(func(txn *badger.Txn) error { return txn.Set(key, was) }); err != nil {
				t.Fatal(err)
			}
		}
		if found[kind] == 0 {
			t.Errorf("no read failed without keys of kind %c", kind)
		}
	}
}

// TestHolesAreFoundAtOpen does the same to a closed log's blocks.
func TestHolesAreFoundAtOpen(t *testing.T) {
	for n := range 12 {
		dir := t.TempDir()
		if err := holed(t, dir).Close(); err != nil {
			t.Fatal(err)
		}
		db, err := badger.Open(badgerOptions(filepath.Join(dir, storeName), &badgerVoice{}))
		if err != nil {
			t.Fatal(err)
		}
		keys := append(keysOf(t, db, telemetryKey), keysOf(t, db, otherKey)...)
		key := keys[n*len(keys)/12]
		if err := errors.Join(db.Update(func(txn *badger.Txn) error { return txn.Delete(key) }), db.Close()); err != nil {
			t.Fatal(err)
		}
		l, err := Open(t.Context(), dir, Config{})
		if err == nil {
			err = l.Close()
		}
		k, _ := parsePartKey(key)
		if !errors.Is(err, eventlog.ErrDamaged) || !strings.Contains(err.Error(), "position") {
			t.Errorf("without the block of positions %v to %v: %v", k.first(), k.last, err)
		}
	}
}
