package crash

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/adapters/rows/badgerrows"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/projections"
)

// ledger is the view: a row for each event and a tally for each stream, which
// an event folded twice or not at all makes wrong for ever.
type ledger struct{ tallies map[eventlog.StreamID]tally }

type tally struct {
	n   uint64
	sum [32]byte // chained over the events
}

func newLedger() *ledger { return &ledger{} }

func (t tally) add(r eventlog.Record) tally {
	b := binary.BigEndian.AppendUint64(t.sum[:len(t.sum):len(t.sum)], uint64(r.Position))
	return tally{t.n + 1, sha256.Sum256(append(b, r.ID[:]...))}
}

func (t tally) bytes() []byte { return append(binary.BigEndian.AppendUint64(nil, t.n), t.sum[:]...) }

func eventRow(r eventlog.Record) (key, value []byte) {
	return binary.BigEndian.AppendUint64([]byte{'e'}, uint64(r.Position)), append(r.ID[:len(r.ID):len(r.ID)], r.Data...)
}

func tallyKey(id eventlog.StreamID) []byte { return append([]byte{'t'}, id...) }

// Name implements projections.Fold.
func (*ledger) Name() string { return "ledger" }

// Version implements projections.Fold.
func (*ledger) Version() int { return 1 }

// Filter implements projections.Fold.
func (*ledger) Filter() eventlog.Filter { return eventlog.Filter{} }

// Open implements projections.Fold.
func (l *ledger) Open(s projections.Snapshot, _ eventlog.Position) error {
	l.tallies = map[eventlog.StreamID]tally{}
	for row, err := range s.Scan([]byte{'t'}, []byte{'t' + 1}, false) {
		if err != nil {
			return err
		}
		t := tally{n: binary.BigEndian.Uint64(row.Value)}
		copy(t.sum[:], row.Value[8:])
		l.tallies[eventlog.StreamID(row.Key[1:])] = t
	}
	return nil
}

// Fold implements projections.Fold.
func (l *ledger) Fold(b eventlog.Batch, w *projections.Writes) (eventlog.Position, error) {
	changed := map[eventlog.StreamID]bool{}
	for _, r := range b.Records {
		w.Put(eventRow(r))
		l.tallies[r.Stream] = l.tallies[r.Stream].add(r)
		changed[r.Stream] = true
	}
	for id := range changed {
		w.Put(tallyKey(id), l.tallies[id].bytes())
	}
	return b.Through, nil
}

// checkViews opens the views that a crash has left, lets them catch up and
// compares each row with one made from the beginning. rebuilt says why they
// were rebuilt, "" if they resumed.
func checkViews(t *testing.T, dir string, log *badgerlog.Log, want map[string]string) (rebuilt string) {
	t.Helper()
	rows, err := badgerrows.Open(viewDir(dir), rowsConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	head, _, err := log.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at, err := rows.Checkpoint(t.Context(), "ledger", 1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var told string
	r := projections.NewRunner(log, rows, projections.Config{Notice: func(_, what string) { told = what }}, newLedger())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	if err := r.WaitFor(ctx, head); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if rebuilt = r.Status()[0].Rebuilt; (rebuilt != "") != (at > head) || (told != "") != (rebuilt != "") {
		t.Errorf("the view stood at %v of %v; rebuilt because %q, and told %q", at, head, rebuilt, told)
	}
	snap, err := rows.Snapshot(t.Context(), "ledger")
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	n := 0
	for row, err := range snap.Scan(nil, nil, false) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; want[string(row.Key)] != string(row.Value) {
			t.Fatalf("the view has %.80x for %x, expected %.80x", row.Value, row.Key, want[string(row.Key)])
		}
	}
	if n != len(want) {
		t.Fatalf("the view has %d rows, expected %d", n, len(want))
	}
	return rebuilt
}

// ack is an append that was acknowledged.
type ack struct {
	rev         eventlog.Revision
	first, last eventlog.Position
}

// checkLog reads the log in three ways and returns the rows that the view must
// have. All of acks must be in it.
func checkLog(t *testing.T, log *badgerlog.Log, acks map[eventlog.StreamID][]ack) (want map[string]string) {
	t.Helper()
	want = map[string]string{}
	tallies := map[eventlog.StreamID]tally{}
	at := map[string]eventlog.Position{} // of stream@revision
	assets := 0
	var pos eventlog.Position
	for r, err := range log.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			t.Fatalf("after position %v: %v", pos, err)
		}
		if pos++; r.Position != pos {
			t.Fatalf("position %v follows %v", r.Position, pos-1)
		}
		rev := tallies[r.Stream].n
		if f := fact(r.Stream, rev); uint64(r.Revision) != rev || r.ID != f.ID || r.Type != f.Type || string(r.Data) != string(f.Data) {
			t.Fatalf("%s@%d at %v, expected revision %d as it was written", r.Stream, r.Revision, r.Position, rev)
		}
		tallies[r.Stream] = tallies[r.Stream].add(r)
		at[fmt.Sprintf("%s@%d", r.Stream, rev)] = r.Position
		key, value := eventRow(r)
		want[string(key)] = string(value)
		if r.Stream.Category() == "asset" {
			assets++
		}
	}
	for id, list := range acks {
		for _, a := range list {
			n := uint64(a.last - a.first) // what was appended at once stands together
			if p := at[fmt.Sprintf("%s@%d", id, a.rev)]; p != a.last {
				t.Fatalf("%s@%d was acknowledged at %v and is at %v", id, a.rev, a.last, p)
			}
			if p := at[fmt.Sprintf("%s@%d", id, uint64(a.rev)-n)]; p != a.first {
				t.Fatalf("%s@%d was acknowledged at %v and is at %v", id, uint64(a.rev)-n, a.first, p)
			}
		}
	}
	for id, tally := range tallies {
		want[string(tallyKey(id))] = string(tally.bytes())
		n := uint64(0)
		for r, err := range log.Read(t.Context(), id, 0, eventlog.Forwards) {
			if err != nil || uint64(r.Revision) != n || r.Position != at[fmt.Sprintf("%s@%d", id, n)] {
				t.Fatalf("%s: revision %d at %v, expected %d: %v", id, r.Revision, r.Position, n, err)
			}
			n++
		}
		if n != tally.n {
			t.Fatalf("%s has %d events by its index and %d by reading all", id, n, tally.n)
		}
	}
	for _, err := range log.ReadAll(t.Context(), eventlog.End, eventlog.Backwards, eventlog.Filter{Categories: []string{"asset"}, NoTelemetry: true}) {
		if err != nil {
			t.Fatal(err)
		}
		assets--
	}
	if assets != 0 {
		t.Fatalf("the category index lacks %d events", assets)
	}
	return want
}
