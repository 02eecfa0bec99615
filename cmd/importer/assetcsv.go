package importer

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/twinlog/twinlog/domain/asset"
)

// csvNodes reads the columns path (or parent and name), level, class, and
// nameplate.NAME for each fact of the nameplate.
func csvNodes(r io.Reader, o Options, t *teller) ([]node, error) {
	o.Time, o.Device = "", "none" // the samples' rules about columns do not hold here
	in, c, err := openCSV(r, o)
	if err != nil {
		return nil, err
	}
	at := func(name string) int {
		return slices.IndexFunc(c.names, func(n string) bool { return strings.EqualFold(n, name) })
	}
	path, parent, name, level, class := at("path"), at("parent"), at("name"), at("level"), at("class")
	if level < 0 || (path < 0 && name < 0) {
		return nil, fmt.Errorf("%s: columns %s, expected level, and path or name with parent: %w", o.Name, strings.Join(c.names, ", "), ErrBadOptions)
	}
	var nodes []node
	for {
		cells, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nodes, nil
		}
		if bad, ok := errors.AsType[*csv.ParseError](err); ok {
			t.now.Rows++
			t.fault(Fault{Line: bad.StartLine, Given: shortened(strings.Join(cells, string(in.Comma))), Expected: fmt.Sprintf("%d columns of CSV (%v)", len(c.names), bad.Err)})
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.Name, err)
		}
		line, _ := in.FieldPos(0)
		cell := func(i int) string {
			if i < 0 {
				return ""
			}
			return strings.TrimSpace(cells[i])
		}
		n := node{line: line, path: cell(path), level: asset.Level(strings.ToUpper(cell(level))), class: cell(class)}
		if path < 0 {
			n.path = strings.TrimPrefix(cell(parent)+"/"+cell(name), "/")
		}
		if n.path == "" {
			t.now.Rows++
			t.fault(Fault{Line: line, Column: "path", Expected: "the names from the enterprise down, joined by /"})
			continue
		}
		facts := map[string]any{}
		for i, column := range c.names {
			if fact, ok := strings.CutPrefix(column, "nameplate."); ok && cell(i) != "" {
				facts[fact] = cell(i)
			}
		}
		if len(facts) > 0 {
			if n.nameplate, err = json.Marshal(facts); err != nil {
				return nil, err
			}
		}
		nodes = append(nodes, n)
	}
}
