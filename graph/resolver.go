// Package graph answers GraphQL: queries, commands and subscriptions over HTTP,
// WebSocket and server-sent events, as schema.graphql says them.
//
// A resolver checks who asks, calls one read model or one command, and names
// the error. What can be read is in package plant, whose methods the fields are
// bound to; package gen is gqlgen's output and is never edited. The transports
// are written here and not gqlgen's, because each answer must have the status,
// the bounds and the codes that docs/adr/0022 lists.
package graph

import (
	"context"
	"time"

	"github.com/twinlog/twinlog/domain/alarm"
	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/settings"
	"github.com/twinlog/twinlog/graph/gen"
	"github.com/twinlog/twinlog/graph/plant"
)

// Identity knows people, and keeps what they say to itself.
type Identity interface {
	// Identify returns the opaque subject id of a person, who is registered if
	// new. The name is claimed, not proved.
	Identify(ctx context.Context, name string) (subject string, err error)
	// Known returns the subject of a person who is registered already, and
	// registers nobody.
	Known(name string) (subject string, ok bool)
	// Seal encrypts personal text under a key of the subject, so that forgetting
	// the key erases the text. field is e.g. "reason.text".
	Seal(ctx context.Context, subject, field, text string) (eventlog.Sealed, error)
}

// Commands execute what mutations ask; *asset.Service fills it, and says what
// each does.
type Commands interface {
	Register(ctx context.Context, call eventlog.Call, cmd asset.Register) (id string, done eventlog.Done, err error)
	Do(ctx context.Context, call eventlog.Call, cmd asset.Command, ifRevision *eventlog.Revision) (eventlog.Done, error)
	UpdateNameplate(ctx context.Context, call eventlog.Call, cmd asset.UpdateNameplate, ifRevision *eventlog.Revision) (eventlog.Done, error)
	DefineClass(ctx context.Context, call eventlog.Call, cmd asset.DefineClass, ifRevision *eventlog.Revision) (eventlog.Done, error)
}

// Resolver is the root of the graph; its fields are all it knows of the world.
type Resolver struct {
	Read     *plant.Reader
	Commands Commands
	Identity Identity
	// ReadBack is how long a mutation waits to read back what it wrote; 5 s.
	ReadBack time.Duration

	limits      Limits // the handler's
	settings    *eventlog.Handler[settings.State, settings.Change]
	alarms      *eventlog.Handler[alarm.State, alarm.Command]
	corrections *eventlog.Handler[correction.State, correction.Made]
}

// Query implements gen.ResolverRoot.
func (r *Resolver) Query() gen.QueryResolver { return queries{r.Read, r} }

// Mutation implements gen.ResolverRoot.
func (r *Resolver) Mutation() gen.MutationResolver { return mutations{r} }

// Subscription implements gen.ResolverRoot.
func (r *Resolver) Subscription() gen.SubscriptionResolver { return subscriptions{r} }

// Asset implements gen.ResolverRoot.
func (r *Resolver) Asset() gen.AssetResolver { return assetFields{} }

// queries are the reader's methods, and who asks.
type queries struct {
	*plant.Reader
	r *Resolver
}

// Viewer says who asks. Asking registers nobody: a query leaves no trace.
func (q queries) Viewer(ctx context.Context) (*gen.Viewer, error) {
	v := &gen.Viewer{Kind: eventlog.Human, AuthMethods: []string{unauthenticated}}
	if subject, ok := q.r.Identity.Known(operatorOf(ctx)); ok {
		v.Subject = &subject
	}
	return v, nil
}

// assetFields has the one field whose argument has a name that Go keeps for itself.
type assetFields struct{}

// Relationships implements gen.AssetResolver.
func (assetFields) Relationships(ctx context.Context, obj *plant.Asset, typ *string, direction *plant.Direction, first *int, after *string) (*plant.RelationshipConnection, error) {
	return obj.Relationships(ctx, typ, direction, first, after)
}
