package badgerlog

// Most rows are foretold: devices send in turn, so the next row is of the
// stream (and within it of the group) that has been silent longest. A row
// costs its place in that queue.

const (
	orderSearch = 62 // places searched in the queue
	orderNew    = 62 // one that has not been seen
	orderSame   = 63 // the one that came last
	orderFirst  = 64 // and its number: beyond the search
)

// turns is the queue of things that take turns, the longest silent in front.
type turns struct {
	next, prev []int32
	head, tail int32
}

func newTurns() *turns { return &turns{head: -1, tail: -1} }

// symbolOf says how i is told, and moves it to the end of the queue.
func (q *turns) symbolOf(i int32) int64 {
	if int(i) == len(q.next) {
		q.enter()
		return orderNew
	}
	if i == q.tail {
		return orderSame
	}
	at := q.head
	for n := int64(0); n < orderSearch && at >= 0; n++ {
		if at == i {
			q.toEnd(i)
			return n
		}
		at = q.next[at]
	}
	q.toEnd(i)
	return orderFirst + int64(i)
}

// of is the inverse of symbolOf; -1 for what no writer tells.
func (q *turns) of(symbol int64) int32 {
	switch {
	case symbol < 0:
		return -1
	case symbol == orderNew:
		return q.enter()
	case symbol == orderSame:
		return q.tail
	case symbol >= orderFirst:
		if symbol-orderFirst >= int64(len(q.next)) {
			return -1
		}
		i := int32(symbol - orderFirst)
		q.toEnd(i)
		return i
	}
	at := q.head
	for ; symbol > 0 && at >= 0; symbol-- {
		at = q.next[at]
	}
	if at >= 0 {
		q.toEnd(at)
	}
	return at
}

func (q *turns) enter() int32 {
	i := int32(len(q.next))
	q.next, q.prev = append(q.next, -1), append(q.prev, q.tail)
	if q.tail >= 0 {
		q.next[q.tail] = i
	} else {
		q.head = i
	}
	q.tail = i
	return i
}

func (q *turns) toEnd(i int32) {
	if i == q.tail {
		return
	}
	if p := q.prev[i]; p >= 0 {
		q.next[p] = q.next[i]
	} else {
		q.head = q.next[i]
	}
	q.prev[q.next[i]] = q.prev[i]
	q.prev[i], q.next[i] = q.tail, -1
	q.next[q.tail] = i
	q.tail = i
}
