package history_test

import (
	"slices"
	"time"

	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections/history"
)

// madeAt is a correction and where it is in the log.
type madeAt struct {
	correction.Made
	where    correction.Earlier
	position eventlog.Position
}

// correct appends a correction of something.
func (p *plant) correct() {
	r := p.r
	m := correction.Made{Action: correction.MarkBad, StatusCode: quality.BadSensorFailure, IncludingLater: r.IntN(4) == 0}
	from := epoch.Add(time.Duration(r.Int64N(int64(p.recorded.Sub(epoch))+2)) - time.Duration(r.IntN(3))*12*time.Hour)
	for range 1 + r.IntN(2) {
		s := correction.Span{Device: devices[r.IntN(len(devices))], From: from, To: from.Add(time.Duration(1 + r.Int64N(int64(30*time.Hour))))}
		if r.IntN(2) == 0 {
			s.Signal = []string{"s0", "s1", "s2"}[r.IntN(3)]
		}
		m.Spans = append(m.Spans, s)
	}
	if r.IntN(2) == 0 {
		m.Condition = &correction.Condition{Firmware: firmwares[r.IntN(len(firmwares))]}
		if r.IntN(3) == 0 {
			m.Condition = &correction.Condition{Gateway: "GW-1"}
		}
	}
	switch r.IntN(5) {
	case 0:
		m.Action, m.StatusCode = correction.ChangeQuality, quality.Good
	case 1:
		m.Action, m.StatusCode = correction.Substitute, quality.GoodEdited
		m.Value = &correction.Value{Value: []telemetry.Value{telemetry.FloatValue(5), telemetry.FloatValue(0.25), telemetry.StringValue("put in")}[r.IntN(3)]}
	case 2:
		m.Action, m.StatusCode = correction.Substitute, quality.GoodEdited
		m.Scale = &correction.Scale{Factor: 0.1, Offset: 3}
	case 3:
		p.pick(&m)
	}
	if n := len(p.made); n > 0 && r.IntN(3) == 0 {
		earlier := p.made[r.IntN(n)]
		m.Supersedes = []correction.Earlier{earlier.where}
		if r.IntN(2) == 0 {
			m = correction.Made{Action: correction.Undo, Supersedes: m.Supersedes}
		}
	}
	data, err := eventlog.CanonicalJSON(m)
	if err != nil {
		panic(err)
	}
	rec := p.append(correction.Stream("test"), correction.MadeType, data)
	p.made = append(p.made, madeAt{m, correction.Earlier{Stream: rec.Stream, Revision: rec.Revision}, rec.Position})
}

var (
	devices   = []string{"D-0", "D-1", "D-2", "D-3", "D-4", "D-5"}
	firmwares = []string{"", "1.0", "2.0"}
)

// pick chooses some samples by identity.
func (p *plant) pick(m *correction.Made) {
	var chosen []correction.Ref
	for _, d := range devices {
		pt := telemetry.Point{Device: d, Signal: "s0"}
		if n := len(p.model[pt]); n > 0 {
			s := p.model[pt][p.r.IntN(n)]
			chosen = append(chosen, correction.Ref{
				Device: d, Signal: pt.Signal, Stream: s.Ref.Stream, Revision: s.Ref.Revision, Index: s.Ref.Index, SourceTime: s.SourceTime,
			})
		}
	}
	if chosen != nil {
		m.Samples, m.Spans, m.Condition, m.IncludingLater = chosen, nil, nil, false
	}
}

// look says how a sample looks, from the list of all corrections, by the words
// of the rule.
func (p *plant) look(pt telemetry.Point, s history.Sample, known eventlog.Position) history.Sample {
	if known == 0 {
		known = eventlog.End
	}
	superseded := map[correction.Earlier]bool{}
	var inForce []madeAt
	for _, m := range slices.Backward(p.made) {
		if m.position > known || superseded[m.where] {
			continue
		}
		for _, earlier := range m.Supersedes {
			superseded[earlier] = true
		}
		inForce = append(inForce, m)
	}
	received := s
	for _, m := range slices.Backward(inForce) {
		if m.chooses(pt, &received) {
			m.change(&s, received)
		}
	}
	s.Corrected = s.Value != received.Value || s.Quality != received.Quality
	return s
}

func (m *madeAt) chooses(pt telemetry.Point, s *history.Sample) bool {
	if s.Position > m.position && !m.IncludingLater {
		return false
	}
	for _, r := range m.Samples {
		if r.Stream == s.Ref.Stream && r.Revision == s.Ref.Revision && r.Index == s.Ref.Index {
			return true
		}
	}
	if c := m.Condition; c != nil && (c.Firmware != "" && c.Firmware != s.Firmware || c.Gateway != "" && c.Gateway != s.Gateway) {
		return false
	}
	return slices.ContainsFunc(m.Spans, func(sp correction.Span) bool {
		return sp.Device == pt.Device && (sp.Signal == "" || sp.Signal == pt.Signal) && !s.SourceTime.Before(sp.From) && s.SourceTime.Before(sp.To)
	})
}

func (m *madeAt) change(s *history.Sample, received history.Sample) {
	switch f, ok := s.Value.Number(); {
	case m.Scale != nil:
		if !ok || s.Value.Kind == telemetry.Bool {
			return
		}
		s.Value = telemetry.FloatValue(float64(f*m.Scale.Factor) + m.Scale.Offset)
	case m.Value != nil:
		s.Value = m.Value.Value
		if v, ok := s.Value.Number(); ok && received.Value.Kind == telemetry.Int64 && v == float64(int64(v)) {
			s.Value = telemetry.IntValue(int64(v))
		}
	}
	s.Quality.Code = m.StatusCode
}

// altered says which correction was the last to change how a sample looks.
func (p *plant) altered(pt telemetry.Point, received history.Sample, known eventlog.Position) (by eventlog.Position) {
	last := received
	for _, m := range p.made {
		if known != 0 && m.position > known {
			break
		}
		if now := p.look(pt, received, m.position); now.Value != last.Value || now.Quality != last.Quality {
			last, by = now, max(m.position, received.Position)
		}
	}
	return by
}
