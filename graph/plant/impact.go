package plant

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"slices"
	"time"

	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/graph/scalar"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/assets"
	"github.com/twinlog/twinlog/projections/history"
)

// examples is how many samples of an asset an Impact shows.
const examples = 5

// Impact is what a correction would change.
type Impact struct {
	Digest     string
	Samples    int
	From, To   *time.Time
	Assets     []*AssetImpact
	Unassigned int
	KnownAt    eventlog.Position
}

// AssetImpact is what it would change of one asset.
type AssetImpact struct {
	Asset    *Asset
	Tags     []*Tag
	Samples  int
	Examples []*SampleChange

	tags map[string]*assets.Tag
}

// SampleChange is what it would change of one sample.
type SampleChange struct {
	Device, Signal string
	SourceTime     time.Time
	Ref            SampleRef
	Before, After  *SampleLook
}

// SampleLook is value and quality of a sample.
type SampleLook struct {
	Value   telemetry.Value
	quality quality.Quality
}

// Number is nil unless numeric and finite.
func (l *SampleLook) Number() *float64 { return scalar.Number(l.Value) }

// Quality is how far to trust it.
func (l *SampleLook) Quality() Quality { return Quality{l.quality} }

// Impact says what a correction would change of all that is in the log now.
func (r *Reader) Impact(ctx context.Context, m correction.Made) (*Impact, error) {
	head, _, err := r.Log.Head(ctx)
	if err == nil {
		err = r.await(ctx, head, standardWait)
	}
	if err != nil {
		return nil, err
	}
	s := &scope{r: r, cut: projections.Cut{Known: r.folded(), Now: r.Now()}}
	t := &tally{s: s, ctx: ctx, sum: sha256.New(), byAsset: map[string]*AssetImpact{}, out: &Impact{KnownAt: s.cut.Known}}
	if err := t.begin(m); err != nil {
		return nil, err
	}
	if err := r.History.Try(ctx, m, s.cut, t.add); err != nil {
		return nil, err
	}
	if t.err != nil {
		return nil, t.err
	}
	return t.out, t.finish()
}

// tally counts the effects of a correction.
type tally struct {
	s       *scope
	ctx     context.Context
	sum     hash.Hash
	out     *Impact
	byAsset map[string]*AssetImpact
	err     error

	point telemetry.Point // that feeds is of
	feeds []assets.Feed
	room  []byte
}

// begin puts what the correction says into the digest: it also decides what
// becomes of later samples.
func (t *tally) begin(m correction.Made) error {
	m.Impact = correction.Impact{}
	said, err := eventlog.CanonicalJSON(m)
	t.sum.Write(said)
	return err
}

func (t *tally) add(e history.Effect) bool {
	if t.ctx.Err() != nil {
		t.err = t.ctx.Err()
		return false
	}
	t.digest(&e)
	at := e.Sample.SourceTime
	if t.out.Samples++; t.out.From == nil || at.Before(*t.out.From) {
		t.out.From = &at
	}
	if t.out.To == nil || at.After(*t.out.To) {
		t.out.To = &at
	}
	if e.Point != t.point || t.feeds == nil {
		lists, err := t.s.r.Assets.FedBy(t.ctx, []telemetry.Point{e.Point}, t.s.cut)
		if err != nil {
			t.err = err
			return false
		}
		t.point, t.feeds = e.Point, append([]assets.Feed{}, lists[0]...)
	}
	fed := false
	var counted []string
	for _, f := range t.feeds {
		if at.Before(f.From) || !f.To.IsZero() && !at.Before(f.To) {
			continue
		}
		fed = true
		a := t.byAsset[f.Tag.AssetID]
		if a == nil {
			a = &AssetImpact{tags: map[string]*assets.Tag{}}
			t.byAsset[f.Tag.AssetID] = a
		}
		a.tags[f.Tag.ID] = f.Tag
		if slices.Contains(counted, f.Tag.AssetID) {
			continue
		}
		counted = append(counted, f.Tag.AssetID)
		if a.Samples++; len(a.Examples) < examples {
			a.Examples = append(a.Examples, change(&e))
		}
	}
	if !fed {
		t.out.Unassigned++
	}
	return true
}

func change(e *history.Effect) *SampleChange {
	return &SampleChange{
		Device: e.Point.Device, Signal: e.Point.Signal, SourceTime: e.Sample.SourceTime, Ref: (&Sample{e.Sample}).Ref(),
		Before: &SampleLook{e.Sample.Value, e.Sample.Quality}, After: &SampleLook{e.After.Value, e.After.Quality},
	}
}

// digest takes in which sample it is, how it looks and how it would look.
func (t *tally) digest(e *history.Effect) {
	b := t.room[:0]
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	look := func(v telemetry.Value, q quality.Quality) {
		b = append(b, byte(v.Kind))
		b = binary.BigEndian.AppendUint64(b, v.Bits)
		text(v.Str)
		b = binary.BigEndian.AppendUint32(b, uint32(q.Code))
	}
	text(string(e.Sample.Ref.Stream))
	b = binary.AppendUvarint(b, uint64(e.Sample.Ref.Revision))
	b = binary.AppendUvarint(b, uint64(e.Sample.Ref.Index))
	look(e.Sample.Value, e.Sample.Quality)
	look(e.After.Value, e.After.Quality)
	t.sum.Write(b)
	t.room = b
}

func (t *tally) finish() error {
	t.out.Digest = hex.EncodeToString(t.sum.Sum(nil))
	ids := make([]string, 0, len(t.byAsset))
	for id := range t.byAsset {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	found, err := t.s.assetsOnce(t.ctx, ids)
	if err != nil {
		return err
	}
	for i, id := range ids {
		a := t.byAsset[id]
		if a.Asset = found[i]; a.Asset == nil {
			continue // it was never registered
		}
		var rows []*assets.Tag
		for _, tag := range a.tags {
			rows = append(rows, tag)
		}
		slices.SortFunc(rows, func(a, b *assets.Tag) int { return cmp.Compare(a.Path, b.Path) })
		a.Tags = t.s.tags(rows)
		t.out.Assets = append(t.out.Assets, a)
	}
	slices.SortFunc(t.out.Assets, func(a, b *AssetImpact) int { return cmp.Compare(a.Asset.Path, b.Asset.Path) })
	return nil
}

// Grown says whether something came since a position that changes the impact of
// a correction: a sample of one of its devices, or another correction.
func (r *Reader) Grown(ctx context.Context, m correction.Made, since eventlog.Position) (bool, error) {
	devices := map[string]bool{}
	for _, s := range m.Spans {
		devices[s.Device] = true
	}
	var view telemetry.View
	for rec, err := range r.Log.ReadAll(ctx, since, eventlog.Forwards, eventlog.Filter{Types: []string{eventlog.TelemetryRecorded, correction.MadeType}}) {
		if err != nil {
			return false, err
		}
		if rec.Type == correction.MadeType {
			return true, nil
		}
		if view.Reset(rec.Data) == nil && devices[string(view.Device)] && m.Meets(&view) {
			return true, nil
		}
	}
	return false, nil
}
