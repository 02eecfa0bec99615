package outbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twinlog/twinlog/adapters/queue/memqueue"
	"github.com/twinlog/twinlog/edge/outbox"
)

var lane = outbox.Config{Gateway: "gw~alarms", Topic: "e/s/a/l/gateway/gw/telemetry"}

func open(t *testing.T, q outbox.Queue, cfg outbox.Config) *outbox.Outbox {
	t.Helper()
	box, err := outbox.Open(t.Context(), q, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return box
}

func held(t *testing.T, q outbox.Queue) []outbox.Message {
	t.Helper()
	all, err := q.Read(context.Background(), 1, 1<<60, 1<<20, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func read(t *testing.T, m outbox.Message) (p payload) {
	t.Helper()
	if err := json.Unmarshal(m.Payload, &p); err != nil {
		t.Fatalf("%v: %s", err, m.Payload)
	}
	return p
}

func TestANewStoreBeginsAnIncarnation(t *testing.T) {
	q := memqueue.New(outbox.Previous{Incarnation: "60303ae22b998861", LastAcked: 48290, Reason: "outbox damaged"})
	box := open(t, q, lane)
	defer box.Close()
	m := held(t, q)
	if len(m) != 1 || m[0].Seq != 1 || m[0].Topic != lane.Topic {
		t.Fatalf("%+v", m)
	}
	p := read(t, m[0])
	if p.Event != "source.started" || p.Seq != 1 || p.Previous != "60303ae22b998861" || p.Acked != 48290 ||
		p.Reason != "outbox damaged" || p.Meta.Gateway != "gw~alarms" || p.Meta.Incarnation != box.Incarnation() {
		t.Fatalf("%s", m[0].Payload)
	}
	if inc := box.Incarnation(); len(inc) != 16 || strings.Trim(inc, "0123456789abcdef") != "" {
		t.Fatalf("incarnation %q", inc)
	}
	if seq, err := box.Put(t.Context(), body(0, 0)); err != nil || seq != 2 {
		t.Fatalf("the first message has number %d, %v", seq, err)
	}
}

func TestTheIncarnationLivesAsLongAsTheStore(t *testing.T) {
	q := memqueue.New(outbox.Previous{})
	first := open(t, q, lane)
	if _, err := first.Put(t.Context(), body(0, 0), body(1, 0)); err != nil {
		t.Fatal(err)
	}
	_ = first.Close()
	again := open(t, q, lane)
	defer again.Close()
	if again.Incarnation() != first.Incarnation() {
		t.Fatal("another incarnation")
	}
	if seq, err := again.Put(t.Context(), body(2, 0)); err != nil || seq != 4 {
		t.Fatalf("number %d, %v, want 4", seq, err)
	}
	other := open(t, memqueue.New(outbox.Previous{}), lane)
	defer other.Close()
	if other.Incarnation() == first.Incarnation() {
		t.Fatal("another store has the same incarnation")
	}
}

// TestCallersShareASync counts the commits of 200 callers at once on a disk that
// takes 10 ms.
func TestCallersShareASync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := memqueue.New(outbox.Previous{})
		syncs := 0
		q.SyncTime = func() time.Duration { syncs++; return 10 * time.Millisecond }
		box := open(t, q, lane)
		var mu sync.Mutex
		var numbers []uint64
		var all sync.WaitGroup
		began := time.Now()
		for i := range 200 {
			all.Go(func() {
				seq, err := box.Put(context.Background(), body(i, 0))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				numbers = append(numbers, seq)
			})
		}
		all.Wait()
		if took := time.Since(began); took > 50*time.Millisecond || syncs > 6 {
			t.Errorf("%v and %d syncs for 200 callers at once", took, syncs)
		}
		slices.Sort(numbers)
		for i, seq := range numbers {
			if seq != uint64(i)+2 {
				t.Fatalf("numbers %v", numbers)
			}
		}
		_ = box.Close()
	})
}

// TestPutAnswersAfterTheSync: a power cut right after Put returned finds the
// message; one right before finds none.
func TestPutAnswersAfterTheSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := memqueue.New(outbox.Previous{})
		box := open(t, q, lane)
		q.SyncTime = func() time.Duration { return 10 * time.Millisecond }
		done := make(chan error, 1)
		go func() { _, err := box.Put(context.Background(), body(0, 0)); done <- err }()
		time.Sleep(9 * time.Millisecond)
		select {
		case err := <-done:
			t.Fatalf("Put returned %v before the sync", err)
		default:
		}
		time.Sleep(2 * time.Millisecond)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if after := held(t, q.Cut(false)); len(after) != 2 {
			t.Fatalf("%d messages after the power cut, want 2", len(after))
		}
		_ = box.Close()
	})
}

func TestAFailedSyncEndsTheOutbox(t *testing.T) {
	q := memqueue.New(outbox.Previous{})
	box := open(t, q, lane)
	broken := errors.New("input/output error")
	q.Break(broken)
	for range 3 {
		if _, err := box.Put(t.Context(), body(0, 0)); !errors.Is(err, broken) {
			t.Fatalf("Put: %v", err)
		}
	}
	if err := box.Drain(t.Context(), &net{server: newServer()}); err == nil || !errors.Is(err, broken) {
		t.Fatalf("Drain: %v", err)
	}
	if err := box.Close(); !errors.Is(err, broken) {
		t.Fatalf("Close: %v", err)
	}
}

func TestPutRefusesWhatCannotBeSent(t *testing.T) {
	q := memqueue.New(outbox.Previous{})
	box := open(t, q, lane)
	defer box.Close()
	big := outbox.Body{Topic: "t", Encode: func(outbox.Number) ([]byte, error) { return make([]byte, outbox.MaxMessageBytes+1), nil }}
	if _, err := box.Put(t.Context(), big); !errors.Is(err, outbox.ErrTooLarge) {
		t.Fatalf("%v, want ErrTooLarge", err)
	}
	failing := outbox.Body{Topic: "t", Encode: func(outbox.Number) ([]byte, error) { return nil, fmt.Errorf("no such tag") }}
	if _, err := box.Put(t.Context(), body(0, 0), failing); err == nil || !strings.Contains(err.Error(), "no such tag") {
		t.Fatal(err)
	}
	if seq, err := box.Put(t.Context(), body(0, 0)); err != nil || seq != 2 {
		t.Fatalf("number %d, %v: a refused message used up a number", seq, err)
	}
}

func TestPutRespectsItsContext(t *testing.T) {
	box := open(t, memqueue.New(outbox.Previous{}), lane)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = box.Close()
	if _, err := box.Put(ctx, body(0, 0)); err == nil {
		t.Fatal("no error")
	}
	if _, err := box.Put(t.Context(), body(0, 0)); !errors.Is(err, outbox.ErrClosed) {
		t.Fatalf("%v, want ErrClosed", err)
	}
}

// TestBudget fills an outbox that nobody drains far beyond its budget.
func TestBudget(t *testing.T) {
	q := memqueue.New(outbox.Previous{})
	cfg := lane
	cfg.Budget = 20_000
	box := open(t, q, cfg)
	defer box.Close()
	const n = 1000
	for i := range n {
		if _, err := box.Put(t.Context(), body(i, 300)); err != nil {
			t.Fatal(err)
		}
		if b := box.Stats().Bytes; b > cfg.Budget {
			t.Fatalf("%d bytes held, the budget is %d", b, cfg.Budget)
		}
	}
	all := held(t, q)
	if p := read(t, all[0]); p.Event != "source.started" {
		t.Fatalf("the first message is %s", all[0].Payload)
	}
	lost := read(t, all[1])
	if lost.Event != "telemetry.lost" || lost.Seq != 2 || lost.From != 2 || lost.Counts.Messages != lost.To-1 || lost.Counts.Samples != 10*lost.Counts.Messages {
		t.Fatalf("%s", all[1].Payload)
	}
	next := lost.To + 1
	var bytes int64
	for _, m := range all[2:] {
		if m.Seq != next || m.Loss != nil {
			t.Fatalf("message %d where %d is due", m.Seq, next)
		}
		next++
		bytes += int64(len(m.Payload))
	}
	if next != n+2 || bytes < cfg.Budget/2 {
		t.Fatalf("ends at %d with %d bytes", next-1, bytes)
	}
	if st := box.Stats(); st.Lost != lost.Counts.Messages || st.Depth != uint64(len(all)) {
		t.Fatalf("%+v with %d messages", st, len(all))
	}
}

// TestAFullStoreDropsTheOldest: the disk is full long before the budget.
func TestAFullStoreDropsTheOldest(t *testing.T) {
	q := memqueue.New(outbox.Previous{})
	q.Capacity = 20_000
	box := open(t, q, lane)
	defer box.Close()
	for i := range 200 {
		if _, err := box.Put(t.Context(), body(i, 300)); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	all := held(t, q)
	if last := read(t, all[len(all)-1]); last.N != 199 || box.Stats().Lost == 0 {
		t.Fatalf("last message %d, %+v", last.N, box.Stats())
	}
	if _, err := box.Put(t.Context(), body(200, 10)); err != nil {
		t.Fatal(err)
	}
}

// TestWhatWasSentIsNeverDropped: the link is silent after it took a window, and
// the outbox overflows.
func TestWhatWasSentIsNeverDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := memqueue.New(outbox.Previous{})
		cfg := lane
		cfg.Budget, cfg.Window = 5_000, 8
		box := open(t, q, cfg)
		link := &silent{}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- box.Drain(ctx, link) }()
		for i := range 200 {
			time.Sleep(10 * time.Millisecond)
			if _, err := box.Put(context.Background(), body(i, 300)); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		<-done
		kept := map[uint64]bool{}
		for _, m := range held(t, q) {
			kept[m.Seq] = m.Loss == nil
		}
		link.mu.Lock()
		defer link.mu.Unlock()
		if len(link.sent) != cfg.Window {
			t.Fatalf("%d messages under way, the window is %d", len(link.sent), cfg.Window)
		}
		for _, seq := range link.sent {
			if !kept[seq] {
				t.Errorf("message %d was sent and then dropped", seq)
			}
		}
		if box.Stats().Lost == 0 {
			t.Error("nothing was dropped")
		}
		_ = box.Close()
	})
}

// silent takes messages and never answers.
type silent struct {
	mu   sync.Mutex
	sent []uint64
}

func (s *silent) Connect(context.Context) (outbox.Session, error) { return s, nil }
func (s *silent) Close()                                          {}
func (s *silent) Send(_ context.Context, m outbox.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, m.Seq)
	return nil
}

func (s *silent) Answer(ctx context.Context) (outbox.Answer, error) {
	<-ctx.Done()
	return outbox.Answer{}, ctx.Err()
}

// TestSilenceIsALostLink measures when a silent server is given up, and that
// connections come later and later.
func TestSilenceIsALostLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := open(t, memqueue.New(outbox.Previous{}), lane)
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		link := &silent{}
		go func() { done <- box.Drain(ctx, link) }()
		time.Sleep(29 * time.Second)
		if box.Stats().Links != 1 || !box.Stats().Linked {
			t.Errorf("%+v after 29 s", box.Stats())
		}
		time.Sleep(3 * time.Second)
		if st := box.Stats(); st.Links != 2 || !strings.Contains(st.LastError, "no answer within 30s") {
			t.Errorf("%+v after 32 s", st)
		}
		time.Sleep(time.Hour)
		if n := box.Stats().Links; n < 20 || n > 60 {
			t.Errorf("%d connections in an hour of silence", n)
		}
		stop()
		<-done
		_ = box.Close()
	})
}

// TestAnswersOutOfOrderEndTheLink: the answer to another message is no answer.
func TestAnswersOutOfOrderEndTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box := open(t, memqueue.New(outbox.Previous{}), lane)
		if _, err := box.Put(t.Context(), body(0, 0)); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- box.Drain(ctx, wrong{}) }()
		time.Sleep(time.Minute)
		if st := box.Stats(); st.Acked != 0 || st.Links < 2 || !strings.Contains(st.LastError, "answer to message 2 where 1 is due") {
			t.Errorf("%+v", st)
		}
		stop()
		<-done
		_ = box.Close()
	})
}

// wrong answers message 2 at once.
type wrong struct{}

func (wrong) Connect(context.Context) (outbox.Session, error) { return wrong{}, nil }
func (wrong) Close()                                          {}
func (wrong) Send(context.Context, outbox.Message) error      { return nil }
func (wrong) Answer(context.Context) (outbox.Answer, error)   { return outbox.Answer{Seq: 2}, nil }

// TestAge follows the oldest message.
func TestAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := memqueue.New(outbox.Previous{})
		box := open(t, q, lane)
		time.Sleep(time.Hour)
		if age := box.Stats().Age; age != time.Hour {
			t.Errorf("age %v", age)
		}
		srv := newServer()
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- box.Drain(ctx, calm(srv)) }()
		time.Sleep(time.Minute)
		if st := box.Stats(); st.Depth != 0 || st.Age != 0 {
			t.Errorf("drained: %+v", st)
		}
		stop()
		<-done
		_, _ = box.Put(context.Background(), body(0, 0))
		time.Sleep(time.Minute)
		if age := box.Stats().Age; age != time.Minute {
			t.Errorf("age %v", age)
		}
		_ = box.Close()
		box = open(t, q, lane)
		if age := box.Stats().Age; age != time.Minute {
			t.Errorf("age %v after opening again", age)
		}
		_ = box.Close()
	})
}

// TestNothingIsSentWhileItIsBeingDropped connects a link in the middle of a
// commit that drops messages.
func TestNothingIsSentWhileItIsBeingDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := memqueue.New(outbox.Previous{})
		cfg := lane
		cfg.Budget = 10_000
		box := open(t, q, cfg)
		n := 0
		for ; box.Stats().Bytes < cfg.Budget-500; n++ {
			if _, err := box.Put(context.Background(), body(n, 300)); err != nil {
				t.Fatal(err)
			}
		}
		q.SyncTime = func() time.Duration { return time.Second }
		full := make(chan error, 1)
		go func() { _, err := box.Put(context.Background(), body(n, 2000)); full <- err }()
		time.Sleep(500 * time.Millisecond)

		srv := newServer()
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- box.Drain(ctx, calm(srv)) }()
		if err := <-full; err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		stop()
		<-done
		if st := box.Stats(); st.Lost == 0 || st.Depth != 0 || srv.clones != 0 || srv.lost != st.Lost || len(srv.firsts)+int(srv.lost) != n+1 {
			t.Errorf("%d clones, %d stored and %d lost at the server of %d: %+v", srv.clones, len(srv.firsts), srv.lost, n+1, st)
		}
		_ = box.Close()
	})
}

// TestWhatAnEarlierProcessSentIsNeverDropped: a window of answers is not on disk
// and another window is under way when the power goes. The next process
// overflows without a link and must keep all of it.
func TestWhatAnEarlierProcessSentIsNeverDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := memqueue.New(outbox.Previous{})
		cfg := lane
		cfg.Budget, cfg.Window = 20_000, 4
		box := open(t, q, cfg)
		for i := range 40 {
			if _, err := box.Put(context.Background(), body(i, 300)); err != nil {
				t.Fatal(err)
			}
		}
		q.SyncTime = func() time.Duration { return time.Minute }
		link := &forgetful{answers: make(chan uint64, 100), left: 100}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- box.Drain(ctx, link) }()
		time.Sleep(10 * time.Second)
		q = q.Cut(false)
		q.SyncTime = nil
		stop()
		<-done
		_ = box.Close()

		box = open(t, q, cfg)
		for i := range 200 {
			if _, err := box.Put(context.Background(), body(1000+i, 300)); err != nil {
				t.Fatal(err)
			}
		}
		kept := map[uint64]bool{}
		for _, m := range held(t, q) {
			kept[m.Seq] = m.Loss == nil
		}
		if len(link.sent) < 2*cfg.Window || box.Stats().Lost == 0 {
			t.Errorf("%d sent, %+v: not much of a test", len(link.sent), box.Stats())
		}
		for _, seq := range link.sent {
			if !kept[seq] {
				t.Errorf("message %d of %v was sent by the earlier process and then dropped", seq, link.sent)
			}
		}
		_ = box.Close()
	})
}

// forgetful answers every message at once.
type forgetful struct {
	mu      sync.Mutex
	sent    []uint64
	left    int
	answers chan uint64
}

func (f *forgetful) Connect(context.Context) (outbox.Session, error) { return f, nil }
func (f *forgetful) Close()                                          {}
func (f *forgetful) Send(_ context.Context, m outbox.Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = append(f.sent, m.Seq)
	if f.left > 0 {
		f.left--
		f.answers <- m.Seq
	}
	return nil
}

func (f *forgetful) Answer(ctx context.Context) (outbox.Answer, error) {
	select {
	case seq := <-f.answers:
		return outbox.Answer{Seq: seq}, nil
	case <-ctx.Done():
		return outbox.Answer{}, ctx.Err()
	}
}
