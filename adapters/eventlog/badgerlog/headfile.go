package badgerlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"sync"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// The HEAD file says how far the log was acknowledged. It has two slots in
// pages of their own, written in turn, so that a torn write spoils only one.
const (
	headMagic   = "TLHD"
	headSlot    = 4096
	headLen     = 4 + 8 + 8 + hashLen + 8
	headSyncing = time.Second
)

type head struct {
	seq      uint64
	last     eventlog.Position
	hash     chainHash // of the commit that ends at last
	recorded time.Time
}

type headFile struct {
	file *os.File

	// mu guards dirty between the committer and the syncing goroutine.
	mu    sync.Mutex
	seq   uint64 // the committer's
	dirty bool
}

// createHead makes the HEAD of an empty log, durable.
func createHead(path string) (*headFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create HEAD: %w", err)
	}
	h := &headFile{file: f}
	if err := h.write(head{}); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return h, h.sync()
}

// openHead reads the newer of the two slots.
func openHead(path string) (*headFile, head, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, head{}, fmt.Errorf("HEAD is missing, so nobody can say where the log should end: %w", eventlog.ErrDamaged)
	} else if err != nil {
		return nil, head{}, fmt.Errorf("open HEAD: %w", err)
	}
	var best head
	for slot := range int64(2) {
		b := make([]byte, headLen+crc32.Size)
		if _, err := f.ReadAt(b, slot*headSlot); err != nil {
			continue // a short file has no such slot
		}
		if h, ok := parseHead(b); ok && h.seq > best.seq {
			best = h
		}
	}
	if best.seq == 0 {
		return nil, head{}, errors.Join(fmt.Errorf("HEAD has no valid slot: %w", eventlog.ErrDamaged), f.Close())
	}
	return &headFile{file: f, seq: best.seq}, best, nil
}

func parseHead(b []byte) (head, bool) {
	if string(b[:4]) != headMagic || crc32.Checksum(b[:headLen], castagnoli) != binary.BigEndian.Uint32(b[headLen:]) {
		return head{}, false
	}
	h := head{
		seq:  binary.BigEndian.Uint64(b[4:]),
		last: eventlog.Position(binary.BigEndian.Uint64(b[12:])),
		hash: chainHash(b[20 : 20+hashLen]),
	}
	if us := int64(binary.BigEndian.Uint64(b[20+hashLen:])); us != 0 {
		h.recorded = time.UnixMicro(us).UTC()
	}
	return h, true
}

// write puts h into the older slot. It is not synced here: a HEAD that is
// older than the log only proves less.
func (f *headFile) write(h head) error {
	f.seq++
	b := append(make([]byte, 0, headLen+crc32.Size), headMagic...)
	b = binary.BigEndian.AppendUint64(b, f.seq)
	b = binary.BigEndian.AppendUint64(b, uint64(h.last))
	b = append(b, h.hash[:]...)
	var us int64
	if !h.recorded.IsZero() {
		us = h.recorded.UnixMicro()
	}
	b = binary.BigEndian.AppendUint64(b, uint64(us))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	if _, err := f.file.WriteAt(b, int64(f.seq%2)*headSlot); err != nil {
		return fmt.Errorf("write HEAD at %v: %w", h.last, err)
	}
	f.mu.Lock()
	f.dirty = true
	f.mu.Unlock()
	return nil
}

// sync makes what was written durable.
func (f *headFile) sync() error {
	f.mu.Lock()
	dirty := f.dirty
	f.dirty = false
	f.mu.Unlock()
	if !dirty {
		return nil
	}
	return wrap(f.file.Sync(), "sync HEAD")
}

func (f *headFile) close() error { return errors.Join(f.sync(), wrap(f.file.Close(), "close HEAD")) }
