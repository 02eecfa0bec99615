package plant

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/graph/fault"
	"github.com/twinlog/twinlog/projections"
)

func TestGlobalIDs(t *testing.T) {
	for _, id := range []string{"", "x", "a/b", "Ölpumpe\x00", "structure-x@7"} {
		for kind := range kindNames {
			for _, origin := range []string{"", "north", "a long origin: with/everything"} {
				gotKind, gotOrigin, got, ok := ParseGlobalID(GlobalID(kind, origin, id))
				if !ok || gotKind != kind || gotOrigin != origin || got != id {
					t.Errorf("%c %q %q came back as %c %q %q, %t", kind, origin, id, gotKind, gotOrigin, got, ok)
				}
			}
		}
	}
	if GlobalID(AssetID, "ab", "c") == GlobalID(AssetID, "a", "bc") {
		t.Error("origin and id run into each other")
	}
	for _, s := range []string{"", "?", "YQ", "eAAA", "YQkA", "YYCAgICAgICAgIAB"} {
		if kind, origin, id, ok := ParseGlobalID(s); ok {
			t.Errorf("%q is %c %q %q", s, kind, origin, id)
		}
	}
}

// FuzzGlobalID: an id comes from anywhere. It never panics, and what it takes
// it writes back the same way.
func FuzzGlobalID(f *testing.F) {
	f.Add(GlobalID(AssetID, "north", "x"))
	f.Add("YYCAgICAgICAgIAB")
	f.Fuzz(func(t *testing.T, s string) {
		kind, origin, id, ok := ParseGlobalID(s)
		if !ok {
			return
		}
		if k, o, i, ok := ParseGlobalID(GlobalID(kind, origin, id)); !ok || k != kind || o != origin || i != id {
			t.Errorf("%q is %c %q %q and comes back as %c %q %q", s, kind, origin, id, k, o, i)
		}
	})
}

// FuzzCursor: so does a cursor.
func FuzzCursor(f *testing.F) {
	f.Add(cursor{1, projections.Cut{Known: 7, AsOf: time.Unix(1, 2)}, "key"}.String())
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseCursor("after", s)
		if err != nil {
			return
		}
		if again, err := parseCursor("after", c.String()); err != nil || again != c {
			t.Errorf("%q is %+v and comes back as %+v, %v", s, c, again, err)
		}
	})
}

func TestPages(t *testing.T) {
	moment := time.Date(2026, 3, 1, 6, 0, 0, 5, time.UTC)
	s := &scope{cut: projections.Cut{Known: 7, AsOf: moment, Now: moment.Add(time.Hour)}, pinned: true}
	first := 2
	p, err := s.page(&first, nil, 10, "list", "of this")
	if err != nil {
		t.Fatal(err)
	}
	rows, more := window(p, []string{"a", "b", "c"}, func(s string) string { return s })
	if fmt.Sprint(rows, more) != "[a b] true" {
		t.Errorf("got %v, %t", rows, more)
	}
	next := p.cursor("b")
	if p, err = s.page(&first, &next, 10, "list", "of this"); err != nil || p.scope != s {
		t.Fatalf("the cursor of the same cut: %v", err)
	}
	rows, more = window(p, []string{"a", "b", "c"}, func(s string) string { return s })
	if fmt.Sprint(rows, more) != "[c] false" {
		t.Errorf("got %v, %t", rows, more)
	}
	if _, err := s.page(&first, &next, 10, "list", "of that"); !errors.Is(err, fault.ErrCursorCut) {
		t.Errorf("another list: %v", err)
	}
	later := &scope{cut: projections.Cut{Known: 9, AsOf: moment}, pinned: true}
	if _, err := later.page(&first, &next, 10, "list", "of this"); !errors.Is(err, fault.ErrCursorCut) {
		t.Errorf("another cut: %v", err)
	}
	newest := &scope{r: &Reader{}, cut: projections.Cut{Known: 9}}
	if p, err = newest.page(&first, &next, 10, "list", "of this"); err != nil || p.scope.cut.Known != 7 || !p.scope.cut.AsOf.Equal(moment) || !p.scope.pinned {
		t.Errorf("the newest goes on at the cursor's cut: %+v, %v", p.scope, err)
	}
}

// TestFamily: many ask at once, one reads, and a failure is everybody's.
func TestFamily(t *testing.T) {
	fam := newFamily[string](nil, 3)
	fam.members = []string{"a", "b", "c"}
	var reads atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		for i, want := range []string{"a!", "b!", "c!"} {
			wg.Go(func() {
				got, err := together(fam, i, "shout", func(members []string) ([]string, error) {
					reads.Add(1)
					var all []string
					for _, m := range members {
						all = append(all, m+"!")
					}
					return all, nil
				})
				if got != want || err != nil {
					t.Errorf("%q, %v; expected %q", got, err, want)
				}
			})
		}
	}
	wg.Wait()
	if reads.Load() != 1 {
		t.Errorf("%d reads", reads.Load())
	}
	broken := errors.New("broken")
	for range 2 {
		if _, err := together(fam, 0, "fail", func([]string) ([]string, error) { return nil, broken }); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := together(fam, 0, "short", func([]string) ([]string, error) { return []string{"a"}, nil }); err == nil {
		t.Error("a view that forgets a row must not shift the others")
	}
}

func TestTelemetryOnlyWhereAskedFor(t *testing.T) {
	yes := true
	for _, c := range []struct {
		f    *EventFilter
		want bool
	}{
		{nil, false},
		{&EventFilter{}, false},
		{&EventFilter{Telemetry: &yes}, true},
		{&EventFilter{Types: []string{"asset.moved.v1"}}, false},
		{&EventFilter{Types: []string{eventlog.TelemetryRecorded}}, true},
	} {
		if got := c.f.LogFilter().WantsTelemetry(); got != c.want {
			t.Errorf("%+v: %t", c.f, got)
		}
	}
}
