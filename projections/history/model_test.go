package history_test

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/rows/memrows"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/settings"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/history"
)

// plant makes a log of telemetry with everything that plants do: devices of
// other rhythms, shapes and types, late and repeated times, clocks that run
// ahead, changes of settings.
type plant struct {
	r         *rand.Rand
	records   []eventlog.Record
	position  uint64
	epoch     uint16
	recorded  time.Time
	revisions map[eventlog.StreamID]eventlog.Revision
	skew      time.Duration
	jump      int // the positions between two events

	pace   int64         // nanoseconds between two events, at most
	behind time.Duration // of a backfill
	last   [6]time.Time  // SourceTime by device

	made   []madeAt
	model  map[telemetry.Point][]history.Sample // as received, in the order of the log
	sorted map[telemetry.Point][]history.Sample // in the order of time
}

var epoch = time.Date(2024, 2, 28, 22, 0, 0, 0, time.UTC)

func newPlant(r *rand.Rand, jump int) *plant {
	return &plant{
		r: r, recorded: epoch, revisions: map[eventlog.StreamID]eventlog.Revision{}, skew: time.Minute, jump: jump, pace: 4e9,
		model: map[telemetry.Point][]history.Sample{},
	}
}

func (p *plant) append(stream eventlog.StreamID, typ string, data []byte) eventlog.Record {
	last := p.position
	p.position += 1 + uint64(p.r.IntN(p.jump))
	if end := p.position >> 18 << 18; end > last+1 && p.r.IntN(2) == 0 {
		p.position = end - uint64(p.r.IntN(2)) // the last of a window, or the first
	}
	if p.r.IntN(3) == 0 {
		p.recorded = p.recorded.Add(time.Duration(p.r.Int64N(1e9)))
	}
	r := eventlog.Record{
		Stream: stream, Revision: p.revisions[stream], Type: typ, Data: data, Recorded: p.recorded,
		Position: eventlog.NewPosition(p.epoch, p.position),
	}
	p.revisions[stream]++
	p.records = append(p.records, r)
	return r
}

func (p *plant) run(n int) {
	p.sorted = map[telemetry.Point][]history.Sample{}
	p.behind = time.Duration(p.r.Int64N(2) * p.r.Int64N(int64(p.recorded.Sub(epoch))+1))
	for range n {
		p.recorded = p.recorded.Add(time.Duration(p.r.Int64N(p.pace)))
		switch p.r.IntN(400) {
		case 0:
			p.skew = time.Duration(1+p.r.IntN(120)) * time.Second
			p.append(settings.Stream("test"), settings.ChangedType, fmt.Appendf(nil, `{"allowedSkewMs":%d}`, p.skew.Milliseconds()))
		case 1:
			p.append("telemetry-broken.0", eventlog.TelemetryRecorded, []byte{0xff, 0xff, 1})
		case 2:
			if p.r.IntN(20) == 0 {
				p.epoch++ // a restored log
				p.position = 0
			}
		case 3:
			p.correct()
		default:
			p.message()
		}
	}
}

func (p *plant) message() {
	r := p.r
	device := r.IntN(6)
	row := telemetry.Row{
		Device: fmt.Sprintf("D-%d", device), SchemaVersion: "2.1", EdgeLatency: telemetry.NoLatency,
		SourceTime: p.recorded.Add(-time.Duration(r.Int64N(2e9))).Truncate(time.Millisecond),
	}
	row.SourceTime = row.SourceTime.Add(-p.behind)
	row.Firmware = firmwares[r.IntN(1+r.IntN(len(firmwares)))]
	if device%2 == 0 {
		row.Gateway = fmt.Sprint("GW-", r.IntN(2))
	}
	if !p.last[device].IsZero() && r.IntN(8) == 0 {
		row.SourceTime = p.last[device] // a second sample of one SourceTime
	}
	p.last[device] = row.SourceTime
	switch r.IntN(12 * int(4e9/p.pace)) {
	case 0: // late by up to three days
		row.SourceTime = row.SourceTime.Add(-time.Duration(r.Int64N(72 * 3600e9))).Truncate(time.Second)
	case 2: // ahead
		row.SourceTime = row.SourceTime.Add(time.Duration(r.Int64N(200e9)))
	case 3: // not in milliseconds
		row.SourceTime = row.SourceTime.Add(time.Duration(r.Int64N(1e6)))
	}
	if r.IntN(2) == 0 {
		row.ServerTime = row.SourceTime.Add(time.Duration(r.IntN(900)) * time.Millisecond)
	}
	signals := []int{1, 3, 10, 20, 40, 2}[device]
	for i := range signals {
		if device == 4 && r.IntN(4) > 0 {
			continue // by deadband
		}
		row.Samples = append(row.Samples, p.sample(device, i))
	}
	if r.IntN(30) == 0 {
		r.Shuffle(len(row.Samples), func(i, j int) { row.Samples[i], row.Samples[j] = row.Samples[j], row.Samples[i] })
	}
	stream := telemetry.Stream(fmt.Sprintf("GW-%d", device/2), fmt.Sprintf("%016x", device/2))
	rec := p.append(stream, eventlog.TelemetryRecorded, row.AppendBinary(nil))
	for i, s := range row.Samples {
		q := s.Quality
		if row.SourceTime.Sub(rec.Recorded) > p.skew && q.Code.Status() == quality.IsGood {
			q.Code = quality.UncertainSubNormal
		}
		pt := telemetry.Point{Device: row.Device, Signal: s.Signal}
		p.model[pt] = append(p.model[pt], history.Sample{
			SourceTime: row.SourceTime, ServerTime: row.ServerTime, Recorded: rec.Recorded, Value: s.Value, Quality: q,
			Position: rec.Position, Ref: history.Ref{Stream: stream, Revision: rec.Revision, Index: i},
			Gateway: row.Gateway, Firmware: row.Firmware,
		})
	}
}

func (p *plant) sample(device, i int) telemetry.Sample {
	r := p.r
	s := telemetry.Sample{Signal: fmt.Sprintf("s%d", i), Quality: quality.Quality{Raw: 192, Scheme: quality.OPCDA}}
	switch r.IntN(20) {
	case 0:
		s.Quality = quality.Quality{Code: quality.BadSensorFailure, Raw: 16, Scheme: quality.OPCDA}
	case 1:
		s.Quality = quality.Quality{Code: quality.Uncertain, Raw: 64, Scheme: quality.OPCDA}
	}
	switch (device + i) % 7 {
	case 5:
		s.Value = telemetry.StringValue([]string{"RUN", "STOP", "wärmt auf"}[r.IntN(3)])
	case 6:
		s.Value = telemetry.BoolValue(r.IntN(5) == 0)
	case 4:
		s.Value = telemetry.IntValue(int64(r.IntN(1000)) << (r.IntN(2) * 40))
	case 3:
		s.Value = telemetry.FloatValue(r.NormFloat64())
	default:
		s.Value = telemetry.FloatValue(math.Round(200+10*math.Sin(float64(len(p.records))/50)*10) / 10)
	}
	if r.IntN(100) == 0 {
		s.Value = []telemetry.Value{
			{}, telemetry.FloatValue(math.NaN()), telemetry.FloatValue(math.Copysign(0, -1)), telemetry.FloatValue(math.Inf(1)), telemetry.StringValue("?"),
		}[r.IntN(5)]
	}
	return s
}

// known returns what was known of a point at a position, in the order of time.
func (p *plant) known(pt telemetry.Point, pos eventlog.Position) []history.Sample {
	list := p.received(pt, pos)
	if len(p.made) > 0 {
		for i := range list {
			list[i] = p.look(pt, list[i], pos)
		}
	}
	return list
}

// received is known without corrections.
func (p *plant) received(pt telemetry.Point, pos eventlog.Position) []history.Sample {
	out, ok := p.sorted[pt]
	if !ok {
		out = slices.Clone(p.model[pt])
		slices.SortStableFunc(out, func(a, b history.Sample) int {
			return cmp.Or(a.SourceTime.Compare(b.SourceTime), cmp.Compare(a.Position, b.Position))
		})
		p.sorted[pt] = out
	}
	if pos == 0 {
		return slices.Clone(out)
	}
	var known []history.Sample
	for _, s := range out {
		if s.Position <= pos {
			known = append(known, s)
		}
	}
	return known
}

// live folds records as a server does: in batches, committed, with restarts.
type live struct {
	store *memrows.Store
	fold  *history.Projection
	at    eventlog.Position
}

func newLive(tb testing.TB) *live {
	tb.Helper()
	l := &live{store: memrows.New()}
	l.restart(tb)
	return l
}

func (l *live) restart(tb testing.TB) {
	tb.Helper()
	ctx := context.Background()
	l.fold = history.New(l.store)
	at, err := l.store.Checkpoint(ctx, l.fold.Name(), l.fold.Version())
	if err != nil {
		tb.Fatal(err)
	}
	s, err := l.store.Snapshot(ctx, l.fold.Name())
	if err != nil {
		tb.Fatal(err)
	}
	defer s.Close()
	if err := l.fold.Open(s, at); err != nil {
		tb.Fatal(err)
	}
	l.at = at
}

// feed folds the records behind the checkpoint, size says how many at once.
func (l *live) feed(tb testing.TB, records []eventlog.Record, size func() int) {
	tb.Helper()
	i, _ := slices.BinarySearchFunc(records, l.at+1, func(r eventlog.Record, p eventlog.Position) int { return cmp.Compare(r.Position, p) })
	for i < len(records) {
		n := min(size(), len(records)-i)
		l.commit(tb, eventlog.Batch{Records: records[i : i+n], Through: records[i+n-1].Position})
		i += n
	}
}

func (l *live) commit(tb testing.TB, b eventlog.Batch) {
	tb.Helper()
	var w projections.Writes
	at, err := l.fold.Fold(b, &w)
	if err == nil {
		err = l.store.Commit(context.Background(), l.fold.Name(), l.fold.Version(), at, &w)
	}
	if err != nil {
		tb.Fatal(err)
	}
	l.at = b.Through
}
