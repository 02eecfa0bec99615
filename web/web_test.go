package web_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"github.com/twinlog/twinlog/web"
)

// fake is a GraphQL endpoint that answers one query, refuses another and counts
// in a subscription.
type fake struct {
	operator atomic.Value // the last X-Twinlog-Operator
	stopped  atomic.Int64 // subscriptions that the client completed
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		f.socket(w, r)
		return
	}
	f.operator.Store(r.Header.Get("X-Twinlog-Operator"))
	var q struct {
		Query         string
		OperationName string
		Variables     map[string]any
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch {
	case strings.Contains(q.Query, "__schema"):
		schema, _ := os.ReadFile("testdata/introspection.json")
		_, _ = w.Write(schema)
	case strings.Contains(q.Query, "ENTERPRISE }, first: 1"):
		_, _ = io.WriteString(w, `{"data":{"system":{"origin":"o"},"plant":{"assets":{"nodes":[{"id":"the-top"}]}}}}`)
	case strings.Contains(q.Query, "wrong"):
		_, _ = io.WriteString(w, `{"errors":[{"message":"Cannot query field \"wrong\"","extensions":{"code":"GRAPHQL_VALIDATION_FAILED"}}]}`)
	default:
		fmt.Fprintf(w, `{"data":{"answer":"forty-two","pressure":[1.5,2.25,null],"good":true,"asked":%q,"n":%v}}`, q.OperationName, q.Variables["n"] != nil)
	}
}

func (f *fake) socket(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"graphql-transport-ws"}})
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	if c.Subprotocol() != "graphql-transport-ws" {
		_ = c.Close(4406, "Subprotocol not acceptable")
		return
	}
	ctx := r.Context()
	for {
		var m struct{ ID, Type string }
		if wsjson.Read(ctx, c, &m) != nil {
			return
		}
		switch m.Type {
		case "connection_init":
			_ = wsjson.Write(ctx, c, map[string]any{"type": "connection_ack"})
			_ = wsjson.Write(ctx, c, map[string]any{"type": "ping"})
		case "subscribe":
			go count(ctx, c, m.ID)
		case "complete":
			f.stopped.Add(1)
		}
	}
}

func count(ctx context.Context, c *websocket.Conn, id string) {
	for n := 1; ctx.Err() == nil; n++ {
		payload := map[string]any{"data": map[string]any{"values": map[string]any{"kind": "CHANGES", "frame": n}}}
		if wsjson.Write(ctx, c, map[string]any{"id": id, "type": "next", "payload": payload}) != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func serve(t *testing.T, console http.Handler) (*fake, string) {
	t.Helper()
	f := &fake{}
	mux := http.NewServeMux()
	mux.Handle("/graphql", f)
	mux.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	mux.Handle("/", console)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return f, s.URL
}

// type and click the way a person would, as far as the page can tell.
const fill = `((id, text) => { const e = document.getElementById(id); e.value = text; e.dispatchEvent(new Event('input', {bubbles: true})); e.dispatchEvent(new Event('change', {bubbles: true})); })`

func TestPlainPageInABrowser(t *testing.T) {
	b := newBrowser(t)
	f, origin := serve(t, web.Handler())
	b.open(origin + "/plain")
	b.until("the first example is offered", `document.getElementById('query').value.includes('plant')`)
	b.shot("plain-start")
	b.eval(`((e) => { e.value = [...e.options].find((o) => o.text.startsWith('Live')).value; e.dispatchEvent(new Event('change')) })(document.getElementById('examples'))`)
	b.until("an example that needs an asset gets the top of the plant", `document.getElementById('variables').value === '{"under":"the-top"}'`)

	b.eval(fill + `('query', 'query A { answer }\nquery Second($n: Int) { answer }')`)
	b.eval(fill + `('variables', '{"n": 1}')`)
	b.eval(fill + `('operator', 'Jürgen 100%')`)
	b.until("two operations can be chosen from", `document.getElementById('operation').options.length === 2`)
	b.eval(fill + `('operation', 'Second')`)
	b.eval(`document.getElementById('run').click()`)
	b.until("the answer is shown", `document.getElementById('answer').innerText.includes('"forty-two"')`)
	if got := b.eval(`document.getElementById('answer').innerText`); !strings.Contains(got, `"asked": "Second"`) ||
		!strings.Contains(got, `"n": true`) || !strings.Contains(got, `"pressure": [1.5, 2.25, null]`) {
		t.Errorf("answer:\n%s", got)
	}
	if got := f.operator.Load(); got != "J%C3%BCrgen%20100%25" {
		t.Errorf("the operator came as %q", got)
	}
	b.shot("plain-answer")

	b.eval(fill + `('query', '{ wrong }')`)
	b.eval(`document.getElementById('run').click()`)
	b.until("an error is shown as one", `document.getElementById('status').className === 'fault' && document.getElementById('answer').innerText.includes('GRAPHQL_VALIDATION_FAILED')`)

	b.eval(fill + `('query', '# a comment {\nsubscription Live { values { kind } }')`)
	b.eval(`document.getElementById('run').click()`)
	b.until("frames arrive", `document.querySelectorAll('.frame').length >= 5`)
	b.shot("plain-live")
	b.eval(`document.getElementById('stop').click()`)
	b.until("the subscription stops", `document.getElementById('status').innerText.startsWith('Stopped')`)
	for end := time.Now().Add(5 * time.Second); f.stopped.Load() == 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if f.stopped.Load() != 1 {
		t.Error("the server was not told that the subscription is over")
	}

	b.open(origin + "/plain")
	b.until("the last query is still there", `document.readyState === 'complete' && document.getElementById('query').value.includes('subscription Live')`)
	b.stayedHome(origin)
}

// TestWithoutTheIDE is the binary of somebody who has Go and no Node.
func TestWithoutTheIDE(t *testing.T) {
	for name, ide := range map[string]fstest.MapFS{
		"dist is empty":                     {".gitkeep": {}},
		"the build was interrupted halfway": {"assets/index.js.gz": {Data: []byte("x")}},
	} {
		t.Run(name, func(t *testing.T) {
			_, origin := serve(t, web.NewHandler(ide))
			for _, path := range []string{"/", "/plain"} {
				body := get(t, origin+path, http.StatusOK).body
				if !strings.Contains(body, `src="/plain.js"`) {
					t.Errorf("%s is not the plain page: %.200s", path, body)
				}
			}
		})
	}
}

func TestWithTheIDE(t *testing.T) {
	var packed strings.Builder
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte("console.log('hello')"))
	_ = z.Close()
	ide := fstest.MapFS{"index.html": {Data: []byte("<title>IDE</title>")}, "assets/app-1a2b.js.gz": {Data: []byte(packed.String())}}
	_, origin := serve(t, web.NewHandler(ide))

	if got := get(t, origin+"/", http.StatusOK).body; got != "<title>IDE</title>" {
		t.Errorf("/ is %q", got)
	}
	if got := get(t, origin+"/plain", http.StatusOK).body; !strings.Contains(got, "plain.js") {
		t.Errorf("/plain is %q", got)
	}
	for _, accept := range []string{"gzip", "identity"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, origin+"/assets/app-1a2b.js", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Encoding", accept)
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body := io.Reader(res.Body)
		if res.Header.Get("Content-Encoding") == "gzip" {
			if body, err = gzip.NewReader(res.Body); err != nil {
				t.Fatal(err)
			}
		}
		text, _ := io.ReadAll(body)
		res.Body.Close()
		if string(text) != "console.log('hello')" || (res.Header.Get("Content-Encoding") == "gzip") != (accept == "gzip") ||
			res.Header.Get("Content-Type") != "text/javascript; charset=utf-8" || !strings.Contains(res.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("accepting %s: %q with %v", accept, text, res.Header)
		}
	}
	for _, path := range []string{"/assets/none.js", "/nothing", "/../web.go", "/assets/../../web.go", "/assets/"} {
		if a := get(t, origin+path, http.StatusNotFound); strings.Contains(a.header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: a missing file may be cached for ever", path)
		}
	}
}

func TestPolicyAndMethods(t *testing.T) {
	_, origin := serve(t, web.Handler())
	for _, path := range []string{"/", "/plain"} {
		policy := get(t, origin+path, http.StatusOK).header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self';", "connect-src 'self';", "frame-ancestors 'none'"} {
			if !strings.Contains(policy+";", want) {
				t.Errorf("%s: policy %q has no %s", path, policy, want)
			}
		}
	}
	res, err := http.Post(origin+"/", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST / gives %d", res.StatusCode)
	}
}

func TestExamples(t *testing.T) {
	all := web.Examples()
	if len(all) < 3 {
		t.Fatalf("%d examples, expected at least 3: the demo prints three", len(all))
	}
	for _, e := range all {
		if e.Title == "" || strings.HasPrefix(e.Title, "#") || !strings.Contains(e.Query, "{") {
			t.Errorf("example %+v: expected a comment as its first line, then a query", e)
		}
	}
}

type answer struct {
	body   string
	header http.Header
}

func get(t *testing.T, url string, status int) answer {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != status {
		t.Errorf("GET %s gives %d, expected %d", url, res.StatusCode, status)
	}
	return answer{string(body), res.Header}
}
