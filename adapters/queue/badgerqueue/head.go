package badgerqueue

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"

	"github.com/twinlog/twinlog/edge/outbox"
)

// A headFile says how far the store has been, in two slots that are written in
// turn, so that a torn write leaves the other one.
type headFile struct {
	f          *os.File
	generation uint64
}

// A headSlot is what one write says.
type headSlot struct {
	generation  uint64
	incarnation string
	next, acked uint64
}

const slotSize = 64

var (
	headMagic = [4]byte{'T', 'W', 'O', 'B'}
	crc       = crc32.MakeTable(crc32.Castagnoli)
)

// openHeadFile opens or makes the file and returns its newest valid slot; the
// zero slot if it has none.
func openHeadFile(name string) (*headFile, headSlot, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, headSlot{}, err
	}
	var newest headSlot
	var b [2 * slotSize]byte
	n, _ := f.ReadAt(b[:], 0) // a short or unreadable file has fewer slots
	for i := 0; i+slotSize <= n; i += slotSize {
		if s, ok := decodeSlot(b[i : i+slotSize]); ok && s.generation >= newest.generation {
			newest = s
		}
	}
	return &headFile{f: f, generation: newest.generation}, newest, nil
}

// Write says that the store has h.
func (h *headFile) Write(head outbox.Head) error {
	h.generation++
	b := make([]byte, 0, slotSize)
	b = append(b, headMagic[:]...)
	b = append(b, version)
	b = binary.BigEndian.AppendUint64(b, h.generation)
	b = append(b, head.Incarnation...)
	b = binary.BigEndian.AppendUint64(b, head.Next)
	b = binary.BigEndian.AppendUint64(b, head.Acked)
	b = b[:slotSize-4]
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, crc))
	if _, err := h.f.WriteAt(b, int64(h.generation%2)*slotSize); err != nil {
		return fmt.Errorf("generation %d: %w", h.generation, err)
	}
	return nil
}

func decodeSlot(b []byte) (headSlot, bool) {
	body := b[:slotSize-4]
	if [4]byte(b[:4]) != headMagic || b[4] != version || binary.BigEndian.Uint32(b[slotSize-4:]) != crc32.Checksum(body, crc) {
		return headSlot{}, false
	}
	return headSlot{
		generation:  binary.BigEndian.Uint64(b[5:]),
		incarnation: string(b[13 : 13+incarnation]),
		next:        binary.BigEndian.Uint64(b[29:]),
		acked:       binary.BigEndian.Uint64(b[37:]),
	}, true
}

func (h *headFile) Sync() error  { return h.f.Sync() }
func (h *headFile) Close() error { return h.f.Close() }
