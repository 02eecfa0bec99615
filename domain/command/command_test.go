package command

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/domain/eventlog"
)

var update = flag.Bool("update", false, "write golden files that do not exist")

func at(minute int) time.Time {
	return time.Date(2026, 3, 19, 10, 0, 0, 0, time.UTC).Add(time.Duration(minute) * time.Minute)
}

func order() Order {
	return Order{
		ID: "c-1", Device: "P-1", Tag: "speed", Value: 42.5, Priority: "normal", Expires: at(10),
		Constraints: Constraints{Min: new(0.0), Max: new(50.0), MaxRate: new(5.0), Interlock: "guard_open"},
	}
}

func answer(s Status, minute int) Answer {
	return Answer{Answered{Status: s, At: at(minute), New: 42.5}}
}

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

func TestStates(t *testing.T) {
	issue, send := Issue{order(), at(0)}, Send{at(1)}
	for _, c := range []struct {
		name  string
		given []Command
		want  Status
	}{
		{"recorded", []Command{issue}, Pending},
		{"sent", []Command{issue, send}, Delivered},
		{"done", []Command{issue, send, answer(Executing, 2), answer(Completed, 3)}, Completed},
		{"not effective", []Command{issue, send, answer(NotEffective, 3)}, NotEffective},
		{"a repeated answer is not a second fact", []Command{issue, send, answer(Rejected, 3), answer(Completed, 4)}, Rejected},
		{"too late", []Command{issue, send, Expire{at(10)}}, Expired},
		{"too late, and then the device's word comes", []Command{issue, send, Expire{at(10)}, answer(Completed, 9)}, Completed},
		{"taken back", []Command{issue, Cancel{at(1)}}, Cancelled},
	} {
		if got := play(t, c.given...).Status; got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	for name, c := range map[string]struct {
		s State
		c Command
	}{
		"issuing twice":             {play(t, issue), issue},
		"sending twice":             {play(t, issue, send), send},
		"taking back what was sent": {play(t, issue, send), Cancel{at(2)}},
		"expiring before its time":  {play(t, issue), Expire{at(9)}},
		"sending nothing":           {State{}, send},
	} {
		if events, err := Decider.Decide(c.s, c.c); !errors.Is(err, ErrState) || events != nil {
			t.Errorf("%s: %v, %v", name, events, err)
		}
	}
}

// TestEveryFaultAtOnce: each is named with what was given and expected.
func TestEveryFaultAtOnce(t *testing.T) {
	bad := Order{Value: 60.0, Priority: "soon", Expires: at(-1), Constraints: Constraints{Min: new(70.0), Max: new(50.0), MaxRate: new(0.0)}}
	_, err := Decider.Decide(State{}, Issue{bad, at(0)})
	if !errors.Is(err, ErrBadCommand) {
		t.Fatal(err)
	}
	for _, want := range []string{"no device", "no tag", "expires at", `priority "soon"`, "crossed", "max_rate", "below its own", "above its own"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	long := order()
	long.Priority = "emergency"
	if _, err := Decider.Decide(State{}, Issue{long, at(0)}); !errors.Is(err, ErrBadCommand) {
		t.Errorf("an emergency of ten minutes: %v", err)
	}
}

func TestGoldenEvents(t *testing.T) {
	for _, ev := range []eventlog.Event{
		Issued{order(), at(0)}, Sent{at(1)}, Answered{Completed, at(2), 40.0, 42.5, 130, "read back"}, Lapsed{at(3)}, Withdrawn{at(4)},
	} {
		golden(t, ev)
	}
	if ev, err := Decode("command.painted.v1", nil); ev != nil || err != nil {
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
