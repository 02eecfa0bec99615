package telemetry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/twinlog/twinlog/domain/quality"
)

// View reads a row without copying or allocating. Its slices point into the
// bytes given to Reset and are good as long as those are.
type View struct {
	Device, DeviceType, Gateway, Firmware, SchemaVersion []byte

	Seq          uint64
	HasSeq       bool
	MsgIDDerived bool
	Basis        TimeBasis
	SourceTime   time.Time
	ServerTime   time.Time     // zero if none
	EdgeLatency  time.Duration // NoLatency if none
	Len          int           // number of samples
	// Names is the part of the row that names the signals, in order: equal
	// bytes mean equal signals. Interner uses it to look up a row at once.
	Names []byte

	msgForm     uint8
	msg         []byte // text, or the 16 bytes of a ULID
	codes, runs []byte
	values      []byte
}

var errShort = errors.New("ends too early")

// Reset makes v a view of data, one telemetry.recorded.v1. It checks
// everything up to the samples and their number; Iter checks those as it goes.
func (v *View) Reset(data []byte) error {
	if err := v.header(data); err != nil {
		return fmt.Errorf("row of %d bytes: %w: %w", len(data), err, ErrBadRow)
	}
	return nil
}

func (v *View) header(data []byte) error {
	c, flags, runs, err := v.identity(data)
	if err != nil {
		return err
	}
	for _, f := range [...]struct {
		flag uint16
		to   *[]byte
	}{
		{flagDeviceType, &v.DeviceType},
		{flagGateway, &v.Gateway},
		{flagFirmware, &v.Firmware},
		{flagSchema, &v.SchemaVersion},
	} {
		if flags&f.flag != 0 {
			*f.to = c.string()
		}
	}
	v.times(&c, flags)
	v.samples(&c, runs)
	if c.bad {
		return errShort
	}
	return nil
}

// identity reads as far as the device: all that an id is made of. Whoever calls
// it looks at c.bad.
func (v *View) identity(data []byte) (c cursor, flags uint16, runs int, err error) {
	if c, flags, err = v.start(data); err != nil {
		return c, 0, 0, err
	}
	runs = v.judged(&c)
	if v.HasSeq {
		v.Seq = c.uvarint()
	}
	switch v.msgForm {
	case msgIDText:
		v.msg = c.string()
	case msgIDULID:
		v.msg = c.bytes(ulidSize)
	}
	v.Device = c.string()
	return c, flags, runs, nil
}

// start reads the flags.
func (v *View) start(data []byte) (c cursor, flags uint16, err error) {
	*v = View{EdgeLatency: NoLatency}
	if len(data) < 2 {
		return c, 0, errShort
	}
	flags = binary.LittleEndian.Uint16(data)
	if flags&^flagsKnown != 0 {
		return c, 0, fmt.Errorf("flags %#04x, expected none above bit 11", flags)
	}
	v.HasSeq = flags&flagSeq != 0
	v.msgForm = uint8(flags >> shiftMsgID & 3)
	v.MsgIDDerived = v.msgForm == msgIDDerived
	if v.Basis = TimeBasis(flags >> shiftBasis & 3); v.Basis > FromArrival {
		return c, 0, fmt.Errorf("time basis %d, expected 0 to 2", v.Basis)
	}
	return cursor{b: data[2:]}, flags, nil
}

// judged reads the part that the server added and returns the number of
// quality runs.
func (v *View) judged(c *cursor) int {
	if v.Basis == FromArrival {
		v.SourceTime = c.fineTime()
	}
	runs := c.count(1)
	from := c.b
	for range runs {
		if c.uvarint() > math.MaxUint32 {
			c.bad = true
		}
	}
	v.codes = from[:len(from)-len(c.b)]
	return runs
}

func (v *View) times(c *cursor, flags uint16) {
	fine := flags&flagFine != 0
	var base int64
	if v.Basis != FromArrival {
		if fine {
			v.SourceTime = c.fineTime()
		} else {
			base = c.varint()
			v.SourceTime = time.UnixMilli(base).UTC()
		}
	}
	if flags&flagServerTime != 0 {
		if fine {
			v.ServerTime = c.fineTime()
		} else {
			v.ServerTime = time.UnixMilli(base + c.varint()).UTC()
		}
	}
	if flags&flagLatency != 0 {
		v.EdgeLatency = time.Duration(c.varint())
		if !fine {
			v.EdgeLatency *= time.Millisecond
		}
	}
}

func (v *View) samples(c *cursor, runs int) {
	v.Len = c.count(2) // a name and a value take two bytes at least
	if v.Len == 0 {
		c.bad = c.bad || runs != 0 || len(c.b) != 0
		return
	}
	from := c.b
	total := uint64(0)
	for range runs {
		n := c.uvarint()
		c.byte()
		raw := c.uvarint()
		if n == 0 || n > uint64(v.Len) || raw > math.MaxUint32 {
			c.bad = true
		}
		total += n
	}
	v.runs = from[:len(from)-len(c.b)]
	if total != uint64(v.Len) {
		c.bad = true
	}
	v.Names = c.string()
	v.values = c.b
}

// MsgID returns the msg_id as it came; "" if there was none or it is derived.
func (v *View) MsgID() string {
	var room [ulidText]byte
	return string(v.appendMsgID(room[:0]))
}

func (v *View) appendMsgID(dst []byte) []byte {
	switch v.msgForm {
	case msgIDText:
		return append(dst, v.msg...)
	case msgIDULID:
		return appendULID(dst, [ulidSize]byte(v.msg))
	default:
		return dst
	}
}

// Sent returns what a row says as it came, its flags and all that follows the
// judged part: equal parts mean that one message was delivered twice, whatever
// the server's clock and its quality maps said each time.
func Sent(data []byte) (flags uint16, rest []byte, err error) {
	var v View
	c, flags, err := v.start(data)
	if err == nil {
		v.judged(&c)
		if c.bad {
			err = errShort
		}
	}
	if err != nil {
		return 0, nil, fmt.Errorf("row of %d bytes: %w: %w", len(data), err, ErrBadRow)
	}
	return flags, c.b, nil
}

// Iter walks the samples of a row in order.
type Iter struct {
	Name    []byte // the signal; points into the row
	Kind    Kind
	Bits    uint64 // as in Value
	Text    []byte // String only; points into the row
	Quality quality.Quality

	names, values, codes, runs cursor
	left, inRun                int
	err                        error
}

// Iter starts before the first sample.
func (v *View) Iter() Iter {
	return Iter{
		names: cursor{b: v.Names}, values: cursor{b: v.values},
		codes: cursor{b: v.codes}, runs: cursor{b: v.runs}, left: v.Len,
	}
}

// Next goes to the next sample and reports whether there is one.
func (it *Iter) Next() bool {
	if it.left == 0 {
		if (len(it.names.b) != 0 || len(it.values.b) != 0 || it.inRun != 0) && it.err == nil {
			it.err = fmt.Errorf("%d bytes of names and %d of values after the last sample: %w",
				len(it.names.b), len(it.values.b), ErrBadRow)
		}
		return false
	}
	it.left--
	if it.inRun == 0 {
		it.inRun = int(it.runs.uvarint())
		it.Quality = quality.Quality{
			Scheme: quality.Scheme(it.runs.byte()), Raw: uint32(it.runs.uvarint()), Code: quality.Code(it.codes.uvarint()),
		}
	}
	it.inRun--
	it.Name = it.names.string()
	it.value()
	if it.names.bad || it.values.bad || it.runs.bad {
		it.err = fmt.Errorf("sample %q: %w: %w", it.Name, errShort, ErrBadRow)
		it.left, it.inRun = 0, 0
		it.names.b, it.values.b = nil, nil
		return false
	}
	return true
}

// Err returns what ended the iteration early, or nil.
func (it *Iter) Err() error { return it.err }

// Value returns the current value; its string is a copy.
func (it *Iter) Value() Value { return Value{Kind: it.Kind, Bits: it.Bits, Str: string(it.Text)} }

func (it *Iter) value() {
	c := &it.values
	tag := c.byte()
	it.Text = nil
	if e := int(tag) - tagDecimal; e >= 0 && e <= maxExponent {
		it.Kind = Float64
		m := c.varint()
		it.Bits = math.Float64bits(float64(m) / powersOf10[e])
		return
	}
	switch tag {
	case tagNull:
		it.Kind, it.Bits = Null, 0
	case tagFalse, tagTrue:
		it.Kind, it.Bits = Bool, uint64(tag-tagFalse)
	case tagInt64:
		it.Kind, it.Bits = Int64, uint64(c.varint())
	case tagString:
		it.Kind, it.Bits, it.Text = String, 0, c.string()
	case tagFloat64:
		it.Kind = Float64
		if b := c.bytes(8); b != nil {
			it.Bits = binary.LittleEndian.Uint64(b)
		}
	default:
		c.bad = true
	}
}
