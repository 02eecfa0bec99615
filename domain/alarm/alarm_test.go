package alarm

import (
	"bytes"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/domain/eventlog"
)

var update = flag.Bool("update", false, "write golden files that do not exist")

func at(minute int) time.Time {
	return time.Date(2026, 3, 19, 10, 0, 0, 0, time.UTC).Add(time.Duration(minute) * time.Minute)
}

var what = What{Device: "P-1", Name: "overheat", Kind: "process", Severity: 800, Message: "bearing too hot", Tag: "temp"}

func see(active bool, minute int) Observe { return Observe{What: what, Active: active, At: at(minute)} }

// play runs commands, each of which must be taken, and returns the state.
func play(t *testing.T, commands ...Command) (s State) {
	t.Helper()
	for i, c := range commands {
		events, err := Decider.Decide(s, c)
		if err != nil {
			t.Fatalf("command %d %+v: %v", i, c, err)
		}
		for _, e := range events {
			s = Decider.Evolve(s, e)
		}
	}
	return s
}

// TestISA182 goes through the transitions of figure 3.
func TestISA182(t *testing.T) {
	raised, cleared, acked := see(true, 1), see(false, 5), Acknowledge{at(3)}
	for _, c := range []struct {
		name  string
		given []Command
		now   int
		want  Condition
	}{
		{"never raised", nil, 9, Normal},
		{"A to B", []Command{raised}, 9, Unacked},
		{"B to C", []Command{raised, acked}, 9, Acked},
		{"C to A", []Command{raised, acked, cleared}, 9, Normal},
		{"B to D", []Command{raised, cleared}, 9, Returned},
		{"D to A", []Command{raised, cleared, Acknowledge{at(6)}}, 9, Normal},
		{"D to B: it is raised again", []Command{raised, cleared, see(true, 7)}, 9, Unacked},
		{"an acknowledgement is not for what comes after it", []Command{raised, acked, cleared, see(true, 7)}, 9, Unacked},
		{"shelved", []Command{raised, Shelve{at(2), at(30)}}, 9, Shelved},
		{"the shelving ends by itself", []Command{raised, Shelve{at(2), at(30)}}, 31, Unacked},
		{"or by a person", []Command{raised, Shelve{at(2), at(30)}, Unshelve{at(4)}}, 9, Unacked},
		{"out of service", []Command{raised, Service{false, at(2)}}, 9, OutOfService},
		{"and back", []Command{raised, Service{false, at(2)}, Service{true, at(3)}}, 9, Unacked},
		{"in a flood", []Command{Observe{What: what, Active: true, At: at(1), Flood: true}}, 9, Suppressed},
		{"late: it had cleared before it was raised again", []Command{see(true, 1), see(true, 8), see(false, 5), see(true, 7)}, 9, Unacked},
		{"late: a raise before a clear that is known", []Command{raised, cleared, see(true, 3)}, 9, Returned},
	} {
		if got := play(t, c.given...).Condition(at(c.now)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	up := play(t, see(true, 1))
	for _, c := range []struct {
		name string
		s    State
		c    Command
		want error
	}{
		{"what was never raised", State{}, Acknowledge{at(1)}, ErrNotRaised},
		{"acknowledging twice", play(t, see(true, 1), Acknowledge{at(2)}), Acknowledge{at(3)}, ErrNothing},
		{"shelving into the past", up, Shelve{at(9), at(8)}, ErrBadTime},
		{"shelving for ever", up, Shelve{at(1), at(1).Add(8 * 24 * time.Hour)}, ErrBadTime},
		{"ending no shelving", up, Unshelve{at(9)}, ErrNothing},
		{"putting back what is in service", up, Service{true, at(9)}, ErrNothing},
	} {
		if events, err := Decider.Decide(c.s, c.c); !errors.Is(err, c.want) || events != nil {
			t.Errorf("%s: %v, %v", c.name, events, err)
		}
	}
	if events, err := Decider.Decide(up, see(true, 1)); err != nil || events != nil {
		t.Errorf("saying the same again: %v, %v", events, err)
	}
}

// TestLateNewsDecidesItsPlace: whatever order observations of one line come in,
// the alarm ends up active or not, since the same time, as in order.
func TestLateNewsDecidesItsPlace(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var line []Command
		active := false
		for i := range 2 + rng.IntN(10) {
			active = !active
			line = append(line, see(active, 10*i))
		}
		want := play(t, line...)
		rng.Shuffle(len(line), func(i, j int) { line[i], line[j] = line[j], line[i] })
		got := play(t, line...)
		if got.Active() != want.Active() || !got.Since().Equal(want.Since()) || !got.RaisedAt().Equal(want.RaisedAt()) {
			t.Fatalf("seed %d: active %t since %v, in order %t since %v", seed, got.Active(), got.Since(), want.Active(), want.Since())
		}
	}
}

func TestPriority(t *testing.T) {
	for severity, want := range map[int]Priority{1000: Critical, 750: Critical, 749: High, 500: High, 499: Medium, 250: Medium, 249: Low, 1: Low} {
		if got := PriorityOf(severity); got != want {
			t.Errorf("severity %d is %s, want %s", severity, got, want)
		}
	}
}

func TestGoldenEvents(t *testing.T) {
	from := &Source{"telemetry-gw~alarms.00112233445566aa", 7}
	for _, ev := range []eventlog.Event{
		Raised{what, at(1), from, true}, Cleared{at(2), from}, Acknowledged{at(3)}, Shelving{at(4), at(9)}, Unshelved{at(5)}, TakenOut{at(6)}, PutBack{at(7)},
	} {
		golden(t, ev)
	}
	if ev, err := Decode("alarm.painted.v1", nil); ev != nil || err != nil {
		t.Errorf("an event that does not matter is %v, %v", ev, err)
	}
}

func golden(t *testing.T, ev eventlog.Event) {
	t.Helper()
	data, err := eventlog.CanonicalJSON(ev)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("testdata/events", ev.EventType()+".json")
	if _, err := os.Stat(file); os.IsNotExist(err) && *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, want) {
		t.Errorf("%s is\n%s, want\n%s", ev.EventType(), data, want)
	}
	back, err := Decode(ev.EventType(), want)
	if d := cmp.Diff(ev, back); err != nil || d != "" {
		t.Error(err, d)
	}
}
