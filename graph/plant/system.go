package plant

import (
	"context"
	"strconv"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/graph/fault"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/assets"
)

// Node has a global id.
type Node interface{ IsNode() }

// Node finds anything by its global id.
func (r *Reader) Node(ctx context.Context, id string, at *Moment) (Node, error) {
	kind, _, _, ok := ParseGlobalID(id)
	if !ok {
		return nil, fault.Bad("id", id, "an id that this API gave")
	}
	if kind == EventID {
		return orNil(r.Event(ctx, id))
	}
	s, err := r.resolve(ctx, at, standardWait)
	if err != nil {
		return nil, err
	}
	p := &Plant{s}
	switch kind {
	case AssetID:
		return orNil(p.Asset(ctx, &id, nil))
	case TagID:
		return orNil(p.Tag(ctx, &id, nil))
	case AlarmID:
		return orNil(p.Alarm(ctx, id))
	default:
		return orNil(p.Device(ctx, id))
	}
}

// orNil keeps a nil pointer from becoming a Node that is not nil.
func orNil[T any, P interface {
	*T
	Node
}](found P, err error) (Node, error) {
	if found == nil || err != nil {
		return nil, err
	}
	return found, nil
}

// System is where the server stands.
type System struct {
	Origin      string
	Head        eventlog.Position
	Recorded    time.Time
	Epoch       int
	Projections []ProjectionStatus
	Build       string
	Now         time.Time
}

// ProjectionStatus is how far one read model has come.
type ProjectionStatus struct{ projections.Status }

// Lag is a number as text: it may be beyond what JSON readers keep.
func (p ProjectionStatus) Lag() string { return strconv.FormatUint(p.Status.Lag, 10) }

// Rebuilt is nil where it was not.
func (p ProjectionStatus) Rebuilt() *string { return optional(p.Status.Rebuilt) }

// System reads where the server stands.
func (r *Reader) System(ctx context.Context) (*System, error) {
	head, recorded, err := r.Log.Head(ctx)
	if err != nil {
		return nil, err
	}
	s := &System{Origin: r.Log.Origin(), Head: head, Recorded: recorded, Epoch: int(head.Epoch()), Build: r.Build, Now: r.Now()}
	for _, st := range r.Runner.Status() {
		s.Projections = append(s.Projections, ProjectionStatus{st})
	}
	return s, nil
}

// Written reads back what a mutation wrote at pos.
func (r *Reader) Written(ctx context.Context, pos eventlog.Position, atMost time.Duration, at *Moment) (*Plant, error) {
	if err := r.await(ctx, pos, atMost); err != nil {
		return nil, err
	}
	s, err := r.resolve(ctx, at, 0)
	if err != nil {
		return nil, err
	}
	return &Plant{s}, nil
}

// AssetByOwnID finds an asset by the id that the domain gives it.
func (p *Plant) AssetByOwnID(ctx context.Context, id string) (*Asset, error) {
	return p.scope.assetByID(ctx, id)
}

// TagByOwnID finds a tag by the id that the domain gives it.
func (p *Plant) TagByOwnID(ctx context.Context, id string) (*Tag, error) {
	rows, err := p.scope.r.Assets.TagsByID(ctx, []string{id}, p.scope.cut)
	if err != nil {
		return nil, err
	}
	return p.scope.tag(rows[0]), nil
}

// ClassByName finds the newest version of a class, in force or not.
func (p *Plant) ClassByName(ctx context.Context, ref assets.ClassRef) (*AssetClass, error) {
	rows, err := p.scope.r.Assets.ClassVersions(ctx, []assets.ClassRef{ref}, p.scope.cut)
	if err != nil || rows[0] == nil {
		return nil, err
	}
	return &AssetClass{rows[0]}, nil
}
