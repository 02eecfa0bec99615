package correction

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/planted"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// Set is the corrections of a log so far. They are things that people do, so
// all of them are in memory. It is not safe for concurrent use; a Plan is.
type Set struct {
	list     []*entry // in log order
	at       map[Earlier]int
	byDevice map[string][]int // those that change samples of a device, by themselves or by what they supersede
}

// entry is one correction. Only superseders changes.
type entry struct {
	Made
	where       Earlier
	position    eventlog.Position
	samples     map[telemetry.Point][]Ref
	spans       []span // as Made.Spans
	devices     []string
	superseders []int
}

type span struct{ from, to int64 } // to is included

// Given is a sample as it was received, without value and quality. Gateway,
// Firmware and identity are asked for only if a Plan says so.
type Given struct {
	Source            int64 // nanoseconds since 1970 UTC
	Position          eventlog.Position
	Stream            eventlog.StreamID
	Revision          eventlog.Revision
	Index             int
	Gateway, Firmware string
}

// Shown is how a sample looks.
type Shown struct {
	Value   telemetry.Value
	Quality quality.Quality
}

// NewSet returns an empty Set.
func NewSet() *Set { return &Set{at: map[Earlier]int{}, byDevice: map[string][]int{}} }

// Add takes an event of type MadeType, which must come in log order, and
// returns the devices whose samples it changes.
func (s *Set) Add(where Earlier, at eventlog.Position, data []byte) (devices []string, err error) {
	var m Made
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("%s at %v: %w", MadeType, at, err)
	}
	e := newEntry(m, where, at)
	s.add(e)
	return e.devices, nil
}

func newEntry(m Made, where Earlier, at eventlog.Position) *entry {
	e := &entry{Made: m, where: where, position: at, samples: map[telemetry.Point][]Ref{}}
	for _, sp := range e.Spans {
		e.spans = append(e.spans, span{telemetry.Nanos(sp.From), telemetry.Nanos(sp.To) - 1})
		e.touch(sp.Device)
	}
	for _, r := range e.Samples {
		p := telemetry.Point{Device: r.Device, Signal: r.Signal}
		e.samples[p] = append(e.samples[p], r)
		e.touch(r.Device)
	}
	return e
}

func (e *entry) touch(device string) {
	if !slices.Contains(e.devices, device) {
		e.devices = append(e.devices, device)
	}
}

func (s *Set) add(e *entry) {
	n := len(s.list)
	for _, earlier := range e.Supersedes {
		if i, ok := s.at[earlier]; ok {
			s.list[i].superseders = append(s.list[i].superseders, n)
			for _, d := range s.list[i].devices {
				e.touch(d)
			}
		}
	}
	for _, d := range e.devices {
		s.byDevice[d] = append(s.byDevice[d], n)
	}
	s.list, s.at[e.where] = append(s.list, e), n
}

func (s *Set) inForce(n int, known eventlog.Position) bool {
	if s.list[n].position > known && planted.Bug != planted.CorrectedBefore {
		return false
	}
	if planted.Bug == planted.UndoForgotten {
		return true
	}
	return !slices.ContainsFunc(s.list[n].superseders, func(by int) bool { return s.inForce(by, known) })
}

// Plan returns what is in force for a point, known at a position (0: all); nil
// if nothing is.
func (s *Set) Plan(p telemetry.Point, known eventlog.Position) *Plan {
	if known == 0 {
		known = eventlog.End
	}
	var plan *Plan
	for _, n := range s.byDevice[p.Device] {
		e := s.list[n]
		if !e.about(p) || !s.inForce(n, known) {
			continue
		}
		if plan == nil {
			plan = &Plan{point: p}
		}
		plan.add(e)
	}
	return plan
}

// Has says whether any correction is about a device.
func (s *Set) Has(device string) bool { return len(s.byDevice[device]) > 0 }

// about says whether a correction chooses samples of a point.
func (e *entry) about(p telemetry.Point) bool {
	if len(e.samples[p]) > 0 {
		return true
	}
	return slices.ContainsFunc(e.Spans, func(s Span) bool { return s.Device == p.Device && (s.Signal == "" || s.Signal == p.Signal) })
}
