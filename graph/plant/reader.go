// Package plant answers what can be read through the graph: the plant at one
// moment, and the log. gqlgen binds the fields of schema.graphql to its methods,
// so there is no layer in between.
//
// Everything that is found knows the cut that it was found at, and is asked
// further at that cut. Nothing here writes.
package plant

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/planted"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/graph/fault"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/aggregate"
	"github.com/twinlog/twinlog/projections/assets"
	"github.com/twinlog/twinlog/projections/audit"
	"github.com/twinlog/twinlog/projections/devices"
	"github.com/twinlog/twinlog/projections/history"
	"github.com/twinlog/twinlog/projections/twins"
)

// Reader holds the read models. The views are ports only so that tests can
// count what is read; *assets.View and its like fill them.
type Reader struct {
	Log     eventlog.Log
	Assets  Assets
	Twins   Twins
	History History
	Devices Devices
	Audit   Audit
	Alarms  Alarms
	Runner  Runner
	Now     func() time.Time
	Build   string // of the software
}

// Assets is what is asked of *assets.View, where the contract of each method is.
type Assets interface {
	ByIDs(ctx context.Context, ids []string, c projections.Cut) ([]*assets.Asset, error)
	ByPath(ctx context.Context, path string, c projections.Cut) (*assets.Asset, error)
	Children(ctx context.Context, parents []string, c projections.Cut) ([][]*assets.Asset, error)
	Ancestors(ctx context.Context, ids []string, c projections.Cut) ([][]*assets.Asset, error)
	List(ctx context.Context, f assets.Filter, c projections.Cut, after string, first int) ([]*assets.Asset, bool, error)
	Tags(ctx context.Context, assetIDs []string, c projections.Cut) ([][]*assets.Tag, error)
	TagsByID(ctx context.Context, ids []string, c projections.Cut) ([]*assets.Tag, error)
	TagByPath(ctx context.Context, path string, c projections.Cut) (*assets.Tag, error)
	ListTags(ctx context.Context, f assets.TagFilter, c projections.Cut, after string, first int) ([]*assets.Tag, bool, error)
	Bindings(ctx context.Context, tagIDs []string, c projections.Cut) ([][]assets.Binding, error)
	FedBy(ctx context.Context, points []telemetry.Point, c projections.Cut) ([][]assets.Feed, error)
	Devices(ctx context.Context, assetIDs []string, c projections.Cut) ([][]string, error)
	Relations(ctx context.Context, ids []string, dir assets.Direction, c projections.Cut) ([][]assets.Relation, error)
	ClassVersions(ctx context.Context, refs []assets.ClassRef, c projections.Cut) ([]*assets.Class, error)
	ListClasses(ctx context.Context, c projections.Cut, after string, first int) ([]*assets.Class, bool, error)
}

// Twins is what is asked of *twins.View.
type Twins interface {
	Latest(ctx context.Context, points []telemetry.Point) ([]twins.Last, error)
	Through() eventlog.Position
	Watch(points []telemetry.Point, after eventlog.Position) *twins.Watch
}

// History is what is asked of *history.View.
type History interface {
	Samples(ctx context.Context, point telemetry.Point, from, to time.Time, c projections.Cut, o history.Options) iter.Seq2[history.Sample, error]
	Columns(ctx context.Context, point telemetry.Point, from, to time.Time, c projections.Cut, o history.Options) (*history.Columns, error)
	LatestAt(ctx context.Context, points []telemetry.Point, c projections.Cut) ([]*history.Sample, error)
	Aggregate(ctx context.Context, parts []history.Part, span aggregate.Span, fns []aggregate.Function, cfg aggregate.Config, c projections.Cut) ([][]aggregate.Result, error)
	Points(ctx context.Context, device string) ([]telemetry.Point, error)
	Versions(ctx context.Context, point telemetry.Point, at time.Time, c projections.Cut) ([]history.Versions, error)
	Try(ctx context.Context, made correction.Made, c projections.Cut, each func(history.Effect) bool) error
	Plans(points []telemetry.Point, c projections.Cut) map[telemetry.Point]*correction.Plan
}

// Devices is what is asked of *devices.View.
type Devices interface {
	ByIDs(ctx context.Context, ids []string, c projections.Cut) ([]*devices.Device, error)
	List(ctx context.Context, f devices.Filter, c projections.Cut, after string, first int) ([]*devices.Device, bool, error)
}

// Audit is what is asked of *audit.View.
type Audit interface {
	List(ctx context.Context, f audit.Filter, upTo eventlog.Position, p audit.Page) ([]audit.Row, bool, error)
}

// Runner is what is asked of *projections.Runner.
type Runner interface {
	WaitFor(ctx context.Context, pos eventlog.Position) error
	Status() []projections.Status
}

// scope is one cut of the plant, shared by everything found at it.
type scope struct {
	r   *Reader
	cut projections.Cut
	// asOf is as it was asked; nil: the newest.
	asOf *time.Time
	// pinned: the asker named a moment, or a cursor did.
	pinned bool

	mu  sync.Mutex // guards set
	set *Settings  // at the cut, once it was asked for
}

// The waits of plant(minPosition).
const (
	standardWait = 5 * time.Second
	maxWait      = 30 * time.Second
)

// Plant resolves a moment, after waiting for a position if one is given.
func (r *Reader) Plant(ctx context.Context, at *Moment, minPosition *eventlog.Position, waitAtMost *time.Duration) (*Plant, error) {
	wait := standardWait
	if waitAtMost != nil {
		wait = *waitAtMost
	}
	if wait < 0 || wait > maxWait {
		return nil, fault.Bad("waitAtMost", wait.String(), "0 to "+maxWait.String())
	}
	if minPosition != nil {
		if err := r.await(ctx, *minPosition, wait); err != nil {
			return nil, err
		}
	}
	s, err := r.resolve(ctx, at, wait)
	if err != nil {
		return nil, err
	}
	return &Plant{scope: s}, nil
}

// await waits until a position is folded in everywhere.
func (r *Reader) await(ctx context.Context, pos eventlog.Position, atMost time.Duration) error {
	if err := eventlog.CheckPosition(ctx, r.Log, pos); err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	err := r.Runner.WaitFor(waiting, pos)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return &fault.Placed{Err: fmt.Errorf("position %s after %v: %w", pos, atMost, fault.ErrWaitTimeout), Position: r.folded()}
	}
	return err
}

// folded is how far every read model has come.
func (r *Reader) folded() eventlog.Position {
	var least eventlog.Position
	for i, s := range r.Runner.Status() {
		if i == 0 || s.Position < least {
			least = s.Position
		}
	}
	return least
}

// resolve turns a moment into a cut. The newest moment ends where the slowest
// read model stands, so that all of them answer for the same log.
func (r *Reader) resolve(ctx context.Context, at *Moment, wait time.Duration) (*scope, error) {
	s := &scope{r: r, pinned: at != nil && (at.AsOf != nil || at.Known != nil)}
	s.cut.Known, s.cut.Now = r.folded(), r.Now()
	if at == nil {
		return s, nil
	}
	if at.AsOf != nil {
		if at.AsOf.Before(beforeAll) || !at.AsOf.Before(afterAll) {
			return nil, fault.Bad("at.asOf", at.AsOf.Format(time.RFC3339Nano), beforeAll.Format(time.RFC3339)+" up to "+afterAll.Format(time.RFC3339))
		}
		s.cut.AsOf, s.asOf = *at.AsOf, at.AsOf
	}
	if at.Known == nil {
		return s, nil
	}
	known, err := r.known(ctx, at.Known)
	if err != nil {
		return nil, err
	}
	if known > s.cut.Known {
		if err := r.await(ctx, known, wait); err != nil {
			return nil, err
		}
	}
	recorded, err := r.recorded(ctx, known)
	if err != nil {
		return nil, err
	}
	s.cut.Known, s.cut.Now = known, recorded
	if known == 0 {
		s.cut.Nothing, s.cut.AsOf = true, beforeAll
	}
	return s, nil
}

// beforeAll is before every effective time that the domain takes.
var beforeAll = time.Date(1680, 1, 1, 0, 0, 0, 0, time.UTC)

// afterAll is after every instant that can be asked for: facts are found by
// nanoseconds in 64 bits, which end in 2262.
var afterAll = time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)

// known is checked here although the schema says @oneOf: gqlgen 0.17.98 checks
// literals only, and a variable brings two fields or none.
func (r *Reader) known(ctx context.Context, k *Known) (eventlog.Position, error) {
	switch {
	case (k.At == nil) == (k.Time == nil):
		return 0, fault.Bad("at.known", "not exactly one", "exactly one of at and time")
	case k.At != nil:
		return *k.At, eventlog.CheckPosition(ctx, r.Log, *k.At)
	}
	if planted.Bug == planted.KnownTimeEarly {
		return r.Log.KnownAt(ctx, k.Time.Add(-1))
	}
	return r.Log.KnownAt(ctx, *k.Time)
}

// recorded is when the last event up to pos was recorded.
func (r *Reader) recorded(ctx context.Context, pos eventlog.Position) (time.Time, error) {
	if pos == 0 {
		return time.Time{}, nil
	}
	for rec, err := range r.Log.ReadAll(ctx, pos+1, eventlog.Backwards, eventlog.Filter{}) {
		if err != nil {
			return time.Time{}, err
		}
		return rec.Recorded, nil
	}
	return time.Time{}, nil
}

// mostRows bounds the rows of all columns and sample lists of one operation: 2
// million are about 50 MB of JSON.
const mostRows = 2_000_000

type budgetKey struct{}

// WithBudget gives an operation its rows.
func WithBudget(ctx context.Context) context.Context {
	var left atomic.Int64
	left.Store(mostRows)
	return context.WithValue(ctx, budgetKey{}, &left)
}

// spend takes rows from the operation's budget.
func spend(ctx context.Context, rows int) error {
	left, ok := ctx.Value(budgetKey{}).(*atomic.Int64)
	if ok && left.Add(-int64(rows)) < 0 {
		return fmt.Errorf("more than %d rows in one operation: %w", mostRows, fault.ErrTooManyRows)
	}
	return nil
}
