package badgerlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// A run is n events of one stream that follow each other both in the stream
// and in the log. Indexes are lists of runs, so that a batch costs as much as
// one event. In category indexes, where streams mix, rev only counts the entry's events.
type run struct {
	rev eventlog.Revision
	pos eventlog.Position
	n   uint64
}

func (r run) lastRev() eventlog.Revision { return r.rev + eventlog.Revision(r.n) - 1 }

func (r run) lastPos() eventlog.Position { return r.pos + eventlog.Position(r.n) - 1 }

// addRun appends the event (rev, pos) to a list, growing the last run if it follows.
func addRun(list []run, rev eventlog.Revision, pos eventlog.Position) []run {
	if n := len(list); n > 0 {
		if l := &list[n-1]; l.lastRev()+1 == rev && l.lastPos()+1 == pos {
			l.n++
			return list
		}
	}
	return append(list, run{rev, pos, 1})
}

// findRun returns the run of a list that holds revision rev.
func findRun(list []run, rev eventlog.Revision) (run, bool) {
	i, _ := slices.BinarySearchFunc(list, rev, func(r run, rev eventlog.Revision) int {
		if r.lastRev() < rev {
			return -1
		}
		return 1
	})
	if i == len(list) || list[i].rev > rev {
		return run{}, false
	}
	return list[i], true
}

const (
	manyFlag = 1 // a count follows
	skipFlag = 2 // a gap in revisions follows
)

// appendRuns writes a list: revision and position of the first event, then for
// each run uvarint(gap in positions<<2 | flags), the count less one, the gap in
// revisions. An event among a thousand other streams' costs two bytes.
func appendRuns(dst []byte, list []run) []byte {
	dst = binary.AppendUvarint(dst, uint64(list[0].rev))
	dst = binary.AppendUvarint(dst, uint64(list[0].pos))
	rev, pos := list[0].rev, list[0].pos
	for _, r := range list {
		head := uint64(r.pos-pos) << 2
		if r.n > 1 {
			head |= manyFlag
		}
		if r.rev != rev {
			head |= skipFlag
		}
		dst = binary.AppendUvarint(dst, head)
		if r.n > 1 {
			dst = binary.AppendUvarint(dst, r.n-1)
		}
		if r.rev != rev {
			dst = binary.AppendUvarint(dst, uint64(r.rev-rev))
		}
		rev, pos = r.lastRev()+1, r.lastPos()+1
	}
	return dst
}

var errRuns = errors.New("index entry is not a list of runs")

// parseRuns reads what appendRuns wrote.
func parseRuns(b []byte) ([]run, error) {
	r := reader{b: b}
	rev, pos := eventlog.Revision(r.uvarint()), eventlog.Position(r.uvarint())
	var list []run
	for len(r.b) > 0 && !r.bad {
		head := r.uvarint()
		n := uint64(1)
		if head&manyFlag != 0 {
			n += r.uvarint()
		}
		if head&skipFlag != 0 {
			rev += eventlog.Revision(r.uvarint())
		}
		pos += eventlog.Position(head >> 2)
		list = append(list, run{rev, pos, n})
		rev, pos = rev+eventlog.Revision(n), pos+eventlog.Position(n)
	}
	if r.bad || len(list) == 0 {
		return nil, fmt.Errorf("%d bytes: %w", len(b), errRuns)
	}
	return list, nil
}

// reader takes values from the front of b; bad is set, for good, when b is too short.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 { // nearly always
		v := r.b[0]
		r.b = r.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// bytes takes n bytes, without copying.
func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) fail() { r.b, r.bad = nil, true }
