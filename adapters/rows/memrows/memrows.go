// Package memrows keeps the rows of projections in memory: for tests, and as
// the plainest reading of what projections.Store promises.
package memrows

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/projections"
)

// Store is a projections.Store in memory.
type Store struct {
	// mu guards names and what is in them. A table's rows are changed only
	// while no snapshot shares them.
	mu    sync.Mutex
	names map[string]*table
}

var _ projections.Store = (*Store)(nil)

type table struct {
	version int
	at      eventlog.Position
	rows    map[string][]byte
	shared  bool     // a snapshot holds rows: copy before the next change
	sorted  []string // the keys of rows in order, nil if not known
}

// New returns an empty store.
func New() *Store { return &Store{names: map[string]*table{}} }

// Checkpoint implements projections.Store.
func (s *Store) Checkpoint(ctx context.Context, name string, version int) (eventlog.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.names[name]; t != nil && t.version == version {
		return t.at, ctx.Err()
	}
	return 0, ctx.Err()
}

// Commit implements projections.Store.
func (s *Store) Commit(ctx context.Context, name string, version int, at eventlog.Position, w *projections.Writes) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("commit of %s at %v: %w", name, at, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.names[name]
	if t == nil {
		t = &table{rows: map[string][]byte{}}
		s.names[name] = t
	}
	if list := w.List(); len(list) > 0 {
		t.own()
		for _, e := range list {
			if e.Value == nil {
				delete(t.rows, string(e.Key))
			} else {
				t.rows[string(e.Key)] = e.Value
			}
		}
	}
	t.version, t.at = version, at
	return nil
}

// own makes the rows this table's alone.
func (t *table) own() {
	if t.shared {
		t.rows, t.shared = maps.Clone(t.rows), false
	}
	t.sorted = nil
}

// Snapshot implements projections.Store.
func (s *Store) Snapshot(ctx context.Context, name string) (projections.Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("snapshot of %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.names[name]
	if t == nil {
		return &snapshot{}, nil
	}
	if t.sorted == nil {
		t.sorted = make([]string, 0, len(t.rows))
		for k := range t.rows {
			t.sorted = append(t.sorted, k)
		}
		slices.Sort(t.sorted)
	}
	t.shared = true
	return &snapshot{t.rows, t.sorted}, nil
}

// Drop implements projections.Store.
func (s *Store) Drop(ctx context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.names, name)
	return ctx.Err()
}

type snapshot struct {
	rows   map[string][]byte
	sorted []string
}

// Get implements projections.Snapshot.
func (s *snapshot) Get(key []byte) ([]byte, error) { return s.rows[string(key)], nil }

// Scan implements projections.Snapshot.
func (s *snapshot) Scan(from, to []byte, reverse bool) iter.Seq2[projections.Write, error] {
	return func(yield func(projections.Write, error) bool) {
		i, _ := slices.BinarySearch(s.sorted, string(from))
		j := len(s.sorted)
		if to != nil {
			j, _ = slices.BinarySearch(s.sorted, string(to))
		}
		give := func(k string) bool {
			return yield(projections.Write{Key: []byte(k), Value: bytes.Clone(s.rows[k])}, nil)
		}
		for n := i; n < j; n++ {
			k := n
			if reverse {
				k = j - 1 - (n - i)
			}
			if !give(s.sorted[k]) {
				return
			}
		}
	}
}

// Close implements projections.Snapshot.
func (s *snapshot) Close() {}
