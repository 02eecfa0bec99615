package asset_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/test/budget"
)

// fact is an event as the oracle sees it: in log order, without an index.
type fact struct {
	asset, parent, name string
	level               asset.Level
	kind                string // registered, moved, renamed, retired
	at                  int64
}

// oracle answers by looking at every fact for every instant.
type oracle []fact

func (o *oracle) add(e eventlog.Event) {
	switch e := e.(type) {
	case asset.Registered:
		*o = append(*o, fact{e.Asset, e.Parent, e.Name, e.Level, "registered", e.Effective.Unix()})
	case asset.Moved:
		*o = append(*o, fact{asset: e.Asset, parent: e.Parent, kind: "moved", at: e.Effective.Unix()})
	case asset.Renamed:
		*o = append(*o, fact{asset: e.Asset, name: e.Name, kind: "renamed", at: e.Effective.Unix()})
	case asset.Retired:
		*o = append(*o, fact{asset: e.Asset, kind: "retired", at: e.Effective.Unix()})
	}
}

type place struct {
	parent, name string
	level        asset.Level
}

// at returns every asset that is there at t.
func (o oracle) at(t int64) map[string]place {
	there := map[string]place{}
	dead := map[string]bool{}
	parentAt, nameAt := map[string]int64{}, map[string]int64{}
	for _, f := range o {
		if f.at > t {
			continue
		}
		p := there[f.asset]
		if f.kind == "registered" {
			p.level = f.level
		}
		if (f.kind == "registered" || f.kind == "moved") && f.at >= parentAt[f.asset] {
			p.parent, parentAt[f.asset] = f.parent, f.at
		}
		if (f.kind == "registered" || f.kind == "renamed") && f.at >= nameAt[f.asset] {
			p.name, nameAt[f.asset] = f.name, f.at
		}
		dead[f.asset] = dead[f.asset] || f.kind == "retired"
		there[f.asset] = p
	}
	for id := range dead {
		if dead[id] {
			delete(there, id)
		}
	}
	return there
}

// wrong looks for a violation at every instant at which anything changes.
func (o oracle) wrong() error {
	for _, f := range o {
		there := o.at(f.at)
		names := map[[2]string]string{}
		for id, p := range there {
			key := [2]string{p.parent, p.name}
			if other, taken := names[key]; taken {
				return fmt.Errorf("at %d %s and %s are both %q in %s", f.at, id, other, p.name, p.parent)
			}
			names[key] = id
			if p.parent != "" {
				if _, ok := there[p.parent]; !ok {
					return fmt.Errorf("at %d %s lies in %s, which is not there", f.at, id, p.parent)
				}
			}
			up, steps := p, 0
			for ; up.parent != "" && steps <= len(there); steps++ {
				if up.parent == id {
					return fmt.Errorf("at %d %s lies below itself", f.at, id)
				}
				up = there[up.parent]
			}
		}
	}
	return nil
}

func second(n int) time.Time { return time.Unix(1_700_000_000+int64(n), 0).UTC() }

// TestNoInstantIsWrong: two servers that know nothing of each other change one
// plant, with dates in any order. Whatever they accept leaves no cycle, no two
// siblings of one name and no child outside its parent's life at any instant;
// and what they refuse would have.
func TestNoInstantIsWrong(t *testing.T) {
	deadline := time.Now().Add(budget.For(t))
	runs, accepted, refused := 0, 0, 0
	for !t.Failed() && time.Now().Before(deadline) { // rapid's own count is of one call
		rapid.Check(t, func(t *rapid.T) {
			if time.Now().After(deadline) {
				return
			}
			runs++
			a, r := onePlant(t)
			accepted, refused = accepted+a, refused+r
		})
	}
	t.Logf("%d plants, %d commands accepted, %d refused", runs, accepted, refused)
}

func onePlant(t *rapid.T) (accepted, refused int) {
	log := memlog.New("test", time.Now)
	servers := []*asset.Service{asset.NewService(log), asset.NewService(log)}
	ids := []string{"root"}
	var n uint64
	call := func() eventlog.Call {
		n++
		var random [16]byte
		binary.BigEndian.PutUint64(random[:], n)
		return eventlog.Call{Key: eventlog.FreshKey(random)}
	}
	items := []eventlog.Item[asset.Command]{{Call: call(), Command: asset.Register{Asset: "root", Name: "r", Level: asset.Enterprise, Effective: second(0)}}}
	if _, err := servers[0].DoAll(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		id := fmt.Sprintf("c%d", i)
		ids = append(ids, id)
	}
	steps := rapid.IntRange(10, 60).Draw(t, "steps")
	for step := range steps {
		draw := func(what string) string { return rapid.SampledFrom(ids).Draw(t, what) }
		at := second(rapid.IntRange(0, 12).Draw(t, "effective"))
		name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name")
		var cmd asset.Command
		kind := rapid.IntRange(0, 9).Draw(t, "kind")
		switch {
		case step < 6: // something to work with
			cmd = asset.Register{Asset: ids[step+1], Name: name, Level: asset.Component, Parent: rapid.SampledFrom(ids[:step+1]).Draw(t, "parent"), Effective: second(0)}
		case kind == 0:
			cmd = asset.Register{Asset: draw("new"), Name: name, Level: asset.Component, Parent: draw("parent"), Effective: at}
		case kind <= 6:
			cmd = asset.Move{Asset: draw("asset"), Parent: draw("parent"), Effective: at}
		case kind <= 8:
			cmd = asset.Rename{Asset: draw("asset"), Name: name, Effective: at}
		default:
			cmd = asset.Retire{Asset: draw("asset"), Effective: at}
		}
		server := servers[rapid.IntRange(0, 1).Draw(t, "server")]
		results, err := server.DoAll(t.Context(), []eventlog.Item[asset.Command]{{Call: call(), Command: cmd}})
		if err != nil {
			t.Fatal(err)
		}
		o := read(t.Context(), t, log)
		if err := o.wrong(); err != nil {
			t.Fatalf("after %#v: %v", cmd, err)
		}
		if results[0].Err == nil {
			accepted++
			continue
		}
		refused++
		if justified(o, cmd) {
			continue
		}
		t.Fatalf("%#v was refused although nothing would be wrong: %v", cmd, results[0].Err)
	}
	return accepted, refused
}

// justified: the asset is not there, or is there already, or doing it would
// make an instant wrong.
func justified(o oracle, cmd asset.Command) bool {
	there := func(id string, t time.Time) bool { _, ok := o.at(t.Unix())[id]; return ok }
	ever := func(id string) bool {
		for _, f := range o {
			if f.asset == id {
				return true
			}
		}
		return false
	}
	switch c := cmd.(type) {
	case asset.Register:
		if ever(c.Asset) || !ever(c.Parent) || c.Parent == c.Asset {
			return true
		}
		o.add(asset.Registered{Asset: c.Asset, Parent: c.Parent, Name: c.Name, Level: c.Level, Effective: c.Effective})
	case asset.Move:
		if !there(c.Asset, c.Effective) || !ever(c.Parent) || c.Asset == "root" {
			return true
		}
		o.add(asset.Moved{Asset: c.Asset, Parent: c.Parent, Effective: c.Effective})
	case asset.Rename:
		if !there(c.Asset, c.Effective) {
			return true
		}
		o.add(asset.Renamed{Asset: c.Asset, Name: c.Name, Effective: c.Effective})
	case asset.Retire:
		if !there(c.Asset, c.Effective) || there(c.Asset, c.Effective) && !there(c.Asset, c.Effective.Add(-time.Second)) {
			return true
		}
		o.add(asset.Retired{Asset: c.Asset, Effective: c.Effective})
	}
	return o.wrong() != nil
}

type fataler interface{ Fatal(args ...any) }

func read(ctx context.Context, t fataler, log eventlog.Log) oracle {
	var o oracle
	for rec, err := range log.Read(ctx, asset.StructureStream("test"), 0, eventlog.Forwards) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := asset.Decode(rec.Type, rec.Data)
		if err != nil {
			t.Fatal(err)
		}
		o.add(e)
	}
	return o
}

// TestConcurrentServers: real goroutines of two servers race on one log, and
// the plant is right at every instant.
func TestConcurrentServers(t *testing.T) {
	log := memlog.New("test", time.Now)
	first := asset.NewService(log)
	var seeded []eventlog.Item[asset.Command]
	key := func(n int) eventlog.Call {
		return eventlog.Call{Key: eventlog.NewKey("test", "me", "op", fmt.Sprint(n))}
	}
	seeded = append(seeded, eventlog.Item[asset.Command]{Call: key(-1), Command: asset.Register{Asset: "root", Name: "r", Level: asset.Enterprise, Effective: second(0)}})
	for i := range 8 {
		seeded = append(seeded, eventlog.Item[asset.Command]{Call: key(-2 - i), Command: asset.Register{
			Asset: fmt.Sprintf("c%d", i), Name: fmt.Sprintf("n%d", i), Level: asset.Component, Parent: "root", Effective: second(i % 3),
		}})
	}
	if _, err := first.DoAll(t.Context(), seeded); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 4 {
		server := first
		if w%2 == 1 {
			server = asset.NewService(log)
		}
		wg.Go(func() {
			for i := range 100 {
				n := w*1000 + i*7
				cmd := asset.Command(asset.Move{Asset: fmt.Sprintf("c%d", n%8), Parent: fmt.Sprintf("c%d", n/8%8), Effective: second(3 + n%5)})
				if i%3 == 0 {
					cmd = asset.Rename{Asset: fmt.Sprintf("c%d", n%8), Name: fmt.Sprintf("n%d", n%5), Effective: second(3 + n%7)}
				}
				for { // a client whose command lost five races sends it again
					if _, err := server.Do(t.Context(), key(n), cmd, nil); !errors.Is(err, eventlog.ErrConflict) {
						break
					}
				}
			}
		})
	}
	wg.Wait()
	o := read(t.Context(), t, log)
	if err := o.wrong(); err != nil {
		t.Error(err)
	}
	t.Logf("%d facts", len(o))
}
