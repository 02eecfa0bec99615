package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// An account that may not be overdrawn: small, and with a rule that a wrong
// state would break.
type paid struct {
	Amount int    `json:"amount"`
	Note   string `json:"note,omitempty"`
}

func (paid) EventType() string { return "account.paid.v1" }

type pay struct {
	amount int
	note   string
	times  int // events; 0: one
}

var errOverdrawn = errors.New("overdrawn")

var account = eventlog.Decider[int, pay]{
	Decode: func(typ string, data []byte) (eventlog.Event, error) {
		if typ != "account.paid.v1" {
			return nil, nil
		}
		return eventlog.DecodeJSON[paid](data)
	},
	Decide: func(balance int, c pay) ([]eventlog.Event, error) {
		if c.amount == 0 {
			return nil, nil
		}
		n := max(c.times, 1)
		if balance+n*c.amount < 0 {
			return nil, fmt.Errorf("balance %d, payment %d: %w", balance, n*c.amount, errOverdrawn)
		}
		var events []eventlog.Event
		for range n {
			events = append(events, paid{c.amount, c.note})
		}
		return events, nil
	},
	Evolve: func(balance int, e eventlog.Event) int { return balance + e.(paid).Amount },
}

const stream = eventlog.StreamID("account-1")

func key(s string) eventlog.Call {
	return eventlog.Call{Key: eventlog.NewKey("origin", "subject", "pay", s)}
}

// spyLog counts what is read and lets a test get in between.
type spyLog struct {
	eventlog.Log
	read   atomic.Int64
	before func() // each Append
	after  func(error) error
}

func (l *spyLog) Read(ctx context.Context, id eventlog.StreamID, from eventlog.Revision, dir eventlog.Direction) iter.Seq2[eventlog.Record, error] {
	return func(yield func(eventlog.Record, error) bool) {
		for r, err := range l.Log.Read(ctx, id, from, dir) {
			l.read.Add(1)
			if !yield(r, err) {
				return
			}
		}
	}
}

func (l *spyLog) Append(ctx context.Context, id eventlog.StreamID, at eventlog.Expected, events ...eventlog.NewEvent) (eventlog.Appended, error) {
	if l.before != nil {
		l.before()
	}
	app, err := l.Log.Append(ctx, id, at, events...)
	if l.after != nil {
		err = l.after(err)
	}
	return app, err
}

func newSpy() *spyLog { return &spyLog{Log: memlog.New("origin", time.Now)} }

func balance(t *testing.T, log eventlog.Log) (sum, events int) {
	t.Helper()
	for r, err := range log.Read(t.Context(), stream, 0, eventlog.Forwards) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := account.Decode(r.Type, r.Data)
		if err != nil {
			t.Fatal(err)
		}
		sum, events = sum+e.(paid).Amount, events+1
	}
	return sum, events
}

func TestExecuteReadsOnlyWhatIsNewer(t *testing.T) {
	log := newSpy()
	h := eventlog.NewHandler(log, account, 10)
	for i := range 1000 {
		if _, err := h.Execute(t.Context(), stream, key(fmt.Sprint(i)), pay{amount: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if n := log.read.Load(); n != 0 {
		t.Errorf("%d records read for 1000 commands, expected none: they are all its own", n)
	}
	other := eventlog.NewHandler(log, account, 10)
	for i := range 5 {
		if _, err := other.Execute(t.Context(), stream, key(fmt.Sprint("b", i)), pay{amount: 1}); err != nil {
			t.Fatal(err)
		}
	}
	log.read.Store(0)
	if _, err := h.Execute(t.Context(), stream, key("c"), pay{amount: -1005}); err != nil {
		t.Fatal(err)
	}
	if n := log.read.Load(); n != 5 {
		t.Errorf("%d records read, expected the 5 of the other writer", n)
	}
}

// TestRepeat: the same key again is recognised by whoever executes it, whatever
// has happened since, and also where its first outcome never came back.
func TestRepeat(t *testing.T) {
	log := newSpy()
	h := eventlog.NewHandler(log, account, 10)
	if _, err := h.Execute(t.Context(), stream, key("seed"), pay{amount: 100}); err != nil {
		t.Fatal(err)
	}
	first, err := h.Execute(t.Context(), stream, key("k"), pay{amount: -30, times: 3})
	if err != nil {
		t.Fatal(err)
	}
	if first.Repeated || len(first.IDs) != 3 || first.Last != first.First+2 || first.Revision != 3 {
		t.Fatalf("first: %+v", first)
	}
	for i := range 20 { // others move on
		if _, err := h.Execute(t.Context(), stream, key(fmt.Sprint(i)), pay{amount: 1}); err != nil {
			t.Fatal(err)
		}
	}
	want := first
	want.Repeated = true
	for name, h := range map[string]*eventlog.Handler[int, pay]{"the same": h, "after a restart": eventlog.NewHandler(log, account, 10)} {
		again, err := h.Execute(t.Context(), stream, key("k"), pay{amount: -30, times: 3})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff(want, again); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	if sum, n := balance(t, log); sum != 30 || n != 24 {
		t.Errorf("balance %d after %d events, want 30 after 24", sum, n)
	}

	lost := errors.New("connection lost")
	log.after = func(error) error { return lost }
	if _, err := h.Execute(t.Context(), stream, key("unknown"), pay{amount: -5}); !errors.Is(err, lost) {
		t.Fatalf("error %v, want %v", err, lost)
	}
	log.after = nil
	done, err := h.Execute(t.Context(), stream, key("unknown"), pay{amount: -5})
	if err != nil || !done.Repeated || done.First == 0 {
		t.Errorf("again: %+v, %v; want it recognised", done, err)
	}
	if sum, _ := balance(t, log); sum != 25 {
		t.Errorf("balance %d, want 25: it was paid once", sum)
	}
}

func TestConflictIsDecidedAgain(t *testing.T) {
	for _, c := range []struct {
		name    string
		writers int // that get in between, one before each append
		amount  int
		err     error
	}{
		{name: "no other writer", writers: 0, amount: -10},
		{name: "four", writers: 4, amount: -10},
		{name: "five are too many", writers: 5, amount: -10, err: eventlog.ErrConflict},
		{name: "the rule holds against what they wrote", writers: 1, amount: -100, err: errOverdrawn},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := newSpy()
			other := eventlog.NewHandler(log.Log, account, 10)
			h := eventlog.NewHandler(log, account, 10)
			if _, err := h.Execute(t.Context(), stream, key("seed"), pay{amount: 100}); err != nil {
				t.Fatal(err)
			}
			n := 0
			log.before = func() {
				if n < c.writers {
					if _, err := other.Execute(t.Context(), stream, key(fmt.Sprint(n)), pay{amount: -1}); err != nil {
						t.Error(err)
					}
				}
				n++
			}
			done, err := h.Execute(t.Context(), stream, key("k"), pay{amount: c.amount})
			if !errors.Is(err, c.err) || err != nil && c.err == nil {
				t.Fatalf("%+v, error %v, want %v", done, err, c.err)
			}
			want := 100 - c.writers
			if c.err == nil {
				want += c.amount
			}
			if sum, _ := balance(t, log); sum != want {
				t.Errorf("balance %d, want %d", sum, want)
			}
		})
	}
}

func TestNothingToDo(t *testing.T) {
	log := newSpy()
	h := eventlog.NewHandler(log, account, 10)
	seed, err := h.Execute(t.Context(), stream, key("seed"), pay{amount: 100})
	if err != nil {
		t.Fatal(err)
	}
	done, err := h.Execute(t.Context(), stream, key("k"), pay{})
	if err != nil || len(done.IDs) > 0 || done.First != 0 || done.Last != seed.Last || done.Revision != 0 {
		t.Errorf("%+v, %v; want no events, and the position of the newest one", done, err)
	}
}

// TestExecuteAll: many commands, few appends, each decided after the others,
// the refused ones with their reasons; and all of it again does nothing.
func TestExecuteAll(t *testing.T) {
	log := newSpy()
	appends := 0
	log.before = func() { appends++ }
	var items []eventlog.Item[pay]
	for i := range 3000 {
		items = append(items, eventlog.Item[pay]{Call: key(fmt.Sprint("in", i)), Command: pay{amount: 1}})
	}
	items = append(items,
		eventlog.Item[pay]{Call: key("too much"), Command: pay{amount: -3001}},
		eventlog.Item[pay]{Call: key("all"), Command: pay{amount: -3000}},
		eventlog.Item[pay]{Call: key("one more"), Command: pay{amount: -10}},
		eventlog.Item[pay]{Call: key("in7"), Command: pay{amount: 1}},
		eventlog.Item[pay]{Call: key("twice"), Command: pay{amount: 5}},
		eventlog.Item[pay]{Call: key("twice"), Command: pay{amount: 5}},
	)
	for round := range 2 {
		h := eventlog.NewHandler(log, account, 10)
		results, err := h.ExecuteAll(t.Context(), stream, items)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			wantErr := error(nil)
			if i == 3000 || i == 3002 {
				wantErr = errOverdrawn
			}
			repeated := round > 0 || i == 3003 || i == 3005
			if !errors.Is(r.Err, wantErr) || wantErr == nil && (r.Err != nil || r.Done.Repeated != repeated) {
				t.Errorf("round %d, item %d: %+v, want error %v, repeated %t", round, i, r, wantErr, repeated)
			}
			if wantErr == nil && i < 3000 && r.Done.Revision != eventlog.Revision(i) {
				t.Errorf("round %d, item %d: revision %d, want %d", round, i, r.Done.Revision, i)
			}
		}
	}
	if sum, n := balance(t, log); sum != 5 || n != 3002 {
		t.Errorf("balance %d after %d events, want 5 after 3002", sum, n)
	}
	if appends > 10 {
		t.Errorf("%d appends, expected a few", appends)
	}
}

// TestExecuteAllConflict: another writer gets into the middle of a batch whose
// state has run ahead of the log.
func TestExecuteAllConflict(t *testing.T) {
	log := newSpy()
	other := eventlog.NewHandler(log.Log, account, 10)
	if _, err := other.Execute(t.Context(), stream, key("seed"), pay{amount: 100}); err != nil {
		t.Fatal(err)
	}
	n := 0
	log.before = func() {
		if n++; n == 1 {
			if _, err := other.Execute(t.Context(), stream, key("other"), pay{amount: -60}); err != nil {
				t.Error(err)
			}
		}
	}
	results, err := eventlog.NewHandler(log, account, 1).ExecuteAll(t.Context(), stream, []eventlog.Item[pay]{
		{Call: key("a"), Command: pay{amount: -30}},
		{Call: key("never"), Command: pay{amount: -500}},
		{Call: key("b"), Command: pay{amount: -30}},
		{Call: key("c"), Command: pay{amount: -10}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, errOverdrawn, errOverdrawn, nil} {
		if got := results[i].Err; !errors.Is(got, want) || want == nil && results[i].Done.Last == 0 {
			t.Errorf("item %d: %+v, want error %v", i, results[i], want)
		}
	}
	if sum, _ := balance(t, log); sum != 0 {
		t.Errorf("balance %d, want 0", sum)
	}
}

func TestTooLarge(t *testing.T) {
	log := newSpy()
	h := eventlog.NewHandler(log, account, 1)
	results, err := h.ExecuteAll(t.Context(), stream, []eventlog.Item[pay]{
		{Call: key("a"), Command: pay{amount: 1}},
		{Call: key("b"), Command: pay{amount: 1, note: strings.Repeat("x", eventlog.MaxAppendBytes)}},
		{Call: key("c"), Command: pay{amount: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if results[0].Err != nil || !errors.Is(results[1].Err, eventlog.ErrTooLarge) || results[2].Err != nil {
		t.Errorf("%v, %v, %v; want only the second refused", results[0].Err, results[1].Err, results[2].Err)
	}
	if sum, _ := balance(t, log); sum != 2 {
		t.Errorf("balance %d, want 2", sum)
	}
}

// TestManyWriters: goroutines on two handlers, keys that come twice, a cache
// that is too small: every key is paid exactly once.
func TestManyWriters(t *testing.T) {
	log := newSpy()
	handlers := []*eventlog.Handler[int, pay]{eventlog.NewHandler(log, account, 1), eventlog.NewHandler(log, account, 1)}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 100 {
				h := handlers[(w+i)%2]
				if i%10 == 0 {
					_, _ = h.Execute(t.Context(), eventlog.Stream("account", fmt.Sprint("other", w, i)), key("x"), pay{amount: 1})
				}
				for {
					_, err := h.Execute(t.Context(), stream, key(fmt.Sprint(w/2, ".", i)), pay{amount: 1})
					if err == nil {
						break
					}
					if !errors.Is(err, eventlog.ErrConflict) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if sum, n := balance(t, log); sum != 400 || n != 400 {
		t.Errorf("balance %d after %d events, want 400 of each: 400 keys, each sent by two writers", sum, n)
	}
}

func TestKey(t *testing.T) {
	k := eventlog.NewKey("o", "s", "m", "k")
	if got, want := k.Event(0).String(), eventlog.NewKey("o", "s", "m", "k").Event(0).String(); got != want {
		t.Errorf("the same key gives %s and %s", got, want)
	}
	seen := map[string]bool{}
	for _, k := range []eventlog.Key{
		k, eventlog.NewKey("os", "", "m", "k"), eventlog.NewKey("o", "s", "mk", ""), eventlog.NewKey("o", "t", "m", "k"),
		eventlog.FreshKey([16]byte{}), eventlog.FreshKey([16]byte{1}),
	} {
		for n := range 2 {
			for _, id := range []string{k.Event(n).String(), k.Entity(n)} {
				if seen[id] {
					t.Errorf("%s twice", id)
				}
				seen[id] = true
			}
		}
	}
	if id := k.Event(0).String(); id[14] != '8' || !strings.ContainsRune("89ab", rune(id[19])) {
		t.Errorf("%s is no UUIDv8", id)
	}
	if id := eventlog.FreshKey([16]byte{1}).Event(0).String(); id[14] != '4' {
		t.Errorf("%s is no UUIDv4", id)
	}
}

func TestDeciderExecute(t *testing.T) {
	log := newSpy()
	for i := range 3 {
		sum, _, err := account.Execute(t.Context(), log, stream, key(fmt.Sprint(i)), pay{amount: 2})
		if err != nil || sum != 2*(i+1) {
			t.Errorf("state %d, %v; want %d", sum, err, 2*(i+1))
		}
	}
}
