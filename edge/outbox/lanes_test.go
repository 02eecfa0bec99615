package outbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twinlog/twinlog/adapters/queue/memqueue"
	"github.com/twinlog/twinlog/edge/outbox"
)

// spans is what a telemetry.lost says of its tags.
type spans struct {
	Event  string `json:"event"`
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
	Counts struct {
		Messages, Samples uint64
	} `json:"counts"`
	Tags []struct {
		Device, Signal string
		Samples        uint64
		From, To       int64
	} `json:"tags"`
	Reason string `json:"reason"`
}

func lostIn(t *testing.T, q outbox.Queue) (all []spans) {
	t.Helper()
	for _, m := range held(t, q) {
		var s spans
		if err := json.Unmarshal(m.Payload, &s); err != nil {
			t.Fatal(err)
		}
		if s.Event == "telemetry.lost" {
			all = append(all, s)
		}
	}
	return all
}

// tagged is a message of one sample of the n-th second, of one of some signals.
func tagged(n, signals int) outbox.Body {
	return outbox.Body{Topic: "t", Samples: 1, Encode: func(no outbox.Number) ([]byte, error) {
		return fmt.Appendf(nil, `{"seq":%d,"n":%d,"signal":"s%d","meta":{"inc":%q},"pad":%q}`, no.Seq, n, n%signals, no.Incarnation, strings.Repeat("x", 300)), nil
	}}
}

// contents reads what tagged wrote.
func contents(m outbox.Message, visit func(outbox.Content)) error {
	var p struct {
		N      int64
		Signal string
	}
	if err := json.Unmarshal(m.Payload, &p); err != nil {
		return err
	}
	visit(outbox.Content{Device: "P-1", Signal: p.Signal, At: time.UnixMilli(1000 * p.N)})
	return nil
}

// TestALossNamesItsTags drops most of 3,000 messages of 3 signals and finds each
// of them in the queue or in the counts of its own signal, span for span.
func TestALossNamesItsTags(t *testing.T) {
	q := memqueue.New(outbox.Previous{})
	cfg := lane
	cfg.Budget, cfg.Contents = 30_000, contents
	box := open(t, q, cfg)
	defer box.Close()
	const n = 3000
	for i := range n {
		if _, err := box.Put(t.Context(), tagged(i, 3)); err != nil {
			t.Fatal(err)
		}
	}
	losses := lostIn(t, q)
	if len(losses) != 1 {
		t.Fatalf("%d losses", len(losses))
	}
	l := losses[0]
	first := int64(1000 * (n - len(held(t, q)) + 2)) // the oldest message held; two are the outbox's own
	if len(l.Tags) != 3 || l.Counts.Samples != uint64(n-len(held(t, q))+2) {
		t.Fatalf("%+v with %d messages held", l, len(held(t, q)))
	}
	sum := uint64(0)
	for i, tag := range l.Tags {
		sum += tag.Samples
		last := (int(first)/1000 - 1 - i) / 3 * 3
		if tag.Signal != fmt.Sprintf("s%d", i) || tag.From != int64(1000*i) || tag.To != int64(1000*(last+i)) {
			t.Errorf("tag %d: %+v, want until %d", i, tag, 1000*(last+i))
		}
	}
	if sum != l.Counts.Samples {
		t.Errorf("tags have %d samples, the loss %d", sum, l.Counts.Samples)
	}
}

// TestALossOfManyTagsIsSeveral: one message can't name them all.
func TestALossOfManyTagsIsSeveral(t *testing.T) {
	q := memqueue.New(outbox.Previous{})
	cfg := lane
	cfg.Budget, cfg.Contents = 600_000, contents
	box := open(t, q, cfg)
	defer box.Close()
	const n = 6000
	for i := range n {
		if _, err := box.Put(t.Context(), tagged(i, 2500)); err != nil {
			t.Fatal(err)
		}
	}
	samples, named, next := uint64(0), uint64(0), uint64(2)
	for _, l := range lostIn(t, q) {
		if len(l.Tags) > 1024 || l.From != next {
			t.Fatalf("%d tags from %d, want %d", len(l.Tags), l.From, next)
		}
		next = l.To + 1
		samples += l.Counts.Samples
		for _, tag := range l.Tags {
			named += tag.Samples
		}
	}
	kept := uint64(len(held(t, q)) - len(lostIn(t, q)) - 1)
	if samples != n-kept || named != samples {
		t.Fatalf("%d samples lost, %d named, %d kept of %d", samples, named, kept, n)
	}
}

// TestStopRefusesAndTells: a full outbox takes nothing more, and one message
// says what it did not take, also when the link has taken the first such.
func TestStopRefusesAndTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := memqueue.New(outbox.Previous{})
		cfg := lane
		cfg.Budget, cfg.Stop, cfg.Contents = 20_000, true, contents
		box := open(t, q, cfg)
		refused, taken := uint64(0), uint64(0)
		put := func(n int) {
			switch _, err := box.Put(t.Context(), tagged(n, 2)); {
			case errors.Is(err, outbox.ErrFull):
				refused++
			case err != nil:
				t.Fatal(err)
			default:
				taken++
			}
		}
		for n := range 500 {
			put(n)
			time.Sleep(10 * time.Second)
		}
		if l := lostIn(t, q); len(l) != 1 || l[0].Counts.Messages != refused || !strings.Contains(l[0].Reason, "stopped") {
			t.Fatalf("%d refused, told %+v", refused, l)
		}
		srv := newServer()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- box.Drain(ctx, calm(srv)) }()
		time.Sleep(time.Minute)
		if st := box.Stats(); st.Depth != 0 || st.Lost != refused {
			t.Fatalf("%+v, %d refused", st, refused)
		}
		cancel()
		<-done
		was := refused
		for n := range 200 {
			put(n)
			time.Sleep(10 * time.Second)
		}
		if l := lostIn(t, q); len(l) != 1 || l[0].Counts.Messages != refused-was || l[0].Tags[0].Samples+l[0].Tags[1].Samples != refused-was {
			t.Fatalf("%d refused since, told %+v", refused-was, l)
		}
		if taken < 50 || refused < 500 {
			t.Fatalf("%d taken, %d refused: not the test that was meant", taken, refused)
		}
		_ = box.Close()
	})
}

// gang opens the lanes of a gateway on queues in memory.
func gang(t *testing.T, cfg outbox.LanesConfig) (*outbox.Lanes, map[string]*memqueue.Queue) {
	t.Helper()
	queues := map[string]*memqueue.Queue{}
	cfg.Queue = func(lane string) (outbox.Queue, error) {
		queues[lane] = memqueue.New(outbox.Previous{})
		return queues[lane], nil
	}
	cfg.Gateway, cfg.Topic = "gw", "e/s/a/l/gateway/gw/telemetry"
	l, err := outbox.OpenLanes(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l, queues
}

// TestTheLowestPriorityGoesFirst fills a budget with three priorities at once.
func TestTheLowestPriorityGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := outbox.NewBudget(700_000, false)
		l, queues := gang(t, outbox.LanesConfig{LiveDepth: 10, Config: outbox.Config{Shared: budget, Contents: contents}})
		over := int64(0)
		for n := range 3000 {
			p := outbox.Priority(n%3 - 1)
			if err := l.Put(t.Context(), p, tagged(n, 2)); err != nil {
				t.Fatal(err)
			}
			if n%10 == 0 {
				if err := l.Put(t.Context(), outbox.Alarm, tagged(n, 2)); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			over = max(over, l.Total().Bytes-700_000)
		}
		if over > 2000 {
			t.Errorf("%d bytes over the budget", over)
		}
		low, normal, high := l.Lane(outbox.LowLane).Stats(), l.Lane(outbox.BacklogLane).Stats(), l.Lane(outbox.HighLane).Stats()
		if low.Depth > 20 || low.Lost < 900 || normal.Lost == 0 || high.Lost != 0 || l.Lane(outbox.AlarmLane).Stats().Lost != 0 || l.Lane(outbox.LiveLane).Stats().Lost != 0 {
			t.Errorf("low %+v\nnormal %+v\nhigh %+v", low, normal, high)
		}
		for lane, q := range queues { // what is not held is told, lane by lane
			told := uint64(0)
			for _, s := range lostIn(t, q) {
				told += s.Counts.Messages
			}
			if st := l.Lane(lane).Stats(); told != st.Lost {
				t.Errorf("lane %q: told %d, lost %d", lane, told, st.Lost)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestLiveIsNotDrowned: after an outage with 50,000 messages, what is new is at
// the server at once while the backlog follows at its rate.
func TestLiveIsNotDrowned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := gang(t, outbox.LanesConfig{LiveDepth: 100, Config: outbox.Config{Rate: 500, RetryMin: time.Second, RetryMax: 2 * time.Second, Window: 64}})
		const old = 50_000
		for n := 0; n < old; n += 50 {
			bodies := make([]outbox.Body, 50)
			for i := range bodies {
				bodies[i] = body(n+i, 10)
			}
			if err := l.Put(t.Context(), outbox.Normal, bodies...); err != nil {
				t.Fatal(err)
			}
		}
		srv := newServer()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		began := time.Now()
		go func() { done <- l.Run(ctx, func(string) (outbox.Link, error) { return calm(srv), nil }) }()
		time.Sleep(5 * time.Second)
		if err := l.Put(t.Context(), outbox.Normal, body(old, 10)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		srv.mu.Lock()
		got, all := srv.firsts[old], len(srv.firsts)
		srv.mu.Unlock()
		if got != 1 || all > 6000 {
			t.Errorf("a second after it was put, the new message is there %d times, among %d", got, all)
		}
		for l.Total().Depth > 0 {
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took < 95*time.Second || took > 150*time.Second {
			t.Errorf("%d messages at 500 a second took %v", old, took)
		}
		for n := range old + 1 {
			if srv.firsts[n] != 1 {
				t.Fatalf("message %d is there %d times", n, srv.firsts[n])
			}
		}
		time.Sleep(2 * time.Minute)
		if l.Lane(outbox.BacklogLane).Stats().Linked || !l.Lane(outbox.LiveLane).Stats().Linked {
			t.Error("an empty backlog keeps its connection, or the live lane lost it")
		}
		cancel()
		<-done
		_ = l.Close()
	})
}

// TestQuarantine keeps what the server refuses, across a power cut, and sends it
// again under another number.
func TestQuarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer()
		srv.refuseIf = func(n int) bool { return n%5 == 3 }
		q := memqueue.New(outbox.Previous{})
		l := live(t, q, calm(srv), lane)
		for n := range 40 {
			if _, err := l.box.Put(t.Context(), body(n, 10)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		q = q.Cut(false)
		l.end(t)
		l = live(t, q, calm(srv), lane)
		defer l.end(t)
		kept, err := l.box.Quarantine(t.Context(), 0, 100)
		if err != nil || len(kept) != 8 || l.box.Stats().Quarantined != 8 {
			t.Fatalf("%d kept, %v", len(kept), err)
		}
		srv.mu.Lock()
		srv.refuseIf = func(int) bool { return false }
		srv.mu.Unlock()
		for i, r := range kept {
			p := read(t, r.Message)
			if p.N != 5*i+3 || r.Where == "" || !slices.Contains(srv.order, p.Meta.Incarnation) {
				t.Fatalf("%+v", r)
			}
			seq, err := l.box.Retry(t.Context(), r.Seq)
			if err != nil || seq != uint64(42+i) {
				t.Fatalf("again as %d, %v", seq, err)
			}
		}
		time.Sleep(time.Minute)
		if _, err := l.box.Retry(t.Context(), kept[0].Seq); !errors.Is(err, outbox.ErrNotQuarantined) {
			t.Errorf("a second time: %v", err)
		}
		if st := l.box.Stats(); st.Quarantined != 0 || st.Depth != 0 || srv.firsts[3] != 2 || srv.firsts[4] != 1 {
			t.Errorf("%+v, %v", st, srv.firsts)
		}
	})
}

// TestTheQuarantineIsBounded: the server has everything that leaves it.
func TestTheQuarantineIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer()
		srv.refuseIf = func(int) bool { return true }
		q := memqueue.New(outbox.Previous{})
		l := live(t, q, calm(srv), lane)
		rng := rand.New(rand.NewPCG(1, 2))
		for n := range 1300 {
			if _, err := l.box.Put(t.Context(), body(n, rng.IntN(50))); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		l.end(t)
		kept, err := q.Refused(t.Context(), 0, 5000)
		if err != nil || len(kept) != 1000 || kept[0].Seq != 302 {
			t.Fatalf("%d kept from %d, %v", len(kept), kept[0].Seq, err)
		}
	})
}
