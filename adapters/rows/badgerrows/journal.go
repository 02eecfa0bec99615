package badgerrows

import (
	"encoding/binary"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/projections"
)

// A commit that does not fit into one transaction is first written beside the
// rows, in journal parts; then one small transaction sets its mark, and from
// there on the commit has happened: whatever interrupts the applying of the
// parts, Open applies them again. Readers wait meanwhile.

// journalPart keeps a part well under a transaction (15 % of a memtable).
const journalPart = 256 << 10

func (s *Store) commitLarge(name string, t table, writes []projections.Write) error {
	if err := s.deleteAll(journalKey(t.generation, 0)[:9]); err != nil { // of one that failed
		return err
	}
	parts, err := s.writeJournal(t, writes)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	mark := binary.BigEndian.AppendUint64(t.encode(), uint64(parts))
	err = s.db.Update(func(txn *badger.Txn) error { return txn.Set(markKey(t.generation), append(mark, name...)) })
	if err != nil {
		return err
	}
	return s.applyJournal(name, t, parts)
}

func (s *Store) writeJournal(t table, writes []projections.Write) (parts int, err error) {
	var b []byte
	flush := func() error {
		part := b
		b = nil
		parts++
		return s.db.Update(func(txn *badger.Txn) error { return txn.Set(journalKey(t.generation, parts-1), part) })
	}
	for _, w := range writes {
		b = appendWrite(b, w)
		if len(b) >= journalPart {
			if err := flush(); err != nil {
				return 0, err
			}
		}
	}
	if len(b) > 0 {
		err = flush()
	}
	return parts, err
}

// applyJournal writes the rows, then in one transaction moves the checkpoint
// and takes the mark away. s.mu is held for writing.
func (s *Store) applyJournal(name string, t table, parts int) error {
	b := s.batch()
	defer b.discard()
	for i := range parts {
		part, err := s.get(journalKey(t.generation, i))
		if err != nil {
			return fmt.Errorf("journal part %d of %d: %w", i, parts, err)
		}
		for len(part) > 0 {
			var w projections.Write
			if w, part, err = cutWrite(part); err != nil {
				return err
			}
			if err := b.do(func(txn *badger.Txn) error { return apply(txn, t.generation, w) }); err != nil {
				return err
			}
		}
	}
	if err := b.commit(); err != nil {
		return err
	}
	err := s.db.Update(func(txn *badger.Txn) error {
		if err := txn.Set(tableKey(name), t.encode()); err != nil {
			return err
		}
		return txn.Delete(markKey(t.generation))
	})
	if err != nil {
		return err
	}
	s.tables[name] = t
	return s.deleteAll(journalKey(t.generation, 0)[:9])
}

// recover reads the tables, finishes marked commits and deletes what belongs
// to nothing: parts without a mark, rows of dropped projections.
func (s *Store) recover() error {
	err := s.each([]byte{tablePrefix}, func(key, value []byte) error {
		t, err := decodeTable(value)
		s.tables[string(key[1:])] = t
		s.generation = max(s.generation, t.generation)
		return err
	})
	if err != nil {
		return err
	}
	err = s.each([]byte{markPrefix}, func(_, value []byte) error {
		t, err := decodeTable(value)
		if err != nil || len(value) < 32 {
			return fmt.Errorf("mark of %d bytes: %w", len(value), err)
		}
		s.generation = max(s.generation, t.generation)
		return s.applyJournal(string(value[32:]), t, int(binary.BigEndian.Uint64(value[24:])))
	})
	if err != nil {
		return err
	}
	if err := s.deleteAll([]byte{journalPrefix}); err != nil {
		return err
	}
	return s.deleteOrphans()
}

// deleteOrphans deletes rows whose generation no table has.
func (s *Store) deleteOrphans() error {
	known := map[uint64]bool{}
	for _, t := range s.tables {
		known[t.generation] = true
	}
	for next := uint64(0); ; next++ {
		key, err := s.firstFrom(rowKey(next, nil))
		if err != nil || len(key) < 9 || key[0] != rowPrefix {
			return err
		}
		next = binary.BigEndian.Uint64(key[1:])
		s.generation = max(s.generation, next)
		if !known[next] {
			if err := s.deleteAll(rowKey(next, nil)); err != nil {
				return err
			}
		}
	}
}

func (s *Store) get(key []byte) (value []byte, err error) {
	err = s.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(key)
		if err == nil {
			value, err = item.ValueCopy(nil)
		}
		return err
	})
	return value, err
}

func (s *Store) each(prefix []byte, f func(key, value []byte) error) error {
	return s.db.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.Prefix = prefix
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			value, err := it.Item().ValueCopy(nil)
			if err == nil {
				err = f(it.Item().KeyCopy(nil), value)
			}
			if err != nil {
				return fmt.Errorf("key %x: %w", it.Item().Key(), err)
			}
		}
		return nil
	})
}

func (s *Store) firstFrom(from []byte) (key []byte, err error) {
	err = s.db.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.PrefetchValues = false
		it := txn.NewIterator(o)
		defer it.Close()
		if it.Seek(from); it.Valid() {
			key = it.Item().KeyCopy(nil)
		}
		return nil
	})
	return key, err
}

func journalKey(generation uint64, part int) []byte {
	b := binary.BigEndian.AppendUint64([]byte{journalPrefix}, generation)
	return binary.BigEndian.AppendUint64(b, uint64(part))
}

func markKey(generation uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{markPrefix}, generation)
}

// appendWrite encodes a write as key length, key, value length + 1, value; a
// value length of 0 is a delete.
func appendWrite(b []byte, w projections.Write) []byte {
	b = append(binary.AppendUvarint(b, uint64(len(w.Key))), w.Key...)
	if w.Value == nil {
		return append(b, 0)
	}
	return append(binary.AppendUvarint(b, uint64(len(w.Value))+1), w.Value...)
}

func cutWrite(b []byte) (w projections.Write, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return w, nil, fmt.Errorf("journal: key of %d bytes in %d", n, len(b))
	}
	w.Key, b = b[size:size+int(n)], b[size+int(n):]
	n, size = binary.Uvarint(b)
	if size <= 0 || n > 0 && n-1 > uint64(len(b)-size) {
		return w, nil, fmt.Errorf("journal: value of %d bytes in %d", n, len(b))
	}
	if b = b[size:]; n > 0 {
		w.Value, b = b[:n-1:n-1], b[n-1:]
		if w.Value == nil {
			w.Value = []byte{}
		}
	}
	return w, b, nil
}
