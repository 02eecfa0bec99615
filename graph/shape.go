package graph

import (
	"context"
	"fmt"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"

	"github.com/twinlog/twinlog/graph/fault"
)

// shape refuses a document that would be expensive to validate, before it is
// validated. The limit of tokens does not do that: 5,000 times the same field
// cost seven seconds in the rule that compares fields pairwise, and sixty
// fragments that each spread the next one twice are 2^60 fields to whoever
// walks them. Its own work is bounded by the same limits.
type shape struct {
	limits Limits
	known  documents // those have been judged
}

// Bounds of a document's shape. A page with a hundred charts has about 1,500
// fields, and few that are said twice.
const (
	maxFields = 20_000  // with every fragment put in where it is spread
	maxPairs  = 100_000 // of fields with one response name in one place: 60 ms
)

// ExtensionName names it for gqlgen.
func (shape) ExtensionName() string { return "Shape" }

// Validate has nothing to check.
func (shape) Validate(graphql.ExecutableSchema) error { return nil }

// MutateOperationParameters changes nothing; it is the only place before the
// validation.
func (s shape) MutateOperationParameters(ctx context.Context, raw *graphql.RawParams) *gqlerror.Error {
	if _, ok := s.known.Get(ctx, raw.Query); ok {
		return nil
	}
	doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: raw.Query}, s.limits.Tokens)
	if err != nil {
		return nil //nolint:nilerr // the executor says so, with its code
	}
	w := shapes{doc: doc, sizes: map[string]int{}, most: s.limits.Depth}
	for _, op := range doc.Operations {
		if size := w.size(op.SelectionSet); size > maxFields {
			return wrapped(fmt.Errorf("more than %d fields, with all fragments put in: %w", maxFields, fault.ErrTooComplex))
		}
		w.pairs(op.SelectionSet, 0)
	}
	for _, fragment := range doc.Fragments {
		w.pairs(fragment.SelectionSet, 0)
	}
	switch {
	case w.deep:
		return wrapped(tooDeep(s.limits.Depth))
	case w.compared > maxPairs || w.seen > maxFields*4:
		return wrapped(fmt.Errorf("too many fields of one name in one place: %w", fault.ErrTooComplex))
	}
	return nil
}

func tooDeep(most int) error {
	return fmt.Errorf("more than %d levels of fields: %w", most, fault.ErrTooComplex)
}

// shapes walks one document.
type shapes struct {
	doc   *ast.QueryDocument
	sizes map[string]int // of fragments; 0 while it is counted, so that a cycle ends
	most  int

	deep           bool
	compared, seen int
}

// size counts fields with every fragment put in; beyond maxFields it only says
// that it is beyond.
func (w *shapes) size(set ast.SelectionSet) int {
	n := 0
	for _, selection := range set {
		switch s := selection.(type) {
		case *ast.Field:
			n += 1 + w.size(s.SelectionSet)
		case *ast.InlineFragment:
			n += w.size(s.SelectionSet)
		case *ast.FragmentSpread:
			n += 1 + w.fragment(s.Name)
		}
		n = min(n, maxFields+1)
	}
	return n
}

func (w *shapes) fragment(name string) int {
	if n, ok := w.sizes[name]; ok {
		return n
	}
	w.sizes[name] = 0
	if def := w.doc.Fragments.ForName(name); def != nil {
		w.sizes[name] = w.size(def.SelectionSet)
	}
	return w.sizes[name]
}

// pairs counts what the validator compares: the fields of one response name in
// one place, pairwise, and then what is selected of all of them, likewise.
func (w *shapes) pairs(set ast.SelectionSet, level int) {
	if level >= w.most { // there are fields here, one level below
		w.deep = true
	}
	if w.deep || w.compared > maxPairs || w.seen > maxFields*4 {
		return
	}
	byName := map[string]ast.SelectionSet{}
	counts := map[string]int{}
	w.collect(set, map[string]bool{}, func(f *ast.Field) {
		w.seen++
		if f.Name == "__schema" || f.Name == "__type" { // its depth has a rule of its own
			return
		}
		counts[f.Alias]++
		byName[f.Alias] = append(byName[f.Alias], f.SelectionSet...)
	})
	for name, n := range counts {
		w.compared += n * (n - 1) / 2
		if len(byName[name]) > 0 {
			w.pairs(byName[name], level+1)
		}
	}
}

// collect yields the fields of a place, each fragment's once.
func (w *shapes) collect(set ast.SelectionSet, spread map[string]bool, yield func(*ast.Field)) {
	for _, selection := range set {
		switch s := selection.(type) {
		case *ast.Field:
			yield(s)
		case *ast.InlineFragment:
			w.collect(s.SelectionSet, spread, yield)
		case *ast.FragmentSpread:
			if def := w.doc.Fragments.ForName(s.Name); def != nil && !spread[s.Name] {
				spread[s.Name] = true
				w.collect(def.SelectionSet, spread, yield)
			}
		}
	}
}
