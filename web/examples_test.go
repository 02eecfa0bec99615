package web_test

import (
	"os"
	"testing"

	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/twinlog/twinlog/web"
)

// TestExamplesFitTheSchema is why nobody's first query is answered with an error.
func TestExamplesFitTheSchema(t *testing.T) {
	text, err := os.ReadFile("../schema.graphql")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := gqlparser.LoadSchema(&ast.Source{Name: "schema.graphql", Input: string(text)})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[ast.Operation]int{}
	for _, e := range web.Examples() {
		doc, err := gqlparser.LoadQueryWithRules(schema, e.Query, nil)
		if err != nil {
			t.Errorf("%s: %v", e.Title, err)
			continue
		}
		for _, op := range doc.Operations {
			if op.Name == "" {
				t.Errorf("%s: an operation without a name, which tabs and history would not have either", e.Title)
			}
			kinds[op.Operation]++
		}
	}
	if kinds[ast.Query] == 0 || kinds[ast.Mutation] == 0 || kinds[ast.Subscription] == 0 {
		t.Errorf("examples are %v, expected a query, a mutation and a subscription", kinds)
	}
}
