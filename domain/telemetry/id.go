package telemetry

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Unordered is the incarnation of a source that publishes by itself: it has no
// outbox, and its stream is one for ever.
const Unordered = "0"

// incarnationBytes is the length of a gateway's incarnation: 64 random bits in
// hexadecimal, lower case.
const incarnationBytes = 16

// Stream names the telemetry stream of a source's incarnation.
func Stream(source, incarnation string) eventlog.StreamID {
	return eventlog.Stream("telemetry", source+"."+incarnation)
}

// ParseStream is the inverse of Stream; false for a stream that is not telemetry's.
func ParseStream(id eventlog.StreamID) (source, incarnation string, ok bool) {
	incarnation, ok = incarnationOf(id)
	if !ok {
		return "", "", false
	}
	entity := id.Entity()
	return entity[:len(entity)-len(incarnation)-1], incarnation, true
}

// incarnationOf reads the part after the last dot, which is never encoded.
func incarnationOf(id eventlog.StreamID) (string, bool) {
	dot := strings.LastIndexByte(string(id), '.')
	if dot < 0 || !strings.HasPrefix(string(id), "telemetry-") {
		return "", false
	}
	inc := string(id)[dot+1:]
	return inc, inc == Unordered || ValidIncarnation(inc)
}

// ValidIncarnation reports whether s is 16 lower-case hexadecimal digits.
func ValidIncarnation(s string) bool {
	if len(s) != incarnationBytes {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// OrderedID is the id of the seq-th message of an incarnation:
// UUIDv8(SHA-256(origin, incarnation, seq)).
func OrderedID(origin, incarnation string, seq uint64) eventlog.EventID {
	var room [256]byte
	b := appendText(append(room[:0], 'o'), origin)
	b = appendText(b, incarnation)
	return uuid8(binary.BigEndian.AppendUint64(b, seq))
}

// UnorderedID is the id of a message of a device that publishes by itself:
// UUIDv8(SHA-256(origin, device, msg_id)).
func UnorderedID(origin, device, msgID string) eventlog.EventID {
	var room [256]byte
	b := appendText(append(room[:0], 'u'), origin)
	b = appendText(b, device)
	return uuid8(appendText(b, msgID))
}

// ArrivalID is the id of a message that says nothing by which it could be known
// again: it is told apart by when it came. n counts the calls of one process.
func ArrivalID(origin, client, topic string, arrived time.Time, n uint64, payload []byte) eventlog.EventID {
	b := appendText(append(make([]byte, 0, 256+len(payload)), 'a'), origin)
	b = appendText(appendText(b, client), topic)
	b = binary.BigEndian.AppendUint64(b, uint64(arrived.UnixNano()))
	return uuid8(appendText(binary.BigEndian.AppendUint64(b, n), payload))
}

// SideID is the id of an event of this type that a message caused beside its own.
func SideID(message eventlog.EventID, typ string) eventlog.EventID {
	var room [256]byte
	return uuid8(appendText(append(append(room[:0], 's'), message[:]...), typ))
}

// DeriveID computes the id of a telemetry.recorded.v1 from where and what it
// is; false where that is not possible (another type, or a message with
// neither durable seq nor msg_id). A store leaves out an id that it derives.
func DeriveID(origin string, stream eventlog.StreamID, typ string, data []byte) (eventlog.EventID, bool) {
	if typ != eventlog.TelemetryRecorded {
		return eventlog.EventID{}, false
	}
	inc, ok := incarnationOf(stream)
	if !ok {
		return eventlog.EventID{}, false
	}
	var v View
	if c, _, _, err := v.identity(data); err != nil || c.bad {
		return eventlog.EventID{}, false
	}
	if inc != Unordered {
		if !v.HasSeq {
			return eventlog.EventID{}, false
		}
		return OrderedID(origin, inc, v.Seq), true
	}
	var room [26]byte
	msgID := v.appendMsgID(room[:0])
	if len(msgID) == 0 {
		return eventlog.EventID{}, false
	}
	b := appendText(append(make([]byte, 0, 256), 'u'), origin)
	b = appendText(b, v.Device)
	return uuid8(appendText(b, msgID)), true
}

// MsgID is the msg_id that a gateway gives the seq-th message of an
// incarnation: the text of a ULID, computed so that nobody needs to store it.
func MsgID(incarnation string, seq uint64) string {
	var room [64]byte
	return string(appendMsgID(room[:0], incarnation, seq))
}

// IsMsgID reports whether msgID is MsgID(incarnation, seq), without allocating.
func IsMsgID(msgID, incarnation string, seq uint64) bool {
	if len(msgID) != ulidText {
		return false
	}
	var room [64]byte
	return msgID == string(appendMsgID(room[:0], incarnation, seq))
}

func appendMsgID(dst []byte, incarnation string, seq uint64) []byte {
	var room [128]byte
	b := appendText(append(room[:0], 'm'), incarnation)
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(b, seq))
	return appendULID(dst, [16]byte(sum[:16]))
}

// appendText prefixes the length, so that no two lists of texts hash alike.
func appendText[T string | []byte](dst []byte, s T) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(s))), s...)
}

// uuid8 is the first half of a SHA-256 with the bits of RFC 9562 §5.8.
func uuid8(b []byte) eventlog.EventID {
	sum := sha256.Sum256(b)
	id := eventlog.EventID(sum[:16])
	id[6] = id[6]&0x0F | 0x80
	id[8] = id[8]&0x3F | 0x80
	return id
}

const (
	ulidText  = 26
	ulidSize  = 16
	crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
)

// appendULID writes the 26 characters of a ULID: 128 bits in groups of five
// from the right, upper case.
func appendULID(dst []byte, id [ulidSize]byte) []byte {
	hi, lo := binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])
	var text [ulidText]byte
	for i := ulidText - 1; i >= 0; i-- {
		text[i] = crockford[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return append(dst, text[:]...)
}

// parseULID reads canonical text only, so that what it reads writes back alike.
func parseULID(s string) (id [ulidSize]byte, ok bool) {
	if len(s) != ulidText || s[0] > '7' {
		return id, false
	}
	var hi, lo uint64
	for i := range ulidText {
		d := ulidDigits[s[i]]
		if d == 0xFF {
			return id, false
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | uint64(d)
	}
	binary.BigEndian.PutUint64(id[:8], hi)
	binary.BigEndian.PutUint64(id[8:], lo)
	return id, true
}

var ulidDigits = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xFF
	}
	for i := range len(crockford) {
		t[crockford[i]] = byte(i)
	}
	return t
}()
