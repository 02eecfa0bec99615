package plant

import (
	"context"
	"fmt"
	"time"

	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/settings"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/graph/fault"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/assets"
)

// Watched is a set of tags, and the points that feed them, as known at one
// position. A subscriber gets a new one when the structure of the plant changes.
type Watched struct {
	scope *scope
	Tags  []*Tag
	// Points are those that feed a tag now or may from a later time on.
	Points []telemetry.Point
	feeds  map[string]map[string][]feed // by device and signal
	spans  [][]assets.Binding           // of each tag
	set    settings.Settings
	plans  map[telemetry.Point]*correction.Plan // what is in force for points
}

// feed is a span in which a point feeds a tag.
type feed struct {
	tag      int
	from, to time.Time
}

// Watch resolves a filter as of what is known at a position. Tags that are
// named and not there are refused, unless gone, when they are left out: a tag
// that disappears ends no subscription.
func (r *Reader) Watch(ctx context.Context, f ValueFilter, known eventlog.Position, limit int, gone bool) (*Watched, error) {
	if len(f.Tags) == 0 && f.Under == nil {
		return nil, fault.Bad("filter", nil, "tags, or under, or both")
	}
	s := &scope{r: r, cut: projections.Cut{Known: known, Now: r.Now()}}
	tags, err := (&Plant{s}).someWatched(ctx, f, limit, gone)
	if err != nil {
		return nil, err
	}
	w := &Watched{scope: s, Tags: tags, feeds: map[string]map[string][]feed{}}
	// Without Now, bindings that are dated ahead come as well.
	if w.spans, err = r.Assets.Bindings(ctx, tagIDs(tags), projections.Cut{Known: known}); err != nil {
		return nil, err
	}
	set, err := s.settings(ctx)
	if err != nil {
		return nil, err
	}
	w.set = set.Settings
	seen, all := map[telemetry.Point]bool{}, []telemetry.Point(nil)
	for i, list := range w.spans {
		for _, b := range list {
			signals := w.feeds[b.Point.Device]
			if signals == nil {
				signals = map[string][]feed{}
				w.feeds[b.Point.Device] = signals
			}
			all = append(all, b.Point)
			signals[b.Point.Signal] = append(signals[b.Point.Signal], feed{i, b.From, b.To})
			if (b.To.IsZero() || b.To.After(s.cut.Now)) && !seen[b.Point] {
				seen[b.Point] = true
				w.Points = append(w.Points, b.Point)
			}
		}
	}
	w.plans = r.History.Plans(all, s.cut)
	return w, nil
}

// someWatched lists the tags of a filter, each once.
func (p *Plant) someWatched(ctx context.Context, f ValueFilter, limit int, gone bool) ([]*Tag, error) {
	if len(f.Tags) > limit {
		return nil, fmt.Errorf("filter.tags: given %d, expected at most %d: %w", len(f.Tags), limit, fault.ErrTooManyRows)
	}
	named, err := p.scope.tagsByID(ctx, "filter.tags", f.Tags)
	if err != nil {
		return nil, err
	}
	var bad fault.Input
	var rows []*assets.Tag
	seen := map[string]bool{}
	for i, t := range named {
		switch {
		case t == nil && !gone:
			bad.Add(fmt.Sprintf("filter.tags.%d", i), f.Tags[i], "a tag that there is")
		case t != nil && !seen[t.Tag.ID]:
			seen[t.Tag.ID] = true
			rows = append(rows, t.Tag)
		}
	}
	if bad.Problems != nil {
		return nil, &fault.Coded{Err: fmt.Errorf("%d of the tags: %w", len(bad.Problems), fault.ErrNotFound), Problems: bad.Problems}
	}
	if f.Under != nil {
		filter, err := p.scope.r.tagFilter(f.Under, &TagFilter{Names: f.Names})
		if err != nil {
			return nil, err
		}
		below, more, err := p.scope.r.Assets.ListTags(ctx, filter, p.scope.cut, "", limit)
		if err != nil {
			return nil, err
		}
		for _, t := range below {
			if !seen[t.ID] {
				seen[t.ID] = true
				rows = append(rows, t)
			}
		}
		if more || len(rows) > limit {
			return nil, fmt.Errorf("filter: more than %d tags: %w", limit, fault.ErrTooManyRows)
		}
	}
	return p.scope.tags(rows), nil
}

// Current are the values now, of the tags for which wanted says so (all if nil).
func (w *Watched) Current(ctx context.Context, wanted func(tag int) bool) ([]ValueChange, error) {
	return w.current(ctx, func(tag int, _ reading) bool { return wanted == nil || wanted(tag) })
}

func (w *Watched) current(ctx context.Context, wanted func(tag int, r reading) bool) ([]ValueChange, error) {
	readings, err := w.scope.readings(ctx, w.Tags)
	if err != nil {
		return nil, err
	}
	changes := make([]ValueChange, 0, len(readings))
	for i, r := range readings {
		if r.ok && wanted(i, r) {
			changes = append(changes, w.change(i, Reported{
				Value: r.value, Code: r.quality.Code, SourceTime: r.sourceTime, Position: max(r.position, r.altered), Corrected: r.corrected,
			}))
		}
	}
	return changes, nil
}

// Since are the values that became the newest after a position, and those of
// the tags for which also says so.
func (w *Watched) Since(ctx context.Context, after eventlog.Position, also func(tag int) bool) ([]ValueChange, error) {
	return w.current(ctx, func(tag int, r reading) bool { return r.changed > after || also(tag) })
}

// Altered are the values that look so by the correction at a position.
func (w *Watched) Altered(ctx context.Context, by eventlog.Position) ([]ValueChange, error) {
	return w.current(ctx, func(_ int, r reading) bool { return r.altered == by })
}

// Reported is a value of a point. Position is of the event that brought it, or
// of the correction by which it looks so.
type Reported struct {
	Value      telemetry.Value
	Code       quality.Code
	SourceTime time.Time
	Position   eventlog.Position
	Corrected  bool
	Missed     int
}

func (w *Watched) change(tag int, r Reported) ValueChange {
	t := w.Tags[tag]
	return ValueChange{
		Tag: t.ID(), Path: t.Path, Value: r.Value, StatusCode: r.Code, SourceTime: r.SourceTime,
		Position: r.Position, Corrected: r.Corrected, Missed: r.Missed,
	}
}

// OfPoint adds a sample of a point as a change of each tag that the point fed
// at that time.
func (w *Watched) OfPoint(changes []ValueChange, p telemetry.Point, r Reported) []ValueChange {
	for _, f := range w.feeds[p.Device][p.Signal] {
		if !r.SourceTime.Before(f.from) && (f.to.IsZero() || r.SourceTime.Before(f.to)) {
			changes = append(changes, w.change(f.tag, r))
		}
	}
	return changes
}

// OfRow adds the samples of a recorded row that feed a tag, as they look where
// the row is in the log: doubted if they are ahead of their time, corrected if
// a correction includes later samples. view is only there to be used again.
func (w *Watched) OfRow(changes []ValueChange, view *telemetry.View, rec eventlog.Record) ([]ValueChange, error) {
	if err := view.Reset(rec.Data); err != nil {
		return nil, fmt.Errorf("event at %s: %w", rec.Position, err)
	}
	signals := w.feeds[string(view.Device)]
	if signals == nil {
		return changes, nil // somebody else's: not read any further
	}
	it := view.Iter()
	for i := 0; it.Next(); i++ {
		if signals[string(it.Name)] == nil {
			continue
		}
		p := telemetry.Point{Device: string(view.Device), Signal: string(it.Name)}
		look := correction.Shown{Value: it.Value(), Quality: it.Quality}
		if w.set.Ahead(view.SourceTime, rec.Recorded) {
			look.Quality = settings.Doubted(look.Quality)
		}
		corrected := false
		if plan := w.plans[p]; plan != nil {
			look, corrected = plan.Apply(&correction.Given{
				Source: telemetry.Nanos(view.SourceTime), Position: rec.Position, Stream: rec.Stream, Revision: rec.Revision, Index: i,
				Gateway: string(view.Gateway), Firmware: string(view.Firmware),
			}, look)
		}
		changes = w.OfPoint(changes, p, Reported{
			Value: look.Value, Code: look.Quality.Code, SourceTime: view.SourceTime, Position: rec.Position, Corrected: corrected,
		})
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("event at %s: %w", rec.Position, err)
	}
	return changes, nil
}

// Rebound says which tags are fed by another point now than in an earlier set.
func (w *Watched) Rebound(earlier *Watched) func(tag int) bool {
	before := map[string]telemetry.Point{}
	for i, t := range earlier.Tags {
		before[t.Tag.ID], _ = earlier.feeding(i)
	}
	return func(tag int) bool {
		point, fed := w.feeding(tag)
		old, known := before[w.Tags[tag].Tag.ID]
		return fed && (!known || old != point)
	}
}

// feeding is the point that feeds a tag now.
func (w *Watched) feeding(tag int) (telemetry.Point, bool) {
	for _, b := range w.spans[tag] {
		if !w.scope.cut.Now.Before(b.From) && (b.To.IsZero() || w.scope.cut.Now.Before(b.To)) {
			return b.Point, true
		}
	}
	return telemetry.Point{}, false
}

// Await waits until a position is folded in everywhere; see Query.plant.
func (r *Reader) Await(ctx context.Context, pos eventlog.Position) error {
	return r.await(ctx, pos, maxWait)
}

// Folded is how far every read model has come.
func (r *Reader) Folded() eventlog.Position { return r.folded() }
