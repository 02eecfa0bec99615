package projections

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Keys are tuples whose byte order is the order of their parts. A text part is
// escaped (00 becomes 00 FF) and ended by 00 01, so no key is the beginning of
// another row's key.

// AppendText appends a text part to a key.
func AppendText(key []byte, s string) []byte {
	for i := range len(s) {
		key = append(key, s[i])
		if s[i] == 0 {
			key = append(key, 0xff)
		}
	}
	return append(key, 0, 1)
}

// CutText reads a text part from the front of a key.
func CutText(key []byte) (s string, rest []byte, err error) {
	var b []byte
	for i := 0; i+1 < len(key); i++ {
		switch {
		case key[i] != 0:
			b = append(b, key[i])
		case key[i+1] == 1:
			return string(b), key[i+2:], nil
		case key[i+1] == 0xff:
			b = append(b, 0)
			i++
		default:
			return "", nil, fmt.Errorf("key %x: byte %#02x after 00", key, key[i+1])
		}
	}
	return "", nil, fmt.Errorf("key %x: text part without end", key)
}

// AppendPosition appends a position part to a key.
func AppendPosition(key []byte, p eventlog.Position) []byte {
	return binary.BigEndian.AppendUint64(key, uint64(p))
}

// CutPosition reads a position part from the front of a key of at least 8 bytes.
func CutPosition(key []byte) eventlog.Position {
	return eventlog.Position(binary.BigEndian.Uint64(key))
}

// AppendTime appends nanoseconds since 1970 UTC to a key, in order also before then.
func AppendTime(key []byte, nanos int64) []byte {
	return binary.BigEndian.AppendUint64(key, uint64(nanos)^1<<63)
}

// After returns the first key behind all keys that begin with prefix.
func After(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil // to the end of the rows
}

// Versions of a row are kept side by side under the row's key and the position
// of the event that made them, so that a row can be read as it was known at any
// position by one seek, and so that the rows do not depend on batches: an event
// has one position wherever a batch is cut.

// PutVersion writes the version of a row that the event at position made. row
// must be a key of whole parts; an empty value means that the row is gone.
func PutVersion(w *Writes, row []byte, at eventlog.Position, value []byte) {
	w.Put(AppendPosition(bytes.Clone(row), at), value)
}

// VersionAt returns the row as it was known at a position and the position of
// the event that made it so; nil if there was none. It is one seek.
func VersionAt(s Snapshot, row []byte, known eventlog.Position) ([]byte, eventlog.Position, error) {
	from := AppendPosition(bytes.Clone(row), 0)
	to := AppendPosition(bytes.Clone(row), known+1)
	for w, err := range s.Scan(from, to, true) {
		if err != nil {
			return nil, 0, err
		}
		if len(w.Value) == 0 {
			return nil, 0, nil
		}
		return w.Value, versionOf(w.Key), nil
	}
	return nil, 0, nil
}

// Version is a row as it was known at some position.
type Version struct {
	Row   []byte
	At    eventlog.Position
	Value []byte
}

// VersionsAt yields the rows with keys in [from, to) as they were known at a
// position, in order. It is one scan, over all versions of these rows.
func VersionsAt(s Snapshot, from, to []byte, known eventlog.Position) iter.Seq2[Version, error] {
	return func(yield func(Version, error) bool) {
		var best Version
		give := func() bool { return len(best.Value) == 0 || yield(best, nil) }
		for w, err := range s.Scan(from, to, false) {
			if err != nil {
				yield(Version{}, err)
				return
			}
			row, at := w.Key[:len(w.Key)-8], versionOf(w.Key)
			if !bytes.Equal(row, best.Row) {
				if !give() {
					return
				}
				best = Version{Row: bytes.Clone(row)}
			}
			if at <= known {
				best.At, best.Value = at, w.Value
			}
		}
		give()
	}
}

func versionOf(key []byte) eventlog.Position {
	return eventlog.Position(binary.BigEndian.Uint64(key[len(key)-8:]))
}
