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
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
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

// Config says how a queue is kept. Its zero value is usable.
type Config struct {
	// Reserve is how many bytes of the disk stay free; 0 means 256 MiB, and less
	// than 24 MiB is raised to it.
	Reserve int64
	Log     *slog.Logger // nil: no log
}

// Queue is an outbox.Queue. Only one process may have a directory open.
type Queue struct {
	dir      string
	db       *badger.DB
	reserve  int64
	previous outbox.Previous
	stop     chan struct{}
	stopped  sync.WaitGroup
	free     func(dir string) (int64, error) // statfs, replaced by tests

	mu    sync.Mutex // guards all below; Commit holds it throughout, the syncing goroutine briefly
	head  outbox.Head
	swept uint64 // no message up to here is left in the store
	slots *headFile
}

var headKey = []byte("h")

const messagePrefix = 'm'

func messageKey(seq uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{messagePrefix}, seq)
}

// Open opens or makes the queue in dir. A store that lost its end is put aside
// as damaged-<unix time>, and a new one takes its place.
func Open(dir string, cfg Config) (*Queue, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Reserve <= 0 {
		cfg.Reserve = 256 << 20
	}
	q := &Queue{dir: dir, reserve: max(cfg.Reserve, minReserve), stop: make(chan struct{}), free: freeBytes}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("outbox store: %w", err)
	}
	err := q.open()
	if errors.Is(err, outbox.ErrDamaged) {
		cfg.Log.Error("outbox store is damaged and put aside", slog.String("dir", dir), slog.Any("error", err))
		err = q.replace(time.Now())
	}
	if err != nil {
		return nil, fmt.Errorf("outbox store %s: %w", dir, err)
	}
	q.stopped.Go(q.syncHead)
	return q, nil
}

func dbOptions(dir string) badger.Options {
	o := badger.DefaultOptions(dir).
		WithSyncWrites(true).
		WithLogger(nil).
		WithMetricsEnabled(false).
		WithDetectConflicts(false). // one writer
		WithNumVersionsToKeep(1).
		WithCompression(options.Snappy).
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

// open opens what is there and compares it with the head file.
func (q *Queue) open() error {
	db, err := badgerdir.Open(dbOptions(filepath.Join(q.dir, "db")))
	if err != nil {
		return err
	}
	slots, last, err := openHeadFile(filepath.Join(q.dir, "head"))
	if err != nil {
		return errors.Join(err, db.Close())
	}
	head, err := load(db)
	if err == nil && last.incarnation != "" && (head.Incarnation != last.incarnation || head.Next < last.next) {
		err = fmt.Errorf("it ends before number %d of incarnation %s, but %d was given: %w", head.Next, last.incarnation, last.next-1, outbox.ErrDamaged)
	}
	if err != nil {
		return errors.Join(err, slots.Close(), db.Close())
	}
	q.db, q.slots, q.head = db, slots, head
	if head.Incarnation == "" {
		q.previous = putAside(q.dir)
	}
	return nil
}

// putAside returns what is known of the store that was put aside last.
func putAside(dir string) (p outbox.Previous) {
	names, _ := filepath.Glob(filepath.Join(dir, "damaged-*", "head"))
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
func (q *Queue) replace(now time.Time) error {
	aside := filepath.Join(q.dir, fmt.Sprintf("damaged-%d", now.Unix()))
	if err := os.Mkdir(aside, 0o700); err != nil {
		return err
	}
	for _, name := range []string{"db", "head"} { // the head file last: until then the next open finds the damage again
		if err := os.Rename(filepath.Join(q.dir, name), filepath.Join(aside, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return q.open()
}

func load(db *badger.DB) (head outbox.Head, err error) {
	err = db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(headKey)
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return item.Value(func(b []byte) error {
			head, err = decodeHead(b)
			return err
		})
	})
	return head, err
}

// Load implements outbox.Queue.
func (q *Queue) Load(context.Context) (outbox.Head, outbox.Previous, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.head, q.previous, nil
}

// Commit implements outbox.Queue.
func (q *Queue) Commit(_ context.Context, c outbox.Change) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if c.Head.Bytes > q.head.Bytes {
		free, err := q.free(q.dir)
		if err != nil {
			return fmt.Errorf("outbox store %s: free space: %w", q.dir, err)
		}
		if free < q.reserve {
			return fmt.Errorf("outbox store %s: %d bytes free, %d are kept: %w", q.dir, free, q.reserve, outbox.ErrFull)
		}
	}
	swept, err := q.write(c)
	if err != nil {
		return fmt.Errorf("outbox store %s: commit up to %d: %w", q.dir, c.Head.Next-1, err)
	}
	q.head, q.swept = c.Head, swept
	if err := q.slots.Write(c.Head); err != nil {
		return fmt.Errorf("outbox store %s: head file: %w", q.dir, err)
	}
	return nil
}

// write makes the one transaction of a commit.
func (q *Queue) write(c outbox.Change) (swept uint64, err error) {
	txn := q.db.NewTransaction(true)
	defer txn.Discard()
	if c.Drop.To > 0 {
		if _, err := remove(txn, c.Drop.From, c.Drop.To, c.Drop.To); err != nil {
			return 0, err
		}
	}
	swept = q.swept
	if c.Head.Acked > swept {
		if swept, err = remove(txn, swept+1, c.Head.Acked, sweepMessages); err != nil {
			return 0, err
		}
	}
	for _, m := range c.Put {
		if err := txn.Set(messageKey(m.Seq), encodeMessage(m)); err != nil {
			return 0, fmt.Errorf("message %d: %w", m.Seq, err)
		}
	}
	if err := txn.Set(headKey, encodeHead(c.Head)); err != nil {
		return 0, err
	}
	return swept, txn.Commit()
}

// remove deletes at most limit messages in [from, to] and returns the number up
// to which none is left.
func remove(txn *badger.Txn, from, to, limit uint64) (through uint64, err error) {
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false
	o.Prefix = []byte{messagePrefix}
	it := txn.NewIterator(o)
	defer it.Close()
	var keys [][]byte
	through = to
	for it.Seek(messageKey(from)); it.Valid(); it.Next() {
		key := it.Item().KeyCopy(nil)
		if binary.BigEndian.Uint64(key[1:]) > to {
			break
		}
		if uint64(len(keys)) == limit {
			through = binary.BigEndian.Uint64(keys[len(keys)-1][1:])
			break
		}
		keys = append(keys, key)
	}
	for _, key := range keys {
		if err := txn.Delete(key); err != nil {
			return 0, err
		}
	}
	return through, nil
}

// Read implements outbox.Queue.
func (q *Queue) Read(_ context.Context, from, to uint64, limit int, maxBytes int64) (out []outbox.Message, err error) {
	err = q.db.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.PrefetchSize = min(limit, 100)
		o.Prefix = []byte{messagePrefix}
		it := txn.NewIterator(o)
		defer it.Close()
		var size int64
		for it.Seek(messageKey(from)); it.Valid() && len(out) < limit && (len(out) == 0 || size < maxBytes); it.Next() {
			seq := binary.BigEndian.Uint64(it.Item().Key()[1:])
			if seq > to {
				break
			}
			err := it.Item().Value(func(b []byte) error {
				m, err := decodeMessage(seq, b)
				out = append(out, m)
				size += int64(len(b))
				return err
			})
			if err != nil {
				return fmt.Errorf("message %d: %w", seq, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("outbox store %s: read from %d: %w", q.dir, from, err)
	}
	return out, nil
}

// syncHead keeps the head file at most headEvery behind.
func (q *Queue) syncHead() {
	tick := time.NewTicker(headEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = q.slots.Sync() // a failed sync only means that damage may go unnoticed
		case <-q.stop:
			return
		}
	}
}

// Close closes the store.
func (q *Queue) Close() error {
	close(q.stop)
	q.stopped.Wait()
	return errors.Join(q.slots.Sync(), q.slots.Close(), q.db.Close())
}
