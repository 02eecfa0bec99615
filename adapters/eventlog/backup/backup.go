// Package backup writes and reads backup files of a log: its events in order,
// packed in blocks that each carry a checksum, with a SHA-256 that runs from
// file to file over all events. docs/formats/backup.md draws the bytes.
//
// A file is a stream: it is written and read from front to back, and it is
// whole when its end says so. One that was cut short can be taken up again
// behind its last whole block (Scan, Resume).
package backup

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// ErrBroken is returned for a file that is not, or not wholly, what was written.
var ErrBroken = errors.New("backup file is broken")

// ErrCut is returned for a file without its end; it is an ErrBroken.
var ErrCut = fmt.Errorf("it has no end: %w", ErrBroken)

// IDs derives the ids that need not be stored (badgerlog.Config.IDs).
type IDs func(origin string, stream eventlog.StreamID, typ string, data []byte) (eventlog.EventID, bool)

// Header is how a file begins.
type Header struct {
	Format int               `json:"format"` // 1
	Origin string            `json:"origin"` // of the log
	After  Place             `json:"after"`  // where the file before ends
	Head   eventlog.Position `json:"head"`   // of the log when the file was begun
	Made   time.Time         `json:"made"`
}

// Place is an event in the order of the log, and what the events up to it come
// to. The zero Place is before the first event.
type Place struct {
	Position eventlog.Position `json:"position"`
	Events   uint64            `json:"events"`   // up to here, in all files
	Sum      Hex               `json:"sum"`      // over them
	Recorded time.Time         `json:"recorded"` // of the event here
}

// Hex is a SHA-256 that is written in hexadecimal digits.
type Hex eventlog.Sum

// MarshalText implements encoding.TextMarshaler.
func (h Hex) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hex) UnmarshalText(b []byte) error {
	if len(b) != 2*len(h) {
		return fmt.Errorf("%d hexadecimal digits, expected %d", len(b), 2*len(h))
	}
	_, err := hex.Decode(h[:], b)
	return err
}

// Add moves a place on to the next event.
func (p Place) Add(r eventlog.Record) Place {
	return Place{r.Position, p.Events + 1, Hex(eventlog.Sum(p.Sum).Add(r)), r.Recorded}
}

const (
	magic       = "TLBK\x01"
	headerFrame = 'H'
	blockFrame  = 'B'
	endFrame    = 'E'
	// maxFrame bounds what a bad length can ask for: an event is at most 1 MB,
	// and a block ends with the event that fills it.
	maxFrame  = 8 << 20
	blockSize = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Writer writes a file.
type Writer struct {
	w      io.Writer
	ids    IDs
	origin string
	at     Place
	rows   rowWriter
	zip    *zstd.Encoder
	bytes  int64
}

// NewWriter begins a file.
func NewWriter(w io.Writer, h Header, ids IDs) (*Writer, error) {
	h.Format = 1
	out, err := resume(w, h, ids)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(w, magic); err != nil {
		return nil, err
	}
	return out, out.frame(headerFrame, text)
}

// Resume goes on with a file behind its last whole block; w stands there.
func Resume(w io.Writer, f Found, ids IDs) (*Writer, error) {
	h := f.Header
	h.After = f.Through
	return resume(w, h, ids)
}

func resume(w io.Writer, h Header, ids IDs) (*Writer, error) {
	zip, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return &Writer{w: w, ids: ids, origin: h.Origin, at: h.After, zip: zip}, nil
}

// At is the last event written.
func (w *Writer) At() Place { return w.at }

// Bytes is how much has been written.
func (w *Writer) Bytes() int64 { return w.bytes }

// Add writes the next event.
func (w *Writer) Add(r eventlog.Record) error {
	if r.Position <= w.at.Position {
		return fmt.Errorf("backup: position %v after %v", r.Position, w.at.Position)
	}
	id, ok := w.ids(w.origin, r.Stream, r.Type, r.Data)
	w.rows.add(r, ok && id == r.ID)
	w.at = w.at.Add(r)
	if len(w.rows.b) < blockSize {
		return nil
	}
	return w.Flush()
}

// Flush writes the block that is being filled.
func (w *Writer) Flush() error {
	if len(w.rows.b) == 0 {
		return nil
	}
	err := w.frame(blockFrame, w.zip.EncodeAll(w.rows.b, nil))
	w.rows.reset()
	return err
}

// Close writes the end and returns it.
func (w *Writer) Close() (Place, error) {
	if err := w.Flush(); err != nil {
		return w.at, err
	}
	text, err := json.Marshal(w.at)
	if err != nil {
		return w.at, err
	}
	return w.at, w.frame(endFrame, text)
}

func (w *Writer) frame(kind byte, payload []byte) error {
	b := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(payload)))
	b = append(b, payload...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	n, err := w.w.Write(b)
	w.bytes += int64(n)
	return err
}

// Found is what Scan has read.
type Found struct {
	Header  Header
	Through Place // the last event of the last whole block
	Offset  int64 // where that block ends
	Whole   bool  // the end is there, and right
}

// Scan reads a file and hands out its events, block by block. It checks every
// block's checksum and that the end's SHA-256 is that of the events. At an
// error Found says how far the file is good.
func Scan(r io.Reader, ids IDs, visit func(h Header, records []eventlog.Record) error) (Found, error) {
	var f Found
	in := frameReader{r: r}
	unzip, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*maxFrame))
	if err != nil {
		return f, err
	}
	defer unzip.Close()
	if err := in.begin(); err != nil {
		return f, err
	}
	payload, err := in.next(headerFrame)
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(payload, &f.Header); err != nil || f.Header.Format != 1 {
		return f, fmt.Errorf("header %.80q (format %d, expected 1): %w", payload, f.Header.Format, ErrBroken)
	}
	f.Through, f.Offset = f.Header.After, in.at
	for {
		payload, err := in.next(blockFrame, endFrame)
		if err != nil {
			return f, err
		}
		if in.kind == endFrame {
			var end Place
			if err := json.Unmarshal(payload, &end); err != nil || end.Position != f.Through.Position || end.Sum != f.Through.Sum || end.Events != f.Through.Events {
				return f, fmt.Errorf("its end says %s, its events come to %d with sum %x: %w", payload, f.Through.Events, f.Through.Sum, ErrBroken)
			}
			f.Whole = true
			return f, nil
		}
		plain, err := unzip.DecodeAll(payload, nil)
		if err != nil {
			return f, fmt.Errorf("block at byte %d: %w: %w", f.Offset, err, ErrBroken)
		}
		records, err := readRows(plain, f.Header.Origin, ids)
		if err != nil {
			return f, fmt.Errorf("block at byte %d: %w", f.Offset, err)
		}
		through := f.Through
		for _, r := range records {
			if r.Position <= through.Position {
				return f, fmt.Errorf("position %v after %v: %w", r.Position, through.Position, ErrBroken)
			}
			through = through.Add(r)
		}
		if err := visit(f.Header, records); err != nil {
			return f, err
		}
		f.Through, f.Offset = through, in.at
	}
}

// frameReader reads frames and counts bytes.
type frameReader struct {
	r    io.Reader
	at   int64
	kind byte
}

func (f *frameReader) begin() error {
	b := make([]byte, len(magic))
	if _, err := io.ReadFull(f.r, b); err != nil || string(b) != magic {
		return fmt.Errorf("it begins with %q, expected %q: %w", b, magic, ErrBroken)
	}
	f.at = int64(len(magic))
	return nil
}

func (f *frameReader) next(kinds ...byte) ([]byte, error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(f.r, head); err != nil {
		return nil, f.cut(err)
	}
	n := binary.BigEndian.Uint32(head[1:])
	if f.kind = head[0]; !bytes.Contains(kinds, head[:1]) || n > maxFrame {
		return nil, fmt.Errorf("frame %q of %d bytes at byte %d: %w", f.kind, n, f.at, ErrBroken)
	}
	b := make([]byte, n+crc32.Size)
	if _, err := io.ReadFull(f.r, b); err != nil {
		return nil, f.cut(err)
	}
	payload := b[:n]
	if got, want := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, payload), binary.BigEndian.Uint32(b[n:]); got != want {
		return nil, fmt.Errorf("frame at byte %d has checksum %08x, expected %08x: %w", f.at, got, want, ErrBroken)
	}
	f.at += int64(len(head) + len(b))
	return payload, nil
}

func (f *frameReader) cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("after byte %d %w", f.at, ErrCut)
	}
	return fmt.Errorf("after byte %d: %w", f.at, err)
}

// maxEnd is more than an end takes.
const maxEnd = 1024

// Ends reads how a file begins and ends, and not what is between.
func Ends(r io.ReadSeeker) (h Header, end Place, err error) {
	in := frameReader{r: r}
	if err := in.begin(); err != nil {
		return h, end, err
	}
	payload, err := in.next(headerFrame)
	if err != nil {
		return h, end, err
	}
	if err := json.Unmarshal(payload, &h); err != nil || h.Format != 1 {
		return h, end, fmt.Errorf("header %.80q (format %d, expected 1): %w", payload, h.Format, ErrBroken)
	}
	size, err := r.Seek(0, io.SeekEnd)
	if err != nil {
		return h, end, err
	}
	if _, err := r.Seek(max(in.at, size-maxEnd), io.SeekStart); err != nil {
		return h, end, err
	}
	tail, err := io.ReadAll(r)
	if err != nil {
		return h, end, err
	}
	for i := range tail { // the one frame that ends where the file does
		f := frameReader{r: bytes.NewReader(tail[i:])}
		payload, err := f.next(endFrame)
		if err == nil && int(f.at) == len(tail)-i && json.Unmarshal(payload, &end) == nil {
			return h, end, nil
		}
	}
	return h, end, ErrCut
}
