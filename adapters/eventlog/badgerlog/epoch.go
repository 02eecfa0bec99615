package badgerlog

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Positions of a log are dense but where an epoch begins: its first position
// is in another epoch, with the next order. The window before it reaches up to
// it, so that windows and seals follow each other without a gap.

const epochKey = 'e' // where an epoch begins

// epochStart is one such jump.
type epochStart struct {
	first  eventlog.Position // of the epoch
	before eventlog.Position // the last position before it, 0 if there is none
}

func parseEpoch(item *badger.Item) (epochStart, error) {
	s := epochStart{first: eventlog.Position(keyNumber(item.Key()))}
	b, err := value(item)
	if err != nil {
		return s, err
	}
	r := reader{b: b}
	s.before = eventlog.Position(r.uvarint())
	if r.bad || len(r.b) > 0 || len(item.Key()) != 9 || s.before.Epoch() >= s.first.Epoch() || s.first.Order() != s.before.Order()+1 {
		return s, fmt.Errorf("beginning of epoch %d: %w", s.first.Epoch(), eventlog.ErrDamaged)
	}
	return s, nil
}

// loadEpochs reads where epochs begin. The last may be yet to come.
func (v *view) loadEpochs(head eventlog.Position) error {
	it := v.iterator([]byte{epochKey}, false)
	var last eventlog.Position
	for it.Rewind(); it.Valid(); it.Next() {
		s, err := parseEpoch(it.Item())
		if err != nil {
			return err
		}
		if s.before < last || s.before > head {
			return fmt.Errorf("epoch %d begins after position %v, expected %v to %v: %w", s.first.Epoch(), s.before, last, head, eventlog.ErrDamaged)
		}
		last = s.first
		v.l.epochs = append(v.l.epochs, s)
	}
	return nil
}

// upcoming returns where the first event after the end will be. The committer, or
// whoever opens the log, calls it.
func (l *Log) upcoming() eventlog.Position {
	if n := len(l.epochs); n > 0 && l.epochs[n-1].first > l.end.head {
		return l.epochs[n-1].first
	}
	return l.end.head + 1
}

// starts returns where epochs begin; the slice only grows.
func (l *Log) starts() []epochStart {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.epochs
}

// standing returns the last position up to p that an event has or had: p
// itself, but where p is between two epochs.
func standing(epochs []epochStart, p eventlog.Position) eventlog.Position {
	for i := len(epochs) - 1; i >= 0 && p < epochs[i].first; i-- {
		p = min(p, epochs[i].before)
	}
	return p
}

// follow returns the position of the event after the one at p.
func follow(epochs []epochStart, p eventlog.Position) eventlog.Position {
	for _, s := range epochs {
		if p >= s.before && p < s.first {
			return s.first
		}
	}
	return p + 1
}

// Epochs returns the log's epochs, the current one last and without an end.
func (l *Log) Epochs() []eventlog.Epoch {
	all := []eventlog.Epoch{{First: 1}}
	for _, s := range l.starts() {
		if all[len(all)-1].Last = s.before; s.before == 0 {
			all = nil // nothing was written before
		}
		all = append(all, eventlog.Epoch{Number: s.first.Epoch(), First: s.first})
	}
	return all
}

var _ eventlog.Standing = (*Log)(nil)

// Stands implements eventlog.Standing.
func (l *Log) Stands(p eventlog.Position) error {
	l.mu.RLock()
	e, epochs := l.end, l.epochs
	l.mu.RUnlock()
	if p > e.head {
		return lost(p, e)
	}
	s := standing(epochs, p)
	if s == p || p == eventlog.NewPosition(p.Epoch(), 1<<48-1) {
		return nil // the last order of all stands for the end of its epoch
	}
	for _, start := range epochs {
		if p < start.first && p.Epoch() == start.first.Epoch() {
			return nil // before the epoch's first event
		}
	}
	return fmt.Errorf("position %v was lost with its epoch, which ends at %v: %w", p, s, eventlog.ErrPositionLost)
}

// readable is Stands for where a read may start.
func (l *Log) readable(after eventlog.Position, dir eventlog.Direction) error {
	err := l.Stands(after)
	if err == nil || dir == eventlog.Forwards {
		return err
	}
	if after > l.extent().head || after > 0 && l.Stands(after-1) == nil {
		return nil // from the end backwards, or from just behind an event
	}
	return err
}

// OpenEpoch ends the log's epoch and opens another with one event, the first
// of its stream. number must be larger than the epoch of every event.
func (l *Log) OpenEpoch(ctx context.Context, number uint16, id eventlog.StreamID, event eventlog.NewEvent) (eventlog.Appended, error) {
	events := []eventlog.NewEvent{event}
	if err := eventlog.CheckAppend(id, events); err != nil {
		return eventlog.Appended{}, err
	}
	r := l.prepare(id, eventlog.NoStream, events)
	r.epoch = number
	if err := l.enqueue(ctx, r); err != nil {
		return eventlog.Appended{}, fmt.Errorf("open epoch %d: %w", number, err)
	}
	<-r.done
	return r.appended, wrap(r.err, "open epoch %d", number)
}

// turn brings the window before an epoch to the disk together with the epoch's
// beginning. The committer calls it.
func (l *Log) turn(number uint16) error {
	next := l.upcoming()
	if next.Epoch() > l.end.head.Epoch() && number == next.Epoch() {
		return nil // an earlier attempt was cut short here
	}
	first := eventlog.NewPosition(number, next.Order())
	if first.Epoch() != number || first <= next || next.Epoch() > l.end.head.Epoch() {
		return fmt.Errorf("epoch %d, expected more than %d: %w", number, next.Epoch(), eventlog.ErrBadPosition)
	}
	s := epochStart{first: first, before: l.end.head}
	l.mu.Lock()
	w := l.fill(first-1, l.end.recorded)
	w.start, w.done = &s, make(chan struct{})
	l.mu.Unlock()
	select {
	case l.toWindows <- w:
	case <-l.stop:
		return eventlog.ErrClosed
	}
	select {
	case <-w.done:
	case <-l.stop:
		return eventlog.ErrClosed
	}
	if err := l.failure.Load(); err != nil {
		return *err
	}
	l.mu.Lock()
	l.epochs = append(slices.Clip(l.epochs), s)
	l.mu.Unlock()
	return nil
}

// writeStart puts an epoch's beginning into a transaction.
func writeStart(txn *badger.Txn, s epochStart) error {
	return txn.Set(positionKey(epochKey, s.first), binary.AppendUvarint(nil, uint64(s.before)))
}

// Acknowledged reads from the HEAD file how far the log in dir was
// acknowledged, also where the log cannot be opened any more.
func Acknowledged(dir string) (last eventlog.Position, recorded time.Time, err error) {
	f, h, err := openHead(filepath.Join(dir, headName))
	if err != nil {
		return 0, time.Time{}, err
	}
	return h.last, h.recorded, f.file.Close()
}
