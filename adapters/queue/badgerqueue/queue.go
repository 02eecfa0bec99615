package badgerqueue

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/edge/outbox"
)

// Queue is the outbox.Queue of one lane.
type Queue struct {
	*Store
	prefix      []byte // of its keys
	previous    outbox.Previous
	incarnation atomic.Pointer[string]

	mu    sync.Mutex // guards all below; Commit holds it throughout, the syncing goroutine briefly
	head  outbox.Head
	swept uint64 // no message up to here is left in the store
	slots *headFile
}

// The keys of a lane, behind its prefix. The first lane, "", has none.
const (
	headKind    = 'h'
	messageKind = 'm'
	refusedKind = 'q'
)

func (q *Queue) headKey() []byte { return append(slices.Clone(q.prefix), headKind) }

func (q *Queue) key(kind byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(slices.Clone(q.prefix), kind), seq)
}

func (q *Queue) load() (head outbox.Head, err error) {
	err = q.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(q.headKey())
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
	q.incarnation.Store(&c.Head.Incarnation)
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
		if _, err := q.remove(txn, c.Drop.From, c.Drop.To, c.Drop.To); err != nil {
			return 0, err
		}
	}
	swept = q.swept
	if c.Head.Acked > swept {
		if swept, err = q.remove(txn, swept+1, c.Head.Acked, sweepMessages); err != nil {
			return 0, err
		}
	}
	for _, m := range c.Put {
		if err := txn.Set(q.key(messageKind, m.Seq), encodeMessage(m, c.Head.Incarnation)); err != nil {
			return 0, fmt.Errorf("message %d: %w", m.Seq, err)
		}
	}
	for _, r := range c.Refused {
		if err := txn.Set(q.key(refusedKind, r.Seq), encodeRefusal(r, c.Head.Incarnation)); err != nil {
			return 0, fmt.Errorf("refused message %d: %w", r.Seq, err)
		}
	}
	for _, seq := range c.Release {
		if err := txn.Delete(q.key(refusedKind, seq)); err != nil {
			return 0, fmt.Errorf("refused message %d: %w", seq, err)
		}
	}
	if err := txn.Set(q.headKey(), encodeHead(c.Head)); err != nil {
		return 0, err
	}
	return swept, txn.Commit()
}

// remove deletes at most limit messages in [from, to] and returns the number up
// to which none is left.
func (q *Queue) remove(txn *badger.Txn, from, to, limit uint64) (through uint64, err error) {
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false
	o.Prefix = append(slices.Clone(q.prefix), messageKind)
	it := txn.NewIterator(o)
	defer it.Close()
	var keys [][]byte
	through = to
	for it.Seek(q.key(messageKind, from)); it.Valid(); it.Next() {
		key := it.Item().KeyCopy(nil)
		if seqOf(key) > to {
			break
		}
		if uint64(len(keys)) == limit {
			through = seqOf(keys[len(keys)-1])
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

func seqOf(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(key)-8:]) }

// Read implements outbox.Queue.
func (q *Queue) Read(_ context.Context, from, to uint64, limit int, maxBytes int64) (out []outbox.Message, err error) {
	var size int64
	err = q.each(messageKind, from, limit, func(seq uint64, b []byte) (more bool, err error) {
		if seq > to || len(out) > 0 && size >= maxBytes {
			return false, nil
		}
		m, err := decodeMessage(seq, b, *q.incarnation.Load())
		out = append(out, m)
		size += int64(len(b))
		return len(out) < limit, err
	})
	return out, err
}

// Refused implements outbox.Queue.
func (q *Queue) Refused(_ context.Context, after uint64, limit int) (out []outbox.Refusal, err error) {
	err = q.each(refusedKind, after+1, limit, func(seq uint64, b []byte) (more bool, err error) {
		r, err := decodeRefusal(seq, b, *q.incarnation.Load())
		out = append(out, r)
		return len(out) < limit, err
	})
	return out, err
}

// each visits the values of a kind from a number on, until visit says no more.
func (q *Queue) each(kind byte, from uint64, limit int, visit func(seq uint64, value []byte) (bool, error)) error {
	if limit <= 0 {
		return nil
	}
	err := q.db.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.PrefetchSize = min(limit, 100)
		o.Prefix = append(slices.Clone(q.prefix), kind)
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Seek(q.key(kind, from)); it.Valid(); it.Next() {
			seq, more := seqOf(it.Item().Key()), false
			err := it.Item().Value(func(b []byte) (err error) {
				more, err = visit(seq, b)
				return err
			})
			if err != nil {
				return fmt.Errorf("message %d: %w", seq, err)
			}
			if !more {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("outbox store %s: read from %d: %w", q.dir, from, err)
	}
	return nil
}
