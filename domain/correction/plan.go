package correction

import (
	"math"

	"github.com/twinlog/twinlog/domain/planted"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// Plan is the corrections in force for one point at one cut. It does not
// change, and a nil Plan corrects nothing.
type Plan struct {
	point telemetry.Point
	steps []planned
	// Identity: stream, revision and index are asked for.
	Identity bool
	// Origin: gateway and firmware are asked for.
	Origin bool
}

// planned is what one correction chooses of the point.
type planned struct {
	*entry
	spans   []span
	samples []Ref
}

func (p *Plan) add(e *entry) {
	in := planned{entry: e, samples: e.samples[p.point]}
	for i, s := range e.Spans {
		if s.Device == p.point.Device && (s.Signal == "" || s.Signal == p.point.Signal) {
			in.spans = append(in.spans, e.spans[i])
		}
	}
	for _, r := range in.samples {
		in.spans = append(in.spans, span{telemetry.Nanos(r.SourceTime), telemetry.Nanos(r.SourceTime)})
	}
	p.steps = append(p.steps, in)
	p.Identity = p.Identity || len(in.samples) > 0
	p.Origin = p.Origin || e.Condition != nil
}

// Touches says whether a sample with SourceTime in [from, to] may be corrected.
func (p *Plan) Touches(from, to int64) bool {
	if p == nil {
		return false
	}
	for i := range p.steps {
		for _, s := range p.steps[i].spans {
			if s.from <= to && from <= s.to {
				return true
			}
		}
	}
	return false
}

// Apply returns how a sample looks, and whether that is other than as received.
func (p *Plan) Apply(g *Given, received Shown) (now Shown, corrected bool) {
	if p == nil {
		return received, false
	}
	for i := range p.steps {
		if s := &p.steps[i]; s.chooses(g) {
			if after, ok := s.change(g, now, received, corrected); ok {
				now, corrected = after, true
			}
		}
	}
	if !corrected {
		return received, false
	}
	return now, now != received
}

func (s *planned) chooses(g *Given) bool {
	if g.Position > s.position && !s.IncludingLater && planted.Bug != planted.CorrectedLater {
		return false
	}
	if len(s.samples) > 0 {
		return s.sample(g) != nil
	}
	if c := s.Condition; c != nil && (c.Firmware != "" && c.Firmware != g.Firmware || c.Gateway != "" && c.Gateway != g.Gateway) {
		return false
	}
	for _, sp := range s.spans {
		if sp.from <= g.Source && g.Source <= sp.to {
			return true
		}
	}
	return false
}

func (s *planned) sample(g *Given) *Ref {
	for i := range s.samples {
		if r := &s.samples[i]; r.Revision == g.Revision && r.Index == g.Index && r.Stream == g.Stream {
			return r
		}
	}
	return nil
}

// change applies one correction to what earlier ones made of the sample. One
// that computes a value from none leaves the sample alone.
func (s *planned) change(g *Given, now, received Shown, corrected bool) (Shown, bool) {
	if !corrected {
		now = received
	}
	now.Quality.Code = s.StatusCode
	if s.Action != Substitute {
		return now, true
	}
	if s.Scale != nil {
		f, ok := now.Value.Number()
		if !ok || now.Value.Kind == telemetry.Bool {
			return now, false
		}
		now.Value = telemetry.FloatValue(float64(f*s.Scale.Factor) + s.Scale.Offset)
		return now, true
	}
	value := s.Value
	if r := s.sample(g); r != nil && r.Value != nil {
		value = r.Value
	}
	if value == nil {
		return now, false
	}
	now.Value = standsFor(value.Value, received.Value.Kind)
	return now, true
}

// standsFor gives a whole number the type of the integer that it replaces.
func standsFor(v telemetry.Value, of telemetry.Kind) telemetry.Value {
	f, _ := v.Number()
	if v.Kind == telemetry.Float64 && of == telemetry.Int64 && f == math.Trunc(f) && math.Abs(f) <= maxWhole {
		return telemetry.IntValue(int64(f))
	}
	return v
}

// Meets says whether a row that comes now would have samples in the spans.
func (m *Made) Meets(v *telemetry.View) bool {
	at := telemetry.Nanos(v.SourceTime)
	for _, s := range m.Spans {
		if s.Device == string(v.Device) && telemetry.Nanos(s.From) <= at && at < telemetry.Nanos(s.To) {
			return true
		}
	}
	return false
}
