package badgerdir_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/adapters/badgerdir"
)

// filled makes a directory with a table and a value.
func filled(t *testing.T) badger.Options {
	t.Helper()
	o := badger.DefaultOptions(t.TempDir()).WithLogger(nil)
	db, err := badgerdir.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	set := func(txn *badger.Txn) error { return txn.Set([]byte("k"), []byte("v")) }
	if err := errors.Join(db.Update(set), db.Close()); err != nil {
		t.Fatal(err)
	}
	return o
}

func hasKey(db *badger.DB) error {
	return db.View(func(txn *badger.Txn) error {
		_, err := txn.Get([]byte("k"))
		return err
	})
}

// TestEmptyFiles: what was committed is there beside the empty files of a
// process that died making them; Badger alone refuses the directory.
func TestEmptyFiles(t *testing.T) {
	for _, name := range []string{"00009.mem", "000009.vlog"} {
		o := filled(t)
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
		db, err := badgerdir.Open(o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := errors.Join(hasKey(db), db.Close()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCutDiscard: the list of garbage is no reason not to open, nor to die later.
func TestCutDiscard(t *testing.T) {
	o := filled(t)
	path := filepath.Join(o.Dir, "DISCARD")
	if err := os.Truncate(path, 14); err != nil {
		t.Fatal(err)
	}
	db, err := badgerdir.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(hasKey(db), db.Close()); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() < 1<<20 {
		t.Errorf("DISCARD is %+v, %v", info, err)
	}
}

// TestInUse: the empty file of a process that is alive is left alone.
func TestInUse(t *testing.T) {
	o := filled(t)
	db, err := badgerdir.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	empty := filepath.Join(o.Dir, "00009.mem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if second, err := badgerdir.Open(o); err == nil || !strings.Contains(err.Error(), "Cannot acquire directory lock") {
		second.Close()
		t.Errorf("opened twice: %v", err)
	}
	if _, err := os.Stat(empty); err != nil {
		t.Error(err)
	}
}

// TestDamageIsNamed: no cut of a table and no flip in MANIFEST ends the process
// or is passed over, and a missing MANIFEST does not cost the tables.
func TestDamageIsNamed(t *testing.T) {
	o := filled(t)
	tables, err := filepath.Glob(filepath.Join(o.Dir, "*.sst"))
	if err != nil || len(tables) != 1 {
		t.Fatal(tables, err)
	}
	refused := func(file, what string) {
		t.Helper()
		db, err := badgerdir.Open(o)
		if err == nil {
			t.Errorf("opened with %s %s", file, what)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		} else if !errors.Is(err, badgerdir.ErrDamaged) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s %s: %v", file, what, err)
		}
	}
	table, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	for n := range table {
		if err := os.WriteFile(tables[0], table[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		refused(filepath.Base(tables[0]), fmt.Sprintf("cut to %d of %d bytes", n, len(table)))
	}
	if err := os.Remove(tables[0]); err != nil {
		t.Fatal(err)
	}
	refused(filepath.Base(tables[0]), "missing")
	if err := os.WriteFile(tables[0], table, 0o600); err != nil {
		t.Fatal(err)
	}

	path := filepath.Join(o.Dir, "MANIFEST")
	manifest, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range 8 { // its head; what follows has checksums
		manifest[at] ^= 4
		if err := os.WriteFile(path, manifest, 0o600); err != nil {
			t.Fatal(err)
		}
		manifest[at] ^= 4
		refused("MANIFEST", fmt.Sprintf("with byte %d flipped", at))
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	refused("MANIFEST", "missing")
	if err := os.WriteFile(path, manifest, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := badgerdir.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(hasKey(db), db.Close()); err != nil {
		t.Error(err)
	}
}
