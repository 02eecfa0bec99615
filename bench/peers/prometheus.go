package main

import (
	"context"
	"math"
	"path/filepath"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/twinlog/twinlog/domain/telemetry"
)

// prometheus is a TSDB with two series a signal: its value and its quality. It
// does not sync at a commit.
type prometheus struct {
	db   *tsdb.DB
	refs map[int]storage.SeriesRef
	last int64
}

func openPrometheus(dir string) (*prometheus, error) {
	db, err := tsdb.Open(filepath.Join(dir, "tsdb"), nil, nil, tsdb.DefaultOptions(), nil)
	return &prometheus{db: db, refs: map[int]storage.SeriesRef{}}, err
}

func (p *prometheus) second(ctx context.Context, _ int64, rows []*telemetry.Row) error {
	a := p.db.Appender(ctx)
	for i, r := range rows {
		ts := r.SourceTime.UnixMilli()
		p.last = max(p.last, ts)
		for k := range r.Samples {
			x := &r.Samples[k]
			for which, v := range [2]float64{math.Float64frombits(x.Value.Bits), float64(x.Quality.Raw)} {
				series := (i*len(r.Samples)+k)*2 + which
				l := labels.EmptyLabels()
				if p.refs[series] == 0 {
					l = labels.FromStrings(labels.MetricName, x.Signal, "device", r.Device, "of", []string{"value", "quality"}[which])
				}
				ref, err := a.Append(p.refs[series], l, ts, v)
				if err != nil {
					return err
				}
				p.refs[series] = ref
			}
		}
	}
	return a.Commit()
}

// finish makes a block of what is in the head, as the TSDB does after two hours.
func (p *prometheus) finish(context.Context, order, *result) error {
	head := tsdb.NewRangeHead(p.db.Head(), p.db.Head().MinTime(), p.last)
	if err := p.db.CompactHead(head); err != nil {
		return err
	}
	return p.db.Close()
}
