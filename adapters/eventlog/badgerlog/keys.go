package badgerlog

import (
	"encoding/binary"
	"fmt"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// The first byte of every key; docs/formats/log.md draws what follows.
const (
	telemetryKey = 't' // a commit's telemetry rows
	otherKey     = 'o' // a commit's other events
	streamKey    = 's' // where a stream's other events are
	windowKey    = 'w' // where a stream's telemetry rows in one window are
	categoryKey  = 'c' // where a category's other events are
	markKey      = 'm' // a closed window
)

// A partKey names one value of a group commit: its last position comes first,
// so that the part that holds a position is found by a forward seek.
type partKey struct {
	other bool
	last  eventlog.Position
	count uint32 // positions in the commit, both parts together
	both  bool   // the commit has a part of the other kind too
}

const partKeyLen = 1 + 8 + 4 + 1

func (k partKey) bytes() []byte {
	b := make([]byte, 0, partKeyLen)
	b = append(b, kindKey(k.other))
	b = binary.BigEndian.AppendUint64(b, uint64(k.last))
	b = binary.BigEndian.AppendUint32(b, k.count)
	if k.both {
		return append(b, 1)
	}
	return append(b, 0)
}

func (k partKey) first() eventlog.Position { return k.last - eventlog.Position(k.count) + 1 }

func kindKey(other bool) byte {
	if other {
		return otherKey
	}
	return telemetryKey
}

func parsePartKey(b []byte) (partKey, error) {
	if len(b) != partKeyLen || b[0] != telemetryKey && b[0] != otherKey || b[13] > 1 {
		return partKey{}, fmt.Errorf("key %x is not that of a block: %w", b, eventlog.ErrDamaged)
	}
	k := partKey{
		other: b[0] == otherKey, last: eventlog.Position(binary.BigEndian.Uint64(b[1:])),
		count: binary.BigEndian.Uint32(b[9:]), both: b[13] == 1,
	}
	if k.count == 0 || uint64(k.last) < uint64(k.count) {
		return partKey{}, fmt.Errorf("key %x is not that of a block: %w", b, eventlog.ErrDamaged)
	}
	return k, nil
}

// positionKey is where a forward seek for the key of a position starts.
func positionKey(kind byte, p eventlog.Position) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, uint64(p))
}

// namedKey is kind, the length of name in one byte, name and a number: no
// name's keys lie among those of a longer one.
func namedKey(kind byte, name string, number uint64) []byte {
	return binary.BigEndian.AppendUint64(namedPrefix(kind, name), number)
}

func namedPrefix(kind byte, name string) []byte {
	b := make([]byte, 0, 2+len(name)+8)
	return append(append(b, kind, byte(len(name))), name...)
}

// keyNumber is the number at the end of a key.
func keyNumber(key []byte) uint64 {
	if len(key) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(key[len(key)-8:])
}
