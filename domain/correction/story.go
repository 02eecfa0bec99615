package correction

import (
	"cmp"
	"slices"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// Story is what corrections did to the samples of a point, one after the other.
// It does not change; a nil Story is of a point that none was ever about.
type Story struct{ chapters []chapter }

type chapter struct {
	*entry
	plan *Plan // what is in force from here on
}

// Step is one change of how a sample looks.
type Step struct {
	Shown
	By       Earlier           // the correction
	Position eventlog.Position // from which it looks so
	Action   Action
	// Corrected: it is not as it was received.
	Corrected bool
}

// Story returns what is known at a position (0: all).
func (s *Set) Story(p telemetry.Point, known eventlog.Position) *Story {
	if known == 0 {
		known = eventlog.End
	}
	var story *Story
	for _, n := range s.byDevice[p.Device] {
		e := s.list[n]
		if e.position > known {
			break
		}
		if !s.concerns(e, p) {
			continue
		}
		if story == nil {
			story = &Story{}
		}
		story.chapters = append(story.chapters, chapter{e, s.Plan(p, e.position)})
	}
	return story
}

// concerns says whether a correction, or one that it supersedes, is about a point.
func (s *Set) concerns(e *entry, p telemetry.Point) bool {
	return e.about(p) || slices.ContainsFunc(e.Supersedes, func(earlier Earlier) bool {
		n, ok := s.at[earlier]
		return ok && s.concerns(s.list[n], p)
	})
}

// Steps returns each change of how a sample looks, in log order; none if it
// always looked as it was received.
func (st *Story) Steps(g *Given, received Shown) []Step {
	if st == nil {
		return nil
	}
	var steps []Step
	last := received
	for _, c := range st.chapters {
		now, corrected := c.plan.Apply(g, received)
		if now == last {
			continue
		}
		last = now
		steps = append(steps, Step{now, c.where, max(c.position, g.Position), c.Action, corrected})
	}
	return steps
}

// Changed returns from which position on a sample has looked as it does; 0 if
// it was always so.
func (st *Story) Changed(g *Given, received Shown) eventlog.Position {
	steps := st.Steps(g, received)
	if len(steps) == 0 {
		return 0
	}
	return steps[len(steps)-1].Position
}

// Trial is a correction that was not made.
type Trial struct {
	before, after *Set
	entry         *entry
}

// Try says what a correction would do if it were made after all that is known
// at a position (0: all). The Set stays as it is.
func (s *Set) Try(m Made, known eventlog.Position) *Trial {
	if known == 0 {
		known = eventlog.End
	}
	t := &Trial{before: s.copy(known), after: s.copy(known)}
	t.entry = newEntry(m, Earlier{}, eventlog.End-1)
	t.after.add(t.entry)
	return t
}

func (s *Set) copy(known eventlog.Position) *Set {
	c := NewSet()
	for _, e := range s.list {
		if e.position <= known {
			own := *e
			own.superseders = nil
			c.add(&own)
		}
	}
	return c
}

// Devices are those whose samples it may change.
func (t *Trial) Devices() []string { return t.entry.devices }

// Plans are what was in force for a point, and what would be.
func (t *Trial) Plans(p telemetry.Point) (before, after *Plan) {
	return t.before.Plan(p, 0), t.after.Plan(p, 0)
}

// Spans are the stretches of SourceTime, both ends included, in which it may
// change samples of a point, in order and apart from each other.
func (t *Trial) Spans(p telemetry.Point) [][2]int64 {
	var all []span
	var collect func(e *entry)
	seen := map[*entry]bool{}
	collect = func(e *entry) {
		if seen[e] {
			return
		}
		seen[e] = true
		if e.about(p) {
			plan := &Plan{point: p}
			plan.add(e)
			all = append(all, plan.steps[0].spans...)
		}
		for _, earlier := range e.Supersedes {
			if n, ok := t.after.at[earlier]; ok {
				collect(t.after.list[n])
			}
		}
	}
	collect(t.entry)
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var out [][2]int64
	for _, s := range all {
		if n := len(out); n > 0 && s.from <= out[n-1][1] {
			out[n-1][1] = max(out[n-1][1], s.to)
		} else {
			out = append(out, [2]int64{s.from, s.to})
		}
	}
	return out
}
