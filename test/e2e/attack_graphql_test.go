//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestAbusedGraphQL: what asks for too much is refused with a code, soon, while
// others are answered.
func TestAbusedGraphQL(t *testing.T) {
	t.Parallel()
	p := serveProduct(t, t.TempDir())
	pump, tags := p.pump(t, "pump 1", "P-1", "2020-01-01T00:00:00Z", "n")
	c := newTalker(t, p.mqtt, "P-1")
	for i := range 20 {
		c.publish(t, topic("P-1"), message("P-1", i))
	}
	p.folded(t)
	deep := func(n int, open string) string {
		return `{ plant { asset(path: "x") ` + strings.Repeat(open, n) + "{ id }" + strings.Repeat(" }", strings.Count(strings.Repeat(open, n), "{")) + " } }"
	}
	aliases := func(n int, field string) string {
		var b strings.Builder
		b.WriteString("{ plant {")
		for i := range n {
			fmt.Fprintf(&b, " a%d: %s", i, field)
		}
		return b.String() + " } }"
	}
	fragments := "{ plant { assets { nodes { ...f0 } } } }"
	for i := range 30 {
		fragments += fmt.Sprintf(" fragment f%d on Asset { ...f%d ...f%d }", i, i+1, i+1)
	}
	fragments += " fragment f30 on Asset { id }"
	cycle := "{ plant { assets { nodes { ...a } } } } fragment a on Asset { parent { ...b } } fragment b on Asset { parent { ...a } }"
	year := `from: "2026-01-01T00:00:00Z", to: "2027-01-01T00:00:00Z"`
	batch := func(n int) string {
		return "[" + strings.Repeat(`{"query":"{ viewer { kind } }"},`, n-1) + `{"query":"{ viewer { kind } }"}]`
	}
	one := func(query string) string {
		b, err := json.Marshal(map[string]string{"query": query})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, a := range []struct{ what, body, want string }{
		{"deep", one(deep(50, "{ parent ")), "TOO_COMPLEX"},
		{"very deep", one(deep(4000, "{ parent ")), "TOO_COMPLEX|GRAPHQL_PARSE_FAILED"},
		{"1,000 aliases of everything", one(aliases(1000, "assets { nodes { id } }")), "TOO_COMPLEX|GRAPHQL_PARSE_FAILED"},
		{"100 aliases of a wide list", one(aliases(100, "assets(first: 500) { nodes { id name path tags { nodes { id } } } }")), "TOO_COMPLEX"},
		{"fragments that double 30 times", one(fragments), "TOO_COMPLEX|GRAPHQL_VALIDATION_FAILED"},
		{"fragments in a circle", one(cycle), "GRAPHQL_VALIDATION_FAILED|TOO_COMPLEX"},
		{"a batch of 11", batch(11), "TOO_COMPLEX"},
		{"10 MB of variables", `{"query":"{ viewer { kind } }","variables":{"x":"` + strings.Repeat("x", 10<<20) + `"}}`, "TOO_COMPLEX"},
		{"nested lists in variables", `{"query":"query($f: AssetFilter) { plant { assets(filter: $f) { nodes { id } } } }","variables":{"f":` +
			strings.Repeat("[", 200_000) + strings.Repeat("]", 200_000) + `}}`, "BAD_INPUT|GRAPHQL_VALIDATION_FAILED"},
		{"negative first", one(`{ plant { assets(first: -1) { nodes { id } } } }`), "BAD_INPUT"},
		{"huge first", one(`{ plant { assets(first: 2147483647) { nodes { id } } } }`), "BAD_INPUT|TOO_COMPLEX|TOO_MANY_ROWS"},
		{"both first and last", one(`{ events(first: 1, last: 1) { nodes { id } } }`), "BAD_INPUT"},
		{"a year by the millisecond", one(`{ plant { aggregates(tags: ["` + tags[0] + `"], ` + year + `, interval: "PT0.001S", functions: [AVERAGE]) { values } } }`), "TOO_MANY_ROWS"},
		{"an interval of nothing", one(`{ plant { aggregates(tags: ["` + tags[0] + `"], ` + year + `, interval: "PT0S", functions: [AVERAGE]) { values } } }`), "BAD_INPUT"},
		{"101 tags", one(`{ plant { series(tags: [` + strings.Repeat(`"`+tags[0]+`",`, 101) + `], ` + year + `) { count } } }`), "TOO_MANY_ROWS|BAD_INPUT|TOO_COMPLEX"},
		{"the position after the end", one(`{ plant(minPosition: "09223372036854775807") { moment { knownAt } } }`), "POSITION_LOST"},
		{"a position too large", one(`{ plant(minPosition: "99999999999999999999") { moment { knownAt } } }`), "BAD_INPUT"},
		{"a wait of a day", one(`{ plant(minPosition: "00000000000000000001", waitAtMost: "P1D") { moment { knownAt } } }`), "BAD_INPUT"},
		{"cursor of rubbish", one(`{ plant { assets(after: "rubbish") { nodes { id } } } }`), "BAD_INPUT"},
		{"cursor of another list", one(`{ plant { devices(after: "` + p.ask(t, `{ plant { assets(first: 1) { pageInfo { endCursor } } } }`, nil).text("plant", "assets", "pageInfo", "endCursor") + `") { nodes { id } } } }`), "CURSOR_CUT_MISMATCH|BAD_INPUT"},
		{"node of rubbish", one(`{ node(id: "////") { id } }`), "BAD_INPUT"},
		{"asOf in the year 1", one(`{ plant(at: {asOf: "0001-01-01T00:00:00Z"}) { assets { nodes { id } } } }`), "BAD_INPUT|"},
		{"asOf in the year 9999", one(`{ plant(at: {asOf: "9999-12-31T00:00:00Z"}) { assets { nodes { tags { nodes { value { value } } } } } } }`), "BAD_INPUT|"},
		{"moved under itself", one(`mutation { moveAsset(input: {asset: "` + pump + `", to: "` + pump + `", reason: {text: "x"}}) { position } }`), "ILLEGAL_STATE"},
		{"an unspoken reason", one(`mutation { retireAsset(input: {asset: "` + pump + `", reason: {text: "  "}}) { position } }`), "REASON_REQUIRED"},
		{"no JSON", "{", "BAD_INPUT"},
		{"nothing", "", "BAD_INPUT"},
		{"NUL in a name", one(`mutation { renameAsset(input: {asset: "` + pump + `", name: "a\u0000b", reason: {text: "x"}}) { position } }`), "BAD_INPUT"},
		{"slash in a name", one(`mutation { renameAsset(input: {asset: "` + pump + `", name: "a/b", reason: {text: "x"}}) { position } }`), "BAD_INPUT"},
		{"bound in the year 1", one(`mutation { bindTag(input: {tag: "` + tags[0] + `", device: "P-1", signal: "m", effective: "0001-01-01T00:00:00Z", reason: {text: "x"}}) { position } }`), "BAD_INPUT"},
		{"bound in the year 9999", one(`mutation { bindTag(input: {tag: "` + tags[0] + `", device: "P-1", signal: "m", effective: "9999-01-01T00:00:00Z", reason: {text: "x"}}) { position } }`), "BAD_INPUT|"},
		{"an empty signal", one(`mutation { bindTag(input: {tag: "` + tags[0] + `", device: "P-1", signal: "", reason: {text: "x"}}) { position } }`), "BAD_INPUT"},
		{"introspection of everything", one(`{ __schema { types { name fields { name args { name type { name ofType { name ofType { name } } } } type { name ofType { name ofType { name ofType { name } } } } } } } }`), ""},
		{"introspection in depth", one(`{ __schema { types { fields { type { fields { type { fields { type { fields { type { fields { name } } } } } } } } } } } }`), "TOO_COMPLEX|GRAPHQL_VALIDATION_FAILED"},
	} {
		start := time.Now()
		b, status, err := p.postBytes([]byte(a.body))
		took := time.Since(start)
		var got answer
		if err == nil {
			err = json.Unmarshal(b, &got)
		}
		ok := err == nil
		if ok {
			ok = false
			for want := range strings.SplitSeq(a.want, "|") {
				ok = ok || got.code() == want
			}
		}
		if !ok || status >= 500 {
			t.Errorf("%s: status %d, code %q, want %s: %v %.300s", a.what, status, got.code(), a.want, err, b)
		}
		if took > 3*time.Second {
			t.Errorf("%s took %v", a.what, took)
		}
	}
	if n := p.metric(t, "twinlog_graphql_internal_errors_total"); n != 0 {
		t.Errorf("%d errors that nobody foresaw: %.2000s", n, p.stderr)
	}
}

// TestSlowloris: half-sent requests, sent a byte at a time, by the hundred, keep
// nobody else from an answer.
func TestSlowloris(t *testing.T) {
	t.Parallel()
	p := serveProduct(t, t.TempDir())
	addr := strings.TrimPrefix(p.http, "http://")
	var conns []net.Conn
	for i := range 300 {
		conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		head := "POST /graphql HTTP/1.1\r\nHost: x\r\nX-A: "
		if i%2 == 0 {
			head = "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"
		}
		if _, err := conn.Write([]byte(head)); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	start := time.Now()
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Post(p.http+"/graphql", "application/json", bytes.NewReader([]byte(`{"query":"{ viewer { kind } }"}`))) //nolint:noctx // it has a timeout
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	t.Logf("a question among %d half-sent ones took %v", len(conns), time.Since(start))
}
