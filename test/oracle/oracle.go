// Package oracle answers questions about a plant by looking at every fact, for
// every question, from the beginning. It is slow and keeps no index, no state
// and no cache, so that its answers can be checked by reading it.
//
// It knows the system only as a text: what a GraphQL question looks like, and
// what the answer must be. It imports nothing of the system (arch_test.go), so
// no mistake of the system can be its own.
//
// The rules are those of the design: a fact is true from its effective time and
// known from its position; of two facts about one instant the later in the log
// holds; the current value has the newest SourceTime that is not ahead of its
// time; a sample belongs to the tag that its point fed when it was taken.
package oracle

import (
	"cmp"
	"slices"
	"time"
)

// Position is a place in the log.
type Position uint64

// Entry is one event of the log. Fact is nil for one that says nothing about
// what is asked here.
type Entry struct {
	Position Position
	Recorded time.Time
	Type     string
	Fact     Fact
}

// Fact is what an event says.
type Fact interface{ fact() }

// The facts about the plant's structure. Effective is from when each is true.
type (
	// Registered begins an asset.
	Registered struct {
		Asset, Name, Level, Parent, Class string
		ClassVersion                      int // 0: whichever is in force
		Nameplate                         map[string]any
		Effective                         time.Time
	}
	// Moved puts an asset below another.
	Moved struct {
		Asset, Parent string
		Effective     time.Time
	}
	// Renamed gives an asset another name.
	Renamed struct {
		Asset, Name string
		Effective   time.Time
	}
	// Retired ends an asset's role.
	Retired struct {
		Asset     string
		Effective time.Time
	}
	// Related begins a relationship, or ends it.
	Related struct {
		From, Type, To string
		On             bool
		Effective      time.Time
	}
	// Bound says which signal feeds a tag; none if Device is "".
	Bound struct {
		Asset, Tag, Device, Signal string
		Effective                  time.Time
	}
	// Plated changes an asset's nameplate; a nil value removes the member.
	Plated struct {
		Asset     string
		Patch     map[string]any
		Effective time.Time
	}
	// ClassDefined is a version of a class.
	ClassDefined struct {
		Class       string
		Version     int
		Description string
		Tags        []TagDef
		Effective   time.Time
	}
)

// TagDef is a tag of a class.
type TagDef struct {
	Name, Unit, DataType string
	Expected             time.Duration // 0: none
}

// The other facts; they are true from their place in the log on.
type (
	// SettingsChanged sets what is not nil.
	SettingsChanged struct {
		AllowedSkew   *time.Duration
		StaleMultiple *float64
	}
	// Seen is a device's first message.
	Seen struct{ Device, Type, Gateway string }
	// Status is a device's word about its connection.
	Status struct {
		Device string
		Online bool
		Reason string
		At     time.Time
	}
	// Row is a telemetry message. Server is zero where it had none.
	Row struct {
		Device            string
		Gateway, Firmware string
		Source, Server    time.Time
		Samples           []Sample
		Stream            string
		Revision          uint64
	}
)

// Sample is one signal of a Row.
type Sample struct {
	Signal string
	Value  any // float64, int64, bool, string or nil
	Code   uint32
	Raw    string // the code as it came, e.g. opc-da:192; ""
}

func (Registered) fact()      {}
func (Moved) fact()           {}
func (Renamed) fact()         {}
func (Retired) fact()         {}
func (Related) fact()         {}
func (Bound) fact()           {}
func (Plated) fact()          {}
func (ClassDefined) fact()    {}
func (SettingsChanged) fact() {}
func (Seen) fact()            {}
func (Status) fact()          {}
func (Row) fact()             {}

// IDs gives the opaque ids of the API for the names that facts use.
type IDs struct {
	Asset  func(asset string) string
	Tag    func(asset, tag string) string
	Device func(device string) string
}

// World is all that happened.
type World struct {
	IDs     IDs
	Entries []Entry   // in the order of the log
	Now     time.Time // what the clock of the system shows
}

// Moment is a cut of the plant as a question names it. What is nil is left out.
type Moment struct {
	AsOf      *time.Time
	Known     *Position
	KnownTime *time.Time
}

// cut is a Moment that has been resolved.
type cut struct {
	w       *World
	asOf    *time.Time
	through Position
	instant time.Time // at which facts with an effective time are asked
	none    bool      // nothing was known
}

func (w *World) head() Position {
	if len(w.Entries) == 0 {
		return 0
	}
	return w.Entries[len(w.Entries)-1].Position
}

// cut resolves a moment.
func (w *World) cut(m Moment) cut {
	c := cut{w: w, asOf: m.AsOf, through: w.head(), instant: w.Now}
	switch {
	case m.Known != nil:
		c.through = *m.Known
	case m.KnownTime != nil:
		c.through = w.knownAt(*m.KnownTime)
	}
	if m.Known != nil || m.KnownTime != nil {
		c.none = c.through == 0
		c.instant = c.recorded()
	}
	if m.AsOf != nil {
		c.instant = *m.AsOf
	}
	return c
}

// knownAt is the last position before anything that was recorded after t.
func (w *World) knownAt(t time.Time) Position {
	var known Position
	for _, e := range w.Entries {
		if e.Recorded.After(t) {
			break
		}
		known = e.Position
	}
	return known
}

// recorded is when the last event of the cut was recorded.
func (c cut) recorded() time.Time {
	var last time.Time
	for _, e := range c.entries() {
		last = e.Recorded
	}
	return last
}

// entries are the events of the cut.
func (c cut) entries() []Entry {
	n := 0
	for n < len(c.w.Entries) && c.w.Entries[n].Position <= c.through {
		n++
	}
	return c.w.Entries[:n]
}

// told is a fact with its place.
type told[F Fact] struct {
	fact F
	at   Position
	from time.Time // effective
}

// facts are all facts of one kind that are known at the cut, in log order.
func facts[F Fact](c cut) []told[F] {
	var list []told[F]
	for _, e := range c.entries() {
		if f, ok := e.Fact.(F); ok {
			list = append(list, told[F]{f, e.Position, effective(e.Fact)})
		}
	}
	return list
}

func effective(f Fact) time.Time {
	switch f := f.(type) {
	case Registered:
		return f.Effective
	case Moved:
		return f.Effective
	case Renamed:
		return f.Effective
	case Retired:
		return f.Effective
	case Related:
		return f.Effective
	case Bound:
		return f.Effective
	case Plated:
		return f.Effective
	case ClassDefined:
		return f.Effective
	}
	return time.Time{}
}

// inForce are the facts that are true at t, in effective order: of those about
// one instant the later in the log stands last. The last one of all holds.
func inForce[F Fact](list []told[F], t time.Time, about func(F) bool) []told[F] {
	var kept []told[F]
	for _, f := range list {
		if about(f.fact) && !f.from.After(t) {
			kept = append(kept, f)
		}
	}
	slices.SortStableFunc(kept, func(a, b told[F]) int {
		return cmp.Or(a.from.Compare(b.from), cmp.Compare(a.at, b.at))
	})
	return kept
}

// holds is the fact that is true at t, if any is.
func holds[F Fact](list []told[F], t time.Time, about func(F) bool) (told[F], bool) {
	kept := inForce(list, t, about)
	if len(kept) == 0 {
		return told[F]{}, false
	}
	return kept[len(kept)-1], true
}

// settings are what was set by all changes before a position.
func (w *World) settingsBefore(p Position) (skew time.Duration, stale float64, changes int) {
	skew, stale = time.Minute, 5
	for _, e := range w.Entries {
		s, ok := e.Fact.(SettingsChanged)
		if !ok || e.Position >= p {
			continue
		}
		changes++
		if s.AllowedSkew != nil {
			skew = *s.AllowedSkew
		}
		if s.StaleMultiple != nil {
			stale = *s.StaleMultiple
		}
	}
	return skew, stale, changes
}
