package graph

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/99designs/gqlgen/graphql/handler/extension"

	"github.com/twinlog/twinlog/domain/alarm"
	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/settings"
	"github.com/twinlog/twinlog/graph/gen"
)

// OperatorHeader names the person who asks, unproved, until identities are
// checked. A name that is not Latin-1 goes percent-encoded (RFC 3986 §2.1), as
// the console sends it. A WebSocket client that can't set headers puts the same name into
// the payload of connection_init.
const OperatorHeader = "X-Twinlog-Operator"

// Config is what a Handler is made of. Resolver is required.
type Config struct {
	Resolver *Resolver
	// Operator is who asks where the request names nobody; "" for nobody.
	Operator string
	// Origins are the web origins besides our own whose pages may ask, e.g.
	// https://scada.example.
	Origins []string
	Limits  Limits
	Log     *slog.Logger // nil: slog.Default()
}

// Handler serves /graphql.
type Handler struct {
	exec        *executor.Executor
	limits      Limits
	log         *slog.Logger
	now         func() time.Time
	operator    string
	origins     map[string]bool
	originHosts []string
	csrf        *http.CrossOriginProtection
	running     chan struct{} // one entry for each operation that runs
	count       Counters
}

// Counters count what happens at the handler, for metrics.
type Counters struct {
	Requests      atomic.Int64 // ever
	Sockets       atomic.Int64 // open now
	Subscriptions atomic.Int64 // open now
	SlowConsumers atomic.Int64 // ever closed because they did not read
	Unread        atomic.Int64 // answers that the asker did not take
	Internal      atomic.Int64 // errors that nobody foresaw
}

// NewHandler returns the handler of the API.
func NewHandler(c Config) (*Handler, error) {
	h := &Handler{
		limits: c.Limits.withDefaults(), log: c.Log, now: time.Now, operator: c.Operator,
		origins: map[string]bool{}, csrf: http.NewCrossOriginProtection(),
	}
	h.running = make(chan struct{}, h.limits.Running)
	if h.log == nil {
		h.log = slog.Default()
	}
	for _, origin := range c.Origins {
		u, err := url.Parse(origin)
		if err != nil {
			return nil, err
		}
		if err := h.csrf.AddTrustedOrigin(origin); err != nil {
			return nil, err
		}
		h.origins[origin] = true
		h.originHosts = append(h.originHosts, u.Host)
	}
	c.Resolver.limits = h.limits
	c.Resolver.settings = eventlog.NewHandler(c.Resolver.Read.Log, settings.Decider, 1) // an origin has one stream of them
	c.Resolver.alarms = eventlog.NewHandler(c.Resolver.Read.Log, alarm.Decider, 1024)
	c.Resolver.corrections = eventlog.NewHandler(c.Resolver.Read.Log, correction.Decider, 1)
	schema := gen.NewExecutableSchema(gen.Config{Resolvers: c.Resolver, Complexity: costs()})
	h.exec = executor.New(schema)
	h.exec.SetErrorPresenter(h.present)
	h.exec.SetRecoverFunc(h.recovered)
	h.exec.SetParserTokenLimit(h.limits.Tokens)
	known := newDocuments()
	h.exec.SetQueryCache(known)
	h.exec.Use(newPersisted())
	h.exec.Use(shape{h.limits, known})
	h.exec.Use(extension.Introspection{})
	h.exec.Use(judge{limits: h.limits, schema: schema})
	return h, nil
}

// Counters returns the handler's counters; they go on counting.
func (h *Handler) Counters() *Counters { return &h.count }

// slow notes that a subscriber was closed because it did not read. It can't be
// told; the position is for whoever looks for it. Any other failed write means
// that the subscriber went away by itself.
func (h *Handler) slow(ctx context.Context, transport string, at *eventlog.Position, err error) {
	if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	h.count.SlowConsumers.Add(1)
	var position eventlog.Position
	if at != nil {
		position = *at
	}
	h.log.LogAttrs(ctx, slog.LevelWarn, "subscriber closed: it does not read",
		slog.String("code", CodeSlowConsumer), slog.String("transport", transport),
		slog.String("position", position.String()), slog.Any("error", err))
}

type operatorKey struct{}

// context carries who asks. init is the payload of a socket's connection_init.
func (h *Handler) context(ctx context.Context, r *http.Request, init map[string]any) context.Context {
	name := r.Header.Get(OperatorHeader)
	if s, ok := init[OperatorHeader].(string); ok && name == "" {
		name = s
	}
	if plain, err := url.PathUnescape(name); err == nil {
		name = plain
	}
	if name == "" {
		name = h.operator
	}
	return context.WithValue(ctx, operatorKey{}, name)
}

func operatorOf(ctx context.Context) string {
	name, _ := ctx.Value(operatorKey{}).(string)
	return name
}

var _ graphql.GraphExecutor = (*executor.Executor)(nil)
