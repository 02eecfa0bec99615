package outbox

import (
	"slices"
	"sync"
)

// A Budget is how many bytes the lanes of one gateway may hold together, and
// what happens when they would hold more.
type Budget struct {
	bytes int64
	stop  bool

	mu    sync.Mutex // guards all below, briefly; no lane's mu is taken under it
	lanes []*Outbox  // in the order in which they drop
	held  map[*Outbox]int64
}

// NewBudget returns a budget of so many bytes. With stop, new messages are
// refused when it is reached; else the oldest of the lane with the lowest rank
// are dropped.
func NewBudget(bytes int64, stop bool) *Budget {
	return &Budget{bytes: bytes, stop: stop, held: map[*Outbox]int64{}}
}

// Fresh returns a budget like this one, without lanes.
func (b *Budget) Fresh() *Budget { return NewBudget(b.bytes, b.stop) }

// join adds a lane.
func (b *Budget) join(o *Outbox) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lanes = append(b.lanes, o)
	slices.SortStableFunc(b.lanes, func(x, y *Outbox) int { return x.cfg.Rank - y.cfg.Rank })
	b.held[o] = o.head.Bytes
}

// leave removes a lane, when it is closed.
func (b *Budget) leave(o *Outbox) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lanes = slices.DeleteFunc(b.lanes, func(x *Outbox) bool { return x == o })
	delete(b.held, o)
}

// holds notes what a lane holds after a commit.
func (b *Budget) holds(o *Outbox, bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held[o] = bytes
}

// beyond is by how much the lanes are over the budget if o holds so many bytes.
func (b *Budget) beyond(o *Outbox, bytes int64) (over int64, lanes []*Outbox) {
	b.mu.Lock()
	defer b.mu.Unlock()
	over = bytes - b.bytes
	for lane, held := range b.held {
		if lane != o {
			over += held
		}
	}
	return over, slices.Clone(b.lanes)
}

// stops reports whether o must refuse messages, with which it would hold so many
// bytes and theirs.
func (b *Budget) stops(o *Outbox, bytes int64, messages []Message) bool {
	if !b.stop {
		return false
	}
	for _, m := range messages {
		bytes += m.size()
	}
	over, _ := b.beyond(o, bytes)
	return over > 0
}

// over is how many bytes o must drop when it would hold bytes. If it is another
// lane's turn, that one is told, and o need not: the budget is exceeded until
// the other has done so.
func (b *Budget) over(o *Outbox, bytes int64) int64 {
	over, lanes := b.beyond(o, bytes)
	if over <= 0 || b.stop {
		return 0
	}
	for _, lane := range lanes {
		if lane == o {
			break
		}
		if lane.droppable() {
			select {
			case lane.room <- struct{}{}:
			default: // it has been told
			}
			return 0
		}
	}
	// So that a full outbox drops now and then, and not at every Put.
	return over + b.bytes/64
}

// droppable reports whether a lane holds messages that no link may have taken.
// A few bytes are left to it: a telemetry.lost takes as many.
func (o *Outbox) droppable() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed == nil && o.head.Next-1 > max(o.taken, 1) && o.head.Bytes-o.answers.bytes > 4*markerRoom
}
