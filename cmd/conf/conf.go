// Package conf reads a YAML configuration and finds all its faults at once,
// each with its file and line and with what it is about ("source plc-1, device
// P-101, tag flow"). Unknown keys are faults: a misspelt deadband that is
// silently ignored is found months later, in the data.
//
// It reads scalars, lists, mappings, anchors, aliases and merge keys. It does
// not decode into structs by reflection, because a fault has to be told in the
// words of the plant.
package conf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxNodes bounds how much one file may expand to through its aliases.
const maxNodes = 2_000_000

// A Fault is one thing that is wrong with a file.
type Fault struct {
	Line  int    // from 1; 0 where a fault has no place
	Where string // what it is about, "" for the file as a whole
	What  string
}

// Faults is the error of a file: all of its faults, by line.
type Faults struct {
	File string
	List []Fault
}

// Error returns one line for each fault, "file:line: where: what".
func (f *Faults) Error() string {
	var b strings.Builder
	for i, fault := range f.List {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(f.File)
		if fault.Line > 0 {
			fmt.Fprintf(&b, ":%d", fault.Line)
		}
		if fault.Where != "" {
			b.WriteString(": " + fault.Where)
		}
		b.WriteString(": " + fault.What)
	}
	return b.String()
}

// A File is a configuration that is being read.
type File struct {
	name    string
	faults  []Fault
	anchors map[string]ast.Node
	nodes   int // visited; see maxNodes
}

// A Node is a place in the file: a value, or the lack of one. Reading a value
// that is not what it should be notes a fault and returns the zero value, so
// that the reader goes on and finds the next.
type Node struct {
	file  *File
	node  ast.Node // nil where the file says nothing
	line  int
	key   string // its name in the mapping it stands in
	where string
}

// Parse returns a file and its root. A file that is no YAML has that fault and
// an empty root.
func Parse(name string, text []byte) (*File, Node) {
	f := &File{name: name, anchors: map[string]ast.Node{}}
	root := Node{file: f}
	tree, err := parse(text)
	if err != nil {
		line, what := syntax(err)
		f.faults = append(f.faults, Fault{Line: line, What: what})
		return f, root
	}
	switch {
	case len(tree.Docs) > 1:
		f.faults = append(f.faults, Fault{What: fmt.Sprintf("%d documents, expected one", len(tree.Docs))})
	case len(tree.Docs) == 1 && tree.Docs[0].Body != nil:
		root.node, root.line = tree.Docs[0].Body, line(tree.Docs[0].Body)
		ast.Walk(anchors(f.anchors), root.node)
	}
	return f, root
}

// parse takes the parser's panics, of which a configuration in YAML is made to
// cause some, for syntax errors.
func parse(text []byte) (tree *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("no yaml: %v", p)
		}
	}()
	return parser.ParseBytes(text, 0)
}

// syntax takes line and message out of the parser's error.
func syntax(err error) (int, string) {
	text := err.Error()
	first, _, _ := strings.Cut(text, "\n")
	var line, column int
	if _, e := fmt.Sscanf(first, "[%d:%d]", &line, &column); e == nil {
		_, first, _ = strings.Cut(first, "] ")
	}
	return line, "no yaml: " + first
}

type anchors map[string]ast.Node

// Visit notes the anchors of a tree.
func (a anchors) Visit(n ast.Node) ast.Visitor {
	if n, ok := n.(*ast.AnchorNode); ok && n.Name != nil {
		a[n.Name.String()] = n.Value
	}
	return a
}

// Err returns all faults found so far as *Faults, or nil.
func (f *File) Err() error {
	if len(f.faults) == 0 {
		return nil
	}
	list := slices.Clone(f.faults)
	slices.SortStableFunc(list, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
	return &Faults{File: f.name, List: slices.Compact(list)}
}

// Fault notes that something is wrong with a node.
func (n Node) Fault(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	if n.key != "" {
		what = n.key + ": " + what
	}
	n.file.faults = append(n.file.faults, Fault{Line: n.line, Where: n.where, What: what})
}

// In returns the node with a part added to what its faults are about.
func (n Node) In(part string) Node {
	if n.where != "" {
		part = n.where + ", " + part
	}
	n.where, n.key = part, ""
	return n
}

// Given reports whether the file says anything here.
func (n Node) Given() bool { return n.node != nil }

// resolve follows anchors and aliases. Null is as good as nothing.
func (n Node) resolve() ast.Node {
	for node, hops := n.node, 0; ; hops++ {
		if n.file.nodes++; n.file.nodes > maxNodes || hops > 100 {
			if n.file.nodes <= maxNodes+1 {
				n.Fault("expands to more than %d values", maxNodes)
			}
			return nil
		}
		switch x := node.(type) {
		case *ast.AnchorNode:
			node = x.Value
		case *ast.AliasNode:
			name := x.Value.String()
			target, ok := n.file.anchors[name]
			if !ok {
				n.Fault("alias *%s has no anchor", name)
				return nil
			}
			node = target
		case *ast.TagNode:
			n.Fault("tag %s is not understood", x.Start.Value)
			return nil
		case nil, *ast.NullNode:
			return nil
		default:
			return node
		}
	}
}

// A Fields is a mapping that was read.
type Fields struct {
	owner  Node
	values map[string]Node
}

// Fields returns the mapping at n, whose keys may be those of known. What is no
// mapping is a fault, nothing an empty mapping.
func (n Node) Fields(known ...string) Fields {
	f := Fields{owner: n, values: map[string]Node{}}
	n.fields(f.values, 0)
	for key, v := range f.values {
		if !slices.Contains(known, key) {
			v.key = ""
			v.Fault("unknown key %q, expected one of %s", key, strings.Join(known, ", "))
		}
	}
	return f
}

// fields collects a mapping; what is merged into it counts only where it says
// nothing itself.
func (n Node) fields(into map[string]Node, depth int) {
	var values []*ast.MappingValueNode
	switch x := n.resolve().(type) {
	case nil:
	case *ast.MappingNode:
		values = x.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{x}
	default:
		n.Fault("expected a mapping of keys to values")
	}
	var merged []Node
	for _, v := range values {
		child := Node{file: n.file, node: v.Value, line: line(v.Key), where: n.where}
		if _, ok := v.Key.(*ast.MergeKeyNode); ok {
			merged = append(merged, child)
			continue
		}
		child.key = v.Key.GetToken().Value
		if _, ok := into[child.key]; !ok {
			into[child.key] = child
		}
	}
	for _, m := range merged {
		if depth > 10 {
			m.Fault("merges more than 10 deep")
			return
		}
		m.fields(into, depth+1)
	}
}

// Name returns the text at a key of the mapping at n, "" where there is none,
// and notes no fault: it is for naming what the faults are about.
func (n Node) Name(key string) string {
	n.file = &File{anchors: n.file.anchors}
	values := map[string]Node{}
	n.fields(values, 0)
	v, ok := values[key]
	if !ok {
		return ""
	}
	return v.Text()
}

// At returns the value of a key, or a Node that is not Given.
func (f Fields) At(key string) Node {
	if n, ok := f.values[key]; ok {
		return n
	}
	return Node{file: f.owner.file, line: f.owner.line, key: key, where: f.owner.where}
}

// Items returns the elements of the list at n; nothing is an empty list.
func (n Node) Items() []Node {
	switch x := n.resolve().(type) {
	case nil:
		return nil
	case *ast.SequenceNode:
		out := make([]Node, len(x.Values))
		for i, v := range x.Values {
			out[i] = Node{file: n.file, node: v, line: line(v), where: n.where, key: fmt.Sprintf("%s[%d]", n.key, i)}
		}
		return out
	default:
		n.Fault("expected a list")
		return nil
	}
}

// Need notes a fault if the file says nothing here.
func (n Node) Need() Node {
	if n.node == nil {
		n.Fault("is missing")
	}
	return n
}

func line(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}

// Check notes err, if there is one, as a fault of n: each of what errors.Join
// has joined as one of its own.
func (n Node) Check(err error) {
	if err == nil {
		return
	}
	// Not errors.As: what is wrapped with an object has to keep it.
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // see above
		for _, e := range joined.Unwrap() {
			n.Check(e)
		}
		return
	}
	n.Fault("%v", err)
}
