package graph_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/twinlog/twinlog/graph"
	"github.com/twinlog/twinlog/test/peer"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// message is one of graphql-transport-ws.
type message struct {
	ID      string          `json:"id,omitempty"`
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// wire is a WebSocket as a client that obeys, or does not, sees it.
type wire struct {
	t    *testing.T
	conn *websocket.Conn
	ctx  context.Context
}

func (s *site) dial(t *testing.T, init string) *wire {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(s.url, "http"), &websocket.DialOptions{Subprotocols: []string{"graphql-transport-ws"}})
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(16 << 20)
	t.Cleanup(func() { conn.CloseNow() })
	w := &wire{t, conn, ctx}
	if init != "" {
		w.send(`{"type":"connection_init","payload":` + init + `}`)
		if m := w.read(); m.Type != "connection_ack" {
			t.Fatalf("got %+v, expected connection_ack", m)
		}
	}
	return w
}

func (w *wire) send(text string) {
	w.t.Helper()
	if err := w.conn.Write(w.ctx, websocket.MessageText, []byte(text)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) subscribe(id, query string, variables map[string]any) {
	w.t.Helper()
	body, _ := json.Marshal(map[string]any{"query": query, "variables": variables})
	w.send(fmt.Sprintf(`{"type":"subscribe","id":%q,"payload":%s}`, id, body))
}

// read returns the next message that is not a ping.
func (w *wire) read() message {
	w.t.Helper()
	for {
		_, data, err := w.conn.Read(w.ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		var m message
		if err := json.Unmarshal(data, &m); err != nil {
			w.t.Fatal(err)
		}
		if m.Type != "ping" {
			return m
		}
	}
}

// closed returns the code with which the server closed.
func (w *wire) closed() websocket.StatusCode {
	w.t.Helper()
	for {
		if _, _, err := w.conn.Read(w.ctx); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

func TestSocketProtocol(t *testing.T) {
	s := bare(t, graph.Limits{Init: 300 * time.Millisecond, Operations: 2})
	const forever = `{"query":"subscription { events { kind } }"}`
	for _, c := range []struct {
		name string
		send []string
		code websocket.StatusCode
	}{
		{"text that is not JSON", []string{`{`}, 4400},
		{"an unknown type", []string{`{"type":"start"}`}, 4400},
		{"a subscription before the init", []string{`{"type":"subscribe","id":"1","payload":` + forever + `}`}, 4401},
		{"silence", nil, 4408},
		{"two inits", []string{`{"type":"connection_init"}`, `{"type":"connection_init"}`}, 4429},
		{"two subscribers of one id", []string{`{"type":"connection_init"}`, `{"type":"subscribe","id":"1","payload":` + forever + `}`, `{"type":"subscribe","id":"1","payload":` + forever + `}`}, 4409},
		{"no id", []string{`{"type":"connection_init"}`, `{"type":"subscribe","payload":` + forever + `}`}, 4400},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := s.dial(t, "")
			for _, text := range c.send {
				w.send(text)
			}
			if got := w.closed(); got != c.code {
				t.Errorf("closed with %d, expected %d", got, c.code)
			}
		})
	}
	t.Run("queries and mutations as well", func(t *testing.T) {
		w := s.dial(t, `{"X-Twinlog-Operator":"ines"}`)
		w.subscribe("q", "{ viewer { subject } }", nil)
		if m := w.read(); m.Type != "next" || !bytes.Contains(m.Payload, []byte(`"subject":"p-`)) {
			t.Errorf("got %s %s", m.Type, m.Payload)
		}
		if m := w.read(); m.Type != "complete" || m.ID != "q" {
			t.Errorf("got %+v", m)
		}
		w.subscribe("q", "{ system { origin } }", nil)
		if m := w.read(); m.Type != "next" {
			t.Errorf("the id is not free again: %s %s", m.Type, m.Payload)
		}
	})
	t.Run("a document that is not GraphQL is an error, and the connection lives", func(t *testing.T) {
		w := s.dial(t, `{}`)
		w.subscribe("1", "{", nil)
		if m := w.read(); m.Type != "error" || !bytes.Contains(m.Payload, []byte("GRAPHQL_PARSE_FAILED")) {
			t.Errorf("got %s %s", m.Type, m.Payload)
		}
		w.subscribe("1", "{ system { origin } }", nil) // the id is free again
		if m := w.read(); m.Type != "next" {
			t.Errorf("got %s %s", m.Type, m.Payload)
		}
	})
	t.Run("too many operations", func(t *testing.T) {
		w := s.dial(t, `{}`)
		for i := range 2 {
			w.send(fmt.Sprintf(`{"type":"subscribe","id":"%d","payload":%s}`, i, forever))
			if m := w.read(); m.Type != "next" {
				t.Fatalf("got %s %s", m.Type, m.Payload)
			}
		}
		w.send(`{"type":"subscribe","id":"3","payload":` + forever + `}`)
		if m := w.read(); m.Type != "error" || !bytes.Contains(m.Payload, []byte("RATE_LIMITED")) {
			t.Errorf("got %s %s", m.Type, m.Payload)
		}
	})
	t.Run("a page of another site", func(t *testing.T) {
		for origin, welcome := range map[string]bool{"https://evil.example": false, "https://scada.example": true} {
			conn, resp, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(s.url, "http"), &websocket.DialOptions{
				Subprotocols: []string{"graphql-transport-ws"}, HTTPHeader: http.Header{"Origin": {origin}},
			})
			if err == nil {
				conn.CloseNow()
			}
			if (err == nil) != welcome {
				t.Errorf("%s: %v, %v", origin, err, resp)
			}
		}
	})
}

// eventFrame is an answer of an events subscription.
type eventFrame struct {
	Kind     string
	Position string
	Events   []struct {
		ID, UUID, Stream, Revision, Position string
		Data                                 json.RawMessage
	}
}

func frameOf(t *testing.T, payload json.RawMessage) eventFrame {
	t.Helper()
	var a struct {
		Data   struct{ Events eventFrame }
		Errors []answerError
	}
	if err := json.Unmarshal(payload, &a); err != nil || len(a.Errors) > 0 {
		t.Fatalf("%s: %v", payload, err)
	}
	return a.Data.Events
}

const follow = `subscription($after: Position, $filter: EventFilter) { events(after: $after, filter: $filter) {
	kind position events { id uuid stream revision position data } } }`

// TestEventsFromReplayToLive restarts a subscriber again and again while others
// write: what it gets in all is the log, each event once, in order.
func TestEventsFromReplayToLive(t *testing.T) {
	s := bare(t, graph.Limits{})
	s.take("note-a", 0, "one", "two")
	const total = 3000
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := 2; i < total; i += 3 {
			n := min(3, total-i)
			s.take("note-a", i, []string{"x", "y", "z"}[:n]...)
		}
	}()
	after, next, restarts := "00000000000000000000", 0, 0
	for next < total {
		w := s.dial(t, `{}`)
		w.subscribe("s", follow, map[string]any{"after": after})
		for range 1 + restarts%4 { // a few frames, then away without a word
			m := w.read()
			if m.Type != "next" {
				t.Fatalf("got %s %s", m.Type, m.Payload)
			}
			f := frameOf(t, m.Payload)
			for _, e := range f.Events {
				if want := fmt.Sprint(next); e.Revision != want {
					t.Fatalf("restart %d: revision %s, expected %s", restarts, e.Revision, want)
				}
				next++
			}
			if f.Position < after {
				t.Fatalf("position went back from %s to %s", after, f.Position)
			}
			if after = f.Position; next >= total {
				break
			}
		}
		w.conn.CloseNow()
		restarts++
	}
	<-written
	if restarts < 3 {
		t.Errorf("%d restarts prove little", restarts)
	}
	t.Logf("%d events over %d restarts", next, restarts)
}

func TestEventsKinds(t *testing.T) {
	for name, filter := range map[string]map[string]any{
		"by stream":   {"stream": "note-a"},
		"by category": {"categories": []string{"note"}}, // the log itself leaves the others out
	} {
		t.Run(name, func(t *testing.T) {
			s := bare(t, graph.Limits{Heartbeat: 200 * time.Millisecond})
			s.take("note-a", 0, "before")
			w := s.dial(t, `{}`)
			w.subscribe("s", follow, map[string]any{"filter": filter})
			if f := frameOf(t, w.read().Payload); f.Kind != "CAUGHT_UP" || len(f.Events) != 0 {
				t.Fatalf("first %+v, expected CAUGHT_UP: what was before is not asked", f)
			}
			other := s.take("other-b", 0, "not asked for")
			f := frameOf(t, w.read().Payload)
			for i := 0; f.Kind == "HEARTBEAT" && f.Position < other.Last.String() && i < 10; i++ {
				f = frameOf(t, w.read().Payload)
			}
			if f.Kind != "HEARTBEAT" || f.Position != other.Last.String() {
				t.Fatalf("got %+v, expected a HEARTBEAT that moves on to %s", f, other.Last)
			}
			mine := s.take("note-a", 1, "after")
			for f.Kind == "HEARTBEAT" {
				f = frameOf(t, w.read().Payload)
			}
			if f.Kind != "CHANGES" || f.Position != mine.Last.String() || string(f.Events[0].Data) != `{"text":"after"}` {
				t.Fatalf("got %+v", f)
			}
		})
	}
}

func TestPositionsThatAreNotThere(t *testing.T) {
	s := bare(t, graph.Limits{})
	s.take("note-a", 0, "one")
	w := s.dial(t, `{}`)
	w.subscribe("s", follow, map[string]any{"after": "00000000000000000002"})
	if m := w.read(); m.Type != "error" || !bytes.Contains(m.Payload, []byte("POSITION_LOST")) {
		t.Errorf("beyond the end: %s %s", m.Type, m.Payload)
	}
	w.subscribe("t", follow, map[string]any{"after": "12"})
	if m := w.read(); m.Type != "error" || !bytes.Contains(m.Payload, []byte("BAD_INPUT")) {
		t.Errorf("not a position: %s %s", m.Type, m.Payload)
	}
}

// sseEvent is one event of a stream.
type sseEvent struct{ event, id, data, retry, comment string }

// stream reads server-sent events from a response.
func stream(resp *http.Response) func() (sseEvent, error) {
	scan := bufio.NewScanner(resp.Body)
	scan.Buffer(nil, 16<<20)
	return func() (sseEvent, error) {
		var e sseEvent
		any := false
		for scan.Scan() {
			line := scan.Text()
			if line == "" {
				if any {
					return e, nil
				}
				continue
			}
			any = true
			field, value, _ := strings.Cut(line, ":")
			value = strings.TrimPrefix(value, " ")
			switch field {
			case "":
				e.comment = "yes"
			case "event":
				e.event = value
			case "id":
				e.id = value
			case "data":
				e.data = value
			case "retry":
				e.retry = value
			}
		}
		return e, errors.Join(io.EOF, scan.Err())
	}
}

// TestEventSource is what a browser does: GET, and again with Last-Event-ID.
func TestEventSource(t *testing.T) {
	s := bare(t, graph.Limits{Heartbeat: 200 * time.Millisecond})
	s.take("note-a", 0, "one", "two", "three")
	q := "?query=" + url.QueryEscape(follow) + "&variables=" + url.QueryEscape(`{"after":"00000000000000000001"}`)
	accept := map[string]string{"Accept": "text/event-stream"}
	resp := s.do("GET", q, "", accept)
	next := stream(resp)
	if ct := resp.Header.Get("Content-Type"); !strings.HasPrefix(ct, "text/event-stream") || resp.StatusCode != 200 {
		t.Fatalf("%d %s", resp.StatusCode, ct)
	}
	first, _ := next()
	if first.retry != "3000" {
		t.Errorf("first %+v, expected retry: 3000", first)
	}
	var e sseEvent
	comments := 0
	for e.event != "next" {
		var err error
		if e, err = next(); err != nil {
			t.Fatal(err)
		}
	}
	f := frameOf(t, json.RawMessage(e.data))
	if len(f.Events) != 2 || f.Events[0].Revision != "1" || e.id != f.Position {
		t.Fatalf("got %+v with id %s", f, e.id)
	}
	for i := 0; i < 20 && comments == 0; i++ {
		if e, err := next(); err != nil {
			t.Fatal(err)
		} else if e.comment != "" {
			comments++
		}
	}
	if comments == 0 {
		t.Error("no comment keeps a quiet stream alive")
	}
	resp.Body.Close()

	s.take("note-a", 3, "four")
	accept["Last-Event-ID"] = f.Position
	resp = s.do("GET", q, "", accept) // the browser sends the first address again
	defer resp.Body.Close()
	for next = stream(resp); ; {
		e, err := next()
		if err != nil {
			t.Fatal(err)
		}
		if e.event != "next" {
			continue
		}
		if f := frameOf(t, json.RawMessage(e.data)); len(f.Events) != 1 || f.Events[0].Revision != "3" {
			t.Fatalf("went on with %+v, expected revision 3", f)
		}
		return
	}
}

func TestStreamOfAMutationByGetIsRefused(t *testing.T) {
	s := bare(t, graph.Limits{})
	q := url.QueryEscape(`mutation { retireAsset(input: {asset: "x", reason: {text: "t"}}) { position } }`)
	resp := s.do("GET", "?query="+q, "", map[string]string{"Accept": "text/event-stream"})
	defer resp.Body.Close()
	if resp.StatusCode != 405 {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// TestPeersFollow follows the log with the npm clients graphql-ws and
// graphql-sse.
func TestPeersFollow(t *testing.T) {
	dir := peer.Node(t)
	s := bare(t, graph.Limits{})
	s.take("note-a", 0, "one", "two")
	request, _ := json.Marshal(map[string]any{"query": follow, "variables": map[string]any{"after": "00000000000000000000"}})
	broken, _ := json.Marshal(map[string]any{"query": "subscription { nothing }"})
	for _, c := range []struct{ script, url string }{
		{"graphql-ws.mjs", "ws" + strings.TrimPrefix(s.url, "http")}, {"graphql-sse.mjs", s.url},
	} {
		t.Run(c.script, func(t *testing.T) {
			var kinds []string
			var revisions []string
			completed := false
			for _, line := range runPeer(t, dir, c.script, c.url, string(request), "2", "ines") {
				if next, ok := line["next"]; ok {
					f := frameOf(t, next)
					kinds = append(kinds, f.Kind)
					for _, e := range f.Events {
						revisions = append(revisions, e.Revision)
					}
				}
				completed = completed || line["complete"] != nil
			}
			if fmt.Sprint(kinds, revisions) != "[CHANGES CAUGHT_UP] [0 1]" || !completed {
				t.Errorf("got %v %v, completed %t", kinds, revisions, completed)
			}
			out := fmt.Sprintf("%s", runPeer(t, dir, c.script, c.url, string(broken), "0", ""))
			if !strings.Contains(out, "GRAPHQL_VALIDATION_FAILED") {
				t.Errorf("a document that does not fit: %s", out)
			}
		})
	}
}

// runPeer runs a script of test/peers and returns the lines that it printed.
func runPeer(t *testing.T, dir, script string, args ...string) (all []map[string]json.RawMessage) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", append([]string{filepath.Join(dir, script)}, args...)...)
	cmd.Dir = dir
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s\n%s", script, err, out.String(), complaints.String())
	}
	for line := range bytes.Lines(out.Bytes()) {
		var m map[string]json.RawMessage
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, m)
	}
	return all
}
