package badgerqueue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/twinlog/twinlog/domain/telemetry"
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
	for _, n := range []uint64{h.Next, h.Acked, h.Messages, uint64(h.Bytes), h.Lost, h.LostSamples, h.Quarantined} {
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
	if len(r.rest) > 0 { // an older head ends here
		h.Quarantined = r.uvarint()
	}
	if r.err != nil {
		return outbox.Head{}, fmt.Errorf("head: %w: %w", r.err, outbox.ErrDamaged)
	}
	return h, nil
}

// The flags of a message.
const (
	hasLoss = 1 << iota
	// noMsgID: the payload's msg_id follows from (incarnation, seq) and has been
	// taken out, at the offset that stands behind the flags. It would be the
	// larger part of what a message takes on disk.
	noMsgID
)

// msgID is the member that a message of our own has in its payload.
func msgID(incarnation string, seq uint64) []byte {
	return []byte(`"msg_id":"` + telemetry.MsgID(incarnation, seq) + `",`)
}

func encodeMessage(m outbox.Message, incarnation string) []byte {
	b := make([]byte, 0, len(m.Payload)+len(m.Topic)+64)
	b = append(b, version)
	b = binary.AppendUvarint(b, m.Last-m.Seq)
	b = binary.AppendUvarint(b, uint64(m.Samples))
	b = binary.BigEndian.AppendUint64(b, uint64(m.Made.UnixNano()))
	b = append(binary.AppendUvarint(b, uint64(len(m.Topic))), m.Topic...)
	id := msgID(incarnation, m.Seq)
	at := bytes.Index(m.Payload[:min(len(m.Payload), 128)], id)
	flags := byte(0)
	if m.Loss != nil {
		flags |= hasLoss
	}
	if at >= 0 {
		flags |= noMsgID
	}
	b = append(b, flags)
	if m.Loss != nil {
		for _, n := range []uint64{m.Loss.Messages, m.Loss.Samples, m.Loss.Bytes} {
			b = binary.AppendUvarint(b, n)
		}
		b = binary.BigEndian.AppendUint64(b, uint64(m.Loss.Until.UnixNano()))
	}
	if at >= 0 {
		b = binary.AppendUvarint(b, uint64(at))
		return append(append(b, m.Payload[:at]...), m.Payload[at+len(id):]...)
	}
	return append(b, m.Payload...)
}

// decodeMessage copies what it takes from b.
func decodeMessage(seq uint64, b []byte, incarnation string) (outbox.Message, error) {
	r := reader{rest: b}
	if v := r.bytes(1); r.err == nil && v[0] != version {
		return outbox.Message{}, fmt.Errorf("version %d, expected %d: %w", v[0], version, outbox.ErrDamaged)
	}
	m := outbox.Message{Seq: seq}
	m.Last = seq + r.uvarint()
	m.Samples = int(r.uvarint())
	m.Made = r.time()
	m.Topic = string(r.bytes(r.uvarint()))
	flags := r.byte()
	if flags&hasLoss != 0 {
		m.Loss = &outbox.Loss{Messages: r.uvarint(), Samples: r.uvarint(), Bytes: r.uvarint(), Until: r.time()}
	}
	var id []byte
	at := uint64(0)
	if flags&noMsgID != 0 {
		at, id = r.uvarint(), msgID(incarnation, seq)
	}
	if r.err == nil && at > uint64(len(r.rest)) {
		r.err = errShort
	}
	if r.err != nil {
		return outbox.Message{}, fmt.Errorf("%w: %w", r.err, outbox.ErrDamaged)
	}
	m.Payload = append(make([]byte, 0, len(r.rest)+len(id)), r.rest[:at]...)
	m.Payload = append(append(m.Payload, id...), r.rest[at:]...)
	return m, nil
}

// A refusal is where and when, and then the message.
func encodeRefusal(r outbox.Refusal, incarnation string) []byte {
	b := append(binary.AppendUvarint(nil, uint64(len(r.Where))), r.Where...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.At.UnixNano()))
	return append(b, encodeMessage(r.Message, incarnation)...)
}

func decodeRefusal(seq uint64, b []byte, incarnation string) (outbox.Refusal, error) {
	r := reader{rest: b}
	where, at := string(r.bytes(r.uvarint())), r.time()
	if r.err != nil {
		return outbox.Refusal{}, fmt.Errorf("%w: %w", r.err, outbox.ErrDamaged)
	}
	m, err := decodeMessage(seq, r.rest, incarnation)
	return outbox.Refusal{Message: m, Where: where, At: at}, err
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

func (r *reader) byte() byte {
	b := r.bytes(1)
	if r.err != nil {
		return 0
	}
	return b[0]
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
