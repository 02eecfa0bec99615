// Package memqueue fills outbox.Queue in memory: for tests, and for gateways
// whose operator prefers losing messages with the power to wearing out a card.
//
// It models a disk for tests: a commit can take time, and Cut returns what a
// power cut at that moment would leave.
package memqueue

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/twinlog/twinlog/edge/outbox"
)

// Queue is an outbox.Queue. Its zero value is not usable; call New.
type Queue struct {
	// SyncTime, if set before use, is how long each commit takes.
	SyncTime func() time.Duration
	// Capacity, if set before use, is how many payload bytes fit: a commit
	// beyond it is refused with outbox.ErrFull. 0 means no limit.
	Capacity int64

	mu       sync.Mutex // guards all below
	state    state
	pending  *state // a commit that is on its way to the disk
	previous outbox.Previous
	broken   error // set by Break and Cut
}

// state is the content between two commits. It is never changed in place.
type state struct {
	head     outbox.Head
	messages []outbox.Message // in order of Seq
}

// New returns an empty queue, which replaces previous if there was one.
func New(previous outbox.Previous) *Queue { return &Queue{previous: previous} }

// Load implements outbox.Queue.
func (q *Queue) Load(context.Context) (outbox.Head, outbox.Previous, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.state.head, q.previous, q.broken
}

// Commit implements outbox.Queue.
func (q *Queue) Commit(_ context.Context, c outbox.Change) error {
	q.mu.Lock()
	if q.broken != nil {
		defer q.mu.Unlock()
		return q.broken
	}
	next := q.state.apply(c)
	if q.Capacity > 0 && next.size() > q.Capacity {
		defer q.mu.Unlock()
		return fmt.Errorf("%d bytes, capacity %d: %w", next.size(), q.Capacity, outbox.ErrFull)
	}
	q.pending = &next
	q.mu.Unlock()
	if q.SyncTime != nil {
		time.Sleep(q.SyncTime())
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.broken != nil {
		return q.broken
	}
	q.state, q.pending = next, nil
	return nil
}

// Read implements outbox.Queue.
func (q *Queue) Read(_ context.Context, from, to uint64, limit int, maxBytes int64) ([]outbox.Message, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.broken != nil {
		return nil, q.broken
	}
	all := q.state.messages
	i := sort.Search(len(all), func(i int) bool { return all[i].Seq >= from })
	var out []outbox.Message
	for size := int64(0); i < len(all) && all[i].Seq <= to && len(out) < limit && (len(out) == 0 || size < maxBytes); i++ {
		out = append(out, all[i])
		size += int64(len(all[i].Payload))
	}
	return out, nil
}

// Cut ends the queue as a power cut does, from one moment to the next, and
// returns what is there when the power comes back: all finished commits and, if
// lucky, the one under way.
func (q *Queue) Cut(lucky bool) *Queue {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.broken = fmt.Errorf("power cut: %w", outbox.ErrClosed)
	after := &Queue{SyncTime: q.SyncTime, Capacity: q.Capacity, state: q.state, previous: q.previous}
	if lucky && q.pending != nil {
		after.state = *q.pending
	}
	return after
}

// Break makes every later call fail with err, as a dying disk does.
func (q *Queue) Break(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.broken = err
}

// Close implements io.Closer.
func (q *Queue) Close() error { return nil }

func (s state) apply(c outbox.Change) state {
	next := state{head: c.Head, messages: make([]outbox.Message, 0, len(s.messages)+len(c.Put))}
	put := map[uint64]bool{}
	for _, m := range c.Put {
		put[m.Seq] = true
	}
	for _, m := range s.messages {
		if m.Last <= c.Head.Acked || put[m.Seq] || (m.Seq >= c.Drop.From && m.Seq <= c.Drop.To) {
			continue
		}
		next.messages = append(next.messages, m)
	}
	next.messages = append(next.messages, c.Put...)
	sort.Slice(next.messages, func(i, j int) bool { return next.messages[i].Seq < next.messages[j].Seq })
	return next
}

func (s state) size() (n int64) {
	for _, m := range s.messages {
		n += int64(len(m.Payload))
	}
	return n
}
