package badgerlog

import (
	"encoding/binary"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// write makes the parts and puts them into the store.
func (w *toBeSealed) write(pace *pacer) error {
	if err := w.l.deleteKeys(chunkKey, w.into.first, w.into.last, &pacer{}); err != nil {
		return err // what an earlier try has left would mix with this one's
	}
	w.verbatim = 0
	order := w.arrange()
	parts := w.maker.arranger.plan()
	out := sealWriter{l: w.l}
	for _, p := range parts {
		b := appendSealedHead(nil, partVerbatim, w.into.last, p.number)
		if p.kind.verbatim {
			b = w.maker.verbatim(b, p, w.flat)
			w.verbatim += p.rows
		} else {
			b[1] = partColumns
			b = w.maker.columns(b, p)
		}
		if err := out.put(w.into.last, p.number, sealEnd(b)); err != nil {
			return err
		}
		pace.rest()
	}
	w.into.parts = len(parts)
	b := order.append(appendSealedHead(nil, partOrder, w.into.last, 0), &w.maker.codec)
	if err := out.put(w.into.last, 0, sealEnd(b)); err != nil {
		return err
	}
	return out.flush()
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
