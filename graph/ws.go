package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/coder/websocket"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/graph/fault"
)

// The sub-protocol and its close codes (enisdenjo/graphql-ws, PROTOCOL.md).
const (
	wsProtocol = "graphql-transport-ws"

	wsInvalid      websocket.StatusCode = 4400
	wsUnauthorized websocket.StatusCode = 4401
	wsProtocolBad  websocket.StatusCode = 4406
	wsInitTimeout  websocket.StatusCode = 4408
	wsDuplicate    websocket.StatusCode = 4409
	wsTooManyInits websocket.StatusCode = 4429
)

// wsMessage is every message of the protocol, both ways.
type wsMessage struct {
	ID      string          `json:"id,omitempty"`
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// socket is one connection. Its reader is the goroutine that made it; each
// operation has a goroutine of its own. Writes need no lock: the library
// orders them.
type socket struct {
	h    *Handler
	r    *http.Request
	conn *websocket.Conn
	ctx  context.Context // ends with the connection

	mu     sync.Mutex // guards what follows
	acked  bool
	init   map[string]any
	active map[string]context.CancelFunc
	ops    sync.WaitGroup
}

func isUpgrade(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

func (h *Handler) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:   []string{wsProtocol},
		OriginPatterns: h.originHosts, // besides the host itself, which always may
	})
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow() //nolint:errcheck // after Close it reports that it is closed
	if conn.Subprotocol() != wsProtocol {
		_ = conn.Close(wsProtocolBad, "expected sub-protocol "+wsProtocol)
		return
	}
	conn.SetReadLimit(h.limits.Body)
	// The library cuts a connection off whose read or write is cancelled, so the
	// end of the request is told first.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer context.AfterFunc(r.Context(), func() {
		_ = conn.Close(websocket.StatusGoingAway, "the server is stopping; resume with the last position")
		cancel()
	})()
	s := &socket{h: h, r: r, conn: conn, ctx: ctx, active: map[string]context.CancelFunc{}}
	h.count.Sockets.Add(1)
	defer h.count.Sockets.Add(-1)

	late := time.AfterFunc(h.limits.Init, s.closeIfSilent)
	defer late.Stop()
	s.ops.Go(s.keepAlive)
	s.read()
	cancel()
	s.ops.Wait()
}

func (s *socket) closeIfSilent() {
	s.mu.Lock()
	acked := s.acked
	s.mu.Unlock()
	if !acked {
		_ = s.conn.Close(wsInitTimeout, "Connection initialisation timeout")
	}
}

// keepAlive finds out about readers that are gone without a word.
func (s *socket) keepAlive() {
	tick := time.NewTicker(s.h.limits.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
			if s.send(wsMessage{Type: "ping"}) != nil {
				return
			}
		}
	}
}

// read handles messages until the connection ends.
func (s *socket) read() {
	for {
		kind, data, err := s.conn.Read(s.ctx)
		if err != nil {
			return
		}
		var m wsMessage
		if kind != websocket.MessageText || json.Unmarshal(data, &m) != nil {
			_ = s.conn.Close(wsInvalid, "Invalid message received")
			return
		}
		if code, why := s.handle(m); code != 0 {
			_ = s.conn.Close(code, why)
			return
		}
	}
}

// handle does what a message says; a code closes the connection.
func (s *socket) handle(m wsMessage) (websocket.StatusCode, string) {
	switch m.Type {
	case "connection_init":
		return s.initialise(m.Payload)
	case "ping":
		_ = s.send(wsMessage{Type: "pong", Payload: m.Payload}) // the reader finds out when it fails
	case "pong":
	case "subscribe":
		return s.subscribe(m)
	case "complete":
		s.mu.Lock()
		cancel := s.active[m.ID]
		s.mu.Unlock()
		if cancel != nil {
			cancel()
		}
	default:
		return wsInvalid, "Invalid message received"
	}
	return 0, ""
}

func (s *socket) initialise(payload json.RawMessage) (websocket.StatusCode, string) {
	var init map[string]any
	if len(payload) > 0 && json.Unmarshal(payload, &init) != nil {
		return wsInvalid, "connection_init: expected an object as payload"
	}
	s.mu.Lock()
	again := s.acked
	s.acked, s.init = true, init
	s.mu.Unlock()
	if again {
		return wsTooManyInits, "Too many initialisation requests"
	}
	_ = s.send(wsMessage{Type: "connection_ack"}) // the reader finds out when it fails
	return 0, ""
}

// subscribe starts an operation of any kind.
func (s *socket) subscribe(m wsMessage) (websocket.StatusCode, string) {
	p, err := bodyParams(m.Payload)
	ctx, cancel := context.WithCancel(s.ctx)
	s.mu.Lock()
	acked, taken, running := s.acked, s.active[m.ID] != nil, len(s.active)
	if err == nil && running >= s.h.limits.Operations {
		err = fmt.Errorf("%d operations on one connection: %w", running, fault.ErrRateLimited)
	}
	start := acked && m.ID != "" && !taken && err == nil
	if start {
		s.active[m.ID] = cancel
	}
	s.mu.Unlock()
	if start {
		s.ops.Go(func() {
			defer cancel()
			s.run(ctx, m.ID, p)
		})
		return 0, ""
	}
	cancel()
	switch {
	case !acked:
		return wsUnauthorized, "Unauthorized" //nolint:misspell // the protocol's word
	case m.ID == "":
		return wsInvalid, "subscribe: expected an id"
	case taken:
		return wsDuplicate, fmt.Sprintf("Subscriber for %.60s already exists", m.ID)
	}
	s.fail(s.ctx, m.ID, err)
	return 0, ""
}

// release forgets an operation before its last message is sent: the client may
// use the id again as soon as it has read that.
func (s *socket) release(id string) {
	s.mu.Lock()
	delete(s.active, id)
	s.mu.Unlock()
}

// run answers one operation.
func (s *socket) run(ctx context.Context, id string, p *graphql.RawParams) {
	ctx, end := withEnding(s.h.context(ctx, s.r, s.init), nil)
	op, errs := s.h.create(ctx, s.r, p)
	ctx = graphql.WithOperationContext(ctx, op)
	if errs != nil {
		errs = s.h.exec.DispatchError(ctx, errs).Errors
		s.release(id)
		_ = s.send(wsMessage{ID: id, Type: "error", Payload: marshal(errs)}) // the reader finds out when it fails
		return
	}
	if op.Operation.Operation == ast.Subscription {
		s.h.count.Subscriptions.Add(1)
		defer s.h.count.Subscriptions.Add(-1)
		err := s.follow(ctx, id, op, end)
		s.finish(ctx, id, err)
		return
	}
	limited, cancel := context.WithTimeout(ctx, s.h.limits.Timeout)
	defer cancel()
	if err := s.h.enter(limited); err != nil {
		s.finish(ctx, id, err)
		return
	}
	defer s.h.leave()
	next, limited := s.h.exec.DispatchOperation(limited, op)
	resp := next(limited)
	if resp == nil {
		s.finish(ctx, id, context.Cause(limited))
		return
	}
	_ = s.send(wsMessage{ID: id, Type: "next", Payload: appendResponse(nil, resp, true)}) // finish fails as well
	s.finish(ctx, id, nil)
}

// follow sends a subscription's frames; it returns why the server ended it.
func (s *socket) follow(ctx context.Context, id string, op *graphql.OperationContext, end *ending) error {
	next, ctx := s.h.exec.DispatchOperation(ctx, op)
	for {
		resp := next(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case resp == nil:
			return end.err
		case len(resp.Errors) > 0 && isNull(resp.Data): // it never began
			return refused(resp.Errors)
		}
		var at *eventlog.Position
		if p, ok := end.position(); ok {
			at = &p
		}
		if err := s.send(wsMessage{ID: id, Type: "next", Payload: appendResponse(nil, resp, true)}); err != nil {
			s.h.slow(ctx, "websocket", at, err)
			return err
		}
	}
}

// finish sends the last message of an operation, unless the client ended it.
func (s *socket) finish(ctx context.Context, id string, err error) {
	s.release(id)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.fail(ctx, id, err)
	default:
		_ = s.send(wsMessage{ID: id, Type: "complete"}) // the reader finds out when it fails
	}
}

// refused are errors that the presenter has seen already.
type refused gqlerror.List

func (e refused) Error() string { return gqlerror.List(e).Error() }

func isNull(data []byte) bool { return len(data) == 0 || string(data) == "null" }

func (s *socket) fail(ctx context.Context, id string, err error) {
	var list gqlerror.List
	if r, ok := err.(refused); ok { //nolint:errorlint // it is never wrapped
		list = gqlerror.List(r)
	} else {
		list = gqlerror.List{s.h.present(ctx, err)}
	}
	_ = s.send(wsMessage{ID: id, Type: "error", Payload: marshal(list)}) // the reader finds out when it fails
}

// send gives the reader limits.Write to take a message; one who does not is
// closed, so that a connection costs one frame at most.
func (s *socket) send(m wsMessage) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.h.limits.Write)
	defer cancel()
	b := make([]byte, 0, len(m.Payload)+len(m.ID)+48)
	b = append(append(b, `{"type":"`...), m.Type...)
	b = append(b, '"')
	if m.ID != "" {
		b = append(append(b, `,"id":`...), marshal(m.ID)...)
	}
	if len(m.Payload) > 0 {
		b = append(append(b, `,"payload":`...), m.Payload...)
	}
	return s.conn.Write(ctx, websocket.MessageText, append(b, '}'))
}
