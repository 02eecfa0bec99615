package timetravel

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/adapters/rows/memrows"
	"github.com/twinlog/twinlog/adapters/uplink/wire"
	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/ingest"
	"github.com/twinlog/twinlog/graph"
	"github.com/twinlog/twinlog/graph/plant"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/assets"
	"github.com/twinlog/twinlog/projections/audit"
	"github.com/twinlog/twinlog/projections/devices"
	"github.com/twinlog/twinlog/projections/history"
	"github.com/twinlog/twinlog/projections/twins"
)

const origin = "pumping-station"

// people is an Identity that keeps nothing.
type people struct{}

func (people) Identify(_ context.Context, name string) (string, error) {
	sum := sha256.Sum256([]byte(name))
	return "p-" + hex.EncodeToString(sum[:8]), nil
}

func (p people) Known(name string) (string, bool) {
	subject, _ := p.Identify(context.Background(), name)
	return subject, true
}

func (people) Seal(_ context.Context, subject, field, text string) (eventlog.Sealed, error) {
	sum := sha256.Sum256([]byte(text))
	return eventlog.Sealed{Field: field, Key: subject, Nonce: sum[:12], Ciphertext: sum[:]}, nil
}

// mortal is a store whose process can be killed: what it commits from then on
// is lost.
type mortal struct {
	projections.Store
	dead atomic.Bool
}

var errKilled = errors.New("killed")

// Commit implements projections.Store.
func (m *mortal) Commit(ctx context.Context, name string, version int, at eventlog.Position, w *projections.Writes) error {
	if m.dead.Load() {
		return errKilled
	}
	return m.Store.Commit(ctx, name, version, at, w)
}

// site is a whole server over a log in memory, asked over a socket. Its clock
// stands still until it is moved.
type site struct {
	log   *leapLog
	store projections.Store
	now   atomic.Int64

	rows     *mortal
	ingester *ingest.Ingester
	http     *httptest.Server
	stop     context.CancelFunc
	folding  sync.WaitGroup
	client   *http.Client
	logged   notebook
}

func newRows() projections.Store { return memrows.New() }

func newSite(start time.Time) (*site, error) {
	s := &site{store: newRows(), client: &http.Client{}}
	s.now.Store(start.UnixNano())
	s.log = &leapLog{Log: memlog.New(origin, s.clock)}
	return s, s.start()
}

func (s *site) clock() time.Time { return time.Unix(0, s.now.Load()).UTC() }

// start opens everything but the log, as a process that starts does.
func (s *site) start() error {
	s.rows = &mortal{Store: s.store}
	a, d, au, tw, hi := assets.New(), devices.New(s.rows), audit.New(s.rows), twins.New(), history.New(s.rows)
	runner := projections.NewRunner(s.log, s.rows, projections.Config{}, a, d, au, tw, hi)
	h, err := graph.NewHandler(graph.Config{
		Resolver: &graph.Resolver{
			Read: &plant.Reader{
				Log: s.log, Runner: runner, Now: s.clock, Build: "test", Assets: a.View(), Devices: d.View(a.View()),
				Audit: au.View(), Twins: tw.View(), History: hi.View(),
			},
			Commands: asset.NewService(s.log), Identity: people{},
		},
		Limits: graph.Limits{
			Tokens: 1 << 20, Body: 1 << 24, Complexity: 1 << 40,
			Timeout: time.Hour, Read: time.Hour, Write: time.Hour, // a busy machine is no finding
		},
		Log: slog.New(slog.NewTextHandler(&s.logged, nil)),
	})
	if err != nil {
		return err
	}
	s.ingester = ingest.New(s.log, wire.NewReader(wire.Config{}), ingest.Config{})
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.folding.Go(func() { _ = runner.Run(ctx) })
	s.http = httptest.NewServer(h)
	return nil
}

// kill ends the process in the middle of what it does.
func (s *site) kill() {
	s.rows.dead.Store(true)
	s.close()
}

func (s *site) close() {
	s.stop()
	s.folding.Wait()
	_ = s.ingester.Close()
	s.http.Close()
	s.client.CloseIdleConnections()
}

// notebook is what the server has logged.
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

// fault is an error of GraphQL.
type fault struct {
	Message    string
	Extensions struct{ Code string }
}

func (f fault) Error() string { return f.Extensions.Code + ": " + f.Message }

// ask sends a document and returns the fields of its data.
func (s *site) ask(query string, variables map[string]any) (map[string]json.RawMessage, error) {
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, s.http.URL+"/graphql", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/graphql-response+json")
	req.Header.Set(graph.OperatorHeader, "ines")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct {
		Data   map[string]json.RawMessage
		Errors []fault
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("status %d: %w", resp.StatusCode, err)
	}
	if len(answer.Errors) > 0 {
		return answer.Data, fmt.Errorf("%w (of %.600s) %s", answer.Errors[0], strings.TrimSpace(query), s.logged.String())
	}
	return answer.Data, nil
}

// send publishes a message and waits for the answer to it.
func (s *site) send(topic string, payload []byte) (ingest.Outcome, error) {
	answered := make(chan ingest.Outcome, 1)
	s.ingester.Submit(ingest.Message{Topic: topic, Client: "test", Payload: payload, Arrived: s.clock()},
		func(o ingest.Outcome) { answered <- o })
	o := <-answered
	if !o.Ack {
		return o, fmt.Errorf("message %s is not acknowledged: %w", payload, o.Err)
	}
	return o, nil
}
