// Package fieldtest holds every adapter that fills acquire.Polled to the port's
// contract, on a day on which the network and the machine misbehave.
//
// An adapter calls it in a few lines with a Rig: a machine that listens on a
// real socket, what it holds, and how to make a source for it.
package fieldtest

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge/acquire"
	"github.com/twinlog/twinlog/test/budget"
)

// A Rig is a machine and what is known about it.
type Rig struct {
	Machine string // host:port of the machine
	// Open makes a source for the machine at address; its one answer may take
	// Timeout.
	Open    func(tb testing.TB, address string) acquire.Polled
	Timeout time.Duration
	// Want is what each item holds: at least one of every type that the
	// protocol has. Where Codes is not Good the item is one that the machine
	// refuses, and Want is Null.
	Want  []telemetry.Value
	Codes []quality.Code
}

// Run runs the kit.
func Run(t *testing.T, rig Rig) {
	t.Run("every type is read, and what the machine refuses is Bad alone", rig.reads)
	t.Run("items come back in the order in which they were asked for", rig.order)
	t.Run("a connection that broke while idle is opened again within the read", rig.breaks)
	t.Run("a machine that is not there is no session, and comes back", rig.cut)
	t.Run("a machine that is silent is Bad for communication and without a value", rig.mute)
	t.Run("an answer that comes too late is never taken for a later question's", rig.late)
	t.Run("garbage is never a value", rig.garbage)
	t.Run("a read ends with its context", rig.stop)
}

func (rig Rig) items() []int {
	items := make([]int, len(rig.Want))
	for i := range items {
		items[i] = i
	}
	return items
}

// session opens a source through a Chaos of its own.
func (rig Rig) session(t *testing.T) (acquire.Polled, *Chaos) {
	t.Helper()
	chaos := NewChaos(t, rig.Machine)
	src := rig.Open(t, chaos.Address())
	t.Cleanup(func() {
		if err := src.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := src.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
	if err := src.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	return src, chaos
}

// good reads all items and compares them with what the machine holds.
func (rig Rig) good(t *testing.T, src acquire.Polled) {
	t.Helper()
	before := time.Now()
	got, err := src.Read(t.Context(), rig.items())
	if err != nil {
		t.Fatal(err)
	}
	rig.compare(t, rig.items(), got)
	for i, r := range got {
		if r.Quality.Code == quality.Good && (r.At.Before(before) || r.At.After(time.Now())) {
			t.Errorf("item %d was read at %v, which is not between question and answer", i, r.At)
		}
	}
}

func (rig Rig) compare(t *testing.T, items []int, got []acquire.Reading) {
	t.Helper()
	if len(got) != len(items) {
		t.Fatalf("%d readings for %d items", len(got), len(items))
	}
	for i, item := range items {
		if got[i].Item != item || got[i].Value != rig.Want[item] || got[i].Quality.Code != rig.Codes[item] {
			t.Errorf("item %d: got item %d, %+v, %v; want %+v, %v", item, got[i].Item, got[i].Value, got[i].Quality.Code, rig.Want[item], rig.Codes[item])
		}
	}
}

// silent holds readings of a machine that did not answer to the contract.
func silent(t *testing.T, items int, got []acquire.Reading, err error) {
	t.Helper()
	if err == nil {
		t.Error("a read that nobody answered returned no error")
	}
	if len(got) != items {
		t.Fatalf("%d readings for %d items", len(got), items)
	}
	for i, r := range got {
		code := r.Quality.Code
		if r.Value != (telemetry.Value{}) || (code != quality.BadCommunicationError && code != quality.BadNoCommunication && code != quality.BadTimeout) {
			t.Errorf("item %d is %+v, %v; want no value and a code of communication", i, r.Value, code)
		}
	}
}

func (rig Rig) reads(t *testing.T) {
	src, _ := rig.session(t)
	for range 3 {
		rig.good(t, src)
	}
}

func (rig Rig) order(t *testing.T) {
	src, _ := rig.session(t)
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	for range 5 {
		items := rng.Perm(len(rig.Want))[:1+rng.IntN(len(rig.Want))]
		got, err := src.Read(t.Context(), items)
		if err != nil {
			t.Fatal(err)
		}
		rig.compare(t, items, got)
	}
}

func (rig Rig) breaks(t *testing.T) {
	src, chaos := rig.session(t)
	rig.good(t, src)
	chaos.Break()
	rig.good(t, src)
}

func (rig Rig) cut(t *testing.T) {
	src, chaos := rig.session(t)
	rig.good(t, src)
	chaos.Cut()
	got, err := src.Read(t.Context(), rig.items())
	silent(t, len(rig.Want), got, err)
	chaos.Heal()
	if err := src.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	rig.good(t, src)
}

func (rig Rig) mute(t *testing.T) {
	src, chaos := rig.session(t)
	rig.good(t, src)
	chaos.Mute()
	got, err := src.Read(t.Context(), rig.items())
	silent(t, len(rig.Want), got, err)
	chaos.Heal()
	if err := src.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	rig.good(t, src)
}

// late lets every answer arrive after its time, then all at once when the
// network is fast again, while the next questions are asked. The half-items
// asked then differ from those whose answers are late.
func (rig Rig) late(t *testing.T) {
	src, chaos := rig.session(t)
	chaos.Slow(rig.Timeout + rig.Timeout/2)
	got, err := src.Read(t.Context(), rig.items())
	silent(t, len(rig.Want), got, err)
	chaos.Slow(0)
	for i := range rig.Want {
		got, err := src.Read(t.Context(), []int{i})
		if err != nil {
			silent(t, 1, got, err) // the backlog of the slow network may cost a read, never a wrong value
			continue
		}
		rig.compare(t, []int{i}, got)
	}
}

func (rig Rig) garbage(t *testing.T) {
	src, chaos := rig.session(t)
	chaos.Garbage(rand.New(rand.NewPCG(budget.Seed(t), 0)))
	for range 3 {
		got, err := src.Read(t.Context(), rig.items())
		silent(t, len(rig.Want), got, err)
	}
	chaos.Heal()
	if err := src.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	rig.good(t, src)
}

func (rig Rig) stop(t *testing.T) {
	src, chaos := rig.session(t)
	chaos.Mute()
	ctx, cancel := context.WithTimeout(t.Context(), rig.Timeout/4)
	defer cancel()
	began := time.Now()
	got, _ := src.Read(ctx, rig.items())
	if took := time.Since(began); took > rig.Timeout {
		t.Errorf("Read went on for %v after its context had ended at %v", took, rig.Timeout/4)
	}
	if diff := cmp.Diff(len(rig.Want), len(got)); diff != "" {
		t.Errorf("readings (-want +got):\n%s", diff)
	}
}
