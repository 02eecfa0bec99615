package oracle

import (
	"math"
	"slices"
	"time"
)

// Corrected says how samples look instead of as they were received. It is about
// what precedes it in the log, unless IncludingLater says more.
type Corrected struct {
	Action string // MARK_BAD, SUBSTITUTE, CHANGE_QUALITY or UNDO
	// Samples are chosen one by one, or else by Spans.
	Samples           []Ref
	Spans             []Span
	Gateway, Firmware string   // only samples of messages that said so; "": any
	Value             any      // of a SUBSTITUTE: float64 or string
	Factor, Offset    *float64 // of a SUBSTITUTE that computes
	Code              uint32
	IncludingLater    bool
	Supersedes        []int // which of all corrections, counted from 0
}

func (Corrected) fact() {}

// Ref is the identity of a sample.
type Ref struct {
	Stream   string
	Revision uint64
	Index    int
}

// Span is a stretch of SourceTime of one signal of a device, or of all ("").
type Span struct {
	Device, Signal string
	From, To       time.Time
}

// look is how a sample looks.
type look struct {
	value any
	code  uint32
}

// received is how a sample looks where nobody has corrected it. One whose clock
// was further ahead of its recording than was allowed then is Uncertain if it
// says Good.
func (w *World) received(e Entry, s Sample) look {
	row, _ := e.Fact.(Row)
	skew, _, _ := w.settingsBefore(e.Position)
	if row.Source.Sub(e.Recorded) > skew && severity(s.Code) == 0 {
		s.Code = uncertainSubNormal | s.Code&limitBits
	}
	return look{s.Value, s.Code}
}

// shown is how the i-th sample of a row looks as known at the cut.
func (c cut) shown(e Entry, i int) look {
	row, _ := e.Fact.(Row)
	was := c.w.received(e, row.Samples[i])
	now := was
	list := facts[Corrected](c)
	for n, f := range list {
		if inForceOf(list, n) && f.fact.chooses(row, i) && (e.Position < f.at || f.fact.IncludingLater) {
			now = f.fact.change(now, was)
		}
	}
	return now
}

// inForceOf reports whether nothing supersedes a correction that is itself in
// force.
func inForceOf(list []told[Corrected], n int) bool {
	for later, f := range list {
		for _, earlier := range f.fact.Supersedes {
			if earlier == n && inForceOf(list, later) {
				return false
			}
		}
	}
	return true
}

func (f Corrected) chooses(r Row, i int) bool {
	if slices.Contains(f.Samples, Ref{r.Stream, r.Revision, i}) {
		return true
	}
	if f.Gateway != "" && f.Gateway != r.Gateway || f.Firmware != "" && f.Firmware != r.Firmware {
		return false
	}
	for _, s := range f.Spans {
		if s.Device == r.Device && (s.Signal == "" || s.Signal == r.Samples[i].Signal) && !r.Source.Before(s.From) && r.Source.Before(s.To) {
			return true
		}
	}
	return false
}

// change is what a correction makes of a look. A value that cannot be computed
// stays, with its quality; a whole number stands in for an integer as one.
func (f Corrected) change(now, was look) look {
	switch {
	case f.Action != "SUBSTITUTE":
		return look{now.value, f.Code}
	case f.Factor != nil:
		v := number(now.value)
		if v == nil {
			return now
		}
		return look{float64(v.(float64)**f.Factor) + *f.Offset, f.Code}
	}
	v := f.Value
	if n, ok := v.(float64); ok && n == math.Trunc(n) {
		if _, whole := was.value.(int64); whole {
			v = int64(n)
		}
	}
	return look{v, f.Code}
}

// version is one look of a sample and the correction that gave it.
type version struct {
	look
	at Position
	by *Corrected // nil: as received
}

// versions are all looks that a sample has had, oldest first.
func (c cut) versions(e Entry, i int) []version {
	row, _ := e.Fact.(Row)
	list := []version{{c.w.received(e, row.Samples[i]), e.Position, nil}}
	for _, f := range facts[Corrected](c) {
		then := cut{w: c.w, through: f.at}
		if now := then.shown(e, i); now != list[len(list)-1].look {
			list = append(list, version{now, max(f.at, e.Position), &f.fact})
		}
	}
	return list
}

// Versions asks for every look of the samples of a tag with one SourceTime.
func (w *World) Versions(m Moment, assetID, name string, at time.Time) Question {
	c := w.cut(m)
	field := "tag(id:" + quote(w.IDs.Tag(assetID, name)) + "){versions(at:" + quote(instant(at)) +
		"){ref{stream revision index} value quality{statusCode} position current modification{action}}}"
	t, ok := c.tag(assetID, name)
	if !ok {
		return w.at("versions", m, field, "tag", nil)
	}
	nodes := []any{}
	for _, s := range c.history(t) {
		if !s.source.Equal(at) {
			continue
		}
		all := c.versions(s.entry, s.index)
		for i, v := range all {
			o := object{
				"ref":   object{"stream": s.stream, "revision": text(s.revision), "index": s.index},
				"value": value(v.value), "quality": object{"statusCode": codeText(v.code)}, "position": v.at.text(),
				"current": i == len(all)-1, "modification": nil,
			}
			if v.by != nil {
				o["modification"] = object{"action": v.by.Action}
			}
			nodes = append(nodes, o)
		}
	}
	return w.at("versions", m, field, "tag", object{"versions": nodes})
}
