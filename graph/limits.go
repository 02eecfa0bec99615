package graph

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/99designs/gqlgen/complexity"
	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler/lru"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/twinlog/twinlog/graph/fault"
)

// Limits bound what one asker can make the server do. Zero means the default.
type Limits struct {
	Body       int64         // bytes of a request or a socket's message; 1 MiB
	Batch      int           // operations in one request; 10
	Tokens     int           // of a document; 5,000: a dashboard of 100 fields with aliases is about 2,000
	Depth      int           // of nested fields; 16: deep enough for the whole hierarchy and what hangs on it
	Complexity int           // fields of the answer, see costs; 1,000,000: 1,000 assets × 8 tags × 12 fields pass ten times
	Operations int           // at once on one socket; 100
	Running    int           // queries and mutations at once; 64: more only wait for a processor
	Queue      time.Duration // for a place among them, before RATE_LIMITED; 2 s
	Timeout    time.Duration // of a query or mutation; 30 s
	Read       time.Duration // for an asker to send the whole of a request; 30 s
	Write      time.Duration // for a reader to take one answer or frame; 30 s
	Slow       time.Duration // over one frame, before a subscription that holds a position is told SLOW_CONSUMER; 10 s
	Init       time.Duration // until connection_init; 10 s
	Heartbeat  time.Duration // between frames or comments of a quiet stream; 15 s (platform: §21)
	Watched    int           // tags of one values subscription; 20,000
}

func (l Limits) withDefaults() Limits {
	l.Body = or(l.Body, 1<<20)
	l.Batch = or(l.Batch, 10)
	l.Tokens = or(l.Tokens, 5000)
	l.Depth = or(l.Depth, 16)
	l.Complexity = or(l.Complexity, 1_000_000)
	l.Operations = or(l.Operations, 100)
	l.Running = or(l.Running, 64)
	l.Queue = or(l.Queue, 2*time.Second)
	l.Timeout = or(l.Timeout, 30*time.Second)
	l.Read = or(l.Read, 30*time.Second)
	l.Write = or(l.Write, 30*time.Second)
	l.Slow = or(l.Slow, 10*time.Second)
	l.Init = or(l.Init, 10*time.Second)
	l.Heartbeat = or(l.Heartbeat, 15*time.Second)
	l.Watched = or(l.Watched, 20_000)
	return l
}

func or[T comparable](given, standard T) T {
	var zero T
	if given == zero {
		return standard
	}
	return given
}

// judge refuses a document before it runs.
type judge struct {
	limits Limits
	schema graphql.ExecutableSchema
}

// ExtensionName names it for gqlgen.
func (judge) ExtensionName() string { return "Judge" }

// Validate has nothing to check.
func (judge) Validate(graphql.ExecutableSchema) error { return nil }

// MutateOperationContext judges complexity, which depends on the variables;
// shape has judged the rest before.
func (j judge) MutateOperationContext(ctx context.Context, op *graphql.OperationContext) *gqlerror.Error {
	if c := complexity.Calculate(ctx, j.schema, op.Operation, op.Variables); c > j.limits.Complexity {
		return wrapped(fmt.Errorf("up to %d fields in the answer, expected at most %d; ask for less with first: %w",
			c, j.limits.Complexity, fault.ErrTooComplex))
	}
	return nil
}

// wrapped keeps err for the presenter, which gives it its code.
func wrapped(err error) *gqlerror.Error { return &gqlerror.Error{Message: err.Error(), Err: err} }

// Documents are kept, parsed, up to these bounds: 1,000 of up to 16 KiB are
// 16 MB of text at the very most.
const (
	maxDocuments     = 1000
	maxDocumentBytes = 16 << 10
)

// documents keeps parsed documents that are small enough.
type documents struct{ *lru.LRU[*ast.QueryDocument] }

func newDocuments() documents { return documents{lru.New[*ast.QueryDocument](maxDocuments)} }

// Add keeps a document, unless it is large.
func (d documents) Add(ctx context.Context, key string, doc *ast.QueryDocument) {
	if len(key) <= maxDocumentBytes {
		d.LRU.Add(ctx, key, doc)
	}
}

// persisted is the automatic persisted queries of Apollo, version 1: a client
// sends the SHA-256 of a document, and the document only when asked for it.
type persisted struct{ texts *lru.LRU[string] }

func newPersisted() persisted { return persisted{lru.New[string](maxDocuments)} }

// ExtensionName names it for gqlgen.
func (persisted) ExtensionName() string { return "PersistedQueries" }

// Validate has nothing to check.
func (persisted) Validate(graphql.ExecutableSchema) error { return nil }

// MutateOperationParameters puts the document in where only its hash came.
func (p persisted) MutateOperationParameters(ctx context.Context, raw *graphql.RawParams) *gqlerror.Error {
	given, ok := raw.Extensions["persistedQuery"]
	if !ok || given == nil {
		return nil
	}
	m, _ := given.(map[string]any)
	hash, _ := m["sha256Hash"].(string)
	if version := fmt.Sprint(m["version"]); version != "1" || hash == "" {
		return wrapped(fault.Bad("extensions.persistedQuery", given, `{"version": 1, "sha256Hash": "…"}`))
	}
	if raw.Query == "" {
		text, ok := p.texts.Get(ctx, hash)
		if !ok {
			return wrapped(errPersistedNotFound)
		}
		raw.Query = text
		return nil
	}
	if sum := sha256.Sum256([]byte(raw.Query)); hex.EncodeToString(sum[:]) != hash {
		return wrapped(fault.Bad("extensions.persistedQuery.sha256Hash", hash, "the SHA-256 of the document"))
	}
	if len(raw.Query) <= maxDocumentBytes {
		p.texts.Add(ctx, hash, raw.Query)
	}
	return nil
}
