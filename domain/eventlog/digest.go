package eventlog

import (
	"crypto/sha256"
	"encoding/binary"
)

// Digest returns the SHA-256 of everything about an event that survives a
// restore and a copy: stream, revision, id, types, envelope and data, each with
// its length. Where it stands (Position) is the log's own affair; its Recorded
// is in the envelope.
func (r Record) Digest() [sha256.Size]byte {
	n := 4*4 + 8 + 16 + len(r.Stream) + len(r.Type) + len(r.ContentType) + len(r.RawEnvelope) + len(r.Data)
	b := make([]byte, 0, n+4)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Revision))
	b = append(b, r.ID[:]...)
	for _, s := range []string{string(r.Stream), r.Type, r.ContentType} {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	for _, s := range [][]byte{r.RawEnvelope, r.Data} {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	return sha256.Sum256(b)
}

// A Sum is the SHA-256 over a run of events, one after the other.
type Sum [sha256.Size]byte

// Add takes the next event in.
func (s Sum) Add(r Record) Sum {
	d := r.Digest()
	return sha256.Sum256(append(s[:], d[:]...))
}
