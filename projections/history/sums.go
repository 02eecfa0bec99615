package history

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/twinlog/twinlog/domain/columnar"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections/aggregate"
)

// sumsVersion begins every row of sums.
const sumsVersion = 1

// slice is the stretch of time that is summed up, aligned in UTC: a divisor of
// the hour, of the day and of every time zone's offset.
const slice = int64(15 * time.Minute)

// worthSumming is how many samples a signal must have on average in its slices:
// a Run takes some 60 bytes, and few samples are as quickly read one by one.
const worthSumming = 64

// sums returns the row of sums of the column at hand; nil if they are not worth
// it, or not possible.
func (e *encoder) sums(d *dayRows, c *column) []byte {
	first, last, n, runs := int64(0), int64(0), 0, 0
	current := int64(math.MinInt64)
	for _, r := range e.order {
		if e.at[r] < 0 {
			continue
		}
		if last = d.source[r]; n == 0 {
			first = last
		}
		if s := last - mod(last, slice); s != current {
			current = s
			runs++
		}
		n++
	}
	if n < worthSumming*runs || len(c.texts) > 0 || first < math.MinInt64+nanosPerDay || last > math.MaxInt64-nanosPerDay {
		return nil
	}
	row := binary.AppendUvarint([]byte{sumsVersion}, uint64(runs))
	return e.runs(row, d)
}

// extent writes the first and last SourceTime of the column at hand.
func (e *encoder) extent(dst []byte, d *dayRows) []byte {
	i, k := 0, len(e.order)-1
	for e.at[e.order[i]] < 0 {
		i++
	}
	for e.at[e.order[k]] < 0 {
		k--
	}
	first := d.source[e.order[i]]
	return binary.AppendUvarint(binary.AppendVarint(dst, first), uint64(d.source[e.order[k]]-first))
}

// runs writes a Run for each slice. Of samples with one SourceTime the last in
// the log counts. It returns nil if some value is no number.
func (e *encoder) runs(dst []byte, d *dayRows) []byte {
	e.run.Reset()
	current, base := int64(math.MinInt64), int64(0)
	flush := func() bool {
		if e.run.Len() == 0 {
			return true
		}
		if e.run.Text() {
			return false
		}
		dst = binary.AppendUvarint(dst, uint64(mod(base, nanosPerDay)/slice))
		e.part = e.run.Append(e.part[:0], base)
		dst = appendPart(dst, e.part)
		e.run.Reset()
		return true
	}
	var pending aggregate.Sample
	have := false
	for _, r := range e.order {
		at := e.at[r]
		if at < 0 {
			continue
		}
		t := d.source[r]
		if have && pending.Time != t {
			e.run.Add(pending)
		}
		if s := t - mod(t, slice); s != current {
			if !flush() {
				return nil
			}
			current, base = s, s
		}
		pending = aggregate.Sample{
			Time: t, Code: e.known[e.codes[at]].Code,
			Value: telemetry.Value{Kind: e.kinds[at], Bits: e.bits[at]},
		}
		have = true
	}
	e.run.Add(pending)
	if !flush() {
		return nil
	}
	return dst
}

func mod(a, b int64) int64 {
	if a %= b; a < 0 {
		a += b
	}
	return a
}

// run is an encoded Run of the samples of one slice.
type run struct {
	slice int // of the day
	bytes []byte
}

// readSums reads a row of sums.
func readSums(row []byte) ([]run, error) {
	r := reader{b: row}
	version, n := r.byte(), r.uvarint()
	if r.bad || version != sumsVersion || n > uint64(nanosPerDay/slice) {
		return nil, fmt.Errorf("sums: %w", columnar.ErrCorrupt)
	}
	runs := make([]run, n)
	for i := range runs {
		runs[i] = run{slice: int(r.uvarint()), bytes: r.part()}
	}
	if r.bad {
		return nil, fmt.Errorf("sums: %w", columnar.ErrCorrupt)
	}
	return runs, nil
}

// readExtent reads first and last SourceTime of a signal from a row that lists
// what has no sums; ok is false if it does not list the signal.
func readExtent(row []byte, signal uint32) (first, last int64, ok bool, err error) {
	if len(row) == 0 || row[0] != sumsVersion {
		return 0, 0, false, fmt.Errorf("extents: %w", columnar.ErrCorrupt)
	}
	body, err := findPart(row[1:], signal)
	if body == nil || err != nil {
		return 0, 0, false, err
	}
	r := reader{b: body}
	first = r.varint()
	last = first + int64(r.uvarint())
	if r.bad {
		return 0, 0, false, fmt.Errorf("extent of signal %d: %w", signal, columnar.ErrCorrupt)
	}
	return first, last, true, nil
}

// findPart finds a signal in a list of (signal, length, bytes).
func findPart(list []byte, signal uint32) ([]byte, error) {
	r := reader{b: list}
	for len(r.b) > 0 {
		s, body := r.uvarint(), r.part()
		switch {
		case r.bad:
			return nil, fmt.Errorf("list of signals: %w", columnar.ErrCorrupt)
		case s == uint64(signal):
			return body, nil
		}
	}
	return nil, nil
}

// reader reads from the front of b; bad is set when something was not there,
// and stays.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) part() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}
