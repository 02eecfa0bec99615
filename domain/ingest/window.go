package ingest

import "github.com/twinlog/twinlog/domain/eventlog"

// window remembers which msg_ids the last revisions of a stream had, as 32-bit
// marks: 12 to 16 bytes a message. Two ids may share a mark, so a hit says only
// where to look; the log itself decides.
//
// Revisions from (inclusive) to next (exclusive) are remembered, each with the
// mark of its msg_id, or 0 for an event without one.
type window struct {
	from, next eventlog.Revision
	ring       []uint32 // mark of revision r at r & mask; length a power of two
	table      []uint32 // open addressing: low bits of revision + 1; 0 is empty
}

const (
	minRing = 64
	// The table has twice as many places as the ring: misses, the usual case,
	// then look at one or two.
	tableFactor = 2
)

// mark folds a 64-bit hash; 0 is kept for "no msg_id".
func mark(hash uint64) uint32 {
	m := uint32(hash>>32) ^ uint32(hash)
	if m == 0 {
		return 1
	}
	return m
}

func (w *window) len() int { return int(w.next - w.from) }

// reset forgets everything; the next revision pushed will be next.
func (w *window) reset(next eventlog.Revision) { *w = window{from: next, next: next} }

// push remembers the mark of revision w.next.
func (w *window) push(m uint32) {
	if w.len() == len(w.ring) {
		w.grow(max(2*len(w.ring), minRing))
	}
	w.ring[w.slot(w.next)] = m
	if m != 0 {
		w.insert(m, w.next)
	}
	w.next++
}

// prepend remembers the marks of the revisions just before w.from, the last of
// older being the newest.
func (w *window) prepend(older []uint32) {
	n := window{from: w.from - eventlog.Revision(len(older)), next: w.from - eventlog.Revision(len(older))}
	size := minRing
	for size < w.len()+len(older) {
		size *= 2
	}
	n.grow(size)
	for _, m := range older {
		n.push(m)
	}
	for r := w.from; r < w.next; r++ {
		n.push(w.ring[w.slot(r)])
	}
	*w = n
}

// drop forgets the oldest revision.
func (w *window) drop() {
	if m := w.ring[w.slot(w.from)]; m != 0 {
		w.remove(m, w.from)
	}
	w.from++
}

// shrink gives memory back when what is remembered fits into a quarter.
func (w *window) shrink() {
	if len(w.ring) > minRing && w.len() <= len(w.ring)/4 {
		w.grow(max(len(w.ring)/2, minRing))
	}
}

// find calls f with each remembered revision that has this mark, until f
// returns false.
func (w *window) find(m uint32, f func(eventlog.Revision) bool) {
	if len(w.table) == 0 {
		return
	}
	for i := w.home(m); w.table[i] != 0; i = (i + 1) & uint32(len(w.table)-1) {
		if r := w.revision(w.table[i]); w.ring[w.slot(r)] == m && !f(r) {
			return
		}
	}
}

func (w *window) slot(r eventlog.Revision) int { return int(r) & (len(w.ring) - 1) }

// home is where a mark's search starts: the product's upper bits.
func (w *window) home(m uint32) uint32 {
	return uint32(uint64(m*0x9E3779B1) * uint64(len(w.table)) >> 32)
}

// revision completes the low bits kept in a place of the table. All remembered
// revisions lie within 2^31 of w.from.
func (w *window) revision(kept uint32) eventlog.Revision {
	return w.from + eventlog.Revision(kept-1-uint32(w.from)&(1<<31-1))&(1<<31-1)
}

func keep(r eventlog.Revision) uint32 { return uint32(r)&(1<<31-1) + 1 }

func (w *window) insert(m uint32, r eventlog.Revision) {
	i := w.home(m)
	for w.table[i] != 0 {
		i = (i + 1) & uint32(len(w.table)-1)
	}
	w.table[i] = keep(r)
}

// remove empties the revision's place and moves later ones of the same run
// back, so that no search ends too early (Knuth 6.4, algorithm R).
func (w *window) remove(m uint32, r eventlog.Revision) {
	last := uint32(len(w.table) - 1)
	i := w.home(m)
	for w.table[i] != keep(r) {
		if w.table[i] == 0 {
			return
		}
		i = (i + 1) & last
	}
	for j := i; ; {
		j = (j + 1) & last
		if w.table[j] == 0 {
			break
		}
		home := w.home(w.ring[w.slot(w.revision(w.table[j]))])
		if (j-home)&last >= (j-i)&last {
			w.table[i] = w.table[j]
			i = j
		}
	}
	w.table[i] = 0
}

func (w *window) grow(size int) {
	old := *w
	w.ring = make([]uint32, size)
	w.table = make([]uint32, tableFactor*size)
	for r := w.from; r < w.next; r++ {
		m := old.ring[old.slot(r)]
		w.ring[w.slot(r)] = m
		if m != 0 {
			w.insert(m, r)
		}
	}
}
