// Package badgerrows keeps the rows of projections in a Badger database of
// their own, apart from the log. Rows and checkpoint of a commit are there
// together or not at all, after a crash too. They are not synced: what a power
// cut takes from the end is folded again, and deleting the directory is the
// definition of a rebuild.
//
// Keys are drawn in docs/formats/views.md.
package badgerrows

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/twinlog/twinlog/adapters/badgerdir"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/projections"
)

// ErrUnreadable says that Badger cannot open the directory. The log has everything that
// was in it, so it may be deleted.
var ErrUnreadable = errors.New("read-model store cannot be opened; delete the directory and it is rebuilt from the log")

// Config bounds the memory of a Store.
type Config struct {
	MemTableBytes   int64 // of each of two tables being filled; 0: 4 MiB
	BlockCacheBytes int64 // 0: 32 MiB
	IndexCacheBytes int64 // 0: 4 MiB
}

const (
	// largeRow: rows from here on go to value files, so that a transaction of a
	// small memtable takes any row that an event can make.
	largeRow = 256 << 10
	// collectEvery is how often value files are looked through for garbage.
	collectEvery = 10 * time.Minute
)

// Store is a projections.Store in Badger.
type Store struct {
	db   *badger.DB
	stop chan struct{} // closed by Close
	end  sync.Once
	done sync.WaitGroup // the collector

	// merging is held while tables are merged: Badger's Flatten stops and starts
	// its compactors, which two at once may not.
	merging sync.Mutex

	// mu guards tables and generation. It is held for writing while a commit
	// of several transactions or a drop becomes visible, so that a snapshot
	// sees all of it or nothing.
	mu         sync.RWMutex
	tables     map[string]table
	generation uint64 // the newest that rows were ever written under
}

var _ projections.Store = (*Store)(nil)

// table is what the store knows of one projection.
type table struct {
	version    int
	generation uint64 // its rows' prefix; a drop makes a new one
	at         eventlog.Position
}

// Open opens the directory, making it if need be, finishes a commit that a
// crash left half applied and removes the rows of dropped projections.
func Open(dir string, c Config) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("read-model store: %w", err)
	}
	db, err := badgerdir.Open(badgerOptions(dir, c))
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", dir, ErrUnreadable, err)
	}
	s := &Store{db: db, tables: map[string]table{}, stop: make(chan struct{})}
	if err := s.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, err), db.Close())
	}
	s.done.Go(s.collect)
	return s, nil
}

// collect gives back the value files of large rows that were replaced.
func (s *Store) collect() {
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			for s.db.RunValueLogGC(0.5) == nil { // until there is nothing worth it
			}
		}
	}
}

func badgerOptions(dir string, c Config) badger.Options {
	or := func(n, standard int64) int64 {
		if n > 0 {
			return n
		}
		return standard
	}
	o := badger.DefaultOptions(dir)
	// Badger builds up to eight tables at once, each in twice a table's size (and
	// then in twice as much again), and keeps that memory: three memtables hold
	// one with its compressed blocks.
	memTable := or(c.MemTableBytes, 4<<20)
	o.TableSizeMultiplier = 1
	return o.
		WithLogger(nil).
		WithMetricsEnabled(false).
		WithSyncWrites(false).
		WithDetectConflicts(false). // one writer for each name
		WithNumVersionsToKeep(1).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithCompression(options.Snappy).
		WithMemTableSize(memTable).
		WithNumMemtables(2).
		WithNumLevelZeroTables(2).
		WithNumLevelZeroTablesStall(6).
		WithNumCompactors(2).
		WithBaseTableSize(memTable / 2).
		WithValueThreshold(largeRow). // nearly all rows live beside their keys
		WithValueLogFileSize(16 << 20).
		WithBlockCacheSize(or(c.BlockCacheBytes, 32<<20)).
		WithIndexCacheSize(or(c.IndexCacheBytes, 16<<20))
}

// Close closes the database. What was committed stays.
func (s *Store) Close() error {
	s.end.Do(func() { close(s.stop) })
	s.done.Wait()
	return s.db.Close()
}

// Checkpoint implements projections.Store.
func (s *Store) Checkpoint(ctx context.Context, name string, version int) (eventlog.Position, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if t, ok := s.tables[name]; ok && t.version == version {
		return t.at, ctx.Err()
	}
	return 0, ctx.Err()
}

// Commit implements projections.Store. A commit that is larger than Badger's
// transactions goes through a journal (see journal.go). A row may be as large
// as an event can be.
func (s *Store) Commit(ctx context.Context, name string, version int, at eventlog.Position, w *projections.Writes) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("commit of %s at %v: %w", name, at, err)
	}
	s.mu.Lock()
	t, ok := s.tables[name]
	if !ok {
		s.generation++
		t.generation = s.generation
	}
	s.mu.Unlock()
	t.version, t.at = version, at

	err := s.commitOnce(name, t, w.List())
	if errors.Is(err, badger.ErrTxnTooBig) {
		err = s.commitLarge(name, t, w.List())
	}
	if err != nil {
		return fmt.Errorf("commit of %s at %v: %w", name, at, err)
	}
	return nil
}

func (s *Store) commitOnce(name string, t table, writes []projections.Write) error {
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	for _, w := range writes {
		if err := apply(txn, t.generation, w); err != nil {
			return err
		}
	}
	if err := txn.Set(tableKey(name), t.encode()); err != nil {
		return err
	}
	if err := txn.Commit(); err != nil {
		return err
	}
	s.mu.Lock()
	s.tables[name] = t
	s.mu.Unlock()
	return nil
}

func apply(txn *badger.Txn, generation uint64, w projections.Write) error {
	key := rowKey(generation, w.Key)
	if w.Value == nil {
		return txn.Delete(key)
	}
	return txn.Set(key, w.Value)
}

// Drop implements projections.Store.
func (s *Store) Drop(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("drop of %s: %w", name, err)
	}
	s.mu.Lock()
	t, ok := s.tables[name]
	if !ok {
		s.mu.Unlock()
		return nil
	}
	err := s.db.Update(func(txn *badger.Txn) error { return txn.Delete(tableKey(name)) })
	if err == nil {
		delete(s.tables, name)
	}
	s.mu.Unlock()
	if err == nil { // the rows are invisible already, and a crash from here on leaves them to Open
		err = s.deleteAll(rowKey(t.generation, nil))
	}
	if err == nil { // deleted rows keep their room until tables are merged to the lowest level
		s.merging.Lock()
		err = s.db.Flatten(1)
		s.merging.Unlock()
	}
	if err != nil {
		return fmt.Errorf("drop of %s: %w", name, err)
	}
	return nil
}

// deleteAll deletes all keys with a prefix, in as many transactions as it takes.
func (s *Store) deleteAll(prefix []byte) error {
	b := s.batch()
	defer b.discard()
	view := s.db.NewTransaction(false)
	defer view.Discard()
	o := badger.DefaultIteratorOptions
	o.PrefetchValues, o.Prefix = false, prefix
	it := view.NewIterator(o)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if err := b.do(func(txn *badger.Txn) error { return txn.Delete(it.Item().KeyCopy(nil)) }); err != nil {
			return err
		}
	}
	return b.commit()
}

// batch spreads changes over transactions: not atomic, so only for what no
// reader can see.
type batch struct {
	db  *badger.DB
	txn *badger.Txn
}

func (s *Store) batch() *batch { return &batch{s.db, s.db.NewTransaction(true)} }

func (b *batch) do(change func(*badger.Txn) error) error {
	err := change(b.txn)
	if !errors.Is(err, badger.ErrTxnTooBig) {
		return err
	}
	if err := b.commit(); err != nil {
		return err
	}
	return change(b.txn)
}

func (b *batch) commit() error {
	err := b.txn.Commit()
	b.txn = b.db.NewTransaction(true)
	return err
}

func (b *batch) discard() { b.txn.Discard() }

// The keys' first bytes. They are on disk; docs/formats/views.md draws them.
const (
	tablePrefix   = 't' // t name → version, generation, checkpoint
	rowPrefix     = 'r' // r generation key → value
	journalPrefix = 'j' // j generation number → writes of a large commit
	markPrefix    = 'm' // m generation → that commit's table, once its journal is complete
)

func tableKey(name string) []byte { return append([]byte{tablePrefix}, name...) }

func rowKey(generation uint64, key []byte) []byte {
	b := make([]byte, 0, 9+len(key))
	return append(binary.BigEndian.AppendUint64(append(b, rowPrefix), generation), key...)
}

func (t table) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(t.version))
	b = binary.BigEndian.AppendUint64(b, t.generation)
	return binary.BigEndian.AppendUint64(b, uint64(t.at))
}

func decodeTable(b []byte) (table, error) {
	if len(b) < 24 {
		return table{}, fmt.Errorf("table record of %d bytes, expected 24", len(b))
	}
	return table{
		version:    int(binary.BigEndian.Uint64(b)),
		generation: binary.BigEndian.Uint64(b[8:]),
		at:         eventlog.Position(binary.BigEndian.Uint64(b[16:])),
	}, nil
}
