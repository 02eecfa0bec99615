package memqueue_test

import (
	"errors"
	"testing"

	"github.com/twinlog/twinlog/adapters/queue/memqueue"
	"github.com/twinlog/twinlog/edge/outbox"
	"github.com/twinlog/twinlog/edge/outbox/queuetest"
)

// memory is a store whose lives end with a power cut.
type memory struct{ q *memqueue.Queue }

func (m *memory) Open(*testing.T) outbox.Queue {
	if m.q == nil {
		m.q = memqueue.New(outbox.Previous{})
	} else {
		m.q = m.q.Cut(false)
	}
	return m.q
}

func TestQueue(t *testing.T) {
	queuetest.Run(t, func(*testing.T) queuetest.Store { return &memory{} })
}

func TestFullRefusesAndChangesNothing(t *testing.T) {
	q := memqueue.New(outbox.Previous{})
	q.Capacity = 100
	change := outbox.Change{Put: []outbox.Message{queuetest.Message(1, 101)}, Head: outbox.Head{Next: 2}}
	if err := q.Commit(t.Context(), change); !errors.Is(err, outbox.ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	if head, _, _ := q.Load(t.Context()); head.Next != 0 {
		t.Fatalf("head %+v after a refused commit", head)
	}
}
