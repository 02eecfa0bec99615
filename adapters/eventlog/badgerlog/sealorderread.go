package badgerlog

import (
	"slices"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// decodeOrder reads an order part's body; false if it is none.
func decodeOrder(body []byte, last eventlog.Position, c *codec) (*sealedOrder, bool) {
	if len(body) == 0 || body[0] > 1 {
		return nil, false
	}
	packed, body := body[0] == 1, body[1:]
	if packed {
		var err error
		if body, err = unpack(body); err != nil {
			return nil, false
		}
	}
	r := &reader{b: body}
	o := &sealedOrder{last: last}
	o.first, o.previous, o.lastBlock = eventlog.Position(r.uvarint()), eventlog.Position(r.uvarint()), eventlog.Position(r.uvarint())
	n := r.uvarint()
	if r.bad || o.first == 0 || o.previous >= o.first || o.lastBlock < o.first || o.lastBlock > last ||
		n == 0 || n > uint64(last-o.first)+1 || n > maxPartRows {
		return nil, false
	}
	rows := int(n)
	streams := count(r, 2)
	for _, s := range readFront(r, streams) {
		o.streams = append(o.streams, eventlog.StreamID(s))
	}
	for _, x := range c.readInts(r, streams) {
		o.firstRev = append(o.firstRev, eventlog.Revision(x))
	}
	groups := r.uvarint()
	if groups > n {
		return nil, false
	}
	o.groupPart = c.readInts(r, int(groups))
	if r.bad {
		return nil, false
	}
	if o.readTurns(r, c, rows, int(groups)); r.bad {
		return nil, false
	}
	if !o.place(readSkips(r, rows), readSkips(r, rows)) {
		return nil, false
	}
	o.readCommits(r, c, rows)
	o.readNames(r, c, rows)
	if r.bad || len(r.b) > 0 || !o.valid() {
		return nil, false
	}
	return o, true
}

// place gives rows their positions and revisions.
func (o *sealedOrder) place(positions, revisions []skip) bool {
	rows := len(o.group)
	o.offset, o.rev = make([]uint32, rows), make([]uint32, rows)
	next := make([]uint32, len(o.streams))
	at := uint64(0)
	for i, g := range o.group {
		if len(positions) > 0 && positions[0].row == i {
			at += uint64(positions[0].n)
			positions = positions[1:]
		}
		s := o.groupStream[g]
		if len(revisions) > 0 && revisions[0].row == i {
			next[s] += uint32(revisions[0].n)
			revisions = revisions[1:]
		}
		if at > uint64(o.last-o.first) {
			return false
		}
		o.offset[i], o.rev[i] = uint32(at), next[s]
		at++
		next[s]++
	}
	nth := map[int64]int32{}
	for _, p := range o.groupPart {
		o.groupNth = append(o.groupNth, nth[p])
		nth[p]++
	}
	return len(positions) == 0 && len(revisions) == 0
}

func (o *sealedOrder) readNames(r *reader, c *codec, rows int) {
	o.types = make([][2]string, count(r, 2))
	for i := range o.types {
		for k := range 2 {
			o.types[i][k] = string(r.bytes(uint64(r.byte())))
		}
	}
	o.kind = c.readInts(r, rows)
	for range count(r, 3) {
		text := r.bytes(r.uvarint())
		clk, between := r.uvarint(), r.uvarint()
		if clk == uint64(len(text))+1 && between == 0 {
			o.envelopes = append(o.envelopes, eventlog.Fixed(text))
			continue
		}
		if clk > uint64(len(text)) || between > uint64(len(text))-clk {
			r.fail()
			return
		}
		o.envelopes = append(o.envelopes, eventlog.Stencil{Text: text, Clk: int(clk), Rec: int(clk + between)})
	}
	o.envelope = c.readInts(r, rows)
	at := uint64(0)
	n := count(r, 17)
	o.ids = make(map[int][]byte, n)
	for range n {
		if at += r.uvarint(); at >= uint64(rows) {
			r.fail()
			return
		}
		o.ids[int(at)] = r.bytes(16)
	}
}

// valid checks what rows refer to.
func (o *sealedOrder) valid() bool {
	rows := len(o.group)
	if len(o.kind) != rows || len(o.envelope) != rows || len(o.commits) == 0 {
		return false
	}
	for i := range rows {
		if o.kind[i] < 0 || o.kind[i] >= int64(len(o.types)) || o.envelope[i] < 0 || o.envelope[i] >= int64(len(o.envelopes)) {
			return false
		}
	}
	for _, p := range o.groupPart {
		if p < 1 || p > int64(rows) {
			return false
		}
	}
	end := o.commitLast[len(o.commitLast)-1]
	return end == int64(o.lastBlock-o.first) && end >= int64(o.offset[rows-1])
}

// commitOf returns the commit that holds row i.
func (o *sealedOrder) commitOf(i int) int {
	k, _ := slices.BinarySearch(o.commitLast, int64(o.offset[i]))
	return k
}

// position returns the position of row i.
func (o *sealedOrder) position(i int) eventlog.Position {
	return o.first + eventlog.Position(o.offset[i])
}

// find returns the first row at or after a position.
func (o *sealedOrder) find(pos eventlog.Position) int {
	if pos <= o.first {
		return 0
	}
	i, _ := slices.BinarySearchFunc(o.offset, uint64(pos-o.first), func(a uint32, b uint64) int {
		switch {
		case uint64(a) < b:
			return -1
		case uint64(a) > b:
			return 1
		}
		return 0
	})
	return i
}
