package plant

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/graph/fault"
	"github.com/twinlog/twinlog/graph/scalar"
	"github.com/twinlog/twinlog/projections/aggregate"
	"github.com/twinlog/twinlog/projections/history"
)

// maxSeries is how many tags one field draws: what fits on a screen, and more.
const maxSeries = 100

// Series is the samples of one tag as columns.
type Series struct {
	Tag       *Tag
	Start     time.Time
	Times     scalar.TimeColumn
	Values    scalar.Column
	Status    scalar.StatusRuns
	Count     int
	Corrected []int
	EndCursor *string
}

// Series reads the history of tags.
func (p *Plant) Series(ctx context.Context, tags []string, from, to time.Time, quality *QualityFilter, bounds *bool, first *int, after *string) ([]*Series, error) {
	if err := checkRange(from, to); err != nil {
		return nil, err
	}
	if value(after) != "" && len(tags) != 1 {
		return nil, fault.Bad("after", *after, "a cursor only with the one tag that it is of")
	}
	found, err := p.someTags(ctx, tags)
	if err != nil {
		return nil, err
	}
	all := make([]*Series, len(found))
	for i, t := range found {
		pg, err := p.scope.page(first, after, mostRows, "series", t.Tag.ID, from, to, value(quality), bounds)
		if err != nil {
			return nil, err
		}
		rd, err := pg.scope.read(ctx, t, from, to, value(quality), value(bounds))
		if err == nil {
			err = rd.resume(pg.after)
		}
		if err == nil {
			all[i], err = rd.columns(ctx, pg)
		}
		if err != nil {
			return nil, fmt.Errorf("tag %s: %w", t.Path, err)
		}
		all[i].Tag, all[i].Start = t, from
		if err := spend(ctx, all[i].Count); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// someTags reads the tags of a field that takes up to maxSeries of them, and
// names all that are not there.
func (p *Plant) someTags(ctx context.Context, ids []string) ([]*Tag, error) {
	if n := len(ids); n > maxSeries {
		return nil, fmt.Errorf("tags: given %d, expected at most %d: %w", n, maxSeries, fault.ErrTooManyRows)
	}
	tags, err := p.scope.tagsByID(ctx, "tags", ids)
	if err != nil {
		return nil, err
	}
	var missing []fault.Problem
	for i, t := range tags {
		if t == nil {
			missing = append(missing, fault.Problem{Path: []string{"tags", fmt.Sprint(i)}, Given: ids[i], Expected: "a tag that there is at this moment"})
		}
	}
	if missing != nil {
		return nil, &fault.Coded{Err: fmt.Errorf("%d of %d tags: %w", len(missing), len(ids), fault.ErrNotFound), Problems: missing}
	}
	return tags, nil
}

// columns reads a range as columns, binding by binding.
func (rd *ranged) columns(ctx context.Context, pg page) (*Series, error) {
	out := &Series{Corrected: []int{}, Times: scalar.TimeColumn{Start: rd.from.UnixNano()}, Status: scalar.StatusRuns{}} // no rows are no null
	var joined chain
	add := func(c *history.Columns) {
		joined = append(joined, c)
		for _, row := range c.Corrected {
			out.Corrected = append(out.Corrected, out.Count+row)
		}
		out.Times.Times = append(out.Times.Times, c.Times...)
		for _, run := range c.Quality {
			out.Status.Add(run.Count, run.Quality.Code)
		}
		out.Count += len(c.Times)
	}
	if rd.before != nil && rd.passes(rd.before) && pg.first > 0 {
		add(oneRow(rd.before))
	}
	for _, p := range rd.parts() {
		if !rd.behind.SourceTime.Before(p.To) {
			continue
		}
		o := history.Options{Quality: historyFilter(rd.quality), First: pg.first - out.Count}
		if !rd.behind.SourceTime.Before(p.From) {
			o.After = rd.behind
		}
		if o.First <= 0 { // full, and there may be more: look there when asked again
			out.end(pg, p.From)
			break
		}
		c, err := rd.s.r.History.Columns(ctx, p.Point, p.From, p.To, rd.s.cut, o)
		if err != nil {
			return nil, err
		}
		if len(joined) == 0 {
			out.Times.Times = c.Times // mostly the only part: not copied
			joined, out.Count, out.Corrected = chain{c}, len(c.Times), c.Corrected
			for _, run := range c.Quality {
				out.Status.Add(run.Count, run.Quality.Code)
			}
		} else {
			add(c)
		}
		if c.More {
			key := pg.cursor(sampleKey(c.Next.SourceTime, c.Next.Position))
			out.EndCursor = &key
			break
		}
	}
	if rd.after != nil && out.EndCursor == nil && rd.passes(rd.after) {
		add(oneRow(rd.after))
	}
	out.Values = scalar.Column{ValueColumn: joined}
	return out, nil
}

// end sets a cursor just before an instant.
func (s *Series) end(pg page, from time.Time) {
	key := pg.cursor(sampleKey(from.Add(-1), 1<<63-1))
	s.EndCursor = &key
}

func oneRow(h *history.Sample) *history.Columns {
	var corrected []int
	if h.Corrected {
		corrected = []int{0}
	}
	return &history.Columns{
		Corrected: corrected,
		Times:     []int64{h.SourceTime.UnixNano()}, Kinds: []telemetry.Kind{h.Value.Kind}, Bits: []uint64{h.Value.Bits},
		Strings: []string{h.Value.Str}, Quality: []history.QualityRun{{Quality: h.Quality, Count: 1}},
	}
}

// chain is the values of several columns, one after the other.
type chain []*history.Columns

// Len is the number of rows.
func (c chain) Len() int {
	n := 0
	for _, part := range c {
		n += len(part.Times)
	}
	return n
}

// At is row i.
func (c chain) At(i int) telemetry.Value {
	for _, part := range c {
		if i < len(part.Times) {
			return cell(part, i)
		}
		i -= len(part.Times)
	}
	return telemetry.Value{}
}

func cell(c *history.Columns, i int) telemetry.Value {
	var v telemetry.Value
	if len(c.Kinds) == 1 {
		v.Kind = c.Kinds[0]
	} else {
		v.Kind = c.Kinds[i]
	}
	switch {
	case v.Kind == telemetry.String:
		v.Str = c.Strings[i]
	case v.Kind != telemetry.Null:
		v.Bits = c.Bits[i]
	}
	return v
}

// AggregateSeries is one aggregate of one tag.
type AggregateSeries struct {
	Tag      *Tag
	Start    time.Time
	Interval time.Duration
	Function Aggregate
	Values   scalar.Column
	Status   scalar.StatusRuns
}

// standardRows is the default of maxRows.
const standardRows = 10_000

// Aggregates computes aggregates of tags.
func (p *Plant) Aggregates(ctx context.Context, tags []string, from, to time.Time, interval time.Duration, functions []Aggregate, configuration *AggregateConfiguration, maxRows *int) ([]*AggregateSeries, error) {
	var bad fault.Input
	if !from.Before(to) {
		bad.Add("to", to.Format(time.RFC3339Nano), "a time after from, "+from.Format(time.RFC3339Nano))
	}
	if interval <= 0 {
		bad.Add("interval", scalar.FormatDuration(interval), "more than nothing")
	}
	limit := standardRows
	if maxRows != nil {
		limit = *maxRows
	}
	if limit < 0 || limit > mostRows {
		bad.Add("maxRows", limit, fmt.Sprintf("0 to %d", mostRows))
	}
	fns := make([]aggregate.Function, len(functions))
	for i, name := range functions {
		var err error
		if fns[i], err = aggregate.Parse(string(name)); err != nil {
			bad.Add("functions", string(name), "an Aggregate")
		}
	}
	cfg := aggregateConfig(configuration, &bad)
	if err := bad.Err(); err != nil {
		return nil, err
	}
	span := aggregate.Span{From: from, To: to, Interval: interval}
	// In floating point, because the product of what an asker may write overflows.
	if rows := math.Ceil(float64(to.Sub(from))/float64(interval)) * float64(len(tags)) * float64(len(fns)); rows > float64(limit) {
		return nil, fmt.Errorf("%d tags × %d functions × intervals of %s are %.0f rows, expected at most %d: %w",
			len(tags), len(fns), scalar.FormatDuration(interval), rows, limit, fault.ErrTooManyRows)
	}
	if err := spend(ctx, span.Intervals()*len(tags)*len(fns)); err != nil {
		return nil, err
	}
	found, err := p.someTags(ctx, tags)
	if err != nil {
		return nil, err
	}
	var all []*AggregateSeries
	for _, t := range found {
		if err := p.aggregateTag(ctx, t, span, fns, cfg, &all); err != nil {
			return nil, fmt.Errorf("tag %s: %w", t.Path, err)
		}
	}
	return all, nil
}

func (p *Plant) aggregateTag(ctx context.Context, t *Tag, span aggregate.Span, fns []aggregate.Function, cfg aggregate.Config, found *[]*AggregateSeries) error {
	spans, err := t.spans(ctx)
	if err != nil {
		return err
	}
	parts := make([]history.Part, len(spans))
	for i, b := range spans {
		parts[i] = history.Part{Point: b.Point, From: b.From, To: b.To}
	}
	cfg.Stepped = t.DataType == asset.Bool || t.DataType == asset.String
	results, err := p.scope.r.History.Aggregate(ctx, parts, span, fns, cfg, p.scope.cut)
	if err != nil {
		return err
	}
	for i, fn := range fns {
		s := &AggregateSeries{Tag: t, Start: span.From, Interval: span.Interval, Function: Aggregate(fn.String())}
		values := make(scalar.Values, len(results[i]))
		for j, r := range results[i] {
			values[j] = r.Value
			s.Status.Add(1, r.Status)
		}
		s.Values = scalar.Column{ValueColumn: values}
		*found = append(*found, s)
	}
	return nil
}

func aggregateConfig(c *AggregateConfiguration, bad *fault.Input) aggregate.Config {
	cfg := aggregate.Standard()
	if c == nil {
		return cfg
	}
	if c.TreatUncertainAsBad != nil {
		cfg.TreatUncertainAsBad = *c.TreatUncertainAsBad
	}
	if c.PercentDataBad != nil {
		cfg.PercentDataBad = *c.PercentDataBad
	}
	if c.PercentDataGood != nil {
		cfg.PercentDataGood = *c.PercentDataGood
	}
	cfg.UseSlopedExtrapolation = value(c.UseSlopedExtrapolation)
	for path, percent := range map[string]int{"percentDataBad": cfg.PercentDataBad, "percentDataGood": cfg.PercentDataGood} {
		if percent < 0 || percent > 100 {
			bad.Add("configuration."+path, percent, "0 to 100")
		}
	}
	return cfg
}
