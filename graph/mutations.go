package graph

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/settings"
	"github.com/twinlog/twinlog/graph/fault"
	"github.com/twinlog/twinlog/graph/gen"
	"github.com/twinlog/twinlog/graph/plant"
	"github.com/twinlog/twinlog/projections/assets"
)

// mutations are the commands that can be asked.
type mutations struct{ r *Resolver }

// unauthenticated marks an actor whose name was claimed and not proved.
const unauthenticated = "none"

// Bounds of what a person may say.
const (
	maxReason = 4000 // bytes
	maxKey    = 200
)

// request is what every mutation has.
type request struct {
	name      string // of the mutation
	reason    *gen.Reason
	key       *string
	effective *time.Time

	bad  fault.Input // what is wrong with the input so far
	now  time.Time
	when time.Time // effective, or now
}

func (m mutations) request(name string, reason *gen.Reason, key *string, effective *time.Time) *request {
	q := &request{name: name, reason: reason, key: key, now: m.r.Read.Now(), effective: effective}
	q.when = q.now
	if effective != nil {
		q.when = *effective
	}
	return q
}

// id reads a global id of the input and notes what is wrong with it.
func (q *request) id(r *plant.Reader, kind plant.Kind, field, given string) string {
	own, err := r.ID(kind, "input."+field, given)
	if err != nil {
		q.bad.Add("input."+field, given, "an id of this plant: "+err.Error())
	}
	return own
}

// call checks who asks and why, and says everything that is wrong at once.
func (m mutations) call(ctx context.Context, q *request) (eventlog.Call, error) {
	name := operatorOf(ctx)
	if name == "" {
		return eventlog.Call{}, fault.ErrUnauthenticated
	}
	text := strings.TrimSpace(q.reason.Text)
	if text == "" {
		q.bad.Add("input.reason.text", q.reason.Text, "why, in words")
		if len(q.bad.Problems) == 1 {
			return eventlog.Call{}, &fault.Coded{Err: fault.ErrReasonRequired, Problems: q.bad.Problems}
		}
	}
	if len(text) > maxReason {
		q.bad.Add("input.reason.text", text, fmt.Sprintf("up to %d bytes", maxReason))
	}
	if q.key != nil && (*q.key == "" || len(*q.key) > maxKey) {
		q.bad.Add("input.idempotencyKey", *q.key, fmt.Sprintf("1 to %d bytes", maxKey))
	}
	if err := q.bad.Err(); err != nil {
		return eventlog.Call{}, err
	}
	subject, err := m.r.Identity.Identify(ctx, name)
	if err != nil {
		return eventlog.Call{}, err
	}
	sealed, err := m.r.Identity.Seal(ctx, subject, "reason.text", text)
	if err != nil {
		return eventlog.Call{}, err
	}
	call := eventlog.Call{Envelope: eventlog.Envelope{
		Actor:   eventlog.Actor{Subject: subject, Kind: eventlog.Human, AuthMethods: []string{unauthenticated}},
		Reason:  &eventlog.Reason{Code: deref(q.reason.Code)},
		Private: []eventlog.Sealed{sealed},
		Build:   m.r.Read.Build,
	}}
	if q.key != nil {
		call.Key = eventlog.NewKey(m.r.Read.Log.Origin(), subject, q.name, *q.key)
		return call, nil
	}
	var random [16]byte
	_, _ = rand.Read(random[:]) // it never fails (crypto/rand, since Go 1.24)
	call.Key = eventlog.FreshKey(random)
	return call, nil
}

// written reads a mutation's effect back. What is written is never in doubt
// here, so a failure is told beside the payload, as READ_LAG at its field, and
// never instead of it.
func (m mutations) written(ctx context.Context, q *request, done eventlog.Done, field string, read func(*plant.Plant) error) {
	var at *plant.Moment
	if q.when.After(q.now) { // it is not true yet: show it as it will be
		at = &plant.Moment{AsOf: &q.when}
	}
	p, err := m.r.Read.Written(ctx, done.Last, or(m.r.ReadBack, 5*time.Second), at)
	if err == nil {
		err = read(p)
	}
	if err != nil {
		path := append(append(ast.Path{}, graphql.GetPath(ctx)...), ast.PathName(field))
		graphql.AddError(ctx, &gqlerror.Error{Path: path, Err: &fault.Placed{
			Err: fmt.Errorf("position %s: %w", done.Last, fault.ErrReadLag), Position: done.Last,
		}})
	}
}

// eventIDs are the global ids of what a command appended to a stream.
func (m mutations) eventIDs(stream eventlog.StreamID, done eventlog.Done) []string {
	ids := make([]string, len(done.IDs))
	for i := range ids {
		revision := done.Revision - eventlog.Revision(len(ids)-1-i)
		ids[i] = plant.EventIDOf(m.r.Read.Log.Origin(), stream, revision)
	}
	return ids
}

// structure executes a command about an asset and reads the asset back.
func (m mutations) structure(ctx context.Context, q *request, cmd asset.Command, ifRevision *eventlog.Revision, id string) (*gen.AssetPayload, error) {
	call, err := m.call(ctx, q)
	if err != nil {
		return nil, err
	}
	done, err := m.r.Commands.Do(ctx, call, cmd, ifRevision)
	if err != nil {
		return nil, err
	}
	return m.assetPayload(ctx, q, asset.StructureStream(m.r.Read.Log.Origin()), done, id), nil
}

func (m mutations) assetPayload(ctx context.Context, q *request, stream eventlog.StreamID, done eventlog.Done, id string) *gen.AssetPayload {
	payload := &gen.AssetPayload{Position: done.Last, EventIds: m.eventIDs(stream, done), Repeated: done.Repeated}
	m.written(ctx, q, done, "asset", func(p *plant.Plant) (err error) {
		payload.Asset, err = p.AssetByOwnID(ctx, id)
		return err
	})
	return payload
}

// DefineAssetClass implements gen.MutationResolver.
func (m mutations) DefineAssetClass(ctx context.Context, in gen.AssetClassInput) (*gen.AssetClassPayload, error) {
	q := m.request("defineAssetClass", in.Reason, in.IdempotencyKey, in.Effective)
	cmd := asset.DefineClass{Class: in.Name, Description: deref(in.Description), Effective: q.when}
	for i, t := range in.Tags {
		cmd.Tags = append(cmd.Tags, tagDef(q, i, t))
	}
	for _, a := range in.Nameplate {
		cmd.Nameplate = append(cmd.Nameplate, asset.Attribute{
			Name: a.Name, Description: deref(a.Description), Unit: deref(a.Unit), Required: deref(a.Required),
		})
	}
	call, err := m.call(ctx, q)
	if err != nil {
		return nil, err
	}
	done, err := m.r.Commands.DefineClass(ctx, call, cmd, in.IfRevision)
	if err != nil {
		return nil, err
	}
	payload := &gen.AssetClassPayload{
		Position: done.Last, EventIds: m.eventIDs(asset.ClassStream(in.Name), done), Repeated: done.Repeated,
	}
	m.written(ctx, q, done, "assetClass", func(p *plant.Plant) (err error) {
		// A class's stream holds its versions, from 1, at the revisions from 0.
		payload.AssetClass, err = p.ClassByName(ctx, assets.ClassRef{Name: in.Name, Version: int(done.Revision) + 1})
		return err
	})
	return payload, nil
}

func tagDef(q *request, i int, t *gen.TagDefinitionInput) asset.TagDef {
	def := asset.TagDef{
		Name: t.Name, Description: deref(t.Description), Unit: deref(t.Unit), DataType: asset.Float64,
		EURange: t.EuRange, InstrumentRange: t.InstrumentRange,
	}
	if t.DataType != nil {
		def.DataType = *t.DataType
	}
	if t.ExpectedInterval != nil {
		def.ExpectedIntervalMS = t.ExpectedInterval.Milliseconds()
		if d := *t.ExpectedInterval; d < time.Millisecond || d%time.Millisecond != 0 {
			q.bad.Add(fmt.Sprintf("input.tags.%d.expectedInterval", i), d.String(), "whole milliseconds, 1 or more")
		}
	}
	return def
}

// RegisterAsset implements gen.MutationResolver.
func (m mutations) RegisterAsset(ctx context.Context, in gen.RegisterAssetInput) (*gen.AssetPayload, error) {
	q := m.request("registerAsset", in.Reason, in.IdempotencyKey, in.Effective)
	cmd := asset.Register{
		Name: in.Name, Level: in.Level, Class: deref(in.Class), ClassVersion: deref(in.ClassVersion), Effective: q.when,
	}
	if string(in.Nameplate) != "null" { // null is the same as left out
		cmd.Nameplate = in.Nameplate
	}
	if in.Parent != nil {
		cmd.Parent = q.id(m.r.Read, plant.AssetID, "parent", *in.Parent)
	}
	call, err := m.call(ctx, q)
	if err != nil {
		return nil, err
	}
	id, done, err := m.r.Commands.Register(ctx, call, cmd)
	if err != nil {
		return nil, err
	}
	return m.assetPayload(ctx, q, asset.StructureStream(m.r.Read.Log.Origin()), done, id), nil
}

// MoveAsset implements gen.MutationResolver.
func (m mutations) MoveAsset(ctx context.Context, in gen.MoveAssetInput) (*gen.AssetPayload, error) {
	q := m.request("moveAsset", in.Reason, in.IdempotencyKey, in.Effective)
	id := q.id(m.r.Read, plant.AssetID, "asset", in.Asset)
	to := q.id(m.r.Read, plant.AssetID, "to", in.To)
	return m.structure(ctx, q, asset.Move{Asset: id, Parent: to, Effective: q.when}, in.IfRevision, id)
}

// RenameAsset implements gen.MutationResolver.
func (m mutations) RenameAsset(ctx context.Context, in gen.RenameAssetInput) (*gen.AssetPayload, error) {
	q := m.request("renameAsset", in.Reason, in.IdempotencyKey, in.Effective)
	id := q.id(m.r.Read, plant.AssetID, "asset", in.Asset)
	return m.structure(ctx, q, asset.Rename{Asset: id, Name: in.Name, Effective: q.when}, in.IfRevision, id)
}

// UpdateNameplate implements gen.MutationResolver.
func (m mutations) UpdateNameplate(ctx context.Context, in gen.UpdateNameplateInput) (*gen.AssetPayload, error) {
	q := m.request("updateNameplate", in.Reason, in.IdempotencyKey, in.Effective)
	id := q.id(m.r.Read, plant.AssetID, "asset", in.Asset)
	call, err := m.call(ctx, q)
	if err != nil {
		return nil, err
	}
	done, err := m.r.Commands.UpdateNameplate(ctx, call, asset.UpdateNameplate{Asset: id, Patch: in.Patch, Effective: q.when}, in.IfRevision)
	if err != nil {
		return nil, err
	}
	return m.assetPayload(ctx, q, asset.Stream(id), done, id), nil
}

// RetireAsset implements gen.MutationResolver.
func (m mutations) RetireAsset(ctx context.Context, in gen.RetireAssetInput) (*gen.AssetPayload, error) {
	q := m.request("retireAsset", in.Reason, in.IdempotencyKey, in.Effective)
	id := q.id(m.r.Read, plant.AssetID, "asset", in.Asset)
	return m.structure(ctx, q, asset.Retire{Asset: id, Effective: q.when}, in.IfRevision, id)
}

// Relate implements gen.MutationResolver.
func (m mutations) Relate(ctx context.Context, in gen.RelateInput) (*gen.AssetPayload, error) {
	q := m.request("relate", in.Reason, in.IdempotencyKey, in.Effective)
	from := q.id(m.r.Read, plant.AssetID, "from", in.From)
	to := q.id(m.r.Read, plant.AssetID, "to", in.To)
	var cmd asset.Command = asset.Relate{From: from, Type: in.Type, To: to, Effective: q.when}
	if deref(in.Remove) {
		cmd = asset.Unrelate{From: from, Type: in.Type, To: to, Effective: q.when}
	}
	return m.structure(ctx, q, cmd, in.IfRevision, from)
}

// BindTag implements gen.MutationResolver.
func (m mutations) BindTag(ctx context.Context, in gen.BindTagInput) (*gen.TagPayload, error) {
	q := m.request("bindTag", in.Reason, in.IdempotencyKey, in.Effective)
	id := q.id(m.r.Read, plant.TagID, "tag", in.Tag)
	if (in.Device == nil) != (in.Signal == nil) {
		q.bad.Add("input.signal", in.Signal, "device and signal together, or neither to end the binding")
	}
	var cmd asset.Command
	if len(q.bad.Problems) == 0 {
		owner, tag, err := asset.ParseTagID(id)
		if err != nil {
			return nil, err
		}
		cmd = asset.UnbindTag{Asset: owner, Tag: tag, Effective: q.when}
		if in.Device != nil {
			device, err := m.r.Read.DeviceID("input.device", *in.Device)
			if err != nil {
				return nil, err
			}
			cmd = asset.BindTag{Asset: owner, Tag: tag, Device: device, Signal: *in.Signal, Effective: q.when}
		}
	}
	call, err := m.call(ctx, q)
	if err != nil {
		return nil, err
	}
	done, err := m.r.Commands.Do(ctx, call, cmd, in.IfRevision)
	if err != nil {
		return nil, err
	}
	payload := &gen.TagPayload{
		Position: done.Last, EventIds: m.eventIDs(asset.StructureStream(m.r.Read.Log.Origin()), done), Repeated: done.Repeated,
	}
	m.written(ctx, q, done, "tag", func(p *plant.Plant) (err error) {
		payload.Tag, err = p.TagByOwnID(ctx, id)
		return err
	})
	return payload, nil
}

// ChangeSettings implements gen.MutationResolver.
func (m mutations) ChangeSettings(ctx context.Context, in gen.ChangeSettingsInput) (*gen.SettingsPayload, error) {
	q := m.request("changeSettings", in.Reason, in.IdempotencyKey, nil)
	call, err := m.call(ctx, q)
	if err != nil {
		return nil, err
	}
	stream := settings.Stream(m.r.Read.Log.Origin())
	done, err := m.r.settings.Execute(ctx, stream, call, settings.Change{
		AllowedSkew: in.AllowedSkew, StaleMultiple: in.StaleMultiple, IfRevision: in.IfRevision,
	})
	if err != nil {
		return nil, err
	}
	payload := &gen.SettingsPayload{Position: done.Last, EventIds: m.eventIDs(stream, done), Repeated: done.Repeated}
	m.written(ctx, q, done, "settings", func(p *plant.Plant) (err error) {
		payload.Settings, err = p.Settings(ctx)
		return err
	})
	return payload, nil
}

// deref returns *p, or the zero value.
func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
