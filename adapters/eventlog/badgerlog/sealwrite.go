package badgerlog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// write makes the parts and puts them into the store.
func (w *toBeSealed) write(pace *pacer) error {
	if err := w.l.deleteKeys(chunkKey, w.into.first, w.into.last, &pacer{}); err != nil {
		return err // what an earlier try has left would mix with this one's
	}
	order := w.arrange()
	data := func(i int32) []byte { return w.flat[i].data }
	rev := func(i int32) int64 { return int64(w.flat[i].rev) }
	batches := w.batches()
	out := sealWriter{l: w.l}
	for n, groups := range batches {
		b := appendSealedHead(nil, partVerbatim, w.into.last, n+1)
		if groups[0].verbatim {
			b = w.maker.verbatim(b, groups, data)
		} else {
			b[1] = partColumns
			var odd errOddRow
			var err error
			if b, err = w.maker.columns(b, groups, data, rev); errors.As(err, &odd) {
				w.odd[int32(odd)] = true
				w.restOdd(groups, data)
				return w.write(pace) // the parts written so far are written again
			} else if err != nil {
				return err
			}
		}
		for _, g := range groups {
			g.part = n + 1
		}
		if err := out.put(w.into.last, n+1, sealEnd(b)); err != nil {
			return err
		}
		pace.rest()
	}
	w.into.parts = len(batches)
	for _, g := range w.groups {
		order.groupPart = append(order.groupPart, int64(g.part))
	}
	b := order.append(appendSealedHead(nil, partOrder, w.into.last, 0), &w.maker.codec)
	if err := out.put(w.into.last, 0, sealEnd(b)); err != nil {
		return err
	}
	return out.flush()
}

// restOdd looks for all other rows of some groups that cannot be taken apart.
func (w *toBeSealed) restOdd(groups []*sealGroup, data func(int32) []byte) {
	var c valueColumn
	for _, g := range groups {
		for _, i := range g.rows {
			var v rowView
			v.cut(data(i))
			r := reader{b: v.values}
			ok := true
			for k := 0; k < g.n && ok; k++ {
				c.reset()
				ok = c.add(&r)
			}
			if !ok || len(r.b) > 0 {
				w.odd[i] = true
			}
		}
	}
}

// sealWriter writes parts in pieces, in transactions of a bounded size.
type sealWriter struct {
	l       *Log
	entries []*badger.Entry
	size    int
}

func (w *sealWriter) put(last eventlog.Position, part int, b []byte) error {
	for n := 0; len(b) > 0; n++ {
		if n > 1<<16-1 {
			return fmt.Errorf("part %d of the window to %v is too large", part, last)
		}
		k := min(len(b), chunkLen)
		if err := w.set(badger.NewEntry(binary.BigEndian.AppendUint16(sealedPartKey(last, part), uint16(n)), b[:k:k])); err != nil {
			return err
		}
		b = b[k:]
	}
	return nil
}

func (w *sealWriter) set(e *badger.Entry) error {
	w.entries = append(w.entries, e)
	if w.size += len(e.Key) + len(e.Value); w.size >= sealTxnBytes || len(w.entries) >= sealTxnKeys {
		return w.flush()
	}
	return nil
}

func (w *sealWriter) flush() error {
	entries := w.entries
	w.l.guard.wrote(w.size)
	w.l.counters.sealedBytes.Add(uint64(w.size))
	w.entries, w.size = nil, 0
	if len(entries) == 0 {
		return nil
	}
	return w.l.update(func(txn *badger.Txn) error {
		for _, e := range entries {
			if err := txn.SetEntry(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// compare reads the window back from the store and returns the rows that are
// not to the byte what the blocks say.
func (w *toBeSealed) compare(ctx context.Context, pace *pacer) ([]int32, error) {
	v := w.l.ownView()
	defer v.close()
	if w.maker.scratch == nil {
		w.maker.scratch = make([]byte, 512<<10)
	}
	v.quiet, v.scratch = true, w.maker.scratch
	u, err := v.loadUnit(w.into)
	if err != nil {
		return nil, err
	}
	var odd []int32
	at := 0 // the part that holds the row
	for from := 0; from < w.rows; from += sliceRows {
		got, err := v.slice(u, from, min(from+sliceRows, w.rows))
		if err != nil {
			return nil, err
		}
		for i := range got.rows {
			for at+1 < len(w.starts) && w.starts[at+1] <= from+i {
				at++
			}
			p, want := w.parts[at], w.flat[from+i]
			r := &got.rows[i]
			if r.pos != want.pos || r.rev != want.rev || got.streams[r.stream] != p.streams[want.stream] ||
				got.types[r.kind] != p.types[want.kind] || !got.times[i].Equal(p.recorded) ||
				!bytes.Equal(r.id, want.id) || (r.id == nil) != (want.id == nil) ||
				!bytes.Equal(got.envelopes[r.envelope], p.envelopes[want.envelope]) {
				return nil, fmt.Errorf("sealed row at position %v is not the one that was written", want.pos)
			}
			if !bytes.Equal(r.data, want.data) {
				odd = append(odd, int32(from+i))
			}
		}
		pace.rest()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return odd, nil
}
