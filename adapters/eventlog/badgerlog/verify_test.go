package badgerlog

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// TestVerifyNamesEveryKey: whichever key a log loses, Verify has something to
// say, and it has nothing to say before and after.
func TestVerifyNamesEveryKey(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		t.Run(fmt.Sprintf("sealed %t", sealed), func(t *testing.T) {
			dir := t.TempDir()
			l := holed(t, dir)
			if sealed {
				if err := l.Seal(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if r, err := l.Verify(t.Context(), nil); err != nil || r.Lost > 0 || r.Events == 0 {
				t.Fatalf("a whole log: %+v, %v", r, err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			whole, err := VerifyDir(t.Context(), dir, Config{}, nil)
			if err != nil || whole.Lost > 0 {
				t.Fatalf("a whole log: %+v, %v", whole, err)
			}
			change := func(do func(txn *badger.Txn) error) {
				t.Helper()
				db, err := badger.Open(badgerOptions(filepath.Join(dir, storeName), &badgerVoice{}))
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(db.Update(do), db.Close()); err != nil {
					t.Fatal(err)
				}
			}
			tried := 0
			for _, kind := range []byte{telemetryKey, otherKey, streamKey, categoryKey, windowKey, markKey, sealKey, chunkKey} {
				var keys [][]byte
				change(func(*badger.Txn) error { return nil })
				db, err := badger.Open(badgerOptions(filepath.Join(dir, storeName), &badgerVoice{}))
				if err != nil {
					t.Fatal(err)
				}
				keys = keysOf(t, db, kind)
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				for _, n := range []int{0, len(keys) / 2, len(keys) - 1} {
					if len(keys) == 0 || kind == markKey && n == len(keys)-1 {
						continue // the window of a last mark is open again, and read again
					}
					key := keys[n]
					var was []byte
					var meta byte
					change(func(txn *badger.Txn) error {
						item, err := txn.Get(key)
						if err != nil {
							return err
						}
						meta = item.UserMeta()
						if was, err = item.ValueCopy(nil); err != nil {
							return err
						}
						return txn.Delete(key)
					})
					r, err := VerifyDir(t.Context(), dir, Config{}, nil)
					if err != nil || r.Lost == 0 {
						t.Errorf("without key %q: %+v, %v", key, r, err)
					}
					change(func(txn *badger.Txn) error {
						return txn.SetEntry(badger.NewEntry(key, was).WithMeta(meta))
					})
					tried++
				}
			}
			if again, err := VerifyDir(t.Context(), dir, Config{}, nil); err != nil || again.Lost > 0 || again.Events != whole.Events {
				t.Errorf("whole again: %+v, %v", again, err)
			}
			t.Logf("%d keys", tried)
		})
	}
}
