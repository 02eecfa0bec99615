package badgerqueue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/twinlog/twinlog/edge/outbox"
)

const (
	version     = 1
	incarnation = 16 // bytes of an incarnation id
)

var errShort = errors.New("value ends early")

func encodeHead(h outbox.Head) []byte {
	b := append([]byte{version}, h.Incarnation...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Created.UnixNano()))
	for _, n := range []uint64{h.Next, h.Acked, h.Messages, uint64(h.Bytes), h.Lost, h.LostSamples} {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func decodeHead(b []byte) (h outbox.Head, err error) {
	r := reader{rest: b}
	if v := r.bytes(1); r.err == nil && v[0] != version {
		return h, fmt.Errorf("head of version %d, expected %d: %w", v[0], version, outbox.ErrDamaged)
	}
	h.Incarnation = string(r.bytes(incarnation))
	h.Created = r.time()
	h.Next, h.Acked, h.Messages, h.Bytes = r.uvarint(), r.uvarint(), r.uvarint(), int64(r.uvarint())
	h.Lost, h.LostSamples = r.uvarint(), r.uvarint()
	if r.err != nil {
		return outbox.Head{}, fmt.Errorf("head: %w: %w", r.err, outbox.ErrDamaged)
	}
	return h, nil
}

func encodeMessage(m outbox.Message) []byte {
	b := make([]byte, 0, len(m.Payload)+len(m.Topic)+64)
	b = append(b, version)
	b = binary.AppendUvarint(b, m.Last-m.Seq)
	b = binary.AppendUvarint(b, uint64(m.Samples))
	b = binary.BigEndian.AppendUint64(b, uint64(m.Made.UnixNano()))
	b = append(binary.AppendUvarint(b, uint64(len(m.Topic))), m.Topic...)
	if m.Loss == nil {
		b = append(b, 0)
	} else {
		b = append(b, 1)
		for _, n := range []uint64{m.Loss.Messages, m.Loss.Samples, m.Loss.Bytes} {
			b = binary.AppendUvarint(b, n)
		}
		b = binary.BigEndian.AppendUint64(b, uint64(m.Loss.Until.UnixNano()))
	}
	return append(b, m.Payload...)
}

// decodeMessage copies what it takes from b.
func decodeMessage(seq uint64, b []byte) (outbox.Message, error) {
	r := reader{rest: b}
	if v := r.bytes(1); r.err == nil && v[0] != version {
		return outbox.Message{}, fmt.Errorf("version %d, expected %d: %w", v[0], version, outbox.ErrDamaged)
	}
	m := outbox.Message{Seq: seq}
	m.Last = seq + r.uvarint()
	m.Samples = int(r.uvarint())
	m.Made = r.time()
	m.Topic = string(r.bytes(r.uvarint()))
	if loss := r.bytes(1); r.err == nil && loss[0] == 1 {
		m.Loss = &outbox.Loss{Messages: r.uvarint(), Samples: r.uvarint(), Bytes: r.uvarint(), Until: r.time()}
	}
	if r.err != nil {
		return outbox.Message{}, fmt.Errorf("%w: %w", r.err, outbox.ErrDamaged)
	}
	m.Payload = append([]byte{}, r.rest...)
	return m, nil
}

// A reader takes fields off the front of a value; after an error it returns zeros.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) bytes(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.rest)) {
		r.err = errShort
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if r.err != nil || n <= 0 {
		r.err = errShort
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) time() time.Time {
	b := r.bytes(8)
	if r.err != nil {
		return time.Time{}
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(b))).UTC()
}
