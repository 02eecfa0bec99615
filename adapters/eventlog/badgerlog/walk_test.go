package badgerlog_test

import (
	"math/rand/v2"
	"testing"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/test/budget"
)

// TestWalkedFromItsDescription: a decoder written from docs/formats alone, in
// another language, finds each event of a log with its bytes, in blocks and in
// sealed windows.
func TestWalkedFromItsDescription(t *testing.T) {
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	cfg := badgerlog.Config{Window: 700, IDs: telemetry.DeriveID, RecentBytes: 1, NoSealing: true}
	l := open(t, t.TempDir(), cfg)
	streams := []eventlog.StreamID{telemetry.Stream("gw", "0123456789abcdef"), telemetry.Stream("P-1", telemetry.Unordered), "asset-1"}
	next := map[eventlog.StreamID]uint64{}
	for range 300 {
		id := streams[rng.IntN(3)]
		var batch []eventlog.NewEvent
		env := eventlog.Envelope{Device: []string{"", "d", "é"}[rng.IntN(3)]}
		for range 1 + rng.IntN(20) {
			e := fact(id, next[id]+uint64(len(batch)))
			if e.Envelope = env; id != "asset-1" && rng.IntN(10) > 0 {
				e.Type, e.ContentType, e.Data = eventlog.TelemetryRecorded, telemetry.ContentType, oddRow(rng, next[id]+uint64(len(batch)))
				if rng.IntN(30) == 0 {
					e.Data = spoil(rng, e.Data)
				}
			}
			batch = append(batch, e)
		}
		mustAppend(t, l, id, next[id], batch...)
		next[id] += uint64(len(batch))
	}
	if n := badgerlog.Walk(t, l); n < 1000 {
		t.Errorf("%d events", n)
	}
	if err := l.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c := l.Counters(); c.SealedRows < 500 || c.VerbatimRows == 0 {
		t.Errorf("%d rows are sealed, %d of them verbatim", c.SealedRows, c.VerbatimRows)
	}
	t.Logf("%d events", badgerlog.Walk(t, l))
}
