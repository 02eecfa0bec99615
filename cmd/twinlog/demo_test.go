package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/twinlog/twinlog/test/peer"
)

// TestReadmeShowsTheExamples: the README's three queries are those that the
// demonstration prints.
func TestReadmeShowsTheExamples(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(readme), "```graphql\n"); n != len(examples) {
		t.Errorf("%d queries in the README, %d examples", n, len(examples))
	}
	rest := string(readme)
	for _, e := range examples {
		_, after, ok := strings.Cut(rest, "```graphql\n"+e.query+"\n```")
		if !ok {
			t.Errorf("not in the README, or not in its place: %s", e.query)
			continue
		}
		rest = after
	}
}

// TestCurl lets a shell read the command line and a JSON reader the body.
func TestCurl(t *testing.T) {
	peer.Need(t, "sh")
	for _, query := range []string{
		examples[0].query, `{ plant { asset(path: "Müller & Söhne/<é>/it's") { name } } }`, "{ a(b: \"\\\\ \\u0000 \u2028 $HOME `x` \U0001F600\") }\n",
	} {
		line, err := curl("127.0.0.1:1", query)
		if err != nil {
			t.Fatal(err)
		}
		script := `curl() { for a; do body=$a; done; printf %s "$body"; }; ` + line
		out, err := exec.CommandContext(t.Context(), "sh", "-c", script).Output()
		if err != nil {
			t.Fatal(err)
		}
		var body struct{ Query string }
		if err := json.Unmarshal(out, &body); err != nil || body.Query != query {
			t.Errorf("%s\ngives %q, %v; want %q", line, body.Query, err, query)
		}
	}
}
