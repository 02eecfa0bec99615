package asset

import (
	"iter"
	"slices"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Forever is later than every effective time.
const Forever = 1<<63 - 1

// Timeline says what a value is at every instant, as known at every position.
// A fact holds from its effective time to the next one's; of two facts about
// the same instant the later in the log holds. So a late fact re-decides the
// past from its own time to the next fact's, and nothing else.
type Timeline[V any] struct {
	facts []Fact[V] // by From, then by Known
}

// Fact is one entry of a Timeline.
type Fact[V any] struct {
	From  int64             // effective, nanoseconds since 1970 UTC
	Known eventlog.Position // of the event that told it
	Value V
}

// Span is a part of a Timeline in which the value is the same: From <= t < To.
type Span[V any] struct {
	From, To int64
	Known    eventlog.Position
	Value    V
}

// Add puts a fact in its place. Facts may come in any order.
func (l *Timeline[V]) Add(f Fact[V]) {
	i, _ := slices.BinarySearchFunc(l.facts, f, func(a, b Fact[V]) int {
		switch {
		case a.From < b.From || a.From == b.From && a.Known <= b.Known:
			return -1
		}
		return 1
	})
	l.facts = slices.Insert(l.facts, i, f)
}

// At returns the fact that holds at t, as known at a position.
func (l *Timeline[V]) At(t int64, known eventlog.Position) (Fact[V], bool) {
	i, _ := slices.BinarySearchFunc(l.facts, t, func(a Fact[V], t int64) int {
		if a.From <= t {
			return -1
		}
		return 1
	})
	for i--; i >= 0; i-- {
		if l.facts[i].Known <= known {
			return l.facts[i], true
		}
	}
	return Fact[V]{}, false
}

// Spans yields the spans that overlap [from, to), cut to it, in order.
func (l *Timeline[V]) Spans(from, to int64, known eventlog.Position) iter.Seq[Span[V]] {
	return func(yield func(Span[V]) bool) {
		var open Span[V]
		have := false
		give := func(end int64) bool { // nothing, of a fact that a later one about the same instant overrules
			s := open
			s.From, s.To = max(s.From, from), min(end, to)
			return !have || s.From >= s.To || yield(s)
		}
		for _, f := range l.facts {
			if f.Known > known {
				continue
			}
			if f.From >= to {
				break
			}
			if !give(f.From) {
				return
			}
			open, have = Span[V]{From: f.From, Known: f.Known, Value: f.Value}, true
		}
		give(to)
	}
}

// Facts returns all facts, by effective time and then by position.
func (l *Timeline[V]) Facts() []Fact[V] { return l.facts }

// next returns when a fact told now about the instant t would stop holding.
func (l *Timeline[V]) next(t int64) int64 {
	for _, f := range l.facts {
		if f.From > t {
			return f.From
		}
	}
	return Forever
}
