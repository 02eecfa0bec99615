package telemetry

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/twinlog/twinlog/domain/quality"
)

// The flags of a row (docs/formats/telemetry.md).
const (
	flagSeq        = 1 << 0
	shiftMsgID     = 1 // two bits: one of the msgID constants
	shiftBasis     = 3 // two bits: a TimeBasis
	flagFine       = 1 << 5
	flagServerTime = 1 << 6
	flagLatency    = 1 << 7
	flagGateway    = 1 << 8
	flagDeviceType = 1 << 9
	flagFirmware   = 1 << 10
	flagSchema     = 1 << 11
	flagsKnown     = 1<<12 - 1
)

// How a row keeps its msg_id.
const (
	msgIDNone = iota
	msgIDText
	msgIDULID
	msgIDDerived
)

// The tags before a value. A float64 that is a short decimal is kept as its
// digits: tagDecimal+e before the integer m stands for m / 10^e.
const (
	tagNull = iota
	tagFalse
	tagTrue
	tagInt64
	tagString
	tagFloat64 // 8 bytes, little-endian

	tagDecimal = 0x10
)

// maxExponent is the largest e of a decimal: 10^e and m are both exact, so
// that one division, correctly rounded, gives the float64 back.
const maxExponent = 9

var powersOf10 = [maxExponent + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// maxMantissa keeps two decimals of up to nine places apart as doubles.
const maxMantissa = 1 << 50

// AppendBinary appends the row's bytes to dst. It takes only what Check takes:
// what Check refuses comes out as bytes that say something else. The same row
// gives the same bytes for ever: they are hashed and compared.
func (r *Row) AppendBinary(dst []byte) []byte {
	flags, ulid := r.flags()
	dst = binary.LittleEndian.AppendUint16(dst, flags)
	dst = r.appendJudged(dst)
	if r.HasSeq {
		dst = binary.AppendUvarint(dst, r.Seq)
	}
	switch flags >> shiftMsgID & 3 {
	case msgIDText:
		dst = appendString(dst, r.MsgID)
	case msgIDULID:
		dst = append(dst, ulid[:]...)
	}
	dst = appendString(dst, r.Device)
	for _, s := range [...]string{r.DeviceType, r.Gateway, r.Firmware, r.SchemaVersion} {
		if s != "" {
			dst = appendString(dst, s)
		}
	}
	dst = r.appendTimes(dst, flags&flagFine != 0)
	return appendSamples(dst, r.Samples)
}

func (r *Row) flags() (flags uint16, ulid [ulidSize]byte) {
	if r.HasSeq {
		flags |= flagSeq
	}
	switch {
	case r.MsgIDDerived:
		flags |= msgIDDerived << shiftMsgID
	case r.MsgID != "":
		var ok bool
		if ulid, ok = parseULID(r.MsgID); ok {
			flags |= msgIDULID << shiftMsgID
		} else {
			flags |= msgIDText << shiftMsgID
		}
	}
	flags |= uint16(r.Basis) << shiftBasis
	if r.Basis != FromArrival && notMilli(r.SourceTime) {
		flags |= flagFine
	}
	if !r.ServerTime.IsZero() {
		flags |= flagServerTime
		if notMilli(r.ServerTime) {
			flags |= flagFine
		}
	}
	if r.EdgeLatency != NoLatency {
		flags |= flagLatency
		if r.EdgeLatency%time.Millisecond != 0 {
			flags |= flagFine
		}
	}
	for i, s := range [...]string{r.Gateway, r.DeviceType, r.Firmware, r.SchemaVersion} {
		if s != "" {
			flags |= flagGateway << i
		}
	}
	return flags, ulid
}

func notMilli(t time.Time) bool { return t.Nanosecond()%int(time.Millisecond) != 0 }

// appendJudged writes what the server made of the message: the arrival time if
// it had to stand in for the source's, and the canonical codes. It is apart
// from the rest so that two deliveries of one message can be compared.
func (r *Row) appendJudged(dst []byte) []byte {
	if r.Basis == FromArrival {
		dst = appendFineTime(dst, r.SourceTime)
	}
	runs := 0
	for i := range r.Samples {
		if i == 0 || r.Samples[i].Quality != r.Samples[i-1].Quality {
			runs++
		}
	}
	dst = binary.AppendUvarint(dst, uint64(runs))
	for i := range r.Samples {
		if i == 0 || r.Samples[i].Quality != r.Samples[i-1].Quality {
			dst = binary.AppendUvarint(dst, uint64(r.Samples[i].Quality.Code))
		}
	}
	return dst
}

// appendTimes writes the times as they came: ServerTime and latency relative
// to the source's time, which makes them two or three bytes.
func (r *Row) appendTimes(dst []byte, fine bool) []byte {
	var base int64
	if r.Basis != FromArrival {
		if fine {
			dst = appendFineTime(dst, r.SourceTime)
		} else {
			base = r.SourceTime.UnixMilli()
			dst = binary.AppendVarint(dst, base)
		}
	}
	if !r.ServerTime.IsZero() {
		if fine {
			dst = appendFineTime(dst, r.ServerTime)
		} else {
			dst = binary.AppendVarint(dst, r.ServerTime.UnixMilli()-base)
		}
	}
	if r.EdgeLatency != NoLatency {
		if fine {
			dst = binary.AppendVarint(dst, int64(r.EdgeLatency))
		} else {
			dst = binary.AppendVarint(dst, int64(r.EdgeLatency/time.Millisecond))
		}
	}
	return dst
}

// appendFineTime writes seconds since 1970 and nanoseconds within the second:
// every time.Time there is.
func appendFineTime(dst []byte, t time.Time) []byte {
	return binary.AppendUvarint(binary.AppendVarint(dst, t.Unix()), uint64(t.Nanosecond()))
}

func appendSamples(dst []byte, samples []Sample) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(samples)))
	if len(samples) == 0 {
		return dst
	}
	for i := 0; i < len(samples); {
		q, from := samples[i].Quality, i
		for i < len(samples) && samples[i].Quality == q {
			i++
		}
		dst = appendRun(dst, i-from, q)
	}
	names := 0
	for i := range samples {
		n := len(samples[i].Signal)
		names += n + uvarintLen(uint64(n))
	}
	dst = binary.AppendUvarint(dst, uint64(names))
	for i := range samples {
		dst = appendString(dst, samples[i].Signal)
	}
	for i := range samples {
		dst = appendValue(dst, &samples[i].Value)
	}
	return dst
}

func appendRun(dst []byte, n int, q quality.Quality) []byte {
	dst = binary.AppendUvarint(dst, uint64(n))
	dst = append(dst, byte(q.Scheme))
	return binary.AppendUvarint(dst, uint64(q.Raw))
}

func appendValue(dst []byte, v *Value) []byte {
	switch v.Kind {
	case Float64:
		return appendFloat(dst, v.Bits)
	case Int64:
		return binary.AppendVarint(append(dst, tagInt64), int64(v.Bits))
	case Bool:
		return append(dst, tagFalse+byte(v.Bits&1))
	case String:
		return appendString(append(dst, tagString), v.Str)
	default:
		return append(dst, tagNull)
	}
}

// negativeZero divided by anything is itself, and its digits have no sign.
const negativeZero = 1 << 63

// appendFloat looks for the digits of a short decimal, with as few decimals as
// possible. That it came out right is decided by the bits, so that -0 and NaN
// take the long form.
func appendFloat(dst []byte, bits uint64) []byte {
	f := math.Float64frombits(bits)
	if m := int64(f); m > -maxMantissa && m < maxMantissa && math.Float64bits(float64(m)) == bits {
		return binary.AppendVarint(append(dst, tagDecimal), m)
	}
	// Three places at a time: most plants send one to three.
	for e := 3; e <= maxExponent && bits != negativeZero; e += 3 {
		scaled := math.RoundToEven(f * powersOf10[e])
		if !(scaled > -maxMantissa && scaled < maxMantissa) {
			break // also NaN
		}
		if math.Float64bits(scaled/powersOf10[e]) != bits {
			continue
		}
		m := int64(scaled)
		for m%10 == 0 && e > 1 {
			m, e = m/10, e-1
		}
		return binary.AppendVarint(append(dst, byte(tagDecimal+e)), m)
	}
	return binary.LittleEndian.AppendUint64(append(dst, tagFloat64), bits)
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func uvarintLen(n uint64) int {
	l := 1
	for ; n >= 0x80; n >>= 7 {
		l++
	}
	return l
}
