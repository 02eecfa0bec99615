package importer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// node is one asset of a file.
type node struct {
	line      int
	path      string // names from the top, joined by /
	level     asset.Level
	class     string
	nameplate json.RawMessage
	tags      []tag
}

// tag says which signal feeds a tag of a node.
type tag struct {
	Name   string `json:"name"`
	Device string `json:"device"`
	Signal string `json:"signal"`
}

// Assets imports a file of assets, with the tags that it binds. An asset that
// is there already, by its path, is left as it is.
func Assets(ctx context.Context, log Log, r io.Reader, o Options, now time.Time, hooks Hooks) (Progress, error) {
	t := &teller{hooks: hooks}
	var nodes []node
	var err error
	switch o.Format {
	case "csv":
		nodes, err = csvNodes(r, o, t)
	case "json":
		nodes, err = jsonNodes(r, o)
	default:
		err = fmt.Errorf("format %q of %s, expected csv or json: %w", o.Format, o.Name, ErrBadOptions)
	}
	if err != nil {
		return t.now, err
	}
	there, err := paths(ctx, log)
	if err != nil {
		return t.now, err
	}
	im := &assets{log: log, now: now, there: there, teller: t}
	for i := range nodes {
		t.now.Rows++
		im.add(&nodes[i])
	}
	err = im.commit(ctx, o.DryRun)
	t.tell(true)
	return t.now, err
}

// assets is an import under way.
type assets struct {
	log    Log
	now    time.Time
	there  map[string]string // path: id
	teller *teller
	items  []eventlog.Item[asset.Command]
	lines  []int // of items
}

func (im *assets) call(mutation, key string) eventlog.Call {
	return eventlog.Call{Key: eventlog.NewKey(im.log.Origin(), "import", mutation, key), Envelope: eventlog.Envelope{Actor: im.log.Actor}}
}

// add turns a node into commands. Its id derives from what the file says of it.
func (im *assets) add(n *node) {
	id, known := im.there[n.path]
	if known {
		im.teller.now.Known++
	} else {
		parent, name := "", n.path
		if slash := strings.LastIndexByte(n.path, '/'); slash >= 0 {
			above, ok := im.there[n.path[:slash]]
			if !ok {
				im.teller.fault(Fault{Line: n.line, Column: "path", Given: n.path, Expected: "a parent that is there, or earlier in the file: " + n.path[:slash]})
				return
			}
			parent, name = above, n.path[slash+1:]
		}
		sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %s", n.path, n.level, n.class, n.nameplate))
		call := im.call("registerAsset", n.path+" "+hex.EncodeToString(sum[:8]))
		id = call.Key.Entity(0)
		im.there[n.path] = id
		im.push(n.line, call, asset.Register{Asset: id, Name: name, Level: n.level, Parent: parent, Class: n.class, Nameplate: n.nameplate, Effective: im.now})
	}
	for _, t := range n.tags {
		im.push(n.line, im.call("bindTag", fmt.Sprintf("%s/%s %q %q", n.path, t.Name, t.Device, t.Signal)),
			asset.BindTag{Asset: id, Tag: t.Name, Device: t.Device, Signal: t.Signal, Effective: im.now})
	}
}

func (im *assets) push(line int, call eventlog.Call, cmd asset.Command) {
	im.items = append(im.items, eventlog.Item[asset.Command]{Call: call, Command: cmd})
	im.lines = append(im.lines, line)
}

func (im *assets) commit(ctx context.Context, dry bool) error {
	if dry {
		return nil
	}
	results, err := asset.NewService(im.log).DoAll(ctx, im.items)
	for i, r := range results {
		switch {
		case r.Err != nil:
			im.teller.fault(Fault{Line: im.lines[i], Given: fmt.Sprintf("%T", im.items[i].Command), Expected: r.Err.Error()})
		case r.Done.Repeated:
			im.teller.now.Known++
		default:
			im.teller.now.Stored++
		}
	}
	return err
}

// paths reads where every asset of the log is now.
func paths(ctx context.Context, log Log) (map[string]string, error) {
	type place struct{ name, parent string }
	places := map[string]place{}
	for rec, err := range log.Read(ctx, asset.StructureStream(log.Origin()), 0, eventlog.Forwards) {
		if err != nil {
			return nil, fmt.Errorf("assets that are there: %w", err)
		}
		event, err := asset.Decode(rec.Type, rec.Data)
		if err != nil {
			return nil, err
		}
		switch e := event.(type) {
		case asset.Registered:
			places[e.Asset] = place{e.Name, e.Parent}
		case asset.Moved:
			places[e.Asset] = place{places[e.Asset].name, e.Parent}
		case asset.Renamed:
			places[e.Asset] = place{e.Name, places[e.Asset].parent}
		case asset.Retired:
			delete(places, e.Asset)
		}
	}
	all := map[string]string{}
	for id, p := range places {
		names := []string{p.name}
		for above, ok := places[p.parent]; ok; above, ok = places[above.parent] {
			names = append(names, above.name)
		}
		slices.Reverse(names)
		all[strings.Join(names, "/")] = id
	}
	return all, nil
}

// jsonNodes reads a tree, or a list of trees:
//
//	{"name": "acme", "level": "ENTERPRISE", "children": [{"name": "north", "level": "SITE", "nameplate": {…}, "tags": [{"name": …, "device": …, "signal": …}]}]}
func jsonNodes(r io.Reader, o Options) ([]node, error) {
	type tree struct {
		Name      string          `json:"name"`
		Level     asset.Level     `json:"level"`
		Class     string          `json:"class"`
		Nameplate json.RawMessage `json:"nameplate"`
		Tags      []tag           `json:"tags"`
		Children  []tree          `json:"children"`
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(strings.TrimSpace(string(text)), "{") {
		text = slices.Concat([]byte("["), text, []byte("]"))
	}
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.DisallowUnknownFields()
	var trees []tree
	if err := dec.Decode(&trees); err != nil {
		line := 1 + strings.Count(string(text[:min(dec.InputOffset(), int64(len(text)))]), "\n")
		return nil, fmt.Errorf("%s:%d: expected a tree of assets {name, level, class, nameplate, tags, children}: %w", o.Name, line, errors.Join(ErrBadOptions, err))
	}
	var nodes []node
	var walk func(above string, list []tree)
	walk = func(above string, list []tree) {
		for _, t := range list {
			path := above + t.Name
			nodes = append(nodes, node{line: len(nodes) + 1, path: path, level: t.Level, class: t.Class, nameplate: t.Nameplate, tags: t.Tags})
			walk(path+"/", t.Children)
		}
	}
	walk("", trees)
	return nodes, nil
}
