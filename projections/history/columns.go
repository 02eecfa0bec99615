package history

import (
	"context"
	"time"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
)

// Columns is a series as columns of equal length, in the order of samples.
type Columns struct {
	Times []int64 // SourceTime, nanoseconds since 1970 UTC
	// Kinds holds the data type of each value, or has one entry for all.
	Kinds []telemetry.Kind
	// Bits holds Float64, Int64 and Bool values as telemetry.Value.Bits.
	Bits []uint64
	// Strings is nil if no value is a String; else of equal length.
	Strings []string
	// Quality as runs that add up to the length.
	Quality []QualityRun
	// Corrected are the rows that are not as they were received, in order.
	Corrected []int
	// More: First stopped it, and Next, behind the last row, is where to go on.
	// Without First, Next may be left out.
	More bool
	Next Cursor
}

// QualityRun is a quality that Count samples in a row have.
type QualityRun struct {
	Quality quality.Quality
	Count   int
}

// Columns returns the same samples as Samples, as columns and without identity.
func (v *View) Columns(ctx context.Context, point telemetry.Point, from, to time.Time, c projections.Cut, o Options) (*Columns, error) {
	out := &Columns{}
	r := span(from, to)
	q, ok, err := v.p.begin(ctx, point, r.within(o), c, false)
	if !ok || err != nil {
		return out, err
	}
	defer q.close()
	q.plain = q.plain && o.First == 0 // a cursor names a position
	if o == (Options{First: o.First}) {
		err = out.addAll(q, stretch{r.from, min(r.to, asOf(c))}, o.First)
	} else {
		q.plain = false
		err = out.walk(q, r, c, o)
	}
	if err != nil {
		return nil, err
	}
	out.pack()
	return out, nil
}

// addAll appends the samples of a range, columns at once; at most first if that
// is not 0.
func (c *Columns) addAll(q *query, r stretch, first int) error {
	for s, err := range q.stretches(r.from, r.to) {
		if err != nil {
			return err
		}
		at, n := len(c.Bits), s.len()
		if first > 0 && at+n > first {
			n, c.More = first-at, true
		}
		if n > 0 {
			c.addSome(s, n)
		}
		if c.More {
			break
		}
	}
	return nil
}

func (c *Columns) addSome(s *series, n int) {
	at := len(c.Bits)
	c.Times, c.Kinds, c.Bits = append(c.Times, s.times[:n]...), append(c.Kinds, s.kinds[:n]...), append(c.Bits, s.bits[:n]...)
	for i := 0; i < n; {
		k := i
		for k < n && s.quality[k] == s.quality[i] {
			k++
		}
		c.addQuality(s.known[s.quality[i]], k-i)
		i = k
	}
	for _, w := range s.received {
		if w.row < n {
			c.Corrected = append(c.Corrected, at+w.row)
		}
	}
	if len(s.positions) > 0 {
		c.Next = Cursor{time.Unix(0, s.times[n-1]).UTC(), s.positions[n-1]}
	}
	if len(s.texts) == 0 && c.Strings == nil {
		return
	}
	c.padStrings()
	for i, k := range s.kinds[:n] {
		if k == telemetry.String {
			c.Strings[at+i], c.Bits[at+i] = s.texts[s.bits[i]], 0
		}
	}
}

func (c *Columns) addQuality(q quality.Quality, n int) {
	if k := len(c.Quality); k > 0 && c.Quality[k-1].Quality == q {
		c.Quality[k-1].Count += n
	} else {
		c.Quality = append(c.Quality, QualityRun{q, n})
	}
}

// padStrings makes Strings as long as the other columns.
func (c *Columns) padStrings() {
	c.Strings = append(c.Strings, make([]string, len(c.Times)-len(c.Strings))...)
}

func (c *Columns) walk(q *query, r stretch, cut projections.Cut, o Options) error {
	limit := o.First
	if limit > 0 {
		o.First++ // to see whether there is more
	}
	return q.walk(r, asOf(cut), o, func(s *series, i int) bool {
		if limit > 0 && len(c.Times) == limit {
			c.More = true
			return false
		}
		c.add(s, i)
		return true
	})
}

func (c *Columns) add(s *series, i int) {
	if s.was(i) != nil {
		c.Corrected = append(c.Corrected, len(c.Bits))
	}
	c.Times, c.Kinds, c.Bits = append(c.Times, s.times[i]), append(c.Kinds, s.kinds[i]), append(c.Bits, s.bits[i])
	if last := len(c.Bits) - 1; s.kinds[i] == telemetry.String {
		c.padStrings()
		c.Strings[last], c.Bits[last] = s.texts[s.bits[i]], 0
	} else if c.Strings != nil {
		c.padStrings()
	}
	c.addQuality(s.known[s.quality[i]], 1)
	c.Next = Cursor{time.Unix(0, s.times[i]).UTC(), s.positions[i]}
}

// pack leaves one kind if all are the same.
func (c *Columns) pack() {
	for _, k := range c.Kinds {
		if k != c.Kinds[0] {
			return
		}
	}
	c.Kinds = c.Kinds[:min(1, len(c.Kinds))]
}
