package badgerlog

import (
	"bytes"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// view reads the store for one chunk of work. It is short-lived, because an
// open iterator keeps tables and memtables alive.
type view struct {
	l       *Log
	windows []*window // whose index was in memory when the view was opened, newest first
	txn     *badger.Txn
	release func()
	its     []*badger.Iterator
	parts   [2]partReader

	sealed     eventlog.Position // up to here telemetry is sealed
	quiet      bool              // what is read is not counted
	numbers    *numberMemory     // if any, sealed windows are read into it
	seals      *badger.Iterator
	seal       seal // the last one read
	sealedUnit *sealedUnit
}

type partReader struct {
	it   *badger.Iterator
	part *part // the last one read; it stands on its key
	// foreign: part is none of it's, but sealed
	foreign bool
}

// view opens the store for reading; close it.
func (l *Log) view() (*view, error) {
	release, err := l.use()
	if err != nil {
		return nil, err
	}
	v := l.ownView()
	v.release = release
	return v, nil
}

// ownView is view for the log's own goroutines, for which Close waits.
func (l *Log) ownView() *view {
	l.mu.RLock()
	windows := make([]*window, 0, len(l.closing)+1)
	windows = append(append(windows, l.closing...), l.current)
	l.mu.RUnlock()
	slices.Reverse(windows)
	// The transaction comes second: a window that has just left memory is
	// visible to it, one that leaves later stays in windows.
	v := &view{l: l, windows: windows, release: func() {}}
	for {
		// Blocks are deleted after the seal is published. So if no seal came
		// while the transaction was opened, it sees each position as blocks
		// or as sealed, as v.sealed says.
		v.sealed = eventlog.Position(l.sealed.Load())
		v.txn = l.db.NewTransaction(false)
		if eventlog.Position(l.sealed.Load()) == v.sealed {
			return v
		}
		v.txn.Discard()
	}
}

func (v *view) close() {
	for _, it := range v.its {
		it.Close()
	}
	v.txn.Discard()
	v.release()
}

// iterator opens an iterator over the keys with a prefix.
func (v *view) iterator(prefix []byte, reverse bool) *badger.Iterator {
	it := v.txn.NewIterator(badger.IteratorOptions{Prefix: prefix, Reverse: reverse})
	v.its = append(v.its, it)
	return it
}

// last seeks the largest key with a prefix.
func (v *view) last(prefix []byte) *badger.Iterator {
	it := v.iterator(prefix, true)
	it.Seek(append(append([]byte{}, prefix...), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff))
	return it
}

// unpanic is deferred by whoever reads the store: Badger slices blocks of
// tables by lengths that it finds in them, before it looks at their checksum,
// and panics on damaged ones. A panic that is not Badger's goes on.
func unpanic(err *error) {
	r := recover()
	if r == nil {
		return
	}
	if !bytes.Contains(debug.Stack(), []byte("github.com/dgraph-io/badger/")) {
		panic(r)
	}
	*err = fmt.Errorf("a table's block: %v: %w", r, eventlog.ErrDamaged)
}

// value copies an item's value. Badger slices value files by lengths that it
// finds in them, and may panic on a damaged one.
func value(item *badger.Item) ([]byte, error) { return valueInto(nil, item) }

// valueInto copies it to where b begins, if it has room there.
func valueInto(b []byte, item *badger.Item) (_ []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("value of key %x: %v: %w", item.Key(), r, eventlog.ErrDamaged)
		}
	}()
	return item.ValueCopy(b)
}

// part returns the part of a kind with the smallest last position at or after
// p, nil if there is none. Asking for rising positions is cheap.
func (v *view) part(other bool, p eventlog.Position) (*part, error) {
	r := &v.parts[index(other)]
	if c := r.part; c != nil && p > c.previous && p <= c.key.last {
		return c, nil
	}
	if !other && p <= v.sealed {
		s, err := v.sealedPart(p)
		if s != nil || err != nil {
			r.part, r.foreign = s, true
			return s, err
		}
		p = v.sealed + 1
	}
	if r.it == nil {
		r.it, r.foreign = v.iterator([]byte{kindKey(other)}, false), true
	}
	if c := r.part; c != nil && p == c.key.last+1 && !r.foreign && r.it.Valid() {
		r.it.Next()
	} else {
		r.it.Seek(positionKey(kindKey(other), p))
	}
	r.part, r.foreign = nil, false
	if !r.it.Valid() {
		return nil, nil
	}
	var err error
	r.part, err = v.load(r.it.Item())
	return r.part, err
}

func (v *view) load(item *badger.Item) (*part, error) {
	key, err := parsePartKey(item.Key())
	if err != nil {
		return nil, err
	}
	b, err := value(item)
	if err != nil {
		return nil, err
	}
	if key.other {
		v.l.counters.other.Add(1)
	} else {
		v.l.counters.telemetry.Add(1)
	}
	p, err := decodePart(b, key)
	if err != nil {
		return nil, err
	}
	p.derive = v.l.derive
	return p, nil
}

func index(other bool) int {
	if other {
		return 1
	}
	return 0
}

// count returns how many events a stream holds up to head: its next revision.
func (v *view) count(id eventlog.StreamID, head eventlog.Position) (uint64, error) {
	n := v.countInMemory(id)
	kinds := []byte{streamKey}
	if n == 0 && id.Category() == eventlog.TelemetryCategory {
		kinds = []byte{streamKey, windowKey}
	}
	for _, kind := range kinds {
		for it := v.last(namedPrefix(kind, string(id))); it.Valid(); it.Next() {
			if it.Item().UserMeta() == sealedMeta {
				n = max(n, keyNumber(it.Item().Key())+1)
				break
			}
			b, err := value(it.Item())
			if err != nil {
				return 0, err
			}
			runs, err := parseRuns(b)
			if err != nil {
				return 0, fmt.Errorf("index of %s: %w: %w", id, err, eventlog.ErrDamaged)
			}
			if runs[0].pos > head {
				continue // of a commit that is not, or never will be, acknowledged
			}
			n = max(n, uint64(runs[len(runs)-1].lastRev())+1)
			break
		}
	}
	return n, nil
}
