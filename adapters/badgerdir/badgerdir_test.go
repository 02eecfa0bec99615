package badgerdir_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/adapters/badgerdir"
)

// TestEmptyFiles: what was committed is there beside the empty files of a
// process that died making them; Badger alone refuses the directory.
func TestEmptyFiles(t *testing.T) {
	for _, name := range []string{"00009.mem", "000009.vlog"} {
		o := badger.DefaultOptions(t.TempDir()).WithLogger(nil)
		db, err := badgerdir.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		set := func(txn *badger.Txn) error { return txn.Set([]byte("k"), []byte("v")) }
		if err := errors.Join(db.Update(set), db.Close()); err != nil {
			t.Fatal(err)
		}
		empty := filepath.Join(o.Dir, name)
		if err := os.WriteFile(empty, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if db, err := badger.Open(o); err == nil {
			t.Errorf("Badger opens a directory with an empty %s: this package is no longer needed", name)
			db.Close()
		} else if err := os.WriteFile(empty, nil, 0o600); err != nil { // the refusal gave it a size
			t.Fatal(err)
		}
		if db, err = badgerdir.Open(o); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		err = db.View(func(txn *badger.Txn) error {
			_, err := txn.Get([]byte("k"))
			return err
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
