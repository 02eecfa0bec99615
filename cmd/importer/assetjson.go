package importer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/twinlog/twinlog/domain/asset"
)

// tree is an asset of a JSON file with what lies below it.
type tree struct {
	line      int
	name      string
	level     asset.Level
	class     string
	nameplate json.RawMessage
	tags      []tag
	children  []tree
}

// jsonNodes reads a tree, or a list of trees:
//
//	{"name": "acme", "level": "ENTERPRISE", "children": [{"name": "north", "level": "SITE", "nameplate": {…}, "tags": [{"name": …, "device": …, "signal": …}]}]}
func jsonNodes(r io.Reader, o Options) ([]node, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	in := &treeReader{text: text, dec: json.NewDecoder(bytes.NewReader(text))}
	in.dec.DisallowUnknownFields()
	trees, err := in.file()
	if err != nil {
		return nil, fmt.Errorf("%s: line %d: expected a tree of assets {name, level, class, nameplate, tags, children}: %w: %w", o.Name, in.line(), ErrBadOptions, err)
	}
	var nodes []node
	var walk func(above string, list []tree)
	walk = func(above string, list []tree) {
		for _, t := range list {
			path := above + t.name
			nodes = append(nodes, node{line: t.line, path: path, level: t.level, class: t.class, nameplate: t.nameplate, tags: t.tags})
			walk(path+"/", t.children)
		}
	}
	walk("", trees)
	return nodes, nil
}

// treeReader reads token by token, so that every asset knows its line.
type treeReader struct {
	text  []byte
	dec   *json.Decoder
	depth int
}

func (in *treeReader) line() int {
	return 1 + bytes.Count(in.text[:min(in.dec.InputOffset(), int64(len(in.text)))], []byte("\n"))
}

var errShape = errors.New("that is something else")

// file reads the one value of the file.
func (in *treeReader) file() ([]tree, error) {
	first, err := in.dec.Token()
	if err != nil {
		return nil, err
	}
	var trees []tree
	switch first {
	case json.Delim('{'):
		var t tree
		t, err = in.tree()
		trees = []tree{t}
	case json.Delim('['):
		trees, err = in.list()
	default:
		err = errShape
	}
	if err != nil {
		return nil, err
	}
	if _, err := in.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something after it")
	}
	return trees, nil
}

// list reads what follows a bracket.
func (in *treeReader) list() ([]tree, error) {
	var all []tree
	for in.dec.More() {
		if brace, err := in.dec.Token(); err != nil || brace != json.Delim('{') {
			return nil, errors.Join(err, errShape)
		}
		t, err := in.tree()
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	_, err := in.dec.Token()
	return all, err
}

// deepest is more than there are levels, and as deep as components may lie in
// components.
const deepest = 100

// tree reads what follows a brace.
func (in *treeReader) tree() (tree, error) {
	t := tree{line: in.line()}
	if in.depth++; in.depth > deepest {
		return t, fmt.Errorf("more than %d levels", deepest)
	}
	defer func() { in.depth-- }()
	var seen []string
	for in.dec.More() {
		token, err := in.dec.Token()
		if err != nil {
			return t, err
		}
		key, _ := token.(string) // a key is a string, or there was an error
		if slices.Contains(seen, key) {
			return t, fmt.Errorf("%q is there twice", key)
		}
		seen = append(seen, key)
		if err := in.member(&t, key); err != nil {
			return t, fmt.Errorf("%s: %w", key, err)
		}
	}
	if t.name == "" {
		return t, errors.New("an asset without a name")
	}
	_, err := in.dec.Token()
	return t, err
}

func (in *treeReader) member(t *tree, key string) error {
	switch key {
	case "name":
		return in.dec.Decode(&t.name)
	case "level":
		return in.dec.Decode(&t.level)
	case "class":
		return in.dec.Decode(&t.class)
	case "nameplate":
		return in.dec.Decode(&t.nameplate)
	case "tags":
		return in.dec.Decode(&t.tags)
	case "children":
		bracket, err := in.dec.Token()
		if err != nil || bracket != json.Delim('[') {
			return errors.Join(err, errShape)
		}
		t.children, err = in.list()
		return err
	}
	return errors.New("unknown")
}
