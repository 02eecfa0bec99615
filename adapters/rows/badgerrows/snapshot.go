package badgerrows

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/projections"
)

// Snapshot implements projections.Store.
func (s *Store) Snapshot(ctx context.Context, name string) (projections.Snapshot, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("snapshot of %s: %w", name, err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return &snapshot{s.db.NewTransaction(false), s.tables[name].generation}, nil
}

// snapshot reads one generation; 0, the generation of no table, has no rows.
type snapshot struct {
	txn        *badger.Txn
	generation uint64
}

// Get implements projections.Snapshot.
func (s *snapshot) Get(key []byte) ([]byte, error) {
	item, err := s.txn.Get(rowKey(s.generation, key))
	switch {
	case errors.Is(err, badger.ErrKeyNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("row %x: %w", key, err)
	}
	return item.ValueCopy([]byte{})
}

// Scan implements projections.Snapshot.
func (s *snapshot) Scan(from, to []byte, reverse bool) iter.Seq2[projections.Write, error] {
	return func(yield func(projections.Write, error) bool) {
		o := badger.DefaultIteratorOptions
		o.Reverse, o.PrefetchSize = reverse, 16
		o.Prefix = rowKey(s.generation, nil)
		it := s.txn.NewIterator(o)
		defer it.Close()
		first := rowKey(s.generation, from)
		if reverse {
			first = s.end(to)
		}
		for it.Seek(first); it.Valid(); it.Next() {
			item := it.Item()
			key := item.KeyCopy(nil)[len(o.Prefix):]
			switch {
			case reverse && to != nil && bytes.Compare(key, to) >= 0:
				continue // Seek goes to the key itself, which is not in the range
			case reverse && bytes.Compare(key, from) < 0, !reverse && to != nil && bytes.Compare(key, to) >= 0:
				return
			}
			value, err := item.ValueCopy([]byte{})
			if err != nil {
				yield(projections.Write{}, fmt.Errorf("row %x: %w", key, err))
				return
			}
			if !yield(projections.Write{Key: key, Value: value}, nil) {
				return
			}
		}
	}
}

// end is where a reverse scan starts: the first key behind the range.
func (s *snapshot) end(to []byte) []byte {
	if to != nil {
		return rowKey(s.generation, to)
	}
	return append(rowKey(s.generation, nil), bytes.Repeat([]byte{0xff}, 1024)...)
}

// Close implements projections.Snapshot.
func (s *snapshot) Close() { s.txn.Discard() }
