package aggregate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// ErrEncoding means bytes that are not an encoded Run.
var ErrEncoding = errors.New("invalid run")

// The flags of an encoded run (docs/formats/history.md).
const (
	flagPlain = 1 << 0 // every sample has the code 0, Good
	flagMilli = 1 << 1 // times are in milliseconds
	flagsAll  = flagPlain | flagMilli
)

// Append appends the run's bytes; times are written relative to base, which is
// not after the first sample. It keeps no squares, and it is for runs without
// Text and under sloped lines.
func (r *Run) Append(dst []byte, base int64) []byte {
	e := runCoder{base: base, unit: int64(time.Millisecond)}
	plain := r.n[quality.IsUncertain] == 0 && r.n[quality.IsBad] == 0 && r.worst == 0 && !r.worstMulti
	flags := byte(flagMilli)
	if plain {
		flags |= flagPlain
	}
	for _, t := range []int64{base, r.first.Time, r.last.Time, r.good.first.Time, r.good.last.Time, r.used.first.Time, r.used.last.Time} {
		if t%e.unit != 0 {
			e.unit, flags = 1, flags&^flagMilli
		}
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, r.n[quality.IsGood])
	if !plain {
		dst = binary.AppendUvarint(dst, r.n[quality.IsUncertain])
		dst = binary.AppendUvarint(dst, r.n[quality.IsBad])
		dst = binary.AppendUvarint(dst, uint64(r.dur[quality.IsUncertain]))
		dst = binary.AppendUvarint(dst, uint64(r.dur[quality.IsBad]))
		dst = binary.AppendUvarint(dst, uint64(r.worst))
		dst = append(dst, bit(r.worstMulti, 0))
	}
	dst = e.appendSample(dst, &r.first, plain)
	dst = e.appendSample(dst, &r.last, plain)
	if r.n[quality.IsGood] > 0 {
		dst = e.appendSet(dst, &r.good, plain)
	}
	if r.n[quality.IsUncertain] > 0 {
		dst = e.appendSet(dst, &r.used, plain)
	}
	return dst
}

type runCoder struct{ base, unit int64 }

func bit(b bool, at int) byte {
	if b {
		return 1 << at
	}
	return 0
}

func (e runCoder) appendSample(dst []byte, s *Sample, plain bool) []byte {
	dst = binary.AppendUvarint(dst, uint64((s.Time-e.base)/e.unit))
	if !plain {
		dst = binary.AppendUvarint(dst, uint64(s.Code))
	}
	return appendValue(dst, s.Value)
}

// appendSet writes first and last sample (if plain they are the run's own),
// least and greatest value, sum and area.
func (e runCoder) appendSet(dst []byte, s *set, plain bool) []byte {
	if !plain {
		dst = e.appendSample(dst, &s.first, false)
		dst = e.appendSample(dst, &s.last, false)
	}
	atFirst := func(x *extreme) bool { return x.at == s.first.Time }
	dst = append(dst, bit(s.least.multi, 0)|bit(s.most.multi, 1)|bit(atFirst(&s.least), 2)|bit(atFirst(&s.most), 3))
	dst = appendValue(dst, s.least.value)
	dst = appendValue(dst, s.most.value)
	dst = s.sum.Append(dst)
	s.settle()
	return s.area.Append(dst)
}

func appendValue(dst []byte, v telemetry.Value) []byte {
	dst = append(dst, byte(v.Kind))
	switch v.Kind {
	case telemetry.Float64:
		return binary.LittleEndian.AppendUint64(dst, v.Bits)
	case telemetry.Int64:
		return binary.AppendVarint(dst, int64(v.Bits))
	case telemetry.Bool:
		return append(dst, byte(v.Bits))
	default:
		return dst
	}
}

// AddEncoded joins an encoded run to r, of samples that are all later, and
// returns what follows it.
func (r *Run) AddEncoded(src []byte, base int64) ([]byte, error) {
	d := decoder{src: src, base: base, unit: 1}
	flags := d.byte()
	if flags&flagMilli != 0 {
		d.unit = int64(time.Millisecond)
	}
	plain := flags&flagPlain != 0
	n := [3]uint64{d.uvarint()}
	var dur [3]int64
	var worst quality.Code
	worstMulti := false
	if !plain {
		n[quality.IsUncertain], n[quality.IsBad] = d.uvarint(), d.uvarint()
		dur[quality.IsUncertain], dur[quality.IsBad] = int64(d.uvarint()), int64(d.uvarint())
		worst = quality.Code(d.uvarint())
		worstMulti = d.byte() != 0
	}
	first, last := d.sample(plain), d.sample(plain)
	dur[quality.IsGood] = last.Time - first.Time - dur[quality.IsUncertain] - dur[quality.IsBad]
	if flags&^flagsAll != 0 || n[0]+n[1]+n[2] == 0 || d.bad || r.Len() > 0 && first.Time <= r.last.Time {
		return nil, fmt.Errorf("run of %d bytes: %w", len(src), ErrEncoding)
	}
	if r.Len() == 0 {
		r.first = first
	} else {
		r.dur[r.last.Code.Status()] += first.Time - r.last.Time
	}
	r.addWorst(worst, worstMulti)
	r.last = last
	if n[quality.IsUncertain] > 0 && r.n[quality.IsUncertain] == 0 {
		r.used.copyFrom(&r.good)
	}
	uncertain := n[quality.IsUncertain] > 0 || r.n[quality.IsUncertain] > 0
	mark := d.src
	if n[quality.IsGood] > 0 {
		d.set(&r.good, n[quality.IsGood], plain, first, last)
	}
	if uncertain {
		if n[quality.IsUncertain] == 0 { // its usable samples are the Good ones
			d.src = mark
		}
		if usable := n[quality.IsGood] + n[quality.IsUncertain]; usable > 0 {
			d.set(&r.used, usable, plain, first, last)
		}
	}
	for i := range n {
		r.n[i] += n[i]
		r.dur[i] += dur[i]
	}
	if d.bad {
		return nil, fmt.Errorf("run of %d bytes: %w", len(src), ErrEncoding)
	}
	return d.src, nil
}

// decoder reads from the front of src; bad is set when something was not there,
// and stays.
type decoder struct {
	src        []byte
	base, unit int64
	bad        bool
}

func (d *decoder) byte() byte {
	if len(d.src) == 0 {
		d.bad = true
		return 0
	}
	b := d.src[0]
	d.src = d.src[1:]
	return b
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.src)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.src = d.src[n:]
	return v
}

func (d *decoder) sample(plain bool) Sample {
	s := Sample{Time: d.base + int64(d.uvarint())*d.unit}
	if !plain {
		s.Code = quality.Code(d.uvarint())
	}
	s.Value = d.value()
	return s
}

func (d *decoder) value() telemetry.Value {
	v := telemetry.Value{Kind: telemetry.Kind(d.byte())}
	switch v.Kind {
	case telemetry.Null:
	case telemetry.Float64:
		if len(d.src) < 8 {
			d.bad = true
			return v
		}
		v.Bits = binary.LittleEndian.Uint64(d.src)
		d.src = d.src[8:]
	case telemetry.Int64:
		i, n := binary.Varint(d.src)
		if n <= 0 {
			d.bad = true
			return v
		}
		v.Bits, d.src = uint64(i), d.src[n:]
	case telemetry.Bool:
		v.Bits = uint64(d.byte() & 1)
	default:
		d.bad = true
	}
	return v
}

func (d *decoder) set(s *set, n uint64, plain bool, first, last Sample) {
	if !plain {
		first, last = d.sample(false), d.sample(false)
	}
	flags := d.byte()
	least, most := d.value(), d.value()
	if d.bad {
		return
	}
	at := func(is byte) int64 {
		if flags&is != 0 {
			return first.Time
		}
		return first.Time + 1 // not the first; which one does not matter
	}
	if s.n == 0 {
		s.first = first
	} else {
		s.join(&first, false)
		s.last = first
		s.settle()
	}
	s.last = last
	s.n += n
	s.least.take(least, at(4), flags&1 != 0, false)
	s.most.take(most, at(8), flags&2 != 0, true)
	rest, err := s.sum.AddBinary(d.src)
	if err == nil {
		rest, err = s.area.AddBinary(rest)
	}
	if err != nil {
		d.bad = true
		return
	}
	d.src = rest
}

// Extent returns the times of the first and last sample of an encoded run.
func Extent(src []byte, base int64) (first, last int64, err error) {
	d := decoder{src: src, base: base, unit: 1}
	flags := d.byte()
	if flags&flagMilli != 0 {
		d.unit = int64(time.Millisecond)
	}
	d.uvarint()
	plain := flags&flagPlain != 0
	if !plain {
		for range 5 {
			d.uvarint()
		}
		d.byte()
	}
	a, b := d.sample(plain), d.sample(plain)
	if d.bad {
		return 0, 0, fmt.Errorf("run of %d bytes: %w", len(src), ErrEncoding)
	}
	return a.Time, b.Time, nil
}
