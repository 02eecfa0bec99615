package graph

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/graph/fault"
)

// Server-sent events as graphql-sse's distinct connections mode has them: each
// answer is an event "next", the end an event "complete". GET is for a
// browser's EventSource, which can't POST; it comes back after 3 s by itself
// with the id of the last frame it saw, and goes on there.
const (
	sseRetry   = "retry: 3000\n\n"
	sseComment = ":\n\n"
)

// sse is one stream. mu guards w: frames and comments come from two goroutines.
type sse struct {
	h  *Handler
	mu sync.Mutex
	w  http.ResponseWriter
}

func (h *Handler) serveStream(w http.ResponseWriter, r *http.Request, p *graphql.RawParams) {
	after, err := lastEventID(r)
	if err != nil {
		h.refuse(w, mediaJSON, http.StatusBadRequest, err)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	ctx, end := withEnding(h.context(ctx, r, nil), after)
	op, errs := h.create(ctx, r, p)
	ctx = graphql.WithOperationContext(ctx, op)
	if errs == nil && op.Operation.Operation == ast.Mutation && r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		h.refuse(w, mediaJSON, http.StatusMethodNotAllowed, fault.Bad("method", r.Method, "POST for a mutation"))
		return
	}
	w.Header().Set("Content-Type", mediaStream+"; charset=utf-8")
	w.Header().Set("X-Accel-Buffering", "no") // or a proxy keeps frames until it has enough
	w.WriteHeader(http.StatusOK)
	s := &sse{h: h, w: w}
	if s.write(sseRetry+sseComment) != nil {
		return
	}
	if errs != nil {
		_ = s.next(h.exec.DispatchError(ctx, errs), false, nil)
	} else {
		h.count.Subscriptions.Add(1)
		defer h.count.Subscriptions.Add(-1)
		comments := make(chan struct{})
		go func() { defer close(comments); s.comment(ctx) }()
		s.follow(ctx, op, end)
		cancel()
		<-comments
	}
	_ = s.write("event: complete\ndata:\n\n") // the last word; nobody is left to tell
}

// follow writes answers until there are no more, or nobody reads.
func (s *sse) follow(ctx context.Context, op *graphql.OperationContext, end *ending) {
	next, ctx := s.h.exec.DispatchOperation(ctx, op)
	for {
		resp := next(ctx)
		if resp == nil {
			break
		}
		var id *eventlog.Position
		if p, ok := end.position(); ok {
			id = &p
		}
		if err := s.next(resp, true, id); err != nil {
			s.h.slow(ctx, "sse", id, err)
			return
		}
		if op.Operation.Operation != ast.Subscription {
			return
		}
	}
	if ctx.Err() == nil && end.err != nil {
		_ = s.next(&graphql.Response{Errors: gqlerror.List{s.h.present(ctx, end.err)}}, false, nil)
	}
}

func (s *sse) next(resp *graphql.Response, ran bool, id *eventlog.Position) error {
	b := []byte("event: next\n")
	if id != nil {
		b = fmt.Appendf(b, "id: %s\n", *id)
	}
	b = appendResponse(append(b, "data: "...), resp, ran) // JSON holds no line break
	return s.write(string(append(b, "\n\n"...)))
}

// write gives the reader limits.Write to take it.
func (s *sse) write(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.h.deadline(s.w)
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return http.NewResponseController(s.w).Flush()
}

// comment keeps proxies from closing a quiet stream.
func (s *sse) comment(ctx context.Context) {
	tick := time.NewTicker(s.h.limits.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if s.write(sseComment) != nil {
				return // the next frame finds out as well
			}
		}
	}
}

func lastEventID(r *http.Request) (*eventlog.Position, error) {
	id := r.Header.Get("Last-Event-ID")
	if id == "" {
		return nil, nil
	}
	p, err := eventlog.ParsePosition(id)
	if err != nil {
		return nil, fault.Bad("Last-Event-ID", id, "the id of the last frame, a Position")
	}
	return &p, nil
}
