// Package queuetest holds every outbox.Queue to the port's contract.
package queuetest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/twinlog/twinlog/edge/outbox"
	"github.com/twinlog/twinlog/test/budget"
)

// A Store opens the same queue again and again: what one life committed, the
// next one must have. Open closes the earlier life, or abandons it as a crash
// does.
type Store interface {
	Open(t *testing.T) outbox.Queue
}

// Run runs the kit; fresh returns a new, empty store.
func Run(t *testing.T, fresh func(t *testing.T) Store) {
	t.Run("a new queue has no head", func(t *testing.T) {
		head, previous, err := fresh(t).Open(t).Load(t.Context())
		if err != nil || head != (outbox.Head{}) || previous != (outbox.Previous{}) {
			t.Fatalf("got %+v, %+v, %v", head, previous, err)
		}
	})
	t.Run("everything of a message comes back", func(t *testing.T) { testFields(t, fresh(t)) })
	t.Run("a read is bounded by range, count and bytes", func(t *testing.T) { testBounds(t, fresh(t)) })
	t.Run("a marker replaces the range that it drops", func(t *testing.T) { testMarker(t, fresh(t)) })
	t.Run("what was refused is kept apart until it is released", func(t *testing.T) { testRefused(t, fresh(t)) })
	t.Run("the largest commit fits", func(t *testing.T) { testLargest(t, fresh(t)) })
	t.Run("reads go on while commits come", func(t *testing.T) { testConcurrent(t, fresh(t)) })
	t.Run("random lives agree with a model", func(t *testing.T) { testRandom(t, fresh) })
}

func inc(n int) string { return fmt.Sprintf("%016x", n) }

// Message makes a message whose fields all follow from its number.
func Message(seq uint64, size int) outbox.Message {
	return outbox.Message{
		Seq: seq, Last: seq, Samples: int(seq % 11), Topic: fmt.Sprintf("e/s/a/l/pump/P-%d/telemetry", seq%7),
		Made:    time.Unix(1_700_000_000, int64(seq)*1_000_003).UTC(),
		Payload: bytes.Repeat([]byte{byte(seq), byte(seq >> 8), '"'}, size/3+1)[:size],
	}
}

func messages(from, to uint64, size int) (out []outbox.Message) {
	for seq := from; seq <= to; seq++ {
		out = append(out, Message(seq, size))
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if reflect.DeepEqual(got, want) { // much faster than to say what differs
		return
	}
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("differs (-want +got):\n%s", d)
	}
}

func testFields(t *testing.T, s Store) {
	q := s.Open(t)
	lost := outbox.Message{
		Seq: 3, Last: 9, Made: time.Unix(5, 6).UTC(), Topic: "t", Payload: []byte("{}"),
		Loss: &outbox.Loss{Messages: 7, Samples: 70, Bytes: 1 << 40, Until: time.Unix(7, 8).UTC()},
	}
	want := []outbox.Message{Message(1, 0), Message(2, 300), lost}
	head := outbox.Head{
		Incarnation: inc(1), Created: time.Unix(1_700_000_000, 123).UTC(),
		Next: 10, Messages: 3, Bytes: 1 << 41, Lost: 7, LostSamples: 70,
	}
	must(t, q.Commit(t.Context(), outbox.Change{Put: want, Head: head}))
	for range 2 {
		got, err := q.Read(t.Context(), 1, 9, 10, 1<<20)
		must(t, err)
		same(t, got, want)
		h, previous, err := q.Load(t.Context())
		must(t, err)
		same(t, h, head)
		same(t, previous, outbox.Previous{})
		q = s.Open(t)
	}
}

func testBounds(t *testing.T, s Store) {
	q := s.Open(t)
	all := messages(1, 300, 100)
	must(t, q.Commit(t.Context(), outbox.Change{Put: all, Head: outbox.Head{Incarnation: inc(1), Next: 301, Messages: 300}}))
	for _, c := range []struct {
		from, to uint64
		limit    int
		bytes    int64
		want     []outbox.Message
	}{
		{1, 300, 5, 1 << 20, all[:5]},
		{255, 258, 100, 1 << 20, all[254:258]}, // across a byte of the key
		{300, 1 << 60, 100, 1 << 20, all[299:]},
		{301, 1 << 60, 100, 1 << 20, nil},
		{10, 9, 100, 1 << 20, nil},
		{1, 300, 100, 1, all[:1]}, // one at least
	} {
		got, err := q.Read(t.Context(), c.from, c.to, c.limit, c.bytes)
		must(t, err)
		same(t, got, c.want)
	}
	got, err := q.Read(t.Context(), 1, 300, 300, 1000)
	must(t, err)
	if len(got) < 2 || len(got) > 12 {
		t.Fatalf("%d messages of 100 bytes for a bound of 1,000 bytes", len(got))
	}
}

func testMarker(t *testing.T, s Store) {
	q := s.Open(t)
	ctx := t.Context()
	must(t, q.Commit(ctx, outbox.Change{Put: messages(1, 6, 10), Head: outbox.Head{Incarnation: inc(1), Next: 7, Messages: 6}}))
	marker := outbox.Message{Seq: 3, Last: 5, Topic: "t", Made: time.Unix(0, 0).UTC(), Payload: []byte("{}"), Loss: &outbox.Loss{Messages: 3, Until: time.Unix(0, 0).UTC()}}
	must(t, q.Commit(ctx, outbox.Change{
		Drop: outbox.Range{From: 3, To: 5}, Put: []outbox.Message{marker, Message(7, 10)},
		Head: outbox.Head{Incarnation: inc(1), Next: 8, Messages: 5},
	}))
	want := []outbox.Message{Message(1, 10), Message(2, 10), marker, Message(6, 10), Message(7, 10)}
	for range 2 {
		got, err := q.Read(ctx, 1, 100, 100, 1<<20)
		must(t, err)
		same(t, got, want)
		q = s.Open(t)
	}
	// Another message under the same number takes its place.
	marker.Last, marker.Payload = 6, []byte(`{"more":1}`)
	must(t, q.Commit(ctx, outbox.Change{Drop: outbox.Range{From: 3, To: 6}, Put: []outbox.Message{marker}, Head: outbox.Head{Incarnation: inc(1), Next: 8, Acked: 2, Messages: 2}}))
	got, err := q.Read(ctx, 3, 100, 100, 1<<20)
	must(t, err)
	same(t, got, []outbox.Message{marker, Message(7, 10)})
}

func testRefused(t *testing.T, s Store) {
	q := s.Open(t)
	ctx := t.Context()
	kept := func(seqs ...uint64) (out []outbox.Refusal) {
		for _, seq := range seqs {
			out = append(out, outbox.Refusal{Message: Message(seq, 50), Where: fmt.Sprintf("telemetry-gw.%s@%d", inc(1), seq), At: time.Unix(9, int64(seq)).UTC()})
		}
		return out
	}
	must(t, q.Commit(ctx, outbox.Change{Put: messages(1, 6, 50), Head: outbox.Head{Incarnation: inc(1), Next: 7, Messages: 6}}))
	must(t, q.Commit(ctx, outbox.Change{Refused: kept(2, 3, 5), Head: outbox.Head{Incarnation: inc(1), Next: 7, Acked: 6, Quarantined: 3}}))
	must(t, q.Commit(ctx, outbox.Change{Release: []uint64{3}, Put: messages(7, 7, 50), Head: outbox.Head{Incarnation: inc(1), Next: 8, Acked: 6, Messages: 1, Quarantined: 2}}))
	for range 2 {
		got, err := q.Refused(ctx, 0, 10)
		must(t, err)
		same(t, got, kept(2, 5))
		got, err = q.Refused(ctx, 2, 10)
		must(t, err)
		same(t, got, kept(5))
		got, err = q.Refused(ctx, 0, 1)
		must(t, err)
		same(t, got, kept(2))
		left, err := q.Read(ctx, 7, 100, 10, 1<<20)
		must(t, err)
		same(t, left, messages(7, 7, 50))
		h, _, err := q.Load(ctx)
		must(t, err)
		same(t, h.Quarantined, uint64(2))
		q = s.Open(t)
	}
}

func testLargest(t *testing.T, s Store) {
	q := s.Open(t)
	small := messages(1, 3000, 40)
	must(t, q.Commit(t.Context(), outbox.Change{Put: small, Head: outbox.Head{Incarnation: inc(1), Next: 3001, Messages: 3000}}))
	put := messages(3001, 3001+1023, 400)                    // what a commit gathers
	put = append(put, Message(4025, outbox.MaxMessageBytes)) // and the last put
	must(t, q.Commit(t.Context(), outbox.Change{
		Drop: outbox.Range{From: 1, To: 2990}, Put: put,
		Head: outbox.Head{Incarnation: inc(1), Next: 4026, Messages: 10 + 1025},
	}))
	got, err := s.Open(t).Read(t.Context(), 1, 5000, 5000, 1<<30)
	must(t, err)
	same(t, got, append(messages(2991, 3000, 40), put...))
}

func testConcurrent(t *testing.T, s Store) {
	q := s.Open(t)
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for ctx.Err() == nil {
				got, err := q.Read(context.WithoutCancel(ctx), 1, 1<<60, 50, 1<<20)
				if err != nil {
					t.Error(err)
					return
				}
				for i := 1; i < len(got); i++ {
					if got[i].Seq != got[i-1].Seq+1 {
						t.Errorf("%d after %d", got[i].Seq, got[i-1].Seq)
						return
					}
				}
			}
		})
	}
	for i := range uint64(200) {
		must(t, q.Commit(ctx, outbox.Change{
			Put:  messages(3*i+1, 3*i+3, 50),
			Head: outbox.Head{Incarnation: inc(1), Next: 3*i + 4, Acked: 2 * i, Messages: i + 3},
		}))
	}
	cancel()
	readers.Wait()
}

// testRandom compares a queue that is opened again and again with a plain list.
func testRandom(t *testing.T, fresh func(t *testing.T) Store) {
	seed, end, runs := budget.Seed(t), time.Now().Add(budget.For(t)/4), 0
	for ; runs == 0 || time.Now().Before(end); runs++ {
		rng := rand.New(rand.NewPCG(seed, uint64(runs)))
		s := fresh(t)
		q := s.Open(t)
		var model []outbox.Message
		head := outbox.Head{Incarnation: inc(runs + 1), Next: 1, Created: time.Unix(9, 0).UTC()}
		for range 60 {
			c := outbox.Change{}
			if n := len(model); n > 4 && rng.IntN(4) == 0 { // drop a range in the middle
				i := rng.IntN(n - 2)
				j := i + rng.IntN(n-i)
				marker := outbox.Message{Seq: model[i].Seq, Last: model[j].Last, Topic: "lost", Made: time.Unix(1, 0).UTC(), Payload: []byte("{}"), Loss: &outbox.Loss{Messages: 1, Until: time.Unix(2, 0).UTC()}}
				c.Drop, c.Put = outbox.Range{From: model[i].Seq, To: model[j].Last}, []outbox.Message{marker}
				model = append(model[:i:i], append([]outbox.Message{marker}, model[j+1:]...)...)
			}
			for range rng.IntN(20) {
				m := Message(head.Next, rng.IntN(2000))
				head.Next++
				c.Put, model = append(c.Put, m), append(model, m)
			}
			if n := len(model); n > 0 && rng.IntN(3) == 0 {
				i := rng.IntN(n)
				head.Acked = model[i].Last
				model = model[i+1:]
			}
			head.Messages = uint64(len(model))
			c.Head = head
			must(t, q.Commit(t.Context(), c))
			if rng.IntN(15) == 0 {
				q = s.Open(t)
			}
			got, err := q.Read(t.Context(), head.Acked+1, head.Next, 1<<20, 1<<30)
			must(t, err)
			same(t, got, model)
			h, _, err := q.Load(t.Context())
			must(t, err)
			same(t, h, head)
		}
	}
	t.Logf("%d runs of 60 commits", runs)
}
