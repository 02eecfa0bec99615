package alarm

import (
	"slices"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// keptTurns bounds the line that late observations can still find their place
// in: the newest so many turns.
const keptTurns = 64

// A Turn is a place in the alarm's line where it became active or normal.
type Turn struct {
	At     time.Time `json:"at"`
	Active bool      `json:"active"`
}

// State is an alarm. The zero State has never been raised.
type State struct {
	What   What      `json:"what"`
	Turns  []Turn    `json:"turns"`           // by time, oldest first
	Seen   time.Time `json:"seen,omitzero"`   // acknowledged up to here
	Until  time.Time `json:"until,omitzero"`  // shelved until then
	Out    bool      `json:"out,omitempty"`   // out of service
	Flood  bool      `json:"flood,omitempty"` // the newest raise was in a flood
	Raises uint64    `json:"raises"`          // how often it was raised
}

// Evolve applies an event.
func Evolve(s State, e eventlog.Event) State {
	switch e := e.(type) {
	case Raised:
		if s.newest().Before(e.At) {
			s.Flood = e.Flood
		}
		s.What = e.What
		s.Raises++
		s.turn(Turn{e.At, true})
	case Cleared:
		s.turn(Turn{e.At, false})
	case Acknowledged:
		s.Seen = later(s.Seen, e.At)
	case Shelving:
		s.Until = e.Until
	case Unshelved:
		s.Until = time.Time{}
	case TakenOut:
		s.Out = true
	case PutBack:
		s.Out = false
	}
	return s
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// turn puts t into the line; of two at one instant the later in the log counts.
// The slice is copied, since rows of the past share it.
func (s *State) turn(t Turn) {
	i, found := slices.BinarySearchFunc(s.Turns, t.At, func(x Turn, at time.Time) int { return x.At.Compare(at) })
	s.Turns = slices.Clone(s.Turns)
	if found {
		s.Turns[i] = t
	} else {
		s.Turns = slices.Insert(s.Turns, i, t)
	}
	if len(s.Turns) > keptTurns {
		s.Turns = s.Turns[len(s.Turns)-keptTurns:]
	}
}

func (s State) newest() time.Time {
	if n := len(s.Turns); n > 0 {
		return s.Turns[n-1].At
	}
	return time.Time{}
}

// Active reports whether the condition is true, by the newest of its line.
func (s State) Active() bool { return len(s.Turns) > 0 && s.Turns[len(s.Turns)-1].Active }

// Since is when it became what Active says; zero for an alarm never raised.
func (s State) Since() time.Time {
	at := time.Time{}
	for _, t := range slices.Backward(s.Turns) {
		if t.Active != s.Active() {
			break
		}
		at = t.At
	}
	return at
}

// RaisedAt is when it was last raised; zero if it never was.
func (s State) RaisedAt() time.Time {
	for i, t := range slices.Backward(s.Turns) {
		if t.Active && (i == 0 || !s.Turns[i-1].Active) {
			return t.At
		}
	}
	return time.Time{}
}

// Unseen reports whether it was raised after what was acknowledged.
func (s State) Unseen() bool { return s.RaisedAt().After(s.Seen) }

// Condition is where it stands at a moment, on which only the end of a shelving
// depends.
func (s State) Condition(now time.Time) Condition {
	switch {
	case s.Out:
		return OutOfService
	case s.Until.After(now):
		return Shelved
	case s.Active() && s.Flood:
		return Suppressed
	case s.Active() && s.Unseen():
		return Unacked
	case s.Active():
		return Acked
	case s.Unseen():
		return Returned
	default:
		return Normal
	}
}
