package asset_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/eventlog"
)

func call(key string) eventlog.Call {
	return eventlog.Call{
		Key:      eventlog.NewKey("test", "subject", "mutation", key),
		Envelope: eventlog.Envelope{Actor: eventlog.Actor{Subject: "subject", Kind: eventlog.Human}},
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func enterprise(t *testing.T, s *asset.Service) string {
	t.Helper()
	id, _, err := s.Register(t.Context(), call("E"), asset.Register{Name: "acme", Level: asset.Enterprise, Effective: second(0)})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestOneKeyOnePump: the answer to registerAsset is lost, the client sends it
// again, and to another server.
func TestOneKeyOnePump(t *testing.T) {
	log := memlog.New("test", time.Now)
	s := asset.NewService(log)
	e := enterprise(t, s)
	cmd := asset.Register{Name: "pump", Level: asset.Equipment, Parent: e, Effective: second(1)}
	first, done, err := s.Register(t.Context(), call("k"), cmd)
	if err != nil {
		t.Fatal(err)
	}
	must[eventlog.Done](t)(s.Do(t.Context(), call("r"), asset.Rename{Asset: first, Name: "other", Effective: second(2)}, nil))
	for _, server := range []*asset.Service{s, asset.NewService(log)} {
		again, repeat, err := server.Register(t.Context(), call("k"), cmd)
		if err != nil {
			t.Fatal(err)
		}
		if again != first || !repeat.Repeated || repeat.First != done.First || len(repeat.IDs) != 1 || repeat.IDs[0] != done.IDs[0] {
			t.Errorf("again: %s %+v, want %s %+v repeated", again, repeat, first, done)
		}
	}
	if head, _, _ := log.Head(t.Context()); head != 3 {
		t.Errorf("%v events, want 3", head)
	}
}

// TestRevision: the revision counts both streams of an asset, and a command
// that names an old one is told the new one.
func TestRevision(t *testing.T) {
	log := memlog.New("test", time.Now)
	s := asset.NewService(log)
	id := enterprise(t, s)
	at := func(n uint64) *eventlog.Revision { r := eventlog.Revision(n); return &r }
	plate := func(key string, serial int, if0 *eventlog.Revision) error {
		_, err := s.UpdateNameplate(t.Context(), call(key), asset.UpdateNameplate{
			Asset: id, Patch: json.RawMessage(fmt.Sprintf(`{"serial":%d}`, serial)), Effective: second(3),
		}, if0)
		return err
	}
	rename := func(key, name string, if0 *eventlog.Revision) error {
		_, err := s.Do(t.Context(), call(key), asset.Rename{Asset: id, Name: name, Effective: second(3)}, if0)
		return err
	}
	moved := func(err error, actual eventlog.Revision) {
		t.Helper()
		var m *eventlog.MovedError
		if !errors.As(err, &m) || m.Actual != actual || !errors.Is(err, eventlog.ErrMoved) {
			t.Errorf("error %v, want it moved to %d", err, actual)
		}
	}
	for i, err := range []error{plate("1", 1, at(0)), rename("2", "b", at(1)), rename("3", "c", at(2)), plate("4", 2, at(3))} {
		if err != nil {
			t.Errorf("change %d: %v", i, err)
		}
	}
	moved(plate("5", 3, at(0)), 4)
	moved(rename("6", "d", at(3)), 4)
	moved(rename("7", "d", at(5)), 4)
	// Done before: what it was decided against then does not matter now.
	if err := plate("1", 1, at(0)); err != nil {
		t.Errorf("repeat of the nameplate: %v", err)
	}
	if err := rename("2", "b", at(1)); err != nil {
		t.Errorf("repeat of the rename: %v", err)
	}
	if err := plate("8", 4, at(4)); err != nil {
		t.Error(err)
	}
}

func TestNameplateRules(t *testing.T) {
	log := memlog.New("test", time.Now)
	s := asset.NewService(log)
	id := enterprise(t, s)
	for _, c := range []struct {
		name  string
		asset string
		patch string
		at    int
		err   error
	}{
		{"an object", id, `{"b":1, "a":null}`, 1, nil},
		{"nothing", id, ` { } `, 1, nil},
		{"not an object", id, `[1]`, 1, asset.ErrBadPatch},
		{"not JSON", id, `{`, 1, asset.ErrBadPatch},
		{"a name twice", id, `{"a":1,"a":2}`, 1, asset.ErrBadPatch},
		{"before the asset", id, `{"a":1}`, -1, asset.ErrNotThen},
		{"nobody's", "nobody", `{"a":1}`, 1, asset.ErrNoAsset},
	} {
		_, err := s.UpdateNameplate(t.Context(), call(c.name), asset.UpdateNameplate{Asset: c.asset, Patch: json.RawMessage(c.patch), Effective: second(c.at)}, nil)
		if !errors.Is(err, c.err) || err != nil && c.err == nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.err)
		}
	}
	var stored []string
	for r, err := range log.Read(t.Context(), asset.Stream(id), 0, eventlog.Forwards) {
		if err != nil {
			t.Fatal(err)
		}
		env, err := r.Envelope()
		if err != nil || !env.Effective.Equal(second(1)) || env.Actor.Subject != "subject" {
			t.Errorf("envelope %+v, %v", env, err)
		}
		stored = append(stored, string(r.Data))
	}
	want := []string{`{"effective":"2023-11-14T22:13:21Z","patch":{"a":null,"b":1}}`}
	if d := cmp.Diff(want, stored); d != "" {
		t.Errorf("stored (-want +got):\n%s", d)
	}
}

func TestDefineClass(t *testing.T) {
	log := memlog.New("test", time.Now)
	s, other := asset.NewService(log), asset.NewService(log)
	e := enterprise(t, s)
	r0, r1 := eventlog.Revision(0), eventlog.Revision(1)
	define := func(s *asset.Service, key string, if0 *eventlog.Revision, tags ...string) error {
		cmd := asset.DefineClass{Class: "pump", Effective: second(0)}
		for _, name := range tags {
			cmd.Tags = append(cmd.Tags, asset.TagDef{Name: name})
		}
		_, err := s.DefineClass(t.Context(), call(key), cmd, if0)
		return err
	}
	if err := define(s, "0", &r0, "a"); !errors.Is(err, asset.ErrNoClass) {
		t.Errorf("a revision of no class: %v, want %v", err, asset.ErrNoClass)
	}
	for i, err := range []error{define(s, "1", nil, "a"), define(s, "2", &r0, "a", "b"), define(other, "3", nil, "a", "b"), define(s, "2", &r0, "a", "b")} {
		if err != nil {
			t.Errorf("definition %d: %v", i, err)
		}
	}
	if err := define(s, "4", &r0, "c"); !errors.Is(err, eventlog.ErrMoved) {
		t.Errorf("an old revision: %v, want %v", err, eventlog.ErrMoved)
	}
	if err := define(other, "5", &r1, "a", "b", "c"); err != nil {
		t.Error(err)
	}
	// Another server's new version is known to the next command.
	id, _, err := s.Register(t.Context(), call("P"), asset.Register{Name: "p", Level: asset.Equipment, Parent: e, Class: "pump", ClassVersion: 3, Effective: second(1)})
	if err != nil {
		t.Fatal(err)
	}
	must[eventlog.Done](t)(s.Do(t.Context(), call("b"), asset.BindTag{Asset: id, Tag: "c", Device: "d", Signal: "s", Effective: second(1)}, nil))
}

// TestImport: 10,000 assets with their bindings in one call, in seconds, and
// again without a new event.
func TestImport(t *testing.T) {
	log := memlog.New("test", time.Now)
	s := asset.NewService(log)
	e := enterprise(t, s)
	var items []eventlog.Item[asset.Command]
	add := func(key string, cmd asset.Command) string {
		items = append(items, eventlog.Item[asset.Command]{Call: call(key), Command: cmd})
		return items[len(items)-1].Call.Key.Entity(0)
	}
	for i := range 5000 {
		name := fmt.Sprintf("pump %04d", i)
		id := add(name, asset.Register{Name: name, Level: asset.Equipment, Parent: e, Effective: second(1)})
		add(name+" bound", asset.BindTag{Asset: id, Tag: "speed", Device: name, Signal: "n", Effective: second(1)})
	}
	for round := range 2 {
		began := time.Now()
		results, err := s.DoAll(t.Context(), items)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			if r.Err != nil || r.Done.Repeated != (round == 1) {
				t.Fatalf("round %d, item %d: %+v", round, i, r)
			}
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("round %d took %v", round, took)
		} else {
			t.Logf("round %d: %d commands in %v", round, len(items), took)
		}
	}
	if head, _, _ := log.Head(t.Context()); head != 10_001 {
		t.Errorf("%v events, want 10,001", head)
	}
}
