package oracle

import (
	"cmp"
	"slices"
	"time"
)

// The StatusCodes that are given here, of OPC 10000-4 §7.39 and OPC 10000-8.
const (
	good                   = uint32(0x00000000)
	uncertainSubNormal     = uint32(0x40950000)
	uncertainDataSubNormal = uint32(0x40A40000)
	badNoData              = uint32(0x809B0000)
	badWaiting             = uint32(0x80320000) // for initial data
	limitBits              = uint32(0x00000700) // with the bit that says that there are some
)

// severity is 0 for Good, 1 for Uncertain, 2 for Bad.
func severity(code uint32) int { return min(int(code>>30), 2) }

// measured is one sample as it is shown.
type measured struct {
	Sample
	device                   string
	source, server, recorded time.Time
	at                       Position
	stream                   string
	revision                 uint64
	index                    int
	corrected                bool
	entry                    Entry
}

// measurements are all samples of the cut, in the order of SourceTime, and of
// the log where that is the same.
func (c cut) measurements() []measured {
	var list []measured
	for _, e := range c.entries() {
		r, ok := e.Fact.(Row)
		if !ok {
			continue
		}
		for i, s := range r.Samples {
			now := c.shown(e, i)
			corrected := now != c.w.received(e, s)
			s.Value, s.Code = now.value, now.code
			list = append(list, measured{s, r.Device, r.Source, r.Server, e.Recorded, e.Position, r.Stream, r.Revision, i, corrected, e})
		}
	}
	slices.SortStableFunc(list, func(a, b measured) int { return cmp.Or(a.source.Compare(b.source), cmp.Compare(a.at, b.at)) })
	return list
}

// feeds reports whether a point fed a tag at t, as far as the cut can see: a
// binding that begins after the cut's instant is not in force yet, and where an
// asset is not in its role nothing feeds it.
func (c cut) feeds(device, signal string, t tag, at time.Time) bool {
	id := t.asset.id
	f, ok := holds(facts[Bound](c), at, func(f Bound) bool { return f.Asset == id && f.Tag == t.Name })
	return ok && f.fact.Device == device && f.fact.Signal == signal && !f.from.After(c.instant) && c.lives(id, at)
}

// history is all that a tag has measured up to the cut's asOf.
func (c cut) history(t tag) []measured {
	var list []measured
	for _, m := range c.measurements() {
		if (c.asOf == nil || !m.source.After(*c.asOf)) && c.feeds(m.device, m.Signal, t, m.source) {
			list = append(list, m)
		}
	}
	return list
}

// come reports whether a sample's time had come by the end of the cut: at its
// own place in the log, or at a later telemetry message or change of settings,
// its SourceTime was not ahead of what was recorded by more than was allowed.
func (c cut) come(m measured) bool {
	for _, e := range c.entries() {
		_, row := e.Fact.(Row)
		_, set := e.Fact.(SettingsChanged)
		if e.Position < m.at || !row && !set {
			continue
		}
		if skew, _, _ := c.w.settingsBefore(e.Position + 1); m.source.Sub(e.Recorded) <= skew {
			return true
		}
	}
	return false
}

// value is the tag's last sample at or before the cut: of the newest, the last
// one whose time has come.
func (c cut) value(t tag) (measured, bool) {
	list := c.history(t)
	for _, m := range slices.Backward(list) {
		if c.asOf != nil || c.come(m) {
			return m, true
		}
	}
	return measured{}, false
}

// stale reports a value older than so many expected intervals as are set.
func (c cut) stale(t tag, m measured) bool {
	_, multiple, _ := c.w.settingsBefore(c.through + 1)
	age := c.instant.Sub(m.source)
	return t.Expected > 0 && float64(age) > multiple*float64(t.Expected)
}

// passes applies a QualityFilter of the API.
func passes(filter string, m measured) bool {
	switch filter {
	case "GOOD":
		return severity(m.Code) == 0
	case "GOOD_OR_UNCERTAIN":
		return severity(m.Code) < 2
	case "BAD":
		return severity(m.Code) == 2
	}
	return true
}

// samples are what a tag measured in [from, to); with bounds also the last
// before and the first after, which is not there beyond an asOf.
func (c cut) samples(t tag, from, to time.Time, filter string, bounds bool) []measured {
	var list []measured
	var before, after *measured
	for _, m := range c.history(t) {
		switch {
		case m.source.Before(from):
			before = &m
		case m.source.Before(to):
			if passes(filter, m) {
				list = append(list, m)
			}
		case after == nil:
			after = &m
		}
	}
	if bounds && before != nil && passes(filter, *before) {
		list = append([]measured{*before}, list...)
	}
	if bounds && after != nil && passes(filter, *after) {
		list = append(list, *after)
	}
	return list
}

// span is a part of effective time in which a point fed a tag. to is zero: still.
type span struct {
	device, signal string
	from, to       time.Time
}

// bindings are a tag's spans. They are read off at every instant at which
// something was said about the tag.
func (c cut) bindings(t tag) []span {
	id := t.asset.id
	var instants []time.Time
	for _, f := range facts[Bound](c) {
		if f.fact.Asset == id && f.fact.Tag == t.Name {
			instants = append(instants, f.from)
		}
	}
	for _, f := range facts[Retired](c) {
		if f.fact.Asset == id {
			instants = append(instants, f.from)
		}
	}
	slices.SortFunc(instants, time.Time.Compare)
	instants = slices.CompactFunc(instants, time.Time.Equal)
	var list []span
	for i, at := range instants {
		if n := len(list); n > 0 && list[n-1].to.IsZero() {
			list[n-1].to = at
		}
		f, ok := holds(facts[Bound](c), at, func(f Bound) bool { return f.Asset == id && f.Tag == t.Name })
		if !ok || f.fact.Device == "" || !c.lives(id, at) || f.from.After(c.instant) {
			continue
		}
		s := span{f.fact.Device, f.fact.Signal, at, time.Time{}}
		if n := len(list); n > 0 && i > 0 && list[n-1].device == s.device && list[n-1].signal == s.signal && list[n-1].to.Equal(at) {
			list[n-1].to = time.Time{} // told twice
			continue
		}
		list = append(list, s)
	}
	return list
}
