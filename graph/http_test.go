package graph_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twinlog/twinlog/graph"
	"github.com/twinlog/twinlog/test/peer"
)

// TestAudit runs the audit suite of the npm package graphql-http. What it marks
// as an error is a MUST, and as a warning a SHOULD; there is nothing to excuse.
func TestAudit(t *testing.T) {
	dir := peer.Node(t)
	s := bare(t, graph.Limits{})
	cmd := exec.Command("node", filepath.Join(dir, "graphql-audit.mjs"), s.url)
	cmd.Dir = dir
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("audit: %v\n%s", err, complaints.String())
	}
	count := map[string]int{}
	for line := range bytes.Lines(out) {
		var audit struct{ ID, Name, Status, Reason string }
		if err := json.Unmarshal(line, &audit); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		count[audit.Status]++
		if audit.Status != "ok" {
			t.Errorf("%s %s: %s: %s", audit.Status, audit.ID, audit.Name, audit.Reason)
		}
	}
	if count["ok"] < 60 {
		t.Errorf("%v audits, expected at least 60 ok", count)
	}
	t.Logf("audits: %v", count)
}

func TestHTTP(t *testing.T) {
	s := bare(t, graph.Limits{})
	jsonBody := map[string]string{"Content-Type": "application/json"}
	newForm := map[string]string{"Content-Type": "application/json", "Accept": "application/graphql-response+json"}
	get := func(q string) string { return "?query=" + url.QueryEscape(q) }
	for _, c := range []struct {
		name, method, query, body string
		header                    map[string]string
		status                    int
		code                      string // "": no error
	}{
		{"a query by GET", "GET", get("{ __typename }"), "", nil, 200, ""},
		{"a mutation by GET is refused", "GET", get(`mutation { retireAsset(input: {asset: "x", reason: {text: "t"}}) { position } }`), "", nil, 405, "BAD_INPUT"},
		{"a subscription without a stream is refused", "POST", "", `{"query":"subscription { events { position } }"}`, jsonBody, 406, "BAD_INPUT"},
		{"a form from another site is refused", "POST", "", "query=%7B__typename%7D", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, 415, "BAD_INPUT"},
		{"text/plain is refused", "POST", "", `{"query":"{ __typename }"}`, map[string]string{"Content-Type": "text/plain"}, 415, "BAD_INPUT"},
		{"another site is refused", "POST", "", `{"query":"{ __typename }"}`, map[string]string{"Content-Type": "application/json", "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, 403, "FORBIDDEN"},
		{"a configured site is not", "POST", "", `{"query":"{ __typename }"}`, map[string]string{"Content-Type": "application/json", "Origin": "https://scada.example", "Sec-Fetch-Site": "cross-site"}, 200, ""},
		{"a charset that is not UTF-8 is refused", "POST", "", `{"query":"{ __typename }"}`, map[string]string{"Content-Type": "application/json; charset=latin1"}, 415, "BAD_INPUT"},
		{"nothing that we speak is accepted", "POST", "", `{"query":"{ __typename }"}`, map[string]string{"Content-Type": "application/json", "Accept": "text/html"}, 406, "BAD_INPUT"},
		{"another method is refused", "DELETE", "", "", nil, 405, "BAD_INPUT"},
		{"a body that is too large is refused", "POST", "", `{"query":"{ __typename }` + strings.Repeat(" ", 1<<20) + `"}`, jsonBody, 413, "TOO_COMPLEX"},
		{"two JSON values are refused", "POST", "", `{"query":"{ __typename }"} {}`, jsonBody, 400, "BAD_INPUT"},
		{"a document that is not GraphQL, new form", "POST", "", `{"query":"{"}`, newForm, 400, "GRAPHQL_PARSE_FAILED"},
		{"a document that is not GraphQL, old form", "POST", "", `{"query":"{"}`, jsonBody, 200, "GRAPHQL_PARSE_FAILED"},
		{"a field that is not there", "POST", "", `{"query":"{ pumps }"}`, newForm, 400, "GRAPHQL_VALIDATION_FAILED"},
		{"an operation that is not there", "POST", "", `{"query":"query A { __typename }","operationName":"B"}`, newForm, 400, "GRAPHQL_VALIDATION_FAILED"},
		{"variables by GET that are no object", "GET", get("{ __typename }") + "&variables=[]", "", nil, 400, "BAD_INPUT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp := s.do(c.method, c.query, c.body, c.header)
			defer resp.Body.Close()
			raw, _ := io.ReadAll(resp.Body)
			var a answer
			if err := json.Unmarshal(raw, &a); err != nil {
				t.Fatalf("%.200q: %v", raw, err)
			}
			got := ""
			if len(a.Errors) > 0 {
				got = a.Errors[0].Extensions.Code
			}
			if resp.StatusCode != c.status || got != c.code {
				t.Errorf("status %d, code %q; expected %d, %q\n%.300s", resp.StatusCode, got, c.status, c.code, raw)
			}
			if got == "" && a.Data == nil || got != "" && resp.StatusCode >= 400 && bytes.Contains(raw, []byte(`"data"`)) {
				t.Errorf("an answer has data exactly when it ran: %.300s", raw)
			}
		})
	}
}

func TestAllFaultsOfARequestAtOnce(t *testing.T) {
	s := bare(t, graph.Limits{})
	resp := s.do("POST", "", `{"query": 7, "variables": [], "extensions": "x"}`, map[string]string{"Content-Type": "application/json"})
	defer resp.Body.Close()
	var a answer
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, p := range a.Errors[0].Extensions.Problems {
		paths = append(paths, strings.Join(p.Path, "."))
	}
	if got := strings.Join(paths, " "); got != "query variables extensions" {
		t.Errorf("problems at %q", got)
	}
}

// TestTooMuchAtOnce takes the only place with a query that waits.
func TestTooMuchAtOnce(t *testing.T) {
	s := bare(t, graph.Limits{Running: 1, Queue: 50 * time.Millisecond})
	head := s.take("note-a", 0, "one").Last.String()
	hold := make(chan struct{})
	s.runner.wait = hold
	first := make(chan string, 1)
	go func() {
		first <- s.code(`query($p: Position) { plant(minPosition: $p) { moment { knownAt } } }`, map[string]any{"p": head})
	}()
	within(t, "it waits", func() bool { return s.runner.waiting.Load() == 1 })
	resp := s.do("POST", "", `{"query":"{ system { origin } }"}`, map[string]string{"Content-Type": "application/json"})
	defer resp.Body.Close()
	raw, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" || !bytes.Contains(raw, []byte("RATE_LIMITED")) {
		t.Errorf("%d %s", resp.StatusCode, raw)
	}
	close(hold)
	if got := <-first; got != "" {
		t.Errorf("the first: %s", got)
	}
	if got := s.code(`{ system { origin } }`, nil); got != "" {
		t.Errorf("the place is not given back: %s", got)
	}
}

func TestPreflight(t *testing.T) {
	s := bare(t, graph.Limits{})
	for origin, allowed := range map[string]string{"https://scada.example": "https://scada.example", "https://evil.example": ""} {
		resp := s.do("OPTIONS", "", "", map[string]string{"Origin": origin, "Access-Control-Request-Method": "POST"})
		resp.Body.Close()
		if got := resp.Header.Get("Access-Control-Allow-Origin"); got != allowed {
			t.Errorf("%s: allowed %q, expected %q", origin, got, allowed)
		}
	}
}

func TestBatch(t *testing.T) {
	s := bare(t, graph.Limits{Batch: 3})
	send := func(n int) (int, []byte) {
		body := "[" + strings.TrimSuffix(strings.Repeat(`{"query":"{ system { origin } }"},`, n), ",") + "]"
		resp := s.do("POST", "", body, map[string]string{"Content-Type": "application/json"})
		defer resp.Body.Close()
		raw, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, raw
	}
	status, raw := send(3)
	var list []answer
	if err := json.Unmarshal(raw, &list); err != nil || status != 200 || len(list) != 3 || string(list[2].Data) != `{"system":{"origin":"pumping-station"}}` {
		t.Errorf("three operations: %d %s", status, raw)
	}
	if status, raw = send(4); status != 400 || !bytes.Contains(raw, []byte("TOO_COMPLEX")) {
		t.Errorf("four operations: %d %s", status, raw)
	}
}

func TestLimits(t *testing.T) {
	s := bare(t, graph.Limits{Depth: 6, Complexity: 5000, Tokens: 200})
	nested := func(n int) string {
		return "{ plant { asset(path: \"a\") " + strings.Repeat("{ parent ", n) + "{ id }" + strings.Repeat(" }", n) + " } }"
	}
	for _, c := range []struct{ name, query, code string }{
		{"deep", nested(4), "TOO_COMPLEX"},
		{"deep through fragments", `{ plant { asset(path: "a") { ...p } } } fragment p on Asset { parent { ...q } } fragment q on Asset { parent { parent { parent { id } } } }`, "TOO_COMPLEX"},
		{"rows times fields", `{ plant { assets(first: 1000) { nodes { id name path level } } } }`, "TOO_COMPLEX"},
		{"rows of rows", `{ plant { assets(first: 100) { nodes { children(first: 100) { nodes { id } } } } } }`, "TOO_COMPLEX"},
		{"a huge product does not overflow", `{ plant { assets(first: 2147483647) { nodes { children(first: 2147483647) { nodes { children(first: 2147483647) { nodes { id } } } } } } } }`, "TOO_COMPLEX"},
		{"the rows by a variable", `query($n: Int = 1000) { plant { assets(first: $n) { nodes { id name path level } } } }`, "TOO_COMPLEX"},
		{"many aliases", "{ " + strings.Repeat("a: system { origin } ", 60) + "}", "GRAPHQL_PARSE_FAILED"},
		{"introspection that explodes", `{ __schema { types { fields { type { fields { type { fields { type { name } } } } } } } } }`, "GRAPHQL_VALIDATION_FAILED"},
		{"introspection as tools ask it", `{ __schema { types { name fields { name args { name } type { name ofType { name ofType { name } } } } } } }`, ""},
		{"a small page", `{ system { origin head projections { name } } }`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := s.code(c.query, nil); got != c.code {
				t.Errorf("code %q, expected %q", got, c.code)
			}
		})
	}
}

// TestDocumentsThatExplode are those that cost seconds, or for ever, although
// they are short: each must be refused at once.
func TestDocumentsThatExplode(t *testing.T) {
	s := bare(t, graph.Limits{})
	chain := func(n int, spread string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "fragment f%d on Query { %s } ", i, strings.ReplaceAll(spread, "NEXT", fmt.Sprintf("...f%d", i+1)))
		}
		return fmt.Sprintf("{ ...f0 } %s fragment f%d on Query { __typename }", b.String(), n)
	}
	square := func(levels, each int) string {
		inner := "name"
		for range levels {
			inner = strings.TrimSpace(strings.Repeat("projections { "+inner+" } ", each))
		}
		return "{ system { " + inner + " } }"
	}
	for name, q := range map[string]string{
		"one leaf, many times":                    "{ " + strings.Repeat("__typename ", 4990) + "}",
		"one field, many times":                   "{ " + strings.Repeat("system { origin head } ", 990) + "}",
		"fragments that double":                   chain(60, "NEXT NEXT"),
		"fragments that double under other names": chain(60, "a: node(id: 1) { ...on Asset { id } } NEXT b: node(id: 1) { id } NEXT"),
		"many levels of few":                      square(5, 4),
		"fragments many times":                    "{ " + strings.Repeat("...a ", 2000) + "} fragment a on Query { " + strings.Repeat("system { origin } ", 300) + "}",
		"a cycle of fragments":                    "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a ...a }",
		"a fragment of itself, below":             "{ plant { asset(id: 1) { ...a } } } fragment a on Asset { parent { ...a } x: parent { ...a } }",
		"very deep":                               "{ plant { asset(id: 1) " + strings.Repeat("{ parent ", 1200) + "{ id }" + strings.Repeat("}", 1200) + "} }",
	} {
		t.Run(name, func(t *testing.T) {
			begun := time.Now()
			code := s.code(q, nil)
			if took := time.Since(begun); took > time.Second {
				t.Errorf("took %v", took)
			}
			switch code {
			case "TOO_COMPLEX", "GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED":
			default:
				t.Errorf("code %q", code)
			}
		})
	}
	fields := "{ " // a page with two hundred charts is not refused
	for i := range 200 {
		fields += fmt.Sprintf(`t%d: node(id: "x%d") { id ... on Asset { name path } } `, i, i)
	}
	if got := s.code(fields+"}", nil); got != "BAD_INPUT" { // because x0 is no id
		t.Errorf("a large page: %s", got)
	}
}

// TestPanicsAreNotLeaked: the bare site has no assets at all, so asking for
// them panics; the asker sees a reference and the log sees the rest.
func TestPanicsAreNotLeaked(t *testing.T) {
	s := bare(t, graph.Limits{})
	a, status := s.post(`{ plant { assets { nodes { id } } } system { origin } }`, nil)
	if status != 200 || len(a.Errors) != 1 || a.Errors[0].Extensions.Code != "INTERNAL" {
		t.Fatalf("status %d, %+v", status, a.Errors)
	}
	message := a.Errors[0].Message
	if strings.Contains(message, "nil pointer") || strings.Contains(message, "goroutine") {
		t.Errorf("leaked: %s", message)
	}
	reference := message[strings.LastIndexByte(message, ' ')+1:]
	if !strings.Contains(s.logged.String(), reference) || !strings.Contains(s.logged.String(), "nil pointer") {
		t.Errorf("the log does not explain %s: %.300s", reference, s.logged)
	}
	if !strings.Contains(string(a.Data), `"system":{"origin"`) {
		t.Errorf("a sibling was lost: %s", a.Data)
	}
}

func TestPersistedQueries(t *testing.T) {
	s := bare(t, graph.Limits{})
	const query = "{ system { origin } }"
	sum := sha256.Sum256([]byte(query))
	hash := hex.EncodeToString(sum[:])
	extensions := `{"persistedQuery":{"version":1,"sha256Hash":"` + hash + `"}}`
	send := func(body string) string {
		resp := s.do("POST", "", body, map[string]string{"Content-Type": "application/json"})
		defer resp.Body.Close()
		raw, _ := io.ReadAll(resp.Body)
		return string(raw)
	}
	if got := send(`{"extensions":` + extensions + `}`); !strings.Contains(got, `"PERSISTED_QUERY_NOT_FOUND"`) || !strings.Contains(got, `"PersistedQueryNotFound"`) {
		t.Errorf("unknown hash: %s", got)
	}
	if got := send(`{"query":"{ system { head } }","extensions":` + extensions + `}`); !strings.Contains(got, `"BAD_INPUT"`) {
		t.Errorf("a hash of something else: %s", got)
	}
	if got := send(`{"query":"` + query + `","extensions":` + extensions + `}`); !strings.Contains(got, origin) {
		t.Errorf("with the document: %s", got)
	}
	if got := send(`{"extensions":` + extensions + `}`); !strings.Contains(got, origin) {
		t.Errorf("by its hash: %s", got)
	}
	resp := s.do("GET", "?extensions="+url.QueryEscape(extensions), "", nil)
	defer resp.Body.Close()
	if raw, _ := io.ReadAll(resp.Body); !strings.Contains(string(raw), origin) {
		t.Errorf("by its hash, with GET: %s", raw)
	}
}

func TestViewer(t *testing.T) {
	s := bare(t, graph.Limits{})
	var got struct {
		Viewer struct {
			Subject     *string
			Kind        string
			AuthMethods []string
		}
	}
	s.ask(&got, "{ viewer { subject kind authMethods } }", nil)
	if got.Viewer.Subject == nil || *got.Viewer.Subject == "ines" || got.Viewer.Kind != "HUMAN" || got.Viewer.AuthMethods[0] != "none" {
		t.Errorf("got %+v", got.Viewer)
	}
	s.operator = ""
	s.ask(&got, "{ viewer { subject kind authMethods } }", nil)
	if got.Viewer.Subject != nil {
		t.Errorf("nobody is %s", *got.Viewer.Subject)
	}
}

var _ http.Handler = (*graph.Handler)(nil)
