package badgerlog

import (
	"bytes"
	"encoding/binary"
	"math"
)

// This file takes a telemetry row apart and puts it together again
// (docs/formats/telemetry.md). It knows the bytes and not their meaning: what
// it cannot give back byte for byte is sealed verbatim.

// Flags of a row.
const (
	flagSeq        = 1 << 0
	shiftMsgID     = 1
	shiftBasis     = 3
	flagFine       = 1 << 5
	flagServerTime = 1 << 6
	flagLatency    = 1 << 7
	flagTexts      = 8 // the first of four
	flagsKnown     = 1<<12 - 1

	msgText, msgULID = 1, 2
	basisArrival     = 2
	ulidBytes        = 16
	ulidRandom       = ulidBytes - 6
)

// Tags of values.
const (
	tagNull = iota
	tagFalse
	tagTrue
	tagInt64
	tagString
	tagFloat64
	tagDecimal = 16
	maxTag     = tagDecimal + 9
)

// maxSignals bounds the columns of a part.
const maxSignals = 4096

// The numbers of a row beside its values, each a column.
const (
	colArrival     = iota // seconds
	colArrivalNano        //
	colSeq                // less the revision
	colSource             // milliseconds, or seconds if fine
	colSourceNano         //
	colServer             // as in the row; seconds if fine
	colServerNano         //
	colLatency            // less colServer where both are relative
	colQuality            // number in the part's dictionary
	fixedColumns
)

// rowView is a row cut at its joints. Its slices point into the row.
type rowView struct {
	flags   uint16
	fixed   [fixedColumns]int64
	msg     []byte
	texts   []byte // device and the texts that the flags announce, as they stand
	n       int    // samples
	codes   []byte // number of quality runs and canonical codes, as they stand
	runs    []byte // the runs, as they stand
	names   []byte // without their length
	values  []byte
	numRuns int
	quality int32 // its kind's number of codes and runs
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// cut takes a row apart up to its values; false if it is not a row.
func (v *rowView) cut(data []byte) bool {
	if len(data) < 2 {
		return false
	}
	v.flags = binary.LittleEndian.Uint16(data)
	basis := v.flags >> shiftBasis & 3
	if v.flags&^flagsKnown != 0 || basis > basisArrival {
		return false
	}
	clear(v.fixed[:])
	r := reader{b: data[2:]}
	if basis == basisArrival {
		v.fixed[colArrival], v.fixed[colArrivalNano] = r.varint(), int64(r.uvarint())
	}
	from := r.b
	runs := r.uvarint()
	if runs > uint64(len(r.b)) {
		return false
	}
	for range runs {
		r.uvarint()
	}
	v.numRuns, v.codes = int(runs), from[:len(from)-len(r.b)]
	if v.flags&flagSeq != 0 {
		v.fixed[colSeq] = int64(r.uvarint())
	}
	v.msg = nil
	switch v.flags >> shiftMsgID & 3 {
	case msgText:
		v.msg = r.bytes(r.uvarint())
	case msgULID:
		v.msg = r.bytes(ulidBytes)
	}
	from = r.b
	r.bytes(r.uvarint())
	for i := range 4 {
		if v.flags&(1<<(flagTexts+i)) != 0 {
			r.bytes(r.uvarint())
		}
	}
	v.texts = from[:len(from)-len(r.b)]
	v.times(&r, basis)
	return v.samples(&r)
}

// cutLike is cut for a row that may be like the last one of a group: of the
// same flags, texts, signals and quality. It compares where cut has to read.
func (v *rowView) cutLike(data []byte, k *sealKind, g *sealGroup) bool {
	if len(data) < 2 || binary.LittleEndian.Uint16(data) != k.flags {
		return false
	}
	r := reader{b: data[2:]}
	basis := k.flags >> shiftBasis & 3
	if basis == basisArrival {
		v.fixed[colArrival], v.fixed[colArrivalNano] = r.varint(), int64(r.uvarint())
	}
	q := &k.qualities[g.quality]
	if !r.skip(q.codes) {
		return false
	}
	if k.flags&flagSeq != 0 {
		v.fixed[colSeq] = int64(r.uvarint())
	}
	switch k.flags >> shiftMsgID & 3 {
	case msgText:
		v.msg = r.bytes(r.uvarint())
	case msgULID:
		v.msg = r.bytes(ulidBytes)
	}
	if !r.skip(g.texts) {
		return false
	}
	v.flags, v.quality = k.flags, g.quality
	v.times(&r, basis)
	if int(r.uvarint()) != k.n || k.n > 0 && (!r.skip(q.runs) || !r.skip(k.tail)) {
		return false
	}
	v.values = r.b
	return !r.bad
}

// skip passes over these very bytes.
func (r *reader) skip(b []byte) bool {
	if !bytes.HasPrefix(r.b, b) {
		return false
	}
	r.b = r.b[len(b):]
	return true
}

func (v *rowView) times(r *reader, basis uint16) {
	fine := v.flags&flagFine != 0
	if basis != basisArrival {
		v.fixed[colSource] = r.varint()
		if fine {
			v.fixed[colSourceNano] = int64(r.uvarint())
		}
	}
	if v.flags&flagServerTime != 0 {
		v.fixed[colServer] = r.varint()
		if fine {
			v.fixed[colServerNano] = int64(r.uvarint())
		}
	}
	if v.flags&flagLatency != 0 {
		v.fixed[colLatency] = r.varint()
		if relative(v.flags) {
			v.fixed[colLatency] -= v.fixed[colServer]
		}
	}
}

// relative: server time and latency are both milliseconds after the source's
// time, and then they are mostly the same number.
func relative(flags uint16) bool {
	return flags&(flagFine|flagServerTime) == flagServerTime && flags>>shiftBasis&3 != basisArrival
}

func (v *rowView) samples(r *reader) bool {
	n := r.uvarint()
	v.n, v.runs, v.names, v.values = int(n), nil, nil, nil
	if n == 0 {
		return !r.bad && len(r.b) == 0 && v.numRuns == 0
	}
	if n > maxSignals {
		return false
	}
	from := r.b
	for range v.numRuns {
		r.uvarint()
		r.byte()
		r.uvarint()
	}
	v.runs = from[:len(from)-len(r.b)]
	v.names = r.bytes(r.uvarint())
	v.values = r.b
	return !r.bad
}

// A column class says what its values are.
const (
	classNull = iota
	classBool
	classInt
	classString
	classFloat   // any bits
	classDecimal // m / 10^e
	classes
	classMixed = 255
)

// classOf gives the class of each tag.
func classOf(tag uint8) uint8 {
	if tag >= tagDecimal {
		return classDecimal
	}
	return [tagDecimal]uint8{classNull, classBool, classBool, classInt, classString, classFloat}[tag]
}

// valueColumn is one signal's values in all rows of a part.
type valueColumn struct {
	tag  []uint8  // one a row; nil: all are as the fields below say
	num  []int64  // bool, int64, float bits, decimal: m
	text []string // of strings; nil if there are none

	one uint8 // without tags: any tag of the class
}

// appendVarint is binary.AppendVarint, made for one and two bytes.
func appendVarint(dst []byte, v int64) []byte {
	u := uint64(v<<1) ^ uint64(v>>63)
	switch {
	case u < 1<<7:
		return append(dst, byte(u))
	case u < 1<<14:
		return append(dst, byte(u)|0x80, byte(u>>7))
	}
	return binary.AppendUvarint(dst, u)
}

// scale brings a decimal column to one tag, which it returns; false if a
// number would not fit.
func scale(num []int64, tags []uint8) (tag uint8, ok bool) {
	for _, x := range tags {
		tag = max(tag, x)
	}
	for i, x := range tags {
		for ; x < tag; x++ {
			if num[i] > math.MaxInt64/10 || num[i] < math.MinInt64/10 {
				return 0, false
			}
			num[i] *= 10
		}
	}
	return tag, true
}
