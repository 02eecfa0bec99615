package graph_test

import (
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twinlog/twinlog/graph"
)

var update = flag.Bool("update", false, "write docs/errors.md anew")

// errorsPage writes docs/errors.md from the table.
func errorsPage() string {
	var b strings.Builder
	b.WriteString(`# Errors

Every error of the API has ` + "`extensions { code, retryable, position, problems }`" + `. Codes are stable: new ones are added, none change meaning.
` + "`position`" + ` is there where a place in the log is worth remembering, ` + "`problems`" + ` where an input is at fault: all of its faults at once, each
with ` + "`path`" + `, ` + "`given`" + ` and ` + "`expected`" + `. Messages are for people and may change.

This page is written from graph/errors.go by ` + "`go test ./graph -run TestErrorsPage -update`" + `.

| code | retry? | when | what to do |
|---|---|---|---|
`)
	for _, c := range graph.Codes() {
		retry := "no"
		if c.Retryable {
			retry = "yes"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", c.Code, retry, c.When, c.Do)
	}
	return b.String()
}

func TestErrorsPage(t *testing.T) {
	const page = "../docs/errors.md"
	want := errorsPage()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/errors.md is not what graph/errors.go says; write it anew with -update")
	}
}

// TestCodesOfTheSchema holds the table and the enum of the schema together.
func TestCodesOfTheSchema(t *testing.T) {
	s := bare(t, graph.Limits{})
	var got struct {
		Type struct{ EnumValues []struct{ Name string } } `json:"__type"`
	}
	s.ask(&got, `{ __type(name: "ErrorCode") { enumValues { name } } }`, nil)
	var schema, table []string
	for _, v := range got.Type.EnumValues {
		schema = append(schema, v.Name)
	}
	for _, c := range graph.Codes() {
		table = append(table, c.Code)
	}
	slices.Sort(schema)
	slices.Sort(table)
	if !slices.Equal(schema, table) {
		t.Errorf("schema %v\ntable %v", schema, table)
	}
}

// TestEverySentinelHasACode reads the sources of the packages whose errors can
// reach an asker: a new sentinel there must be given a code, or it is INTERNAL
// for ever and nobody knows.
func TestEverySentinelHasACode(t *testing.T) {
	var known []string
	for _, c := range graph.Codes() {
		for _, err := range c.Is {
			known = append(known, err.Error())
		}
	}
	for _, dir := range []string{"../domain/eventlog", "../domain/asset", "../domain/access", "../domain/settings", "fault"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(files), err)
		}
		for _, name := range files {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				sentinel, text := sentinelOf(n)
				if sentinel != "" && !slices.Contains(known, text) {
					t.Errorf("%s.%s has no code in graph/errors.go", dir, sentinel)
				}
				return true
			})
		}
	}
}

// sentinelOf reads ErrX = errors.New("text").
func sentinelOf(n ast.Node) (name, text string) {
	spec, ok := n.(*ast.ValueSpec)
	if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Err") {
		return "", ""
	}
	call, ok := spec.Values[0].(*ast.CallExpr)
	if !ok || len(call.Args) != 1 {
		return "", ""
	}
	lit, ok := call.Args[0].(*ast.BasicLit)
	if !ok {
		return "", ""
	}
	return spec.Names[0].Name, strings.Trim(lit.Value, "\"")
}

// TestNoSentinelHasTwoCodes: the first line that fits decides, so two would
// hide one.
func TestNoSentinelHasTwoCodes(t *testing.T) {
	seen := map[error]string{}
	for _, c := range graph.Codes() {
		for _, err := range c.Is {
			for other, code := range seen {
				if errors.Is(err, other) || errors.Is(other, err) {
					t.Errorf("%v has codes %s and %s", err, code, c.Code)
				}
			}
			seen[err] = c.Code
		}
	}
}
