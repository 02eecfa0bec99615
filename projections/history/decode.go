package history

import (
	"fmt"

	"github.com/twinlog/twinlog/domain/columnar"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// decoder reads chunks. It holds scratch memory only.
type decoder struct {
	ints    columnar.Ints
	times   columnar.Times
	floats  columnar.Floats
	strings columnar.Strings
	bools   columnar.Bools
	column  []int64
	flags   []uint64
	bits    []uint64
	texts   []string
}

// frame is the common part of a block, so far as it has been read.
type frame struct {
	rows        int
	first, last int64 // SourceTime
	window      eventlog.Position
	block       int
	day         int32

	times, positions, rest []byte
}

// readFrame reads the head of a frame. The bytes are not copied.
func readFrame(key, value []byte) (frame, error) {
	var f frame
	f.day, f.window, f.block = cutKey(key)
	r := reader{b: value}
	version, rows := r.byte(), r.uvarint()
	f.first = r.varint()
	f.last = f.first + int64(r.uvarint())
	f.times, f.positions = r.part(), r.part()
	f.rest = r.b
	if r.bad || version != chunkVersion || rows == 0 || rows > blockRows {
		return f, fmt.Errorf("frame of day %d, window %d, block %d: %w", f.day, f.window, f.block, columnar.ErrCorrupt)
	}
	f.rows = int(rows)
	return f, nil
}

// series is a stretch of samples of one point, in the order of (SourceTime,
// position), as columns. Positions may be left out.
type series struct {
	times     []int64
	positions []eventlog.Position
	kinds     []telemetry.Kind
	bits      []uint64 // of a String: its place in texts
	texts     []string
	quality   []uint32 // number in known
	known     []quality.Quality
	identity  []identity // only if asked for
	received  []was      // the rows that are corrected, in order
}

// identity is what Samples tells and Columns does not.
type identity struct {
	window   eventlog.Position
	server   int64
	revision int64
	stream   uint32
	index    uint32
	origin   uint32
}

func (s *series) len() int { return len(s.times) }

// grow returns a slice with n more entries, and these.
func grow[T any](s []T, n int) (all, added []T) {
	at := len(s)
	if cap(s) < at+n {
		bigger := make([]T, at, max(at+n, 2*cap(s)))
		copy(bigger, s)
		s = bigger
	}
	s = s[:at+n]
	return s, s[at:]
}

// read appends the samples that a block has of a signal to s. part is the
// block's part with the signal's group.
func (d *decoder) read(s *series, f *frame, part []byte, signal uint32, withPositions, withIdentity bool) error {
	if len(part) == 0 || part[0] != chunkVersion {
		return fmt.Errorf("part of signal %d: unknown version: %w", signal, columnar.ErrCorrupt)
	}
	body, err := findPart(part[1:], signal)
	if body == nil || err != nil {
		return err
	}
	if err := d.values(s, f, body, signal, withPositions, withIdentity); err != nil {
		return fmt.Errorf("day %d, window %d, block %d, signal %d: %w", f.day, f.window, f.block, signal, err)
	}
	return nil
}

func (d *decoder) values(s *series, f *frame, body []byte, signal uint32, withPositions, withIdentity bool) error {
	if len(body) == 0 {
		return columnar.ErrCorrupt
	}
	all := body[0] == 0
	body = body[1:]
	n := f.rows
	if !all {
		d.flags, _ = grow(d.flags[:0], f.rows)
		var err error
		if body, err = d.bools.Decode(body, d.flags); err != nil {
			return err
		}
		n = 0
		for _, b := range d.flags {
			n += int(b)
		}
	}
	if err := d.common(s, f, n, all, signal, withPositions, withIdentity); err != nil {
		return err
	}
	return d.typed(s, body, n)
}

// common appends times, positions and identity of the rows that have a value.
func (d *decoder) common(s *series, f *frame, n int, all bool, signal uint32, withPositions, withIdentity bool) error {
	var times []int64
	s.times, times = grow(s.times, n)
	src := times // where the column is decoded to
	if !all {
		d.column, _ = grow(d.column[:0], f.rows)
		src = d.column
	}
	if _, err := d.times.Decode(f.times, src); err != nil {
		return err
	}
	k := 0
	for i, t := range src {
		if all || d.flags[i] == 1 {
			times[k] = f.first + t
			k++
		}
	}
	if !withPositions {
		return nil
	}
	d.column, _ = grow(d.column[:0], f.rows)
	if _, err := d.ints.Decode(f.positions, d.column); err != nil {
		return err
	}
	var positions []eventlog.Position
	s.positions, positions = grow(s.positions, n)
	k = 0
	for i, p := range d.column {
		if all || d.flags[i] == 1 {
			positions[k] = f.window + eventlog.Position(p)
			k++
		}
	}
	if !withIdentity {
		return nil
	}
	return d.identity(s, f, n, all, signal)
}

func (d *decoder) identity(s *series, f *frame, n int, all bool, signal uint32) error {
	var out []identity
	s.identity, out = grow(s.identity, n)
	var err error
	each := func(set func(*identity, int64)) {
		k := 0
		for i, v := range d.column {
			if all || d.flags[i] == 1 {
				set(&out[k], v)
				k++
			}
		}
	}
	d.bits, _ = grow(d.bits[:0], f.rows)
	src, err := d.bools.Decode(f.rest, d.bits)
	if err != nil {
		return err
	}
	if src, err = d.times.Decode(src, d.column); err != nil {
		return err
	}
	for i, has := range d.bits {
		if has == 0 {
			d.column[i] = noServer
		}
	}
	each(func(x *identity, v int64) { x.window, x.server = f.window, v })
	if src, err = d.ints.Decode(src, d.column); err != nil {
		return err
	}
	each(func(x *identity, v int64) { x.revision = v })
	if src, err = d.ints.Decode(src, d.column); err != nil {
		return err
	}
	each(func(x *identity, v int64) { x.stream = uint32(v) })
	r := reader{b: src}
	var index []int // by shape: where the signal stands in it
	for shapes := r.uvarint(); shapes > 0 && !r.bad; shapes-- {
		at := -1
		columns := r.uvarint()
		for i := range columns {
			if r.uvarint() == uint64(signal) {
				at = int(i)
			}
			if r.bad {
				break
			}
		}
		index = append(index, at)
	}
	if r.bad {
		return columnar.ErrCorrupt
	}
	if src, err = d.ints.Decode(r.b, d.column); err != nil {
		return err
	}
	each(func(x *identity, v int64) {
		if v < 0 || v >= int64(len(index)) || index[v] < 0 {
			err = columnar.ErrCorrupt
			return
		}
		x.index = uint32(index[v])
	})
	if err != nil {
		return err
	}
	if _, err = d.ints.Decode(src, d.column); err != nil {
		return err
	}
	each(func(x *identity, v int64) { x.origin = uint32(v) })
	return nil
}

// typed appends kinds, qualities and values.
func (d *decoder) typed(s *series, src []byte, n int) error {
	d.column, _ = grow(d.column[:0], n)
	src, err := d.ints.Decode(src, d.column)
	if err != nil {
		return err
	}
	var kinds []telemetry.Kind
	s.kinds, kinds = grow(s.kinds, n)
	var count [telemetry.String + 1]int
	for i, k := range d.column {
		if k < 0 || k > int64(telemetry.String) {
			return fmt.Errorf("data type %d: %w", k, columnar.ErrCorrupt)
		}
		kinds[i] = telemetry.Kind(k)
		count[k]++
	}
	if src, err = d.qualities(s, src, n); err != nil {
		return err
	}
	var bits []uint64
	s.bits, bits = grow(s.bits, n)
	for k := telemetry.Float64; k <= telemetry.String; k++ {
		if count[k] == 0 {
			continue
		}
		if count[k] == n && (k == telemetry.Float64 || k == telemetry.Bool) { // nothing between
			if k == telemetry.Float64 {
				_, err = d.floats.Decode(src, bits)
			} else {
				_, err = d.bools.Decode(src, bits)
			}
			return err
		}
		if src, err = d.ofKind(s, src, k, count[k]); err != nil {
			return err
		}
		i := 0
		for j := range bits {
			if kinds[j] == k {
				bits[j] = d.bits[i]
				i++
			}
		}
	}
	for j := range bits {
		if kinds[j] == telemetry.Null {
			bits[j] = 0
		}
	}
	return nil
}

// ofKind decodes the column of one kind into d.bits.
func (d *decoder) ofKind(s *series, src []byte, k telemetry.Kind, n int) (rest []byte, err error) {
	d.bits, _ = grow(d.bits[:0], n)
	switch k {
	case telemetry.Float64:
		return d.floats.Decode(src, d.bits)
	case telemetry.Bool:
		return d.bools.Decode(src, d.bits)
	case telemetry.Int64:
		d.column, _ = grow(d.column[:0], n)
		rest, err = d.ints.Decode(src, d.column)
		for i, v := range d.column {
			d.bits[i] = uint64(v)
		}
		return rest, err
	default:
		d.texts, _ = grow(d.texts[:0], n)
		rest, err = d.strings.Decode(src, d.texts)
		for i, t := range d.texts {
			d.bits[i] = uint64(len(s.texts))
			s.texts = append(s.texts, t)
		}
		return rest, err
	}
}

func (d *decoder) qualities(s *series, src []byte, n int) ([]byte, error) {
	r := reader{b: src}
	var number []uint32 // of each of the block's qualities in s.known
	for k := r.uvarint(); k > 0 && !r.bad; k-- {
		q := quality.Quality{Code: quality.Code(r.uvarint()), Raw: uint32(r.uvarint()), Scheme: quality.Scheme(r.byte())}
		number = append(number, s.qualityNo(q))
	}
	if r.bad {
		return nil, columnar.ErrCorrupt
	}
	d.column, _ = grow(d.column[:0], n)
	src, err := d.ints.Decode(r.b, d.column)
	if err != nil {
		return nil, err
	}
	var out []uint32
	s.quality, out = grow(s.quality, n)
	for i, v := range d.column {
		if v < 0 || v >= int64(len(number)) {
			return nil, fmt.Errorf("quality number %d of %d: %w", v, len(number), columnar.ErrCorrupt)
		}
		out[i] = number[v]
	}
	return src, nil
}

// qualityNo returns the number of a quality in s.known. There are few: a sample
// brings a code of 32 bits, but plants know a dozen.
func (s *series) qualityNo(q quality.Quality) uint32 {
	for i := range s.known {
		if s.known[i] == q {
			return uint32(i)
		}
	}
	s.known = append(s.known, q)
	return uint32(len(s.known) - 1)
}

// value returns the i-th value.
func (s *series) value(i int) telemetry.Value {
	v := telemetry.Value{Kind: s.kinds[i], Bits: s.bits[i]}
	if v.Kind == telemetry.String {
		v.Str, v.Bits = s.texts[v.Bits], 0
	}
	return v
}
