package badgerlog

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// A window is a stretch of whole commits and the index of the telemetry in it.
// Telemetry rows have no index keys of their own: while a window fills, its
// index is in memory (rebuilt from its blocks at Open); when it is full, one key
// per stream goes to the disk, and at last a mark that says so.
type window struct {
	first, last eventlog.Position
	recorded    time.Time // the largest in it
	streams     map[eventlog.StreamID][]run

	start *epochStart   // the epoch that begins behind it, if one does
	done  chan struct{} // if any, closed when it is on the disk, or never will be
}

func newWindow(first eventlog.Position) *window {
	return &window{first: first, last: first - 1, streams: map[eventlog.StreamID][]run{}}
}

// addRun enters a run of a stream's rows.
func (w *window) addRun(id eventlog.StreamID, r run) {
	list := w.streams[id]
	if n := len(list); n > 0 {
		if l := &list[n-1]; l.lastRev()+1 == r.rev && l.lastPos()+1 == r.pos {
			l.n += r.n
			return
		}
	}
	w.streams[id] = append(list, r)
}

// fill moves the log's current window on to last, and starts another when it
// is full; it returns the full one. l.mu is held.
func (l *Log) fill(last eventlog.Position, recorded time.Time) *window {
	w := l.current
	w.last, w.recorded = last, recorded
	if int(w.last-w.first)+1 < l.cfg.Window {
		return nil
	}
	l.closing = append(l.closing, w)
	l.marks = append(l.marks, eventlog.Mark{Position: w.last, Recorded: w.recorded})
	l.current = newWindow(w.last + 1)
	return w
}

// writeWindows brings full windows to the disk until the log closes.
func (l *Log) writeWindows() {
	for {
		select {
		case w := <-l.toWindows:
			err := l.writeWindow(w)
			if err != nil {
				l.fail(fmt.Errorf("index of positions %v to %v: %w", w.first, w.last, err))
			}
			if w.done != nil {
				close(w.done)
			}
			if err != nil {
				return
			}
			select {
			case l.toSeal <- struct{}{}:
			default: // it knows
			}
		case <-l.stop:
			return
		}
	}
}

const (
	windowKeys  = 4096    // per transaction
	windowBytes = 1 << 20 // per transaction
)

func (l *Log) writeWindow(w *window) error {
	// The committer no longer touches a full window, so it is read unlocked.
	txn := l.db.NewTransaction(true)
	defer func() { txn.Discard() }()
	keys, size := 0, 0
	for id, runs := range w.streams {
		key, value := namedKey(windowKey, string(id), uint64(runs[len(runs)-1].lastRev())), appendRuns(nil, runs)
		if keys++; keys > windowKeys || size+len(key)+len(value) > windowBytes {
			if err := txn.Commit(); err != nil {
				return err
			}
			txn = l.db.NewTransaction(true)
			keys, size = 1, 0
		}
		size += len(key) + len(value)
		if err := txn.Set(key, value); err != nil {
			return err
		}
	}
	if err := txn.Commit(); err != nil {
		return err
	}
	l.cfg.Moment(momentWindow)
	// Only now: at Open a window with a mark is not read again.
	txn = l.db.NewTransaction(true)
	value := binary.AppendUvarint(nil, uint64(w.first))
	value = binary.AppendVarint(value, w.recorded.UnixMicro())
	if err := txn.Set(positionKey(markKey, w.last), value); err != nil {
		return err
	}
	if w.start != nil {
		if err := writeStart(txn, *w.start); err != nil {
			return err
		}
	}
	if err := txn.Commit(); err != nil {
		return err
	}
	l.cfg.Moment(momentMarked)
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, c := range l.closing {
		if c == w {
			l.closing = append(l.closing[:i:i], l.closing[i+1:]...)
			break
		}
	}
	return nil
}

func parseMark(last eventlog.Position, value []byte) (first eventlog.Position, m eventlog.Mark, err error) {
	r := reader{b: value}
	first = eventlog.Position(r.uvarint())
	us, n := binary.Varint(r.b)
	if r.bad || n <= 0 || first > last {
		return 0, m, fmt.Errorf("mark of position %v: %w", last, eventlog.ErrDamaged)
	}
	return first, eventlog.Mark{Position: last, Recorded: time.UnixMicro(us).UTC()}, nil
}

// inMemory finds the run that holds a revision in the windows that were not on
// the disk when v was opened.
func (v *view) inMemory(id eventlog.StreamID, rev eventlog.Revision) (run, bool) {
	v.l.mu.RLock()
	defer v.l.mu.RUnlock()
	for _, w := range v.windows {
		if r, ok := findRun(w.streams[id], rev); ok {
			return r, true
		}
	}
	return run{}, false
}

// countInMemory returns the revision after the stream's newest telemetry row
// in those windows, 0 if there is none.
func (v *view) countInMemory(id eventlog.StreamID) uint64 {
	v.l.mu.RLock()
	defer v.l.mu.RUnlock()
	for _, w := range v.windows {
		if list := w.streams[id]; len(list) > 0 {
			return uint64(list[len(list)-1].lastRev()) + 1
		}
	}
	return 0
}

// loadWindows reads the marks of closed windows, and makes the index of the
// open one anew from its telemetry blocks.
func (v *view) loadWindows(ctx context.Context, e extent) error {
	l, next := v.l, eventlog.Position(1)
	marks := v.iterator([]byte{markKey}, false)
	for marks.Rewind(); marks.Valid(); marks.Next() {
		last := eventlog.Position(keyNumber(marks.Item().Key()))
		b, err := value(marks.Item())
		if err != nil {
			return err
		}
		first, m, err := parseMark(last, b)
		if err != nil {
			return err
		}
		if first != next || last > e.head && last+1 != l.upcoming() {
			return fmt.Errorf("window of positions %v to %v, expected one from %v within %v: %w", first, last, next, e.head, eventlog.ErrDamaged)
		}
		l.marks = append(l.marks, m)
		next = last + 1
	}
	l.current = newWindow(next)
	l.current.last, l.current.recorded = max(e.head, next-1), e.recorded
	c := cursor{v: v, e: e}
	if err := c.seek(next - 1); err != nil {
		return err
	}
	for n := 0; c.part != nil; n++ {
		if n%10_000 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		r := &c.part.rows[c.i]
		l.current.addRun(c.part.streams[r.stream], run{r.rev, r.pos, 1})
		if err := c.next(); err != nil {
			return err
		}
	}
	return nil
}
