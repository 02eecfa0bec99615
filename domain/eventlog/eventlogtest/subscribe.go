package eventlogtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/test/budget"
)

func subscribe(t testing.TB, l eventlog.Log, after eventlog.Position, f eventlog.Filter) eventlog.Subscription {
	t.Helper()
	s, err := l.Subscribe(t.Context(), after, f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeIt(t testing.TB, s eventlog.Subscription) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// drain reads until through is reached.
func drain(t testing.TB, s eventlog.Subscription, through eventlog.Position) []eventlog.Record {
	t.Helper()
	ctx := patient(t)
	var all []eventlog.Record
	for {
		b, err := s.Next(ctx)
		if err != nil {
			t.Fatalf("after %d records, wanting to reach %v: %v", len(all), through, err)
		}
		all = append(all, b.Records...)
		if n := len(b.Records); n > 0 && b.Records[n-1].Position > b.Through {
			t.Fatalf("record at %v in a batch through %v", b.Records[n-1].Position, b.Through)
		}
		if b.Through >= through {
			return all
		}
	}
}

func testSubscription(t *testing.T, l eventlog.Log) {
	s := subscribe(t, l, 0, eventlog.Filter{})
	defer closeIt(t, s)
	if b, err := s.Next(patient(t)); err != nil || len(b.Records) != 0 || b.Through != 0 || !b.CaughtUp {
		t.Fatalf("the first Next on an empty log: %+v, %v", b, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if b, err := s.Next(ctx); err == nil {
		t.Fatalf("the second Next did not wait: %+v", b)
	}
	all := fill(t, l, 40)
	head := all[len(all)-1].Position
	if lag := s.Lag(); lag == 0 {
		t.Error("no lag before reading")
	}
	sameAll(t, "from the start", drain(t, s, head), all)
	if lag := s.Lag(); lag != 0 {
		t.Errorf("lag %d when caught up", lag)
	}
	for _, i := range []int{0, 1, len(all) / 2, len(all) - 2, len(all) - 1} {
		mid := subscribe(t, l, all[i].Position, eventlog.Filter{})
		if i < len(all)-1 {
			sameAll(t, fmt.Sprintf("after record %d", i), drain(t, mid, head), all[i+1:])
		} else if b, err := mid.Next(patient(t)); err != nil || len(b.Records) != 0 || !b.CaughtUp || b.Through != head {
			t.Errorf("from the end: %+v, %v", b, err)
		}
		closeIt(t, mid)
	}
	got := make(chan eventlog.Batch)
	go func() {
		b, err := s.Next(patient(t))
		if err != nil {
			t.Error(err)
		}
		got <- b
	}()
	time.Sleep(10 * time.Millisecond)
	a := mustAppend(t, l, "class-1", 0, event(moved, "live"))
	if b := <-got; len(b.Records) != 1 || b.Records[0].Position != a.Last || b.Through != a.Last || !b.CaughtUp {
		t.Errorf("live: %+v, appended %+v", b, a)
	}
}

func testFilteredSubscription(t *testing.T, l eventlog.Log) {
	half := fill(t, l, 10)
	subs := make([]eventlog.Subscription, len(filters))
	for i, f := range filters {
		subs[i] = subscribe(t, l, 0, f)
		defer closeIt(t, subs[i])
		sameAll(t, fmt.Sprintf("%+v", f), drain(t, subs[i], half[len(half)-1].Position), filtered(half, f))
	}
	next := map[eventlog.StreamID]int{}
	for _, r := range half {
		next[r.Stream]++
	}
	for i := range 20 {
		id := []eventlog.StreamID{"telemetry-gw.1", "asset-1", "person-1"}[i%3]
		typ := []string{row, moved, "person.named.v1"}[i%3]
		mustAppend(t, l, id, next[id], event(typ, "{}"))
		next[id]++
	}
	all := readAll(t, l, half[len(half)-1].Position, eventlog.Forwards, eventlog.Filter{})
	for i, f := range filters {
		sameAll(t, fmt.Sprintf("%+v live", f), drain(t, subs[i], all[len(all)-1].Position), filtered(all, f))
		if lag := subs[i].Lag(); lag != 0 {
			t.Errorf("%+v: lag %d when caught up", f, lag)
		}
	}
}

// testWakeUp appends one event at a time and nothing more until it has been
// received, so that a wake-up which comes between a subscriber's look and its
// wait, and is lost, is never made good by the next.
func testWakeUp(t *testing.T, l eventlog.Log) {
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	s := subscribe(t, l, 0, eventlog.Filter{})
	defer closeIt(t, s)
	for i := range 400 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			if _, err := l.Append(t.Context(), "asset-1", expect(i), event(moved, "{}")); err != nil {
				t.Error(err)
			}
		}()
		for until := time.Now().Add(time.Duration(rng.IntN(400)) * time.Microsecond); time.Now().Before(until); {
			runtime.Gosched() // a sleep is too coarse to meet the moment
		}
		for n := 0; n == 0; {
			b, err := s.Next(patient(t))
			if err != nil {
				t.Fatalf("event %d: %v", i, err)
			}
			n = len(b.Records)
		}
		<-done
	}
}

func testLost(t *testing.T, l eventlog.Log) {
	all := fill(t, l, 1)
	for _, after := range []eventlog.Position{all[len(all)-1].Position + 1, eventlog.NewPosition(1, 1), eventlog.End} {
		_, err := l.Subscribe(t.Context(), after, eventlog.Filter{})
		wantError(t, fmt.Sprint("subscribe after ", after), err, eventlog.ErrPositionLost)
	}
}

func testClosed(t *testing.T, l eventlog.Log) {
	s := subscribe(t, l, 0, eventlog.Filter{})
	if _, err := s.Next(patient(t)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := s.Next(patient(t))
		done <- err
	}()
	time.Sleep(5 * time.Millisecond)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wantError(t, "a waiting Next", <-done, eventlog.ErrClosed)
	_, err := s.Next(patient(t))
	wantError(t, "Next", err, eventlog.ErrClosed)
	if err := s.Close(); err != nil {
		t.Error("closing twice:", err)
	}
}

const (
	handOverWriters     = 16
	handOverSubscribers = 100
	handOverRestarts    = 10
)

// testHandOver is the promise that everything stands on: wherever and whenever
// a reader starts and restarts among writers at full speed, what it got, put
// end to end, is what ReadAll gives.
func testHandOver(t *testing.T, l eventlog.Log) {
	seed := budget.Seed(t)
	ctx, stop := context.WithTimeout(t.Context(), 4*patience)
	defer stop()
	var writers, readers sync.WaitGroup
	for w := range handOverWriters {
		writers.Go(func() { write(t, l, w, rand.New(rand.NewPCG(seed, uint64(w)))) })
	}
	type reader struct {
		after eventlog.Position
		f     eventlog.Filter
		got   []eventlog.Record
	}
	all := make([]reader, handOverSubscribers)
	finish := make(chan eventlog.Position)
	for i := range all {
		r, rng := &all[i], rand.New(rand.NewPCG(seed, uint64(1000+i)))
		time.Sleep(time.Duration(rng.IntN(500)) * time.Microsecond)
		head, _, err := l.Head(ctx)
		if err != nil {
			t.Fatal(err)
		}
		r.after = eventlog.Position(rng.Uint64N(uint64(head) + 1))
		if i%4 == 3 {
			r.f = filters[rng.IntN(len(filters))]
		}
		readers.Go(func() {
			var err error
			if r.got, err = follow(ctx, l, r.after, r.f, rng, finish); err != nil {
				t.Errorf("subscriber %d after %v: %v", i, r.after, err)
			}
		})
	}
	writers.Wait()
	head, _, err := l.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	go func() { // everyone learns the end, whenever it asks
		for {
			select {
			case finish <- head:
			case <-ctx.Done():
				return
			}
		}
	}()
	readers.Wait()
	want := readAll(t, l, 0, eventlog.Forwards, eventlog.Filter{})
	for i, r := range all {
		from, _ := slices.BinarySearchFunc(want, r.after+1, func(r eventlog.Record, p eventlog.Position) int { return int(r.Position) - int(p) })
		sameAll(t, fmt.Sprintf("subscriber %d after %v with %+v", i, r.after, r.f), r.got, filtered(want[from:], r.f))
	}
	t.Logf("%d records, %d subscribers, %d restarts each", len(want), len(all), handOverRestarts)
}

// write appends to a stream of its own and now and then to one that all share.
func write(t testing.TB, l eventlog.Log, w int, rng *rand.Rand) {
	id := eventlog.StreamID(fmt.Sprintf("telemetry-w%d.0", w))
	next := 0
	for i := range 60 {
		events := make([]eventlog.NewEvent, 1+rng.IntN(8))
		for j := range events {
			events[j] = event([]string{row, row, row, gap}[rng.IntN(4)], fmt.Sprint(w, i, j))
		}
		a, err := l.Append(t.Context(), id, expect(next), events...)
		if err != nil {
			t.Error(err)
			return
		}
		next = int(a.Revision) + 1
		if i%10 == 0 {
			if _, err := l.Append(t.Context(), eventlog.StreamID(fmt.Sprintf("asset-%d-%d", w, i)), eventlog.NoStream, event(moved, "{}")); err != nil {
				t.Error(err)
				return
			}
		}
		if rng.IntN(4) == 0 {
			time.Sleep(time.Duration(rng.IntN(1000)) * time.Microsecond)
		}
	}
}

// follow subscribes and restarts at random batches, until the end that finish
// gives has been reached.
func follow(ctx context.Context, l eventlog.Log, at eventlog.Position, f eventlog.Filter, rng *rand.Rand, finish <-chan eventlog.Position) ([]eventlog.Record, error) {
	var got []eventlog.Record
	end := eventlog.End
	for restarts := 0; at < end; restarts++ {
		s, err := l.Subscribe(ctx, at, f)
		if err != nil {
			return nil, err
		}
		batches := rng.IntN(6)
		for at < end && (restarts >= handOverRestarts || batches > 0) {
			select {
			case end = <-finish:
			default:
			}
			b, err := nextWithin(ctx, s, 50*time.Millisecond)
			switch {
			case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
				continue // no news: the writers may have finished
			case err != nil:
				return nil, err
			case b.Through < at:
				return nil, fmt.Errorf("through went from %v back to %v", at, b.Through)
			}
			got, at = append(got, b.Records...), b.Through
			batches--
		}
		if err := s.Close(); err != nil {
			return nil, err
		}
	}
	return got, nil
}

func nextWithin(ctx context.Context, s eventlog.Subscription, d time.Duration) (eventlog.Batch, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return s.Next(ctx)
}
