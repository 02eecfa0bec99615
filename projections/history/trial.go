package history

import (
	"context"
	"fmt"
	"time"

	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
)

// Versions is a sample as it was received and what became of it.
type Versions struct {
	Received Sample
	Steps    []correction.Step // in log order
}

// Versions returns the samples of a point with this SourceTime, known at the
// cut, in log order, each with every look that it has had (OPC 10000-11 §6.5.3,
// ReadModified).
func (v *View) Versions(ctx context.Context, point telemetry.Point, at time.Time, c projections.Cut) ([]Versions, error) {
	instant := stretch{telemetry.Nanos(at), telemetry.Nanos(at)}
	if instant.to > asOf(c) {
		return nil, nil
	}
	v.p.mu.RLock()
	q := v.p.query(point, instant, c, true)
	if q != nil {
		q.plan, q.story = nil, v.p.made.Story(point, q.made)
	}
	v.p.mu.RUnlock()
	if q == nil {
		return nil, nil
	}
	var err error
	if q.session, err = v.p.session(ctx); err != nil {
		return nil, err
	}
	defer q.close()
	var out []Versions
	for s, err := range q.stretches(instant.from, instant.to) {
		for i := 0; err == nil && i < s.len(); i++ {
			var x Sample
			if x, err = q.sample(s, i); err == nil {
				received := correction.Shown{Value: x.Value, Quality: x.Quality}
				out = append(out, Versions{x, q.story.Steps(q.given(s, i), received)})
			}
		}
		if err != nil {
			return nil, fmt.Errorf("versions of %s of %s: %w", point.Signal, point.Device, err)
		}
	}
	return out, nil
}

// Effect is what a correction would do to one sample.
type Effect struct {
	Point telemetry.Point
	// Sample is as it looks at the cut.
	Sample Sample
	After  correction.Shown
}

// Try yields what a correction would change if it were made at the cut, sample
// by sample: by device and signal, then in the order of (SourceTime, position).
// It stops when each says so.
func (v *View) Try(ctx context.Context, made correction.Made, c projections.Cut, each func(Effect) bool) error {
	type part struct {
		*query
		point         telemetry.Point
		span          stretch
		before, after *correction.Plan
	}
	var parts []part
	v.p.mu.RLock()
	trial := v.p.made.Try(made, c.Through())
	for _, name := range trial.Devices() {
		d := v.p.byName[name]
		if d == nil {
			continue
		}
		for _, signal := range d.signals {
			pt := telemetry.Point{Device: name, Signal: signal}
			before, after := trial.Plans(pt)
			for _, s := range trial.Spans(pt) {
				if q := v.p.query(pt, stretch{s[0], s[1]}, c, true); q != nil {
					q.plan = nil
					parts = append(parts, part{q, pt, stretch{s[0], s[1]}, before, after})
				}
			}
		}
	}
	v.p.mu.RUnlock()
	session, err := v.p.session(ctx)
	if err != nil {
		return err
	}
	defer session.close()
	for _, p := range parts {
		p.session = session
		for s, err := range p.stretches(p.span.from, p.span.to) {
			if err != nil {
				return fmt.Errorf("trial on %s of %s: %w", p.point.Signal, p.point.Device, err)
			}
			for i := range s.len() {
				g := p.given(s, i)
				received := correction.Shown{Value: s.value(i), Quality: s.known[s.quality[i]]}
				now, corrected := p.before.Apply(g, received)
				then, _ := p.after.Apply(g, received)
				if now == then {
					continue
				}
				x, err := p.sample(s, i)
				if err != nil {
					return err
				}
				x.Value, x.Quality, x.Corrected = now.Value, now.Quality, corrected
				if !each(Effect{p.point, x, then}) {
					return nil
				}
			}
		}
	}
	return nil
}
