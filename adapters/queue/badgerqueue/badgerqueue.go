// Package badgerqueue fills outbox.Queue on disk with Badger v4 (the format is
// docs/formats/outbox.md). What Commit returned survives a power cut: every
// transaction is synced. A store that lost its end (Badger opens one without an
// error) is noticed by a file beside it, put aside, and replaced by a new one
// that knows its predecessor.
//
// Its tables and caches hold at most 20 MB of memory, for a small gateway; tables
// under construction come on top while much is written at once. It refuses to
// grow before the disk is full, because a full disk kills a process that maps its
// files.
package badgerqueue

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/twinlog/twinlog/adapters/badgerdir"
	"github.com/twinlog/twinlog/edge/outbox"
)

const (
	// memTable bounds a transaction to 15 % of it, 0.9 MiB: the outbox's largest
	// commit is 128 KiB and one put of at most 256 KiB, with its deletions.
	memTable = 6 << 20
	// minReserve is what Badger may write before it can free anything.
	minReserve = 4 * memTable
	// sweepMessages bounds how many answered messages one commit deletes.
	sweepMessages = 2048
	headEvery     = time.Second // between syncs of the head file
)

// Config says how a store is kept. Its zero value is usable.
type Config struct {
	// Reserve is how many bytes of the disk stay free; 0 means 256 MiB, and less
	// than 24 MiB is raised to it.
	Reserve int64
	Log     *slog.Logger // nil: no log
}

// Store is the queues of a gateway's lanes in one directory: they share syncs
// and memory. Only one process may have a directory open.
type Store struct {
	dir     string
	db      *badger.DB
	reserve int64
	stop    chan struct{}
	stopped sync.WaitGroup
	free    func(dir string) (int64, error) // statfs, replaced by tests

	mu    sync.Mutex // guards lanes
	lanes map[string]*Queue
}

// prefixOf is what the keys of a lane begin with. No lane's is the beginning of
// another's.
func prefixOf(lane string) []byte {
	if lane == "" {
		return nil
	}
	return append(append([]byte{'l', byte(len(lane))}, lane...), ':')
}

// headName is the file beside the store that says how far a lane has been.
func headName(lane string) string {
	if lane == "" {
		return "head"
	}
	return "head~" + lane
}

// Open opens or makes the store in dir. One that lost its end is put aside as
// damaged-<unix time>, and a new one takes its place.
func Open(dir string, cfg Config) (*Store, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Reserve <= 0 {
		cfg.Reserve = 256 << 20
	}
	s := &Store{dir: dir, reserve: max(cfg.Reserve, minReserve), stop: make(chan struct{}), free: freeBytes, lanes: map[string]*Queue{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("outbox store: %w", err)
	}
	err := s.open()
	if errors.Is(err, outbox.ErrDamaged) {
		cfg.Log.Error("outbox store is damaged and put aside", slog.String("dir", dir), slog.Any("error", err))
		err = s.replace(time.Now())
	}
	if err != nil {
		return nil, fmt.Errorf("outbox store %s: %w", dir, err)
	}
	s.stopped.Go(s.syncHeads)
	return s, nil
}

func dbOptions(dir string) badger.Options {
	o := badger.DefaultOptions(dir).
		WithSyncWrites(true).
		WithLogger(nil).
		WithMetricsEnabled(false).
		WithDetectConflicts(false). // each lane has one writer, and keys of its own
		WithNumVersionsToKeep(1).
		WithCompression(options.ZSTD).
		WithZSTDCompressionLevel(1).
		WithBlockSize(32 << 10). // messages are alike: the more in a block, the smaller
		WithChecksumVerificationMode(options.OnTableAndBlockRead).
		WithMemTableSize(memTable).
		WithNumMemtables(1).
		WithValueThreshold(512 << 10). // above every message, so that nothing goes to the value log
		WithBlockCacheSize(2 << 20).
		WithIndexCacheSize(1 << 20).
		WithBaseTableSize(2 << 20). // a table under construction takes twice this
		WithBaseLevelSize(8 << 20).
		WithNumLevelZeroTables(2).
		WithNumLevelZeroTablesStall(4).
		WithNumCompactors(2).
		WithValueLogFileSize(4 << 20)
	return o
}

// open opens what is there and compares every lane with its head file.
func (s *Store) open() error {
	db, err := badgerdir.Open(dbOptions(filepath.Join(s.dir, "db")))
	if err != nil {
		return err
	}
	s.db = db
	names, _ := filepath.Glob(filepath.Join(s.dir, "head*"))
	for _, name := range names {
		lane, _ := strings.CutPrefix(strings.TrimPrefix(filepath.Base(name), "head"), "~")
		if _, err := s.lane(lane); err != nil {
			return errors.Join(err, s.closeAll())
		}
	}
	return nil
}

// Lane returns the queue of a lane: "" or a short name. A lane that is new has
// no head; the rest is as outbox.Queue says.
func (s *Store) Lane(name string) (*Queue, error) {
	q, err := s.lane(name)
	if err != nil {
		return nil, fmt.Errorf("outbox store %s: lane %q: %w", s.dir, name, err)
	}
	return q, nil
}

// Lanes returns the names of the lanes that were ever used.
func (s *Store) Lanes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.lanes))
}

func (s *Store) lane(name string) (*Queue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.lanes[name]; q != nil {
		return q, nil
	}
	q := &Queue{Store: s, prefix: prefixOf(name)}
	slots, last, err := openHeadFile(filepath.Join(s.dir, headName(name)))
	if err != nil {
		return nil, err
	}
	head, err := q.load()
	if err == nil && last.incarnation != "" && (head.Incarnation != last.incarnation || head.Next < last.next) {
		err = fmt.Errorf("it ends before number %d of incarnation %s, but %d was given: %w", head.Next, last.incarnation, last.next-1, outbox.ErrDamaged)
	}
	if err != nil {
		return nil, errors.Join(err, slots.Close())
	}
	q.slots, q.head = slots, head
	q.incarnation.Store(&head.Incarnation)
	if head.Incarnation == "" {
		q.previous = putAside(s.dir, name)
	}
	s.lanes[name] = q
	return q, nil
}

// putAside returns what is known of the store that was put aside last.
func putAside(dir, lane string) (p outbox.Previous) {
	names, _ := filepath.Glob(filepath.Join(dir, "damaged-*", headName(lane)))
	var newest string
	for _, name := range names { // Unix times of one length, for 250 years
		newest = max(newest, name)
	}
	if newest == "" {
		return p
	}
	p.Reason = "outbox damaged"
	if f, last, err := openHeadFile(newest); err == nil {
		p.Incarnation, p.LastAcked = last.incarnation, last.acked
		_ = f.Close()
	}
	return p
}

// replace puts a damaged store aside and begins a new one.
func (s *Store) replace(now time.Time) error {
	aside := filepath.Join(s.dir, fmt.Sprintf("damaged-%d", now.Unix()))
	if err := os.Mkdir(aside, 0o700); err != nil {
		return err
	}
	heads, _ := filepath.Glob(filepath.Join(s.dir, "head*"))
	for _, name := range append([]string{filepath.Join(s.dir, "db")}, heads...) { // the head files last: until then the next open finds the damage again
		if err := os.Rename(name, filepath.Join(aside, filepath.Base(name))); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := s.open(); err != nil {
		return err
	}
	for _, name := range heads { // the lanes that were: what they lost is to be told
		lane, _ := strings.CutPrefix(strings.TrimPrefix(filepath.Base(name), "head"), "~")
		if _, err := s.lane(lane); err != nil {
			return err
		}
	}
	return nil
}

// syncHeads keeps the head files at most headEvery behind.
func (s *Store) syncHeads() {
	tick := time.NewTicker(headEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.mu.Lock()
			for _, q := range s.lanes {
				_ = q.slots.Sync() // a failed sync only means that damage may go unnoticed
			}
			s.mu.Unlock()
		case <-s.stop:
			return
		}
	}
}

// Close closes the store and all its lanes.
func (s *Store) Close() error {
	close(s.stop)
	s.stopped.Wait()
	return s.closeAll()
}

func (s *Store) closeAll() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, q := range s.lanes {
		errs = append(errs, q.slots.Sync(), q.slots.Close())
	}
	clear(s.lanes)
	return errors.Join(append(errs, s.db.Close())...)
}
