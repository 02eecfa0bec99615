package plant

import (
	"context"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/graph/scalar"
)

// maxTable is the rows of one page of current values: a whole plant of 10,000
// tags, twice.
const maxTable = 20_000

// TagValueTable is current values as columns.
type TagValueTable struct {
	Tags     scalar.StringColumn
	Paths    scalar.StringColumn
	Values   scalar.Column
	Status   scalar.StatusRuns
	Start    time.Time
	Times    scalar.TimeColumn
	Position eventlog.Position
	PageInfo *PageInfo
}

// TagValues reads the current values of everything under an asset.
func (p *Plant) TagValues(ctx context.Context, under *string, filter *TagFilter, first *int, after *string) (*TagValueTable, error) {
	f, err := p.scope.r.tagFilter(under, filter)
	if err != nil {
		return nil, err
	}
	pg, err := p.scope.page(first, after, maxTable, "values", f)
	if err != nil {
		return nil, err
	}
	through := p.scope.r.Twins.Through() // before the values are read: a subscriber who goes on here misses nothing
	rows, more, err := p.scope.r.Assets.ListTags(ctx, f, pg.scope.cut, pg.after, pg.first)
	if err != nil {
		return nil, err
	}
	tags := pg.scope.tags(rows)
	readings, err := pg.scope.readings(ctx, tags)
	if err != nil {
		return nil, err
	}
	table := newTable(tags, readings)
	table.Position = through
	if pg.scope.pinned || through > pg.scope.cut.Known {
		table.Position = pg.scope.cut.Known
	}
	cursors := make([]string, 0, 2)
	if n := len(rows); n > 0 {
		cursors = append(cursors, pg.cursor(rows[0].Cursor()), pg.cursor(rows[n-1].Cursor()))
	}
	table.PageInfo = pg.info(cursors, more)
	return table, spend(ctx, len(rows))
}

func newTable(tags []*Tag, readings []reading) *TagValueTable {
	n := len(tags)
	table := &TagValueTable{Tags: make(scalar.StringColumn, n), Paths: make(scalar.StringColumn, n), Status: scalar.StatusRuns{}}
	values, times, missing := make(scalar.Values, n), make([]int64, n), make([]bool, n)
	for i, t := range tags {
		table.Tags[i], table.Paths[i] = t.ID(), t.Path
		r := readings[i]
		if missing[i] = !r.ok; missing[i] {
			table.Status.Add(1, quality.BadWaitingForInitialData)
			continue
		}
		table.Status.Add(1, r.quality.Code)
		values[i], times[i] = r.value, r.sourceTime.UnixNano()
		if table.Start.IsZero() || r.sourceTime.Before(table.Start) {
			table.Start = r.sourceTime
		}
	}
	if table.Start.IsZero() {
		table.Start = time.Unix(0, 0).UTC()
	}
	table.Values = scalar.Column{ValueColumn: values}
	table.Times = scalar.TimeColumn{Start: table.Start.UnixNano(), Times: times, Missing: missing}
	return table
}
