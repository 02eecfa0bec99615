package badgerlog

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// comparison reads a window back from the store and holds it beside the blocks.
type comparison struct {
	w *toBeSealed
	v *view
	u *sealedUnit

	block int // the one that holds the row
	parts []*sealedPart
	buf   []byte
	// Of the block's streams, types and envelopes: the number in the window
	// that has been seen to be the same thing, and 1.
	streams, types, envelopes []int
}

// compare returns the rows that are not to the byte what the blocks say. It
// leaves the window's order part in w.unit.
func (w *toBeSealed) compare(ctx context.Context, pace *pacer) (odd []int32, err error) {
	v := w.l.ownView()
	defer v.close()
	w.maker.back.use(w.maker.arranger.columns()) // which have been written
	v.quiet, v.numbers = true, &w.maker.back
	if w.unit, err = v.loadUnit(w.into); err != nil {
		return nil, err
	}
	c := comparison{w: w, v: v, u: w.unit, block: -1, parts: make([]*sealedPart, w.into.parts+1), buf: w.maker.scratch}
	if len(w.unit.commits) != len(w.parts) {
		return nil, fmt.Errorf("sealed positions %v to %v are of %d commits, expected %d", w.into.first, w.into.last, len(w.unit.commits), len(w.parts))
	}
	for i := range w.rows {
		equal, err := c.row(i)
		if err != nil {
			return nil, err
		}
		if !equal {
			odd = append(odd, int32(i))
		}
		if i%4096 == 0 {
			pace.rest()
			if err := ctx.Err(); err != nil {
				return nil, err
			}
		}
	}
	w.maker.scratch = c.buf
	return odd, nil
}

// row reports whether row i's data are the same; anything else that is not is
// an error.
func (c *comparison) row(i int) (equal bool, err error) {
	w, u := c.w, c.u
	want := &w.flat[i]
	if next := c.block + 1; next < len(w.starts) && w.starts[next] <= i && !c.next() || !c.header(i, want) {
		return false, fmt.Errorf("sealed row at position %v is not the one that was written", want.pos)
	}
	n := int(u.groupPart[u.group[i]])
	if n >= len(c.parts) || c.parts[n] == nil {
		p, err := c.v.partOf(u, n)
		if err != nil {
			return false, err
		}
		c.parts[n] = p
	}
	p, nth := c.parts[n], int(u.groupNth[u.group[i]])
	c.buf = p.appendRow(c.buf[:0], nth, p.starts[nth]+int(u.within[i]), int64(want.rev))
	return bytes.Equal(c.buf, want.data), nil
}

// next goes to the next block and reports whether its commit is the same.
func (c *comparison) next() bool {
	c.block++
	p, k := c.w.parts[c.block], c.u.commits[c.block]
	c.streams, c.types, c.envelopes = zeros(c.streams, len(p.streams)), zeros(c.types, len(p.types)), zeros(c.envelopes, len(p.stencils))
	return c.u.sealedOrder.first+eventlog.Position(c.u.commitLast[c.block]) == p.key.last && k.count == p.key.count && k.recorded.Equal(p.recorded) &&
		bytes.Equal(k.stamp.Clk, p.stamp.Clk) && bytes.Equal(k.stamp.Rec, p.stamp.Rec)
}

func zeros(s []int, n int) []int {
	s = slices.Grow(s[:0], n)[:n]
	clear(s)
	return s
}

// header compares what stands beside a row's data.
func (c *comparison) header(i int, want *row) bool {
	u, p := c.u, c.w.parts[c.block]
	at := int64(u.offset[i])
	if at > u.commitLast[c.block] || c.block > 0 && at <= u.commitLast[c.block-1] {
		return false
	}
	stream, kind, envelope := int(u.groupStream[u.group[i]]), int(u.kind[i]), int(u.envelope[i])
	if u.position(i) != want.pos || u.firstRev[stream]+eventlog.Revision(u.rev[i]) != want.rev {
		return false
	}
	if id := u.ids[i]; !bytes.Equal(id, want.id) || (id == nil) != (want.id == nil) {
		return false
	}
	if seen := &c.streams[want.stream]; *seen != stream+1 {
		if p.streams[want.stream] != u.streams[stream] {
			return false
		}
		*seen = stream + 1
	}
	if seen := &c.types[want.kind]; *seen != kind+1 {
		if p.types[want.kind] != u.types[kind] {
			return false
		}
		*seen = kind + 1
	}
	if seen := &c.envelopes[want.envelope]; *seen != envelope+1 {
		a, b := p.stencils[want.envelope], u.envelopes[envelope]
		if a.Clk != b.Clk || a.Rec != b.Rec || !bytes.Equal(a.Text, b.Text) {
			return false
		}
		*seen = envelope + 1
	}
	return true
}
