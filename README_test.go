package twinlog_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

// block is a fenced block of a page.
type block struct{ language, text string }

func blocks(t *testing.T, page string) []block {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var all []block
	for _, m := range regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$").FindAllSubmatch(text, -1) {
		all = append(all, block{string(m[1]), string(m[2])})
	}
	return all
}

// shape says where an answer is not of the form that was asked for.
func shape(set ast.SelectionSet, answer any, path string) []string {
	switch answer := answer.(type) {
	case nil:
		return nil
	case []any:
		var faults []string
		for i, a := range answer {
			faults = append(faults, shape(set, a, fmt.Sprintf("%s[%d]", path, i))...)
		}
		return faults
	case map[string]any:
		var faults []string
		if len(set) == 0 {
			return nil // a scalar such as JSON
		}
		left := len(answer)
		for _, s := range set {
			f, ok := s.(*ast.Field)
			if !ok {
				return append(faults, path+": a fragment, which this test does not follow")
			}
			value, there := answer[f.Alias]
			if !there {
				faults = append(faults, path+"."+f.Alias+" is missing")
				continue
			}
			left--
			faults = append(faults, shape(f.SelectionSet, value, path+"."+f.Alias)...)
		}
		if left > 0 {
			faults = append(faults, fmt.Sprintf("%s has %d members that were not asked for", path, left))
		}
		return faults
	default:
		if len(set) > 0 {
			return []string{fmt.Sprintf("%s is %v, expected an object", path, answer)}
		}
		return nil
	}
}

// TestReadmeQueries holds each query of the README to the schema, and each answer
// shown after one to the query.
func TestReadmeQueries(t *testing.T) {
	text, err := os.ReadFile("schema.graphql")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := gqlparser.LoadSchema(&ast.Source{Name: "schema.graphql", Input: string(text)})
	if err != nil {
		t.Fatal(err)
	}
	all := blocks(t, "README.md")
	queries := 0
	for i, b := range all {
		if b.language != "graphql" {
			continue
		}
		queries++
		document, faults := gqlparser.LoadQueryWithRules(schema, b.text, rules.NewDefaultRules())
		if faults != nil {
			t.Errorf("%s%v", b.text, faults)
			continue
		}
		if i+1 == len(all) || all[i+1].language != "json" {
			t.Errorf("no answer follows\n%s", b.text)
			continue
		}
		var answer struct{ Data any }
		if err := json.Unmarshal([]byte(all[i+1].text), &answer); err != nil || answer.Data == nil {
			t.Errorf("%v in the answer %s", err, all[i+1].text)
		}
		for _, fault := range shape(document.Operations[0].SelectionSet, answer.Data, "data") {
			t.Errorf("%s\nin the answer to %s", fault, b.text)
		}
	}
	if queries != 3 {
		t.Errorf("%d queries, want 3", queries)
	}
}

// TestReadmeLinks looks for what the README names.
func TestReadmeLinks(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile(`\]\(([^):#]+)\)`).FindAllStringSubmatch(string(text), -1)
	if len(links) < 5 {
		t.Errorf("%d links, want at least 5", len(links))
	}
	for _, l := range links {
		if _, err := os.Stat(l[1]); err != nil {
			t.Error(err)
		}
	}
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range regexp.MustCompile(`(?m)^make ([a-z]+)`).FindAllStringSubmatch(string(text), -1) {
		if !slices.ContainsFunc(strings.Split(string(makefile), "\n"), func(line string) bool { return strings.HasPrefix(line, l[1]+":") }) {
			t.Errorf("no target %s in the Makefile", l[1])
		}
	}
}
