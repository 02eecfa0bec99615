package badgerlog

import (
	"context"
	"fmt"
	"iter"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Loss is something that a log should hold and does not, or not as it was
// written.
type Loss struct {
	From, Through eventlog.Position // concerned; 0: none by name
	What          string
}

// String says it in one line.
func (l Loss) String() string {
	if l.From == 0 {
		return l.What
	}
	return fmt.Sprintf("positions %v to %v: %s", l.From, l.Through, l.What)
}

// walker reads all that is readable of a log, in order, and says what is not.
type walker struct {
	*view
	ctx  context.Context //nolint:containedctx // it lives as long as one walk
	head eventlog.Position
	loss func(Loss)
	// part is told of every block that is whole, window of every sealed
	// window and seal of every seal; nil: nobody.
	part   func(*part)
	window func(*sealedUnit)
	seal   func(seal)
}

// records yields every record that can be read, positions rising.
func (w *walker) records() iter.Seq2[eventlog.Record, error] {
	return func(yield func(eventlog.Record, error) bool) {
		telemetry, stopTelemetry := iter.Pull2(w.telemetry())
		defer stopTelemetry()
		other, stopOther := iter.Pull2(w.blocks(true, 0))
		defer stopOther()
		t, err, moreT := telemetry()
		o, otherErr, moreO := other()
		for moreT || moreO {
			if err != nil || otherErr != nil {
				if err == nil {
					err = otherErr
				}
				yield(eventlog.Record{}, err)
				return
			}
			if moreT && (!moreO || t.Position < o.Position) {
				if !yield(t, nil) {
					return
				}
				t, err, moreT = telemetry()
			} else {
				if !yield(o, nil) {
					return
				}
				o, otherErr, moreO = other()
			}
		}
	}
}

// telemetry yields the rows of sealed windows, and then those of blocks.
func (w *walker) telemetry() iter.Seq2[eventlog.Record, error] {
	return func(yield func(eventlog.Record, error) bool) {
		it := w.iterator([]byte{sealKey}, false)
		var last seal
		for it.Rewind(); it.Valid(); it.Next() {
			if err := w.ctx.Err(); err != nil {
				yield(eventlog.Record{}, err)
				return
			}
			s, err := sealOf(it.Item())
			if err != nil {
				w.loss(Loss{last.last + 1, s.last, err.Error()})
				last.last = s.last
				continue
			}
			if s.first != last.last+1 {
				w.loss(Loss{last.last + 1, s.first - 1, "there is no seal of this window"})
			}
			last = s
			if w.seal != nil {
				w.seal(s)
			}
			if s.rows > 0 && !w.sealedRows(s, yield) {
				return
			}
		}
		for r, err := range w.blocks(false, last.last) {
			if !yield(r, err) {
				return
			}
		}
	}
}

func sealOf(item *badger.Item) (seal, error) {
	b, err := value(item)
	if err != nil {
		return seal{last: eventlog.Position(keyNumber(item.Key()))}, err
	}
	return parseSeal(item.Key(), b)
}

// sealedRows yields the rows of one window. Where a part is damaged, the order
// part still says which events were in it.
func (w *walker) sealedRows(s seal, yield func(eventlog.Record, error) bool) bool {
	v := &view{l: w.l, txn: w.txn, sealed: w.sealed, quiet: true}
	defer func() {
		for _, it := range v.its {
			it.Close()
		}
	}()
	u, err := v.loadUnit(s)
	if err != nil {
		w.loss(Loss{s.first, s.last, err.Error()})
		return true
	}
	if w.window != nil {
		w.window(u)
	}
	bad := map[int64]bool{}
	for n := range u.parts[1:] {
		if _, err := v.partOf(u, n+1); err != nil {
			bad[int64(n+1)] = true
		}
	}
	for i := range u.group {
		if bad[u.groupPart[u.group[i]]] {
			n := u.groupStream[u.group[i]]
			w.loss(Loss{u.position(i), u.position(i), fmt.Sprintf("%s@%d is in a part that is damaged", u.streams[n], uint64(u.firstRev[n])+uint64(u.rev[i]))})
		}
	}
	for from := 0; from < s.rows; {
		to := from
		for to < s.rows && to-from < sliceRows && !bad[u.groupPart[u.group[to]]] {
			to++
		}
		if to == from {
			from++
			continue
		}
		p, err := v.slice(u, from, to)
		if err != nil {
			w.loss(Loss{u.position(from), u.position(to - 1), err.Error()})
			from = to
			continue
		}
		if !w.rowsOf(p, yield) {
			return false
		}
		from = to
	}
	return true
}

func (w *walker) rowsOf(p *part, yield func(eventlog.Record, error) bool) bool {
	for i := range p.rows {
		r, err := p.record(i)
		if err != nil {
			w.loss(Loss{p.rows[i].pos, p.rows[i].pos, err.Error()})
			continue
		}
		if !yield(r, nil) {
			return false
		}
	}
	return true
}

// blocks yields the rows of blocks of a kind behind a position.
func (w *walker) blocks(other bool, after eventlog.Position) iter.Seq2[eventlog.Record, error] {
	return func(yield func(eventlog.Record, error) bool) {
		it := w.iterator([]byte{kindKey(other)}, false)
		for it.Seek(positionKey(kindKey(other), after+1)); it.Valid(); it.Next() {
			if err := w.ctx.Err(); err != nil {
				yield(eventlog.Record{}, err)
				return
			}
			key, err := parsePartKey(it.Item().KeyCopy(nil))
			if err != nil {
				w.loss(Loss{What: err.Error()})
				continue
			}
			if key.last > w.head {
				return
			}
			b, err := value(it.Item())
			var p *part
			if err == nil {
				p, err = decodePart(b, key)
			}
			if err != nil {
				w.loss(Loss{key.first(), key.last, err.Error()})
				continue
			}
			p.derive = w.l.derive
			if w.part != nil {
				w.part(p)
			}
			if !w.rowsOf(p, yield) {
				return
			}
		}
	}
}
