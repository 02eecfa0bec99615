package graph_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/graph"
	"github.com/twinlog/twinlog/graph/plant"
	"github.com/twinlog/twinlog/projections"
)

const origin = "pumping-station"

// people is an Identity that encrypts with a hash: enough to see that nothing
// is stored in clear.
type people struct{}

func (people) Identify(_ context.Context, name string) (string, error) {
	sum := sha256.Sum256([]byte(name))
	return "p-" + hex.EncodeToString(sum[:8]), nil
}

func (p people) Known(name string) (string, bool) {
	subject, _ := p.Identify(context.Background(), name)
	return subject, name != ""
}

func (people) Seal(_ context.Context, subject, field, text string) (eventlog.Sealed, error) {
	sum := sha256.Sum256([]byte(text))
	return eventlog.Sealed{Field: field, Key: subject, Nonce: sum[:12], Ciphertext: sum[:]}, nil
}

// atEnd is a runner whose projections stand at the end of the log: for tests
// that ask the log alone.
type atEnd struct {
	log     eventlog.Log
	wait    chan struct{} // if not nil, WaitFor waits until it is closed
	waiting atomic.Int64
}

func (r *atEnd) WaitFor(ctx context.Context, _ eventlog.Position) error {
	if r.wait == nil {
		return nil
	}
	r.waiting.Add(1)
	select {
	case <-r.wait:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *atEnd) Status() []projections.Status {
	head, _, _ := r.log.Head(context.Background())
	return []projections.Status{{Name: "none", Version: 1, Position: head}}
}

// site is a server to ask.
type site struct {
	t        testing.TB
	url      string
	log      eventlog.Log
	handler  *graph.Handler
	operator string
	logged   *notebook
	runner   *atEnd // of a bare site
}

// notebook is a log that may be read while it is written.
type notebook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (n *notebook) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.buf.Write(b)
}

func (n *notebook) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.buf.String()
}

// bare serves a log without read models.
func bare(t testing.TB, limits graph.Limits) *site {
	t.Helper()
	log := memlog.New(origin, time.Now)
	runner := &atEnd{log: log}
	s := serve(t, &graph.Resolver{
		Read:     &plant.Reader{Log: log, Runner: runner, Now: time.Now, Build: "test"},
		Identity: people{},
	}, limits)
	s.runner = runner
	return s
}

func serve(t testing.TB, r *graph.Resolver, limits graph.Limits) *site {
	t.Helper()
	logged := &notebook{}
	h, err := graph.NewHandler(graph.Config{
		Resolver: r, Limits: limits, Origins: []string{"https://scada.example"},
		Log: slog.New(slog.NewTextHandler(logged, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(h)
	ctx, stop := context.WithCancel(context.Background())
	srv.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	srv.Start()
	t.Cleanup(func() {
		stop() // ends the streams, or Close would wait for them
		srv.Close()
	})
	return &site{t: t, url: srv.URL + "/graphql", log: r.Read.Log, handler: h, operator: "ines", logged: logged}
}

// answer is a GraphQL response.
type answer struct {
	Data   json.RawMessage
	Errors []answerError
}

type answerError struct {
	Message    string
	Path       []any
	Extensions struct {
		Code      string
		Retryable bool
		Position  string
		Problems  []struct {
			Path     []string
			Given    any
			Expected string
		}
	}
}

// post sends one operation and returns the answer and the status.
func (s *site) post(query string, variables map[string]any) (answer, int) {
	s.t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		s.t.Fatal(err)
	}
	resp := s.do(http.MethodPost, "", string(body), map[string]string{"Content-Type": "application/json", "Accept": "application/graphql-response+json"})
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(raw, &a); err != nil {
		s.t.Fatalf("answer %.200q: %v", raw, err)
	}
	return a, resp.StatusCode
}

func (s *site) do(method, query, body string, header map[string]string) *http.Response {
	s.t.Helper()
	req, err := http.NewRequest(method, s.url+query, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if s.operator != "" {
		req.Header.Set(graph.OperatorHeader, s.operator)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp
}

// ask sends an operation that must succeed and decodes its data.
func (s *site) ask(into any, query string, variables map[string]any) {
	s.t.Helper()
	a, _ := s.post(query, variables)
	if len(a.Errors) > 0 {
		s.t.Fatalf("%s\n%+v", query, a.Errors)
	}
	if err := json.Unmarshal(a.Data, into); err != nil {
		s.t.Fatalf("data %.300s: %v", a.Data, err)
	}
}

// code sends an operation and returns the code of its first error, or "".
func (s *site) code(query string, variables map[string]any) string {
	s.t.Helper()
	a, _ := s.post(query, variables)
	if len(a.Errors) == 0 {
		return ""
	}
	return a.Errors[0].Extensions.Code
}

// note is an event for logs without a plant.
type note struct {
	Text string `json:"text"`
}

func (note) EventType() string { return "note.taken.v1" }

// take appends notes to a stream that has n already.
func (s *site) take(stream string, n int, texts ...string) eventlog.Appended {
	s.t.Helper()
	events := make([]eventlog.NewEvent, len(texts))
	for i, text := range texts {
		var err error
		key := eventlog.NewKey(origin, "test", stream, fmt.Sprint(n+i))
		if events[i], err = eventlog.NewJSONEvent(key.Event(0), note{text}, eventlog.Envelope{
			Actor: eventlog.Actor{Subject: "p-1", Kind: eventlog.Human, AuthMethods: []string{"none"}},
		}); err != nil {
			s.t.Fatal(err)
		}
	}
	at := eventlog.NoStream
	if n > 0 {
		at = eventlog.At(eventlog.Revision(n - 1))
	}
	done, err := s.log.Append(context.Background(), eventlog.StreamID(stream), at, events...)
	if err != nil {
		s.t.Fatal(err)
	}
	return done
}

func plantID(kind byte, origin, id string) string {
	return plant.GlobalID(plant.Kind(kind), origin, id)
}

func ownID(t testing.TB, global string) string {
	t.Helper()
	_, _, id, ok := plant.ParseGlobalID(global)
	if !ok {
		t.Fatalf("%q is no global id", global)
	}
	return id
}
