package telemetry

import (
	"encoding/binary"
	"math"
	"time"
)

// cursor reads from the front of b; bad is set when something was not there,
// and stays.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) uvarint() uint64 {
	if len(c.b) > 0 && c.b[0] < 0x80 { // the usual case, without a call
		n := uint64(c.b[0])
		c.b = c.b[1:]
		return n
	}
	return c.longUvarint()
}

func (c *cursor) longUvarint() uint64 {
	n, size := binary.Uvarint(c.b)
	if size <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[size:]
	return n
}

func (c *cursor) varint() int64 {
	u := c.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// count reads a number of things that take at least size bytes each, so that
// a few bytes cannot ask for a large allocation.
func (c *cursor) count(size int) int {
	n := c.uvarint()
	if n > uint64(len(c.b)/size) {
		c.bad = true
		return 0
	}
	return int(n)
}

func (c *cursor) byte() byte {
	if len(c.b) == 0 {
		c.bad = true
		return 0
	}
	b := c.b[0]
	c.b = c.b[1:]
	return b
}

// bytes returns the next n bytes; nil if there are not so many.
func (c *cursor) bytes(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.bad, c.b = true, nil
		return nil
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}

func (c *cursor) string() []byte { return c.bytes(c.uvarint()) }

func (c *cursor) fineTime() time.Time {
	sec, nano := c.varint(), c.uvarint()
	// Beyond what milliseconds can count no time can have come.
	const most = math.MaxInt64/1000 - 1
	if nano >= uint64(time.Second) || sec > most || sec < -most {
		c.bad = true
		return time.Time{}
	}
	return time.Unix(sec, int64(nano)).UTC()
}
