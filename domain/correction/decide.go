package correction

import (
	"errors"
	"fmt"
	"slices"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
)

// The errors of making a correction.
var (
	// ErrBadCorrection: one that cannot be meant.
	ErrBadCorrection = errors.New("invalid correction")
	// ErrNoCorrection: it supersedes something that is none.
	ErrNoCorrection = errors.New("no such correction")
	// ErrSuperseded: it supersedes what is not in force any more.
	ErrSuperseded = errors.New("the correction is not in force")
)

// Bounds of one correction: what fits an append, and what a person means at once.
const (
	MaxSamples = 1000
	MaxSpans   = 1000
)

// State is which corrections there are.
type State struct {
	superseders [][]int // of each, by revision
}

// Decider holds the rules; its command is the event that is wanted.
var Decider = eventlog.Decider[State, Made]{Decode: decode, Decide: decide, Evolve: evolve}

func decode(typ string, data []byte) (eventlog.Event, error) {
	if typ != MadeType {
		return nil, nil
	}
	return eventlog.DecodeJSON[Made](data)
}

func evolve(s State, e eventlog.Event) State {
	made, ok := e.(Made)
	if !ok {
		return s
	}
	n := len(s.superseders)
	s.superseders = append(s.superseders, nil)
	for _, earlier := range made.Supersedes {
		if r := earlier.Revision; r < eventlog.Revision(n) {
			s.superseders[r] = append(s.superseders[r], n)
		}
	}
	return s
}

func (s State) inForce(n int) bool {
	return !slices.ContainsFunc(s.superseders[n], s.inForce)
}

func decide(s State, m Made) ([]eventlog.Event, error) {
	var faults []error
	bad := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf(format+": %w", append(args, ErrBadCorrection)...))
	}
	m.check(bad)
	seen := map[eventlog.Revision]bool{}
	for _, e := range m.Supersedes {
		switch {
		case e.Revision >= eventlog.Revision(len(s.superseders)):
			faults = append(faults, fmt.Errorf("supersedes %s at %d, expected one of %d: %w", e.Stream, e.Revision, len(s.superseders), ErrNoCorrection))
		case seen[e.Revision]:
			bad("supersedes %s at %d twice, expected once", e.Stream, e.Revision)
		case !s.inForce(int(e.Revision)):
			faults = append(faults, fmt.Errorf("supersedes %s at %d: %w", e.Stream, e.Revision, ErrSuperseded))
		}
		seen[e.Revision] = true
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return []eventlog.Event{m}, nil
}

// Complete fills in the quality that an action gives where nobody said one.
func (m *Made) Complete(said *quality.Code) {
	switch {
	case said != nil:
		m.StatusCode = *said
	case m.Action == MarkBad:
		m.StatusCode = quality.Bad
	case m.Action == Substitute:
		m.StatusCode = quality.GoodEdited
	}
}

func (m *Made) check(bad func(format string, args ...any)) {
	if n := len(m.Samples); n > MaxSamples {
		bad("%d samples, expected up to %d", n, MaxSamples)
	}
	if n := len(m.Spans); n > MaxSpans {
		bad("%d spans, expected up to %d", n, MaxSpans)
	}
	for _, s := range m.Spans {
		if !s.From.Before(s.To) {
			bad("span of %q from %v to %v, expected from before to", s.Device, s.From, s.To)
		}
	}
	if len(m.Spans) > 0 && len(m.Samples) > 0 {
		bad("both samples and spans, expected one of them")
	}
	if m.IncludingLater && len(m.Samples) > 0 {
		bad("samples that are there already including later ones, expected spans")
	}
	if m.Condition != nil && len(m.Spans) == 0 {
		bad("a condition without spans, expected spans that it narrows")
	}
	m.checkAction(bad)
}

func (m *Made) checkAction(bad func(format string, args ...any)) {
	if m.Action != Undo && len(m.Spans)+len(m.Samples) == 0 {
		bad("%s of nothing, expected samples or spans", m.Action)
	}
	values := m.Value != nil || m.Scale != nil
	each := 0
	for _, s := range m.Samples {
		if s.Value != nil {
			each++
		}
	}
	switch m.Action {
	case MarkBad:
		if m.StatusCode.Status() != quality.IsBad {
			bad("%s with status code %v, expected a Bad one", m.Action, m.StatusCode)
		}
	case ChangeQuality:
	case Substitute:
		if m.Value != nil && m.Scale != nil || values && each > 0 || !values && (each == 0 || each < len(m.Samples)) {
			bad("%s, expected exactly one of a value, a scale and a value for each sample", m.Action)
		}
		return
	case Undo:
		if len(m.Supersedes) == 0 || len(m.Spans)+len(m.Samples) > 0 {
			bad("%s, expected what it supersedes and nothing else", m.Action)
		}
	default:
		bad("action %q, expected %s, %s, %s or %s", m.Action, MarkBad, Substitute, ChangeQuality, Undo)
	}
	if values || each > 0 {
		bad("%s with a value, expected none", m.Action)
	}
}
