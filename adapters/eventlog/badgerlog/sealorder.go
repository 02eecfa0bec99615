package badgerlog

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// The order part of a sealed window says all that its rows' data do not: where
// each row is in the log, its stream, revision, envelope, type and id, and in
// which part and group its data are.

// sealedOrder is the order part, decoded or about to be written. Rows are in
// the order of positions.
type sealedOrder struct {
	first, last eventlog.Position
	previous    eventlog.Position // last position of the telemetry block before
	lastBlock   eventlog.Position // and of the last one within

	streams  []eventlog.StreamID
	firstRev []eventlog.Revision // of each stream here

	groupStream []int64
	groupPart   []int64
	groupRows   []int64 // counted
	groupNth    []int32 // place of the group in its part; derived

	group  []int32  // of each row
	offset []uint32 // position less first
	rev    []uint32 // revision less its stream's first
	within []uint32 // place of the row in its group; derived

	commitLast []int64 // positions less first, of commits with telemetry
	commits    []sealedCommit

	types     [][2]string
	kind      []int64 // of each row
	envelopes []eventlog.Stencil
	envelope  []int64 // of each row
	ids       map[int][]byte
}

type sealedCommit struct {
	count    uint32
	recorded time.Time
	stamp    eventlog.Stamp
}

// append writes the order part's body.
func (o *sealedOrder) append(dst []byte, c *codec) []byte {
	b := binary.AppendUvarint(nil, uint64(o.first))
	b = binary.AppendUvarint(b, uint64(o.previous))
	b = binary.AppendUvarint(b, uint64(o.lastBlock))
	b = binary.AppendUvarint(b, uint64(len(o.group)))
	b = binary.AppendUvarint(b, uint64(len(o.streams)))
	b = appendFront(b, o.streams)
	v := make([]int64, 0, len(o.group))
	for _, r := range o.firstRev {
		v = append(v, int64(r))
	}
	b = c.ints.Append(b, v)
	b = binary.AppendUvarint(b, uint64(len(o.groupStream)))
	b = c.ints.Append(b, o.groupPart)
	b = o.appendTurns(b, c)
	b = appendSkips(b, o.skippedPositions())
	b = appendSkips(b, o.skippedRevisions())
	b = o.appendCommits(b, c)
	b = binary.AppendUvarint(b, uint64(len(o.types)))
	for _, t := range o.types {
		for _, s := range t {
			b = append(append(b, byte(len(s))), s...)
		}
	}
	b = c.ints.Append(b, o.kind)
	b = binary.AppendUvarint(b, uint64(len(o.envelopes)))
	for _, s := range o.envelopes {
		b = append(binary.AppendUvarint(b, uint64(len(s.Text))), s.Text...)
		b = binary.AppendUvarint(b, uint64(s.Clk))
		b = binary.AppendUvarint(b, uint64(s.Rec-s.Clk))
	}
	b = c.ints.Append(b, o.envelope)
	rows := make([]int, 0, len(o.ids))
	for i := range o.ids {
		rows = append(rows, i)
	}
	slices.Sort(rows)
	b = binary.AppendUvarint(b, uint64(len(rows)))
	at := 0
	for _, i := range rows {
		b = append(binary.AppendUvarint(b, uint64(i-at)), o.ids[i]...)
		at = i
	}
	if packed := s2.EncodeSnappy(nil, b); len(packed) < len(b)*7/8 {
		return append(append(dst, 1), packed...)
	}
	return append(append(dst, 0), b...)
}

// appendTurns writes for each row its stream's turn and, within the stream,
// its group's.
func (o *sealedOrder) appendTurns(b []byte, c *codec) []byte {
	streams := newTurns()
	groups := make([]*turns, len(o.streams))
	local := make([]int32, len(o.groupStream)) // a group's number within its stream
	seen := make([]int32, len(o.streams))
	for g, s := range o.groupStream {
		local[g] = seen[s]
		seen[s]++
	}
	for i := range groups {
		groups[i] = newTurns()
	}
	bySt, byGr := make([]int64, len(o.group)), make([]int64, len(o.group))
	for i, g := range o.group {
		s := o.groupStream[g]
		bySt[i] = streams.symbolOf(int32(s))
		byGr[i] = groups[s].symbolOf(local[g])
	}
	return c.appendZeroed(c.appendZeroed(b, bySt), byGr)
}

// readTurns is the inverse: groups are numbered in the order in which they are
// first met.
func (o *sealedOrder) readTurns(r *reader, c *codec, rows, numGroups int) {
	bySt, byGr := c.readZeroed(r, rows), c.readZeroed(r, rows)
	if r.bad || len(bySt) != rows || len(byGr) != rows {
		r.fail()
		return
	}
	streams := newTurns()
	groups := make([]*turns, len(o.streams))
	numbers := make([][]int32, len(o.streams))
	o.group, o.within = make([]int32, rows), make([]uint32, rows)
	o.groupStream, o.groupRows = make([]int64, 0, numGroups), make([]int64, 0, numGroups)
	for i := range rows {
		s := streams.of(bySt[i])
		if s < 0 || int(s) >= len(groups) {
			r.fail()
			return
		}
		if groups[s] == nil {
			groups[s] = newTurns()
		}
		l := groups[s].of(byGr[i])
		if l < 0 {
			r.fail()
			return
		}
		if int(l) == len(numbers[s]) {
			numbers[s] = append(numbers[s], int32(len(o.groupStream)))
			o.groupStream, o.groupRows = append(o.groupStream, int64(s)), append(o.groupRows, 0)
		}
		g := numbers[s][l]
		o.group[i], o.within[i] = g, uint32(o.groupRows[g])
		o.groupRows[g]++
	}
	if len(o.groupStream) != numGroups || len(streams.next) != len(o.streams) {
		r.fail()
	}
}

// A skip is a row before which n numbers are left out.
type skip struct{ row, n int }

func (o *sealedOrder) skippedPositions() (s []skip) {
	next := uint32(0)
	for i, p := range o.offset {
		if p != next {
			s = append(s, skip{i, int(p - next)})
		}
		next = p + 1
	}
	return s
}

func (o *sealedOrder) skippedRevisions() (s []skip) {
	next := make([]uint32, len(o.streams))
	for i, r := range o.rev {
		st := o.groupStream[o.group[i]]
		if r != next[st] {
			s = append(s, skip{i, int(r - next[st])})
		}
		next[st] = r + 1
	}
	return s
}

func appendSkips(b []byte, skips []skip) []byte {
	b = binary.AppendUvarint(b, uint64(len(skips)))
	at := 0
	for _, s := range skips {
		b = binary.AppendUvarint(b, uint64(s.row-at))
		b = binary.AppendUvarint(b, uint64(s.n))
		at = s.row
	}
	return b
}

func readSkips(r *reader, rows int) []skip {
	n := count(r, 2)
	s := make([]skip, 0, n)
	at := uint64(0)
	for range n {
		at += r.uvarint()
		k := r.uvarint()
		if at >= uint64(rows) || k > 1<<31 {
			r.fail()
			return nil
		}
		s = append(s, skip{int(at), int(k)})
	}
	return s
}

// appendCommits writes the commits: where they end, how many positions they
// have and what their events' envelopes share.
func (o *sealedOrder) appendCommits(b []byte, c *codec) []byte {
	counts, times := make([]int64, len(o.commits)), make([]int64, len(o.commits))
	clocks, recs := make([]string, len(o.commits)), make([]string, len(o.commits))
	derived := byte(1)
	for i, k := range o.commits {
		counts[i], times[i] = int64(k.count), k.recorded.UnixMicro()
		clocks[i], recs[i] = string(k.stamp.Clk), string(k.stamp.Rec)
		if string(eventlog.NewStamp(k.recorded, eventlog.ClockState{}).Rec) != recs[i] {
			derived = 0
		}
	}
	b = binary.AppendUvarint(b, uint64(len(o.commits)))
	b = c.ints.Append(b, o.commitLast)
	b = c.ints.Append(b, counts)
	b = c.ints.Append(b, times)
	b = c.strings.Append(b, clocks)
	b = append(b, derived)
	if derived == 0 {
		b = c.strings.Append(b, recs)
	}
	return b
}

func (o *sealedOrder) readCommits(r *reader, c *codec, rows int) {
	n := r.uvarint()
	if n > uint64(rows) {
		r.fail()
		return
	}
	o.commitLast = c.readInts(r, int(n))
	counts, times := c.readInts(r, int(n)), c.readInts(r, int(n))
	clocks := c.readTexts(r, int(n))
	var recs []string
	if r.byte() == 0 {
		recs = c.readTexts(r, int(n))
	}
	if r.bad {
		return
	}
	o.commits = make([]sealedCommit, n)
	for i := range o.commits {
		k := &o.commits[i]
		if o.commitLast[i] < 0 || i > 0 && o.commitLast[i] <= o.commitLast[i-1] || counts[i] <= 0 || counts[i] > o.commitLast[i]+1 {
			r.fail()
			return
		}
		k.count, k.recorded = uint32(counts[i]), time.UnixMicro(times[i]).UTC()
		if recs == nil {
			k.stamp.Rec = eventlog.NewStamp(k.recorded, eventlog.ClockState{}).Rec
		} else {
			k.stamp.Rec = []byte(recs[i])
		}
		k.stamp.Clk = []byte(clocks[i])
	}
}

func (c *codec) readTexts(r *reader, n int) []string {
	if n == 0 || r.bad {
		return nil
	}
	v := make([]string, n)
	rest, err := c.strings.Decode(r.b, v)
	if err != nil {
		r.fail()
		return nil
	}
	r.b = rest
	return v
}
