// Package memqueue fills outbox.Queue in memory: for tests, and for gateways
// whose operator prefers losing messages with the power to wearing out a card.
//
// It models a disk for tests: a commit can take time, and Cut returns what a
// power cut at that moment would leave.
package memqueue

import (
	"context"
	"fmt"
	"slices"
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
	pending  *outbox.Change // a commit that is on its way to the disk
	previous outbox.Previous
	broken   error // set by Break and Cut
}

// state is the content between two commits.
type state struct {
	head     outbox.Head
	messages []outbox.Message // in order of Seq
	refused  []outbox.Refusal // in order of Seq
	size     int64            // of the messages' payloads
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
	if size := q.state.sizeAfter(c); q.Capacity > 0 && size > q.Capacity {
		defer q.mu.Unlock()
		return fmt.Errorf("%d bytes, capacity %d: %w", size, q.Capacity, outbox.ErrFull)
	}
	q.pending = &c
	q.mu.Unlock()
	if q.SyncTime != nil {
		time.Sleep(q.SyncTime())
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.broken != nil {
		return q.broken
	}
	q.state.apply(c)
	q.pending = nil
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

// Refused implements outbox.Queue.
func (q *Queue) Refused(_ context.Context, after uint64, limit int) (out []outbox.Refusal, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range q.state.refused {
		if r.Seq > after && len(out) < limit {
			out = append(out, r)
		}
	}
	return out, q.broken
}

// Cut ends the queue as a power cut does, from one moment to the next, and
// returns what is there when the power comes back: all finished commits and, if
// lucky, the one under way.
func (q *Queue) Cut(lucky bool) *Queue {
	after := q.Copy()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.broken = fmt.Errorf("power cut: %w", outbox.ErrClosed)
	if lucky && q.pending != nil {
		after.state.apply(*q.pending)
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

// Copy returns a queue with what this one has committed: a backup of its files.
func (q *Queue) Copy() *Queue {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := &Queue{SyncTime: q.SyncTime, Capacity: q.Capacity, state: q.state, previous: q.previous}
	c.state.messages, c.state.refused = slices.Clone(q.state.messages), slices.Clone(q.state.refused)
	return c
}

// span is where the messages with numbers in [from, to] stand.
func (s *state) span(from, to uint64) (i, j int) {
	i = sort.Search(len(s.messages), func(i int) bool { return s.messages[i].Seq >= from })
	j = i + sort.Search(len(s.messages)-i, func(j int) bool { return s.messages[i+j].Seq > to })
	return i, j
}

func (s *state) apply(c outbox.Change) {
	s.size = s.sizeAfter(c)
	s.head = c.Head
	if c.Drop.To > 0 {
		i, j := s.span(c.Drop.From, c.Drop.To)
		s.messages = slices.Delete(s.messages, i, j)
	}
	for _, m := range c.Put {
		i, j := s.span(m.Seq, m.Seq)
		s.messages = slices.Replace(s.messages, i, j, m)
	}
	_, j := s.span(0, c.Head.Acked)
	for j > 0 && s.messages[j-1].Last > c.Head.Acked {
		j--
	}
	s.messages = s.messages[j:]
	s.refused = append(s.refused, c.Refused...)
	s.refused = slices.DeleteFunc(s.refused, func(r outbox.Refusal) bool { return slices.Contains(c.Release, r.Seq) })
}

// sizeAfter is the size after a change.
func (s *state) sizeAfter(c outbox.Change) int64 {
	size := s.size
	forget := func(from, to uint64) {
		i, j := s.span(from, to)
		for _, m := range s.messages[i:j] {
			size -= int64(len(m.Payload))
		}
	}
	if c.Drop.To > 0 {
		forget(c.Drop.From, c.Drop.To)
	}
	for _, m := range c.Put {
		if m.Seq < c.Drop.From || m.Seq > c.Drop.To {
			forget(m.Seq, m.Seq)
		}
		size += int64(len(m.Payload))
	}
	for _, m := range s.messages {
		if m.Last > c.Head.Acked {
			break
		}
		if m.Seq < c.Drop.From || m.Seq > c.Drop.To {
			size -= int64(len(m.Payload))
		}
	}
	return size
}
