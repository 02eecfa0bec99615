package badgerlog

import (
	"context"
	"fmt"
	"iter"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Read implements eventlog.Log.
func (l *Log) Read(ctx context.Context, id eventlog.StreamID, from eventlog.Revision, dir eventlog.Direction) iter.Seq2[eventlog.Record, error] {
	return func(yield func(eventlog.Record, error) bool) {
		fail := func(err error) { yield(eventlog.Record{}, fmt.Errorf("read %s from %d: %w", id, from, err)) }
		e := l.extent()
		if err := ctx.Err(); err != nil {
			fail(err)
			return
		}
		n, err := l.count(id, e)
		if err != nil {
			fail(err)
			return
		}
		if n == 0 || dir == eventlog.Forwards && from != eventlog.LastRevision && uint64(from) >= n {
			return
		}
		// Chunks grow: many readers want only the newest event, or know all but
		// the last few.
		rev, limit := eventlog.Revision(min(uint64(from), n-1)), 1
		for left := remaining(rev, n, dir); left > 0; limit = min(16*limit, chunkRecords) {
			if err := ctx.Err(); err != nil {
				fail(err)
				return
			}
			records, err := l.streamChunk(id, rev, dir, int(min(left, uint64(limit))))
			if err != nil {
				fail(err)
				return
			}
			for _, r := range records {
				if !yield(r, nil) {
					return
				}
			}
			left -= uint64(len(records))
			if dir == eventlog.Forwards {
				rev += eventlog.Revision(len(records))
			} else {
				rev -= eventlog.Revision(len(records)) // may wrap, but then nothing is left
			}
		}
	}
}

func remaining(rev eventlog.Revision, n uint64, dir eventlog.Direction) uint64 {
	if dir == eventlog.Backwards {
		return uint64(rev) + 1
	}
	return n - uint64(rev)
}

// count returns how many events a stream holds: at least those within e.
func (l *Log) count(id eventlog.StreamID, e extent) (n uint64, err error) {
	l.mu.RLock()
	n, ok := l.counts[id]
	l.mu.RUnlock()
	if ok {
		return n, nil
	}
	v, err := l.view()
	if err != nil {
		return 0, err
	}
	defer v.close()
	defer unpanic(&err)
	return v.count(id, e.head)
}

// streamChunk reads n revisions, all of which exist, or fewer if they are large.
func (l *Log) streamChunk(id eventlog.StreamID, rev eventlog.Revision, dir eventlog.Direction, n int) (_ []eventlog.Record, err error) {
	v, err := l.view()
	if err != nil {
		return nil, err
	}
	defer v.close()
	defer unpanic(&err)
	var out chunk
	find := finder{v: v, id: id, telemetry: id.Category() == eventlog.TelemetryCategory}
	for len(out.records) < n && out.bytes < chunkBytes {
		r, other, err := find.run(rev)
		if err != nil {
			return nil, err
		}
		for len(out.records) < n && rev >= r.rev && rev <= r.lastRev() {
			rec, err := v.at(other, r.pos+eventlog.Position(rev-r.rev))
			if err != nil && len(out.records) > 0 {
				return out.records, nil // the next chunk meets err again
			} else if err != nil {
				return nil, err
			}
			if rec.Stream != id || rec.Revision != rev {
				return nil, fmt.Errorf("revision %d should be at position %v, where %s@%d is: %w",
					rev, rec.Position, rec.Stream, rec.Revision, eventlog.ErrDamaged)
			}
			out.add(rec)
			if dir == eventlog.Forwards {
				rev++
			} else if rev--; rev == eventlog.LastRevision {
				return out.records, nil // below 0
			}
			if out.bytes >= chunkBytes {
				break
			}
		}
	}
	return out.records, nil
}

// finder finds where revisions of one stream are.
type finder struct {
	v         *view
	id        eventlog.StreamID
	telemetry bool
	its       [2]*badger.Iterator
	runs      [2][]run // of the entry last read
}

// run returns the run that holds a revision, and whether it is of other events.
func (f *finder) run(rev eventlog.Revision) (r run, other bool, err error) {
	if f.telemetry {
		if r, ok := f.v.inMemory(f.id, rev); ok {
			return r, false, nil
		}
	}
	if r, ok, err := f.onDisk(streamKey, rev); ok || err != nil {
		return r, true, err
	}
	if f.telemetry {
		if r, ok, err := f.onDisk(windowKey, rev); ok || err != nil {
			return r, false, err
		}
	}
	return run{}, false, fmt.Errorf("no index entry for revision %d of %s: %w", rev, f.id, eventlog.ErrDamaged)
}

func (f *finder) onDisk(kind byte, rev eventlog.Revision) (run, bool, error) {
	i := index(kind == streamKey)
	if runs := f.runs[i]; len(runs) > 0 && runs[0].rev <= rev && rev <= runs[len(runs)-1].lastRev() {
		r, ok := findRun(runs, rev) // what is not in this entry is of the other kind
		return r, ok, nil
	}
	it := &f.its[i]
	if *it == nil {
		*it = f.v.iterator(namedPrefix(kind, string(f.id)), false)
	}
	if (*it).Seek(namedKey(kind, string(f.id), uint64(rev))); !(*it).Valid() {
		return run{}, false, nil
	}
	b, err := value((*it).Item())
	if err != nil {
		return run{}, false, err
	}
	var runs []run
	if (*it).Item().UserMeta() == sealedMeta {
		runs, err = f.v.sealedRuns(f.id, b)
	} else {
		runs, err = parseRuns(b)
	}
	if err != nil {
		return run{}, false, fmt.Errorf("index entry %x: %w: %w", (*it).Item().Key(), err, eventlog.ErrDamaged)
	}
	f.runs[i] = runs
	r, ok := findRun(runs, rev)
	return r, ok, nil
}
