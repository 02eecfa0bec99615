package badgerrows

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/rowstest"
)

func open(tb testing.TB, dir string) *Store {
	tb.Helper()
	s, err := Open(dir, Config{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

// copyDir is what SIGKILL leaves: the page cache as it is, nothing closed.
func copyDir(tb testing.TB, from string) string {
	tb.Helper()
	to := tb.TempDir()
	if err := os.CopyFS(filepath.Join(to, "views"), os.DirFS(from)); err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(to, "views")
}

func TestStore(t *testing.T) {
	rowstest.Run(t, rowstest.Kit{
		Open: func(tb testing.TB) projections.Store { return open(tb, tb.TempDir()) },
		Reopen: func(tb testing.TB, s projections.Store) projections.Store {
			dir := s.(*Store).db.Opts().Dir
			if err := s.(*Store).Close(); err != nil {
				tb.Fatal(err)
			}
			return open(tb, dir)
		},
		Kill: func(tb testing.TB, s projections.Store) projections.Store {
			return open(tb, copyDir(tb, s.(*Store).db.Opts().Dir))
		},
	})
}

// TestInterruptedLargeCommit kills a commit of many transactions at each of its
// steps: what is found afterwards is the state before it or after it.
func TestInterruptedLargeCommit(t *testing.T) {
	var before, after projections.Writes
	before.Put([]byte("a"), []byte("1"))
	before.Put([]byte("b"), []byte("1"))
	after.Put([]byte("a"), []byte("2"))
	after.Delete([]byte("b"))
	after.Put([]byte("c"), []byte{})

	prepare := func(t *testing.T) (*Store, table) {
		s := open(t, t.TempDir())
		if err := s.Commit(t.Context(), "p", 1, 10, &before); err != nil {
			t.Fatal(err)
		}
		next := s.tables["p"]
		next.at = 20
		return s, next
	}
	check := func(t *testing.T, s *Store, at int, rows ...string) {
		t.Helper()
		s = open(t, copyDir(t, s.db.Opts().Dir))
		if got := s.tables["p"].at; int(got) != at {
			t.Errorf("checkpoint %v, want %d", got, at)
		}
		got := rowstest.Dump(t, s, "p")
		if len(got) != len(rows)/2 {
			t.Errorf("rows %q, want %q", got, rows)
		}
		for i, w := range got {
			if string(w.Key) != rows[2*i] || string(w.Value) != rows[2*i+1] {
				t.Errorf("row %q=%q, want %q", w.Key, w.Value, rows[2*i:2*i+2])
			}
		}
		err := errors.Join(s.each([]byte{journalPrefix}, leftover), s.each([]byte{markPrefix}, leftover))
		if err != nil {
			t.Error(err)
		}
	}

	t.Run("before the mark", func(t *testing.T) {
		s, next := prepare(t)
		if _, err := s.writeJournal(next, after.List()); err != nil {
			t.Fatal(err)
		}
		check(t, s, 10, "a", "1", "b", "1")
	})
	t.Run("after the mark", func(t *testing.T) {
		s, next := prepare(t)
		mark(t, s, next, after.List())
		check(t, s, 20, "a", "2", "c", "")
	})
	t.Run("half applied", func(t *testing.T) {
		s, next := prepare(t)
		mark(t, s, next, after.List())
		err := s.db.Update(func(txn *badger.Txn) error { return apply(txn, next.generation, after.List()[0]) })
		if err != nil {
			t.Fatal(err)
		}
		check(t, s, 20, "a", "2", "c", "")
	})
	t.Run("not interrupted", func(t *testing.T) {
		s, next := prepare(t)
		if err := s.commitLarge("p", next, after.List()); err != nil {
			t.Fatal(err)
		}
		check(t, s, 20, "a", "2", "c", "")
	})
}

func leftover(key, _ []byte) error { return errors.New("left behind: " + string(key)) }

// mark does what commitLarge does up to its mark.
func mark(t *testing.T, s *Store, next table, writes []projections.Write) {
	t.Helper()
	parts, err := s.writeJournal(next, writes)
	if err != nil {
		t.Fatal(err)
	}
	value := append(next.encode(), 0, 0, 0, 0, 0, 0, 0, byte(parts))
	if err := s.db.Update(func(txn *badger.Txn) error { return txn.Set(markKey(next.generation), append(value, "p"...)) }); err != nil {
		t.Fatal(err)
	}
}

// TestOrphans: a crash in the middle of a drop leaves rows without a table;
// nobody ever sees them, and the next start removes them.
func TestOrphans(t *testing.T) {
	s := open(t, t.TempDir())
	var w projections.Writes
	w.Put([]byte("k"), []byte("v"))
	for _, name := range []string{"p", "q"} {
		if err := s.Commit(t.Context(), name, 1, 1, &w); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.db.Update(func(txn *badger.Txn) error { return txn.Delete(tableKey("q")) }); err != nil {
		t.Fatal(err)
	}
	s = open(t, copyDir(t, s.db.Opts().Dir))
	if got := rowstest.Dump(t, s, "q"); len(got) > 0 {
		t.Errorf("rows of a dropped projection: %q", got)
	}
	if key, err := s.firstFrom(rowKey(2, nil)); err != nil || len(key) > 0 && key[0] == rowPrefix {
		t.Errorf("row %x is left, %v", key, err)
	}
	if got := rowstest.Dump(t, s, "p"); len(got) != 1 {
		t.Errorf("rows of another projection: %q, want one", got)
	}
	if err := s.Commit(t.Context(), "q", 1, 1, &projections.Writes{}); err != nil {
		t.Fatal(err)
	}
	if got := rowstest.Dump(t, s, "q"); len(got) > 0 {
		t.Errorf("old rows came back: %q", got)
	}
}
