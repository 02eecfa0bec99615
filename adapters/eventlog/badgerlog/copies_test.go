package badgerlog_test

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/test/budget"
)

// history appends what a plant and its people might: rows and other events, a
// batch or one by one, envelopes that the log stamps and whole ones.
func history(t *testing.T, l *badgerlog.Log, rng *rand.Rand, next map[eventlog.StreamID]uint64, appends int) {
	t.Helper()
	for range appends {
		id := []eventlog.StreamID{"telemetry-a.1", "telemetry-b.1", "asset-1", "command-x", "telemetry-c.9"}[rng.IntN(5)]
		events := facts(id, next[id], 1+rng.IntN(6))
		for i := range events {
			e := &events[i]
			e.Envelope = eventlog.Envelope{Device: []string{"", "d1"}[rng.IntN(2)], Actor: eventlog.Actor{Subject: []string{"", "s"}[rng.IntN(2)]}}
			if id.Category() == eventlog.TelemetryCategory && rng.IntN(4) > 0 {
				e.Type = eventlog.TelemetryRecorded
				if d, ok := derive(l.Origin(), id, e.Type, e.Data); ok && rng.IntN(3) > 0 {
					e.ID = d
				}
			}
			switch rng.IntN(9) {
			case 0:
				e.RawEnvelope = []byte(`{"rec":"2020-01-01T00:00:00Z"}`)
			case 1:
				e.RawEnvelope = []byte(` { "of" : "a client" } `)
			case 2:
				e.ContentType = "application/octet-stream"
			}
		}
		app, err := l.Append(t.Context(), id, expect(next[id]), events...)
		if err != nil {
			t.Fatal(err)
		}
		next[id] = uint64(app.Revision) + 1
	}
}

func checkKnownAt(t *testing.T, got, want *badgerlog.Log, records []eventlog.Record, rng *rand.Rand) {
	t.Helper()
	for range 20 {
		at := records[rng.IntN(len(records))].Recorded.Add(time.Duration(rng.IntN(3)-1) * time.Microsecond)
		p, err := got.KnownAt(t.Context(), at)
		q, wantErr := want.KnownAt(t.Context(), at)
		if p != q || err != nil || wantErr != nil {
			t.Fatalf("known at %v: %v (%v), the original says %v (%v)", at, p, err, q, wantErr)
		}
	}
}

// TestCopies: a log that takes another's events holds the same bytes at the
// same places, knows the same at the same times, and takes the next append
// where the other would; sealed or not, at once or after interruptions.
func TestCopies(t *testing.T) {
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	rounds := 0
	for end := time.Now().Add(budget.For(t) / 4); rounds < 3 || time.Now().Before(end); rounds++ {
		from := open(t, t.TempDir(), badgerlog.Config{IDs: derive, Window: 5 + rng.IntN(60), Origin: "o"})
		next := map[eventlog.StreamID]uint64{}
		for number := uint16(1); number < 4; number++ {
			history(t, from, rng, next, 10+rng.IntN(60))
			if rng.IntN(2) == 0 {
				openEpoch(t, from, number)
			}
		}
		history(t, from, rng, next, 20)
		if rng.IntN(2) == 0 {
			if err := from.Seal(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		want := everything(t, from, 0)
		dir, cfg := filepath.Join(t.TempDir(), "copy"), badgerlog.Config{IDs: derive, Window: 5 + rng.IntN(60), Origin: "o"}
		for left := want; len(left) > 0; {
			to, err := badgerlog.OpenCopy(t.Context(), dir, cfg)
			if err != nil {
				t.Fatal(err)
			}
			for range 1 + rng.IntN(4) {
				n := min(len(left), 1+rng.IntN(80))
				if err := to.AppendCopies(t.Context(), left[:n]); err != nil {
					t.Fatal(err)
				}
				left = left[n:]
			}
			if rng.IntN(3) == 0 {
				if err := to.Seal(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := to.Close(); err != nil {
				t.Fatal(err)
			}
		}
		to := open(t, dir, cfg)
		sameRecords(t, "copy", everything(t, to, 0), want)
		whole(t, "copy", to)
		whole(t, "original", from)
		checkKnownAt(t, to, from, want, rng)
		if err := to.AppendCopies(t.Context(), want[len(want)-1:]); !errors.Is(err, eventlog.ErrConflict) {
			t.Fatalf("the last event a second time: %v", err)
		}
		history(t, to, rng, next, 5)
		if err := to.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		sameRecords(t, "copy, sealed and grown", everything(t, to, 0)[:len(want)], want)
		whole(t, "copy, sealed and grown", to)
	}
	t.Logf("%d rounds", rounds)
}

// TestCopiesOfSeveralClocks: where replicas stamped, Recorded may fall; what
// was known at a time goes by the largest so far, as on the original.
func TestCopiesOfSeveralClocks(t *testing.T) {
	dir, cfg := t.TempDir(), badgerlog.Config{Window: 10}
	l := open(t, dir, cfg)
	rng := rand.New(rand.NewPCG(3, 4))
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var records []eventlog.Record
	for i := range 60 {
		at := base.Add(time.Duration(10*i+rng.IntN(40)-20) * time.Second)
		e := fact("a-1", uint64(i))
		e.Envelope.Recorded = at
		records = append(records, eventlog.Record{
			Stream: "a-1", Revision: eventlog.Revision(i), Position: eventlog.Position(i + 1), ID: e.ID, Type: e.Type,
			ContentType: eventlog.JSON, Recorded: at, RawEnvelope: e.Envelope.AppendCanonical(nil), Data: e.Data,
		})
	}
	if err := l.AppendCopies(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for s := -30; s < 700; s += 7 {
			at := base.Add(time.Duration(s) * time.Second)
			want := eventlog.Position(0)
			for _, r := range records {
				if r.Recorded.After(at) {
					break
				}
				want = r.Position
			}
			if got, err := l.KnownAt(t.Context(), at); got != want || err != nil {
				t.Errorf("known at %v: %v, %v, want %v", at, got, err, want)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = open(t, dir, cfg)
	}
	app, err := l.Append(t.Context(), "a-1", expect(60), fact("a-1", 60))
	if err != nil || app.First != 61 {
		t.Errorf("%+v, %v", app, err)
	}
}

func whole(t *testing.T, what string, l *badgerlog.Log) {
	t.Helper()
	if r, err := l.Verify(t.Context(), nil); err != nil || r.Lost > 0 {
		t.Errorf("%s: %v, %v", what, r.Losses, err)
	}
}
