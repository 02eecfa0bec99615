package eventlog

import (
	"iter"
	"slices"
	"time"
)

// A Mark is one entry of a log's sparse index of Recorded: the largest Recorded
// of all events up to and including Position. Clocks step back and replicas
// disagree, so the maximum is kept and not the event's own time.
type Mark struct {
	Position Position
	Recorded time.Time
}

// KnownAtTime returns the last position p such that no event at or before p has
// Recorded > t; 0 when the first event is already later. It answers "what did
// the log know at t" the same way for ever.
//
// marks rise in position and Recorded. events yields (position, Recorded) of
// every event with after < position <= through, in order; through is End behind
// the last mark. Only the events between two marks are read.
func KnownAtTime(t time.Time, marks []Mark, events func(after, through Position) iter.Seq2[Mark, error]) (Position, error) {
	n, _ := slices.BinarySearchFunc(marks, t, func(m Mark, t time.Time) int {
		if m.Recorded.After(t) {
			return 1
		}
		return -1
	})
	var known Position // everything up to here was recorded by t
	if n > 0 {
		known = marks[n-1].Position
	}
	through := End
	if n < len(marks) {
		through = marks[n].Position
	}
	for m, err := range events(known, through) {
		if err != nil {
			return 0, err
		}
		if m.Recorded.After(t) {
			return known, nil
		}
		known = m.Position
	}
	return known, nil
}
