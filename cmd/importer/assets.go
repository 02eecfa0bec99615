package importer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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
	there, err := paths(ctx, log, now)
	if err != nil {
		return t.now, err
	}
	im := &assets{log: log, now: now, there: there, teller: t, said: map[eventlog.Key]bool{}}
	for i := range nodes {
		t.now.Rows++
		im.add(&nodes[i])
	}
	if o.DryRun {
		im.log.Log = &dry{Log: log.Log}
	}
	err = im.commit(ctx)
	t.tell(true)
	return t.now, err
}

// assets is an import under way.
type assets struct {
	log    Log
	now    time.Time
	there  map[string]string // path: id
	teller *teller
	said   map[eventlog.Key]bool
	items  []eventlog.Item[asset.Command]
	lines  []int    // of items
	what   []string // of items, for messages
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
		im.push(n, n.path, call, asset.Register{Asset: id, Name: name, Level: n.level, Parent: parent, Class: n.class, Nameplate: n.nameplate, Effective: im.now})
	}
	for _, t := range n.tags {
		im.push(n, n.path+"/"+t.Name, im.call("bindTag", fmt.Sprintf("%s/%s %q %q", n.path, t.Name, t.Device, t.Signal)),
			asset.BindTag{Asset: id, Tag: t.Name, Device: t.Device, Signal: t.Signal, Effective: im.now})
	}
}

func (im *assets) push(n *node, what string, call eventlog.Call, cmd asset.Command) {
	if im.said[call.Key] {
		return // the file says it twice
	}
	im.said[call.Key] = true
	im.items = append(im.items, eventlog.Item[asset.Command]{Call: call, Command: cmd})
	im.lines, im.what = append(im.lines, n.line), append(im.what, what)
}

func (im *assets) commit(ctx context.Context) error {
	results, err := asset.NewService(im.log).DoAll(ctx, im.items)
	for i, r := range results {
		switch {
		case r.Err != nil:
			im.teller.fault(Fault{Line: im.lines[i], Given: im.what[i], Expected: r.Err.Error()})
		case r.Done.Repeated || len(r.Done.IDs) == 0:
			im.teller.now.Known++
		default:
			im.teller.now.Stored++
		}
	}
	return err
}

// dry is a log that stores nothing and says that it did, so that a dry run is
// decided by the very rules.
type dry struct {
	eventlog.Log
	appended int
}

// Append implements eventlog.Log.
func (d *dry) Append(_ context.Context, _ eventlog.StreamID, expected eventlog.Expected, events ...eventlog.NewEvent) (eventlog.Appended, error) {
	d.appended += len(events)
	return eventlog.Appended{Revision: expected.Next() + eventlog.Revision(len(events)) - 1}, nil
}

// paths reads where every asset of the log is at an instant.
func paths(ctx context.Context, log Log, now time.Time) (map[string]string, error) {
	s := asset.NewStructure()
	for rec, err := range log.Read(ctx, asset.StructureStream(log.Origin()), 0, eventlog.Forwards) {
		if err != nil {
			return nil, fmt.Errorf("assets that are there: %w", err)
		}
		event, err := asset.Decode(rec.Type, rec.Data)
		if err != nil {
			return nil, fmt.Errorf("%s@%d: %w", rec.Stream, rec.Revision, err)
		}
		s.Apply(event, rec.Position)
	}
	all := map[string]string{}
	at, known := now.UnixNano(), eventlog.Position(1<<63-1)
	for id, n := range s.Nodes() {
		if !n.Alive(at, known) {
			continue
		}
		var names []string
		for n != nil { // no asset lies below itself at any instant
			name, _ := n.Name.At(at, known)
			parent, _ := n.Parent.At(at, known)
			names = append(names, name.Value)
			n = s.Node(parent.Value)
		}
		slices.Reverse(names)
		all[strings.Join(names, "/")] = id
	}
	return all, nil
}
