package ingest

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// TestWindowAgainstSlice: the table and the ring say what a plain slice says,
// with few enough marks that runs in the table are long and marks collide.
func TestWindowAgainstSlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		marks := rapid.Uint32Range(0, rapid.Uint32Range(1, 40).Draw(t, "marks")).Draw
		if rapid.Bool().Draw(t, "spread") {
			marks = rapid.Uint32().Draw
		}
		start := eventlog.Revision(rapid.OneOf(rapid.Uint64Range(0, 300), rapid.Uint64Range(1<<31-100, 1<<31+100), rapid.Just[uint64](1<<40)).Draw(t, "start"))
		var w window
		w.reset(start)
		var all []uint32 // of the revisions from w.from on
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				for range rapid.IntRange(1, 50).Draw(t, "n") {
					m := marks(t, "mark")
					w.push(m)
					all = append(all, m)
				}
			},
			"drop": func(t *rapid.T) {
				for range min(rapid.IntRange(1, 60).Draw(t, "n"), len(all)) {
					w.drop()
					all = all[1:]
				}
				w.shrink()
			},
			"prepend": func(t *rapid.T) {
				older := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) uint32 { return marks(t, "mark") }), 0, min(int(w.from), 100)).Draw(t, "older")
				w.prepend(older)
				all = append(slices.Clone(older), all...)
			},
			"": func(t *rapid.T) {
				if w.len() != len(all) {
					t.Fatalf("remembers %d, want %d", w.len(), len(all))
				}
				probe := append([]uint32{1, 2, 3}, all[:min(len(all), 20)]...)
				for _, m := range probe {
					if m == 0 {
						continue
					}
					var got, want []eventlog.Revision
					w.find(m, func(r eventlog.Revision) bool { got = append(got, r); return true })
					for i, have := range all {
						if have == m {
							want = append(want, w.from+eventlog.Revision(i))
						}
					}
					slices.Sort(got)
					if !slices.Equal(got, want) {
						t.Fatalf("mark %d at %v, want %v", m, got, want)
					}
				}
			},
		})
	})
}
