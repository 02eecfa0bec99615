package badgerlog_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/eventlog/eventlogtest"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/test/budget"
)

// sealingLog seals all that it can after each append, so that readers meet
// sealed windows, the seam and blocks.
type sealingLog struct{ *badgerlog.Log }

func (l sealingLog) Append(ctx context.Context, id eventlog.StreamID, x eventlog.Expected, events ...eventlog.NewEvent) (eventlog.Appended, error) {
	a, err := l.Log.Append(ctx, id, x, events...)
	if err == nil && !a.Repeated {
		err = l.Seal(context.WithoutCancel(ctx))
	}
	if errors.Is(err, eventlog.ErrClosed) {
		err = nil
	}
	return a, err
}

func TestConformanceSealed(t *testing.T) {
	eventlogtest.Run(t, func(t *testing.T) eventlog.Log {
		return sealingLog{open(t, t.TempDir(), badgerlog.Config{IDs: derive, Window: 3, RecentBytes: 1})}
	})
}

func TestModelSealed(t *testing.T) {
	n := 0
	eventlogtest.RunModel(t, budget.For(t)/8, func() (eventlogtest.Store, error) {
		dir, err := os.MkdirTemp(t.TempDir(), "log")
		if err != nil {
			return eventlogtest.Store{}, err
		}
		n++
		cfg := badgerlog.Config{IDs: derive, Window: []int{1, 7, 40}[n%3], RecentBytes: 1}
		l, err := badgerlog.Open(t.Context(), dir, cfg)
		return eventlogtest.Store{
			Log: sealingLog{l},
			Restart: func() (eventlog.Log, error) {
				if err := l.Close(); err != nil {
					return nil, err
				}
				l, err = badgerlog.Open(t.Context(), dir, cfg)
				return sealingLog{l}, err
			},
			Close: func() error { return errors.Join(l.Close(), os.RemoveAll(dir)) },
		}, err
	})
}

// sums reads all and hashes envelope and data of each event.
func sums(t testing.TB, seq iter.Seq2[eventlog.Record, error]) (all []string) {
	t.Helper()
	for r, err := range seq {
		if err != nil {
			t.Fatalf("after %d events: %v", len(all), err)
		}
		all = append(all, fmt.Sprintf("%s@%d %v %s %s %s %x %x", r.Stream, r.Revision, r.Position, r.ID, r.Type, r.ContentType,
			sha256.Sum256(r.RawEnvelope), sha256.Sum256(r.Data)))
	}
	return all
}

// TestSealedEqualsUnsealed writes random histories of odd rows and reads them
// before and after sealing, and after a restart, in all ways.
func TestSealedEqualsUnsealed(t *testing.T) {
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	histories, events := 0, 0
	for end := time.Now().Add(budget.For(t) / 8); histories == 0 || time.Now().Before(end); histories++ {
		dir := t.TempDir()
		cfg := badgerlog.Config{IDs: telemetry.DeriveID, Window: 200 + rng.IntN(3000), RecentBytes: 1, NoSealing: true}
		l, err := badgerlog.Open(t.Context(), dir, cfg)
		if err != nil {
			t.Fatal(err)
		}
		streams := []eventlog.StreamID{
			telemetry.Stream("gw", "0123456789abcdef"), telemetry.Stream("P-000", telemetry.Unordered), telemetry.Stream("gw-10", "0123456789abcdee"),
		}
		next := map[eventlog.StreamID]uint64{}
		for range 300 {
			id := streams[rng.IntN(3)]
			var batch []eventlog.NewEvent
			env := eventlog.Envelope{Device: []string{"", "d", "e"}[rng.IntN(3)]}
			for range 1 + rng.IntN(40) {
				e := eventlog.NewEvent{Type: eventlog.TelemetryRecorded, ContentType: telemetry.ContentType, Envelope: env}
				e.Data = oddRow(rng, next[id]+uint64(len(batch)))
				if rng.IntN(40) == 0 {
					e.Data = spoil(rng, e.Data)
				}
				var ok bool
				if e.ID, ok = telemetry.DeriveID(l.Origin(), id, e.Type, e.Data); !ok || rng.IntN(100) == 0 {
					e.ID = eventlog.EventID{1, byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())}
				}
				if rng.IntN(50) == 0 {
					e.Type, e.ContentType, e.Data = "telemetry.gap.v1", "", []byte(`{}`)
				}
				batch = append(batch, e)
			}
			mustAppend(t, l, id, next[id], batch...)
			next[id] += uint64(len(batch))
		}
		ways := func(l *badgerlog.Log) (all [][]string) {
			all = append(all, sums(t, l.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{})),
				sums(t, l.ReadAll(t.Context(), eventlog.End, eventlog.Backwards, eventlog.Filter{})))
			for _, id := range streams {
				all = append(all, sums(t, l.Read(t.Context(), id, 0, eventlog.Forwards)),
					sums(t, l.Read(t.Context(), id, eventlog.LastRevision, eventlog.Backwards)))
			}
			return all
		}
		before := ways(l)
		events += len(before[0])
		if err := l.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		// A fortieth is spoiled; more would mean that columns do not give rows back.
		if c := l.Counters(); c.SealedRows == 0 || c.VerbatimRows == 0 || c.VerbatimRows > c.SealedRows/20 {
			t.Fatalf("%d rows are sealed, %d of them verbatim", c.SealedRows, c.VerbatimRows)
		}
		same(t, "sealed", ways(l), before)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = open(t, dir, cfg)
		same(t, "after a restart", ways(l), before)
		for range 50 { // anywhere, one at a time
			id := streams[rng.IntN(3)]
			rev := rng.Uint64N(next[id])
			want := before[2+2*slices.Index(streams, id)][rev]
			for r, err := range l.Read(t.Context(), id, eventlog.Revision(rev), eventlog.Forwards) {
				if got := sums(t, func(yield func(eventlog.Record, error) bool) { yield(r, err) })[0]; got != want {
					t.Errorf("%s, want %s", got, want)
				}
				break
			}
		}
	}
	t.Logf("%d histories, %d events", histories, events)
}

func same(t testing.TB, what string, got, want [][]string) {
	t.Helper()
	for i := range want {
		for k := range want[i] {
			if k >= len(got[i]) || got[i][k] != want[i][k] {
				t.Fatalf("%s: way %d, event %d of %d (want %d) is another:\n%s\n%s", what, i, k, len(got[i]), len(want[i]), got[i][min(k, len(got[i])-1)], want[i][k])
			}
		}
		if len(got[i]) != len(want[i]) {
			t.Fatalf("%s: way %d: %d events, want %d", what, i, len(got[i]), len(want[i]))
		}
	}
}

// TestReadersAcrossASeal: iterators and subscriptions that are paused while
// their blocks are replaced go on as if nothing had been.
func TestReadersAcrossASeal(t *testing.T) {
	l := open(t, t.TempDir(), badgerlog.Config{IDs: telemetry.DeriveID, Window: 500, RecentBytes: 1, NoSealing: true})
	rng := rand.New(rand.NewPCG(1, 2))
	id := telemetry.Stream("gw", "0123456789abcdef")
	for i := range uint64(500) {
		mustAppend(t, l, id, i*10, telemetryRows(rng, i*10, 10)...)
	}
	want := sums(t, l.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}))
	sub, err := l.Subscribe(t.Context(), 0, eventlog.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	var seqs []func() (eventlog.Record, error, bool)
	for _, seq := range []iter.Seq2[eventlog.Record, error]{
		l.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}), l.Read(t.Context(), id, 0, eventlog.Forwards),
	} {
		next, stop := iter.Pull2(seq)
		defer stop()
		seqs = append(seqs, next)
	}
	var got [3][]string
	sealed := 0
	for i := 0; len(got[0]) < len(want); i++ {
		if i == 700 {
			if err := l.Seal(t.Context()); err != nil {
				t.Fatal(err)
			}
			sealed = int(l.Sealed())
		}
		for k, next := range seqs {
			r, err, ok := next()
			if !ok {
				t.Fatalf("reader %d ended after %d of %d", k, i, len(want))
			}
			got[k] = append(got[k], sums(t, func(yield func(eventlog.Record, error) bool) { yield(r, err) })[0])
		}
		if len(got[2]) <= i {
			b, err := sub.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range b.Records {
				got[2] = append(got[2], sums(t, func(yield func(eventlog.Record, error) bool) { yield(r, nil) })[0])
			}
		}
	}
	if sealed < 4000 {
		t.Errorf("sealed up to %d", sealed)
	}
	same(t, "across a seal", got[:], [][]string{want, want, want})
}

func telemetryRows(rng *rand.Rand, from uint64, n int) (rows []eventlog.NewEvent) {
	for i := range uint64(n) {
		rows = append(rows, eventlog.NewEvent{
			ID: eventlog.EventID{2, byte(from), byte(from >> 8), byte(i)}, Type: eventlog.TelemetryRecorded,
			ContentType: telemetry.ContentType, Data: oddRow(rng, from+i),
		})
	}
	return rows
}

// TestNoTelemetryAfterSealing: who does not want telemetry opens no sealed part either.
func TestNoTelemetryAfterSealing(t *testing.T) {
	l := open(t, t.TempDir(), badgerlog.Config{Window: 100, RecentBytes: 1})
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range uint64(50) {
		mustAppend(t, l, "telemetry-a.0", i*10, telemetryRows(rng, i*10, 10)...)
		mustAppend(t, l, "asset-1", i, fact("asset-1", i))
	}
	if err := l.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := l.Counters().TelemetryBlocks
	for _, f := range []eventlog.Filter{{NoTelemetry: true}, {Types: []string{"asset.moved.v1"}}, {Categories: []string{"asset"}}} {
		if n := count(t, l.ReadAll(t.Context(), 0, eventlog.Forwards, f)); n != 50 {
			t.Errorf("%+v: %d events, want 50", f, n)
		}
	}
	if n := l.Counters().TelemetryBlocks - before; n != 0 {
		t.Errorf("%d parts with telemetry were read", n)
	}
	if n := count(t, l.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{})); n != 550 {
		t.Errorf("%d events, want 550", n)
	}
}

const momentEnv = "TWINLOG_BADGERLOG_MOMENT"

// sealUntilKilled is a child that writes as writeUntilKilled does and dies the
// n-th time that sealing comes to a moment.
func sealUntilKilled(dir string) error {
	n, moment, _ := strings.Cut(os.Getenv(momentEnv), " ")
	left, err := strconv.Atoi(n)
	if err != nil {
		return err
	}
	crashConfig = badgerlog.Config{Window: 100 + 50*left, RecentBytes: 1, Moment: func(now string) {
		if now == moment {
			if left--; left <= 0 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
	}}
	return writeUntilKilled(dir)
}

// TestKilledWhileSealing kills a writer at each moment of sealing, again and
// again on one directory.
func TestKilledWhileSealing(t *testing.T) {
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	moments := []string{"seal: parts written", "seal: before switch", "seal: switched", "seal: index written", "seal: blocks deleted"}
	acked := map[eventlog.StreamID]ack{}
	dir := t.TempDir()
	kills := 0
	for end := time.Now().Add(budget.For(t) / 8); kills < len(moments) || time.Now().Before(end); kills++ {
		t.Setenv(momentEnv, fmt.Sprintf("%d %s", 1+rng.IntN(3), moments[kills%len(moments)]))
		runAndKillAs(t, "seal", dir, acked, time.Minute)
		l, err := badgerlog.Open(t.Context(), dir, badgerlog.Config{Window: 200, RecentBytes: 1, NoSealing: kills%2 == 0})
		if err != nil {
			t.Fatalf("after %s: %v", os.Getenv(momentEnv), err)
		}
		checkFacts(t, l, acked)
		if n := l.LeftBehind(); n > 0 && kills%2 == 0 { // else it may be sealing now
			t.Errorf("after %s: %d sealed blocks are left behind", os.Getenv(momentEnv), n)
		}
		if l.Sealed() == 0 && kills > len(moments) {
			t.Error("nothing is sealed")
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d kills", kills)
}
