package badgerrows

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/twinlog/twinlog/projections"
)

// TestRebuildsKeepTheirRoom: a projection that is dropped and written again
// and again takes a few times its rows on the disk, not more with each time.
func TestRebuildsKeepTheirRoom(t *testing.T) {
	const rounds, commits, rows, size = 8, 20, 2000, 400 // 16 MB a round
	s := open(t, t.TempDir())
	rng := rand.New(rand.NewPCG(1, 1))
	for round := range rounds {
		for b := range commits {
			var w projections.Writes
			for i := range rows {
				v := make([]byte, 0, size)
				for len(v) < size {
					v = binary.LittleEndian.AppendUint64(v, rng.Uint64())
				}
				w.Put(binary.BigEndian.AppendUint64(nil, uint64(b*rows+i)), v)
			}
			if err := s.Commit(t.Context(), "p", 1, 10, &w); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Drop(t.Context(), "p"); err != nil {
			t.Fatal(err)
		}
		var tables int64
		for _, table := range s.db.Tables() {
			tables += int64(table.OnDiskSize)
		}
		t.Logf("round %d: %d bytes in tables", round, tables)
		if limit := int64(3 * commits * rows * size); tables > limit {
			t.Fatalf("round %d: %d bytes in tables, expected at most %d", round, tables, limit)
		}
	}
}
