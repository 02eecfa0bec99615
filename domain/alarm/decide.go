package alarm

import (
	"errors"
	"fmt"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// The errors of this package.
var (
	// ErrNotRaised is returned for an alarm that was never raised.
	ErrNotRaised = errors.New("alarm was never raised")
	// ErrNothing is returned where there is nothing to do: acknowledging what is
	// acknowledged, ending what has not begun.
	ErrNothing = errors.New("alarm is not in that condition")
	// ErrBadTime is returned for a shelving without an end ahead of it.
	ErrBadTime = errors.New("invalid time")
)

// MaxShelving is how long an alarm may be hidden at most (ISA-18.2 §11.3 asks
// for a limit).
const MaxShelving = 7 * 24 * time.Hour

// Command is one of those below.
type Command interface{ command() }

// Observe says what the condition was at a time. The same of the same instant is
// not a second fact.
type Observe struct {
	What
	Active bool
	At     time.Time
	From   *Source
	Flood  bool
}

// Acknowledge says that a person has seen what was raised up to At.
type Acknowledge struct{ At time.Time }

// Shelve hides the alarm until a time.
type Shelve struct{ At, Until time.Time }

// Unshelve ends it.
type Unshelve struct{ At time.Time }

// Service takes an alarm out of service, or puts it back.
type Service struct {
	In bool
	At time.Time
}

func (Observe) command()     {}
func (Acknowledge) command() {}
func (Shelve) command()      {}
func (Unshelve) command()    {}
func (Service) command()     {}

// Decider holds the rules of one alarm.
var Decider = eventlog.Decider[State, Command]{Decode: Decode, Decide: decide, Evolve: Evolve}

func decide(s State, c Command) ([]eventlog.Event, error) {
	if o, ok := c.(Observe); ok {
		return observe(s, o), nil
	}
	if s.Raises == 0 {
		return nil, ErrNotRaised
	}
	switch c := c.(type) {
	case Acknowledge:
		if !s.Unseen() {
			return nil, fmt.Errorf("acknowledged up to %s: %w", s.Seen.UTC().Format(time.RFC3339), ErrNothing)
		}
		return []eventlog.Event{Acknowledged{c.At.UTC()}}, nil
	case Shelve:
		if d := c.Until.Sub(c.At); d <= 0 || d > MaxShelving {
			return nil, fmt.Errorf("shelved until %s, expected within %v of %s: %w", c.Until.UTC().Format(time.RFC3339), MaxShelving, c.At.UTC().Format(time.RFC3339), ErrBadTime)
		}
		return []eventlog.Event{Shelving{c.At.UTC(), c.Until.UTC()}}, nil
	case Unshelve:
		if !s.Until.After(c.At) {
			return nil, fmt.Errorf("not shelved: %w", ErrNothing)
		}
		return []eventlog.Event{Unshelved{c.At.UTC()}}, nil
	case Service:
		switch {
		case c.In != s.Out:
			return nil, fmt.Errorf("in service is %t already: %w", c.In, ErrNothing)
		case c.In:
			return []eventlog.Event{PutBack{c.At.UTC()}}, nil
		default:
			return []eventlog.Event{TakenOut{c.At.UTC()}}, nil
		}
	default:
		return nil, fmt.Errorf("alarm command %T is unknown", c)
	}
}

// observe records what the plant said, also where it changes nothing now: what
// comes late may lie between it and what was known.
func observe(s State, o Observe) []eventlog.Event {
	for _, t := range s.Turns {
		if t.At.Equal(o.At) && t.Active == o.Active {
			return nil
		}
	}
	if o.Active {
		return []eventlog.Event{Raised{What: o.What, At: o.At.UTC(), From: o.From, Flood: o.Flood}}
	}
	return []eventlog.Event{Cleared{At: o.At.UTC(), From: o.From}}
}
