package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/twinlog/twinlog/graph/fault"
)

// ServeHTTP answers one request, by the GraphQL over HTTP specification (draft
// of 2025), graphql-transport-ws and graphql-sse (distinct connections).
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.count.Requests.Add(1)
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	if isUpgrade(r) {
		h.serveWebSocket(w, r)
		return
	}
	header.Set("Vary", "Accept, Origin")
	h.allowOrigin(w, r)
	switch r.Method {
	case http.MethodOptions:
		header.Set("Allow", "GET, POST, OPTIONS")
		w.WriteHeader(http.StatusNoContent)
		return
	case http.MethodGet, http.MethodPost:
	default:
		header.Set("Allow", "GET, POST, OPTIONS")
		h.refuse(w, mediaJSON, http.StatusMethodNotAllowed, fault.Bad("method", r.Method, "GET or POST"))
		return
	}
	media := acceptable(r)
	if media == "" {
		h.refuse(w, mediaJSON, http.StatusNotAcceptable,
			fault.Bad("Accept", r.Header.Get("Accept"), mediaResponse+", "+mediaJSON+" or "+mediaStream))
		return
	}
	if err := h.csrf.Check(r); err != nil {
		h.refuse(w, media, http.StatusForbidden, fmt.Errorf("request from another site: %w", fault.ErrForbidden))
		return
	}
	list, batch, status, err := h.readParams(w, r)
	switch {
	case err != nil:
		h.refuse(w, media, status, err)
	case media == mediaStream && batch:
		h.refuse(w, mediaJSON, http.StatusBadRequest, fault.Bad("body", "a list", "one operation for a stream"))
	case media == mediaStream:
		h.serveStream(w, r, list[0])
	case batch:
		h.serveBatch(w, r, media, list)
	default:
		h.serveOne(w, r, media, list[0])
	}
}

// allowOrigin lets pages of the configured other origins read the answer.
func (h *Handler) allowOrigin(w http.ResponseWriter, r *http.Request) {
	origin := r.Header.Get("Origin")
	if origin == "" || !h.origins[origin] {
		return
	}
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", origin)
	header.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
	header.Set("Access-Control-Allow-Headers", "Content-Type, Accept, Last-Event-ID, "+OperatorHeader)
	header.Set("Access-Control-Max-Age", "600")
}

// readParams reads one operation, or a list of them. status is for err.
func (h *Handler) readParams(w http.ResponseWriter, r *http.Request) (list []*graphql.RawParams, batch bool, status int, err error) {
	if r.Method == http.MethodGet {
		p, err := queryParams(r.URL.Query())
		return []*graphql.RawParams{p}, false, http.StatusBadRequest, err
	}
	if !isJSON(r) {
		return nil, false, http.StatusUnsupportedMediaType, fault.Bad("Content-Type", r.Header.Get("Content-Type"), "application/json in UTF-8")
	}
	// A ResponseWriter without deadlines is a test's, which sends at once. After
	// a whole body the deadline may not stay, for it would end a stream; after
	// half a body it must, for net/http reads the rest before it answers.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(h.limits.Read))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.limits.Body))
	if err == nil {
		_ = control.SetReadDeadline(time.Time{})
	} else {
		if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, false, http.StatusRequestEntityTooLarge,
				fmt.Errorf("body: expected up to %d bytes: %w", large.Limit, fault.ErrTooComplex)
		}
		return nil, false, http.StatusBadRequest, fault.Bad("body", err.Error(), "a body that can be read to its end")
	}
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		list, err = h.batchParams(body)
		return list, true, http.StatusBadRequest, err
	}
	p, err := bodyParams(body)
	return []*graphql.RawParams{p}, false, http.StatusBadRequest, err
}

func (h *Handler) batchParams(body []byte) ([]*graphql.RawParams, error) {
	var parts []json.RawMessage
	if err := decode(body, &parts); err != nil {
		return nil, fault.Bad("body", err.Error(), "a JSON list of operations")
	}
	if n := len(parts); n < 1 || n > h.limits.Batch {
		return nil, fmt.Errorf("batch of %d operations, expected 1 to %d: %w", n, h.limits.Batch, fault.ErrTooComplex)
	}
	list := make([]*graphql.RawParams, len(parts))
	for i, part := range parts {
		var err error
		if list[i], err = bodyParams(part); err != nil {
			return nil, fmt.Errorf("operation %d: %w", i, err)
		}
	}
	return list, nil
}

// bodyParams reads one operation and says everything that is wrong with it.
func bodyParams(body []byte) (*graphql.RawParams, error) {
	var in struct{ Query, OperationName, Variables, Extensions json.RawMessage }
	if err := decode(body, &in); err != nil {
		return nil, fault.Bad("body", err.Error(), `a JSON object {"query": "…"}`)
	}
	var p graphql.RawParams
	var bad fault.Input
	for _, field := range []struct {
		path, expected string
		given          json.RawMessage
		into           any
	}{
		{"query", "text", in.Query, &p.Query},
		{"operationName", "text", in.OperationName, &p.OperationName},
		{"variables", "an object", in.Variables, &p.Variables},
		{"extensions", "an object", in.Extensions, &p.Extensions},
	} {
		if len(field.given) > 0 && decode(field.given, field.into) != nil {
			bad.Add(field.path, string(field.given), field.expected)
		}
	}
	checkQuery(&p, &bad)
	return &p, bad.Err()
}

// queryParams reads an operation from an address.
func queryParams(q url.Values) (*graphql.RawParams, error) {
	p := graphql.RawParams{Query: q.Get("query"), OperationName: q.Get("operationName")}
	var bad fault.Input
	for path, into := range map[string]*map[string]any{"variables": &p.Variables, "extensions": &p.Extensions} {
		if s := q.Get(path); s != "" && decode([]byte(s), into) != nil {
			bad.Add(path, s, "a JSON object")
		}
	}
	checkQuery(&p, &bad)
	return &p, bad.Err()
}

func checkQuery(p *graphql.RawParams, bad *fault.Input) {
	if strings.TrimSpace(p.Query) == "" && p.Extensions["persistedQuery"] == nil && len(bad.Problems) == 0 {
		bad.Add("query", nil, "a GraphQL document")
	}
}

// decode reads exactly one JSON value; numbers keep their digits.
func decode(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

// serveOne answers one query or mutation.
func (h *Handler) serveOne(w http.ResponseWriter, r *http.Request, media string, p *graphql.RawParams) {
	resp, ran, status := h.execute(r, p)
	if media == mediaJSON && status == http.StatusBadRequest {
		status = http.StatusOK // clients from before the specification read errors only there
	}
	switch status {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", "POST")
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "1")
	}
	h.write(w, media, status, appendResponse(nil, resp, ran))
}

func (h *Handler) serveBatch(w http.ResponseWriter, r *http.Request, media string, list []*graphql.RawParams) {
	b := []byte{'['}
	for i, p := range list {
		if i > 0 {
			b = append(b, ',')
		}
		resp, ran, _ := h.execute(r, p)
		b = appendResponse(b, resp, ran)
	}
	h.write(w, media, http.StatusOK, append(b, ']'))
}

// execute runs a query or mutation to its end. ran is false, and status not
// 200, for what was refused before it ran.
func (h *Handler) execute(r *http.Request, p *graphql.RawParams) (resp *graphql.Response, ran bool, status int) {
	ctx, cancel := context.WithTimeout(h.context(r.Context(), r, nil), h.limits.Timeout)
	defer cancel()
	op, errs := h.create(ctx, r, p)
	if errs != nil {
		return h.exec.DispatchError(graphql.WithOperationContext(ctx, op), errs), false, http.StatusBadRequest
	}
	ctx = graphql.WithOperationContext(ctx, op)
	switch kind := op.Operation.Operation; {
	case kind == ast.Subscription:
		return h.refusal(ctx, fault.Bad("Accept", r.Header.Get("Accept"), mediaStream+" for a subscription, or a WebSocket")), false, http.StatusNotAcceptable
	case kind == ast.Mutation && r.Method != http.MethodPost:
		return h.refusal(ctx, fault.Bad("method", r.Method, "POST for a mutation")), false, http.StatusMethodNotAllowed
	}
	if err := h.enter(ctx); err != nil {
		return h.refusal(ctx, err), false, http.StatusTooManyRequests
	}
	defer h.leave()
	next, ctx := h.exec.DispatchOperation(ctx, op)
	resp = next(ctx)
	if resp == nil { // gqlgen ends a response whose context has ended without one
		return h.refusal(ctx, fmt.Errorf("after %v: %w", h.limits.Timeout, context.Cause(ctx))), true, http.StatusOK
	}
	return resp, true, http.StatusOK
}

// enter waits for a place among the operations that run at once, and gives up
// after limits.Queue; leave gives the place back. Subscriptions need none: they
// wait more than they work.
func (h *Handler) enter(ctx context.Context) error {
	wait := time.NewTimer(h.limits.Queue)
	defer wait.Stop()
	select {
	case h.running <- struct{}{}:
		return nil
	case <-wait.C:
		return fmt.Errorf("%d operations are running already: %w", cap(h.running), fault.ErrRateLimited)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Handler) leave() { <-h.running }

// create parses, validates and judges an operation. gqlgen wants headers on it.
func (h *Handler) create(ctx context.Context, r *http.Request, p *graphql.RawParams) (*graphql.OperationContext, gqlerror.List) {
	p.Headers = r.Header
	p.ReadTime.Start = h.now()
	p.ReadTime.End = p.ReadTime.Start
	return h.exec.CreateOperationContext(graphql.StartOperationTrace(ctx), p)
}

// refusal is an answer of one error.
func (h *Handler) refusal(ctx context.Context, err error) *graphql.Response {
	return &graphql.Response{Errors: gqlerror.List{h.present(ctx, err)}}
}

func (h *Handler) refuse(w http.ResponseWriter, media string, status int, err error) {
	if media == mediaStream {
		media = mediaJSON // there is no stream to put it into
	}
	h.write(w, media, status, appendResponse(nil, h.refusal(context.Background(), err), false))
}

// chunk is how much of an answer has a deadline of its own: a slow line may
// take long over an answer, and a reader who stops may not.
const chunk = 256 << 10

// write gives a reader limits.Write to take each chunk of the answer, so that
// one who stops reading holds one answer for that long and no longer.
func (h *Handler) write(w http.ResponseWriter, media string, status int, body []byte) {
	w.Header().Set("Content-Type", media+"; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	for part := range slices.Chunk(body, chunk) {
		h.deadline(w)
		if _, err := w.Write(part); err != nil {
			h.count.Unread.Add(1) // the reader is gone; nobody is left to tell
			return
		}
	}
}

// deadline bounds the next write. A ResponseWriter without deadlines is a
// test's, which always reads.
func (h *Handler) deadline(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(h.limits.Write))
}
