package settings

import (
	"errors"
	"fmt"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// ErrBadSetting is a value that cannot be meant.
var ErrBadSetting = errors.New("invalid setting")

// The bounds of what may be set.
const (
	maxSkew  = 24 * time.Hour // a clock that is further ahead is broken, and its samples wait
	maxStale = 1000
)

// Change asks for other settings. What is nil stays as it is.
type Change struct {
	AllowedSkew   *time.Duration // 0 to 24 h, whole milliseconds
	StaleMultiple *float64       // 1 to 1000
	// IfRevision, if not nil, refuses with a *eventlog.MovedError when the
	// settings are at another revision.
	IfRevision *eventlog.Revision
}

// State is the settings and how often they were changed.
type State struct {
	Settings
	at eventlog.Expected
}

// Decider holds the rules. The zero State is the standard.
var Decider = eventlog.Decider[State, Change]{Decode: decode, Decide: decide, Evolve: evolve}

func decode(typ string, data []byte) (eventlog.Event, error) {
	if typ != ChangedType {
		return nil, nil
	}
	return eventlog.DecodeJSON[Changed](data)
}

func decide(s State, c Change) ([]eventlog.Event, error) {
	if c.IfRevision != nil && eventlog.At(*c.IfRevision) != s.at {
		return nil, &eventlog.MovedError{What: "settings", Given: *c.IfRevision, Actual: s.at.Next() - 1}
	}
	now, want := s.now(), s.now()
	var faults []error
	if d := c.AllowedSkew; d != nil {
		if want.AllowedSkew = *d; *d < 0 || *d > maxSkew || *d%time.Millisecond != 0 {
			faults = append(faults, fmt.Errorf("allowed skew %v, expected whole milliseconds from 0 to %v: %w", *d, maxSkew, ErrBadSetting))
		}
	}
	if m := c.StaleMultiple; m != nil {
		if want.StaleMultiple = *m; !(*m >= 1 && *m <= maxStale) { // also refuses NaN
			faults = append(faults, fmt.Errorf("stale multiple %v, expected 1 to %d: %w", *m, maxStale, ErrBadSetting))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if want == now {
		return nil, nil
	}
	var changed Changed
	if want.AllowedSkew != now.AllowedSkew {
		ms := want.AllowedSkew.Milliseconds()
		changed.AllowedSkewMS = &ms
	}
	if want.StaleMultiple != now.StaleMultiple {
		changed.StaleMultiple = &want.StaleMultiple
	}
	return []eventlog.Event{changed}, nil
}

// now is the settings; those of the zero State are the standard.
func (s State) now() Settings {
	if s.at == eventlog.NoStream {
		return Standard()
	}
	return s.Settings
}

func evolve(s State, e eventlog.Event) State {
	s.Settings = s.now().with(e.(Changed))
	s.at = eventlog.At(s.at.Next())
	return s
}
