//go:build planted

package timetravel

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/twinlog/twinlog/domain/planted"
	"github.com/twinlog/twinlog/test/budget"
)

// enough is within how many histories each mistake must be found.
const enough = 200

// TestPlanted makes one mistake after the other and counts the histories that
// it takes to find each.
func TestPlanted(t *testing.T) {
	seed, began := budget.Seed(t), time.Now()
	histories := rapid.Custom(func(r *rapid.T) error {
		_, err := tellOne(r, map[string]int{})
		return err
	})
	for _, bug := range planted.All {
		t.Run(string(bug), func(t *testing.T) {
			planted.Bug = bug
			defer func() { planted.Bug = "" }()
			for n := range enough {
				if err := histories.Example(int(seed>>33) + n); err != nil {
					t.Logf("%s: found after %d histories", bug, n+1)
					return
				}
			}
			t.Errorf("%s: not found in %d histories", bug, enough)
		})
	}
	t.Logf("%d planted mistakes in %v (seed %d)", len(planted.All), time.Since(began).Round(time.Second), seed)
}
