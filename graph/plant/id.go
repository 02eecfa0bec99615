package plant

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/twinlog/twinlog/graph/fault"
)

// Kind is what a global id names; its value is the first byte of the id.
type Kind byte

// The kinds of node.
const (
	AssetID  Kind = 'a'
	TagID    Kind = 't'
	DeviceID Kind = 'd'
	EventID  Kind = 'e'
	AlarmID  Kind = 'l'
)

var kindNames = map[Kind]string{AssetID: "asset", TagID: "tag", DeviceID: "device", EventID: "event", AlarmID: "alarm"}

// GlobalID returns the opaque id of a thing: kind, length of the origin, origin
// and the thing's own id, in base64url. The origin is in it so that ids of two
// logs never meet in a client's cache.
func GlobalID(kind Kind, origin, id string) string {
	b := binary.AppendUvarint([]byte{byte(kind)}, uint64(len(origin)))
	return base64.RawURLEncoding.EncodeToString(append(append(b, origin...), id...))
}

// ParseGlobalID is the inverse of GlobalID.
func ParseGlobalID(s string) (kind Kind, origin, id string, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) < 2 {
		return 0, "", "", false
	}
	n, size := binary.Uvarint(b[1:])
	if size <= 0 || n > uint64(len(b)-1-size) || kindNames[Kind(b[0])] == "" {
		return 0, "", "", false
	}
	rest := b[1+size:]
	return Kind(b[0]), string(rest[:n]), string(rest[n:]), true
}

// ID reads a global id of one kind, given at path.
func (r *Reader) ID(kind Kind, path, s string) (string, error) {
	got, origin, id, ok := ParseGlobalID(s)
	switch {
	case !ok || got != kind:
		return "", fault.Bad(path, s, "the id of an "+kindNames[kind]+", as this API gave it")
	case origin != r.Log.Origin():
		return "", fmt.Errorf("%s %q belongs to the log %q, this is %q: %w", kindNames[kind], id, origin, r.Log.Origin(), fault.ErrNotFound)
	}
	return id, nil
}

func (r *Reader) global(kind Kind, id string) string { return GlobalID(kind, r.Log.Origin(), id) }
