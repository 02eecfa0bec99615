package device

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// A golden file is written once (-update, only if absent) and then only read.
// A failure means old logs would read differently: add a new version.
var update = flag.Bool("update", false, "write golden files that do not exist")

func at(minute int) time.Time { return time.Date(2024, 3, 19, 10, minute, 0, 0, time.UTC) }

var (
	seen       = See{Device: "P-007", Type: "pump", Place: "acme/detroit/water/l3", Gateway: "gw-1", How: FirstSeen}
	registered = Registered{Device: "P-007", Type: "pump", Place: "acme/detroit/water/l3", Gateway: "gw-1", How: FirstSeen}
)

func TestDecider(t *testing.T) {
	online := func(minute int) Report { return Report{See: seen, Online: true, At: at(minute), Reason: "started"} }
	offline := func(minute int) Report { return Report{See: seen, At: at(minute), Reason: "conn_lost"} }
	for _, c := range []struct {
		name  string
		given []eventlog.Event
		when  Command
		then  []eventlog.Event
	}{
		{"a device that is new is registered", nil, seen, []eventlog.Event{registered}},
		{"once", []eventlog.Event{registered}, seen, nil},
		{"a status registers it as well", nil, online(1), []eventlog.Event{registered, Online{at(1), "started"}}},
		{"a will of one that never said anything is news", []eventlog.Event{registered}, offline(1), []eventlog.Event{Offline{at(1), "conn_lost"}}},
		{"saying the same again is not a second fact", []eventlog.Event{registered, Online{At: at(1)}}, online(2), nil},
		{"leaving is", []eventlog.Event{registered, Online{At: at(1)}}, offline(2), []eventlog.Event{Offline{at(2), "conn_lost"}}},
		{"leaving twice is not", []eventlog.Event{registered, Online{At: at(1)}, Offline{At: at(2)}}, offline(3), nil},
		{"coming back is", []eventlog.Event{registered, Online{At: at(1)}, Offline{At: at(2)}}, online(3), []eventlog.Event{Online{at(3), "started"}}},
	} {
		var s State
		for _, e := range c.given {
			s = Decider.Evolve(s, e)
		}
		got, err := Decider.Decide(s, c.when)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if d := cmp.Diff(c.then, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestGoldenEvents(t *testing.T) {
	for _, ev := range []eventlog.Event{registered, Online{at(1), "started"}, Offline{at(2), "conn_lost"}} {
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
		back, err := Decider.Decode(ev.EventType(), want)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(ev, back); d != "" {
			t.Error(d)
		}
	}
	if ev, err := Decider.Decode("device.painted.v1", nil); ev != nil || err != nil {
		t.Errorf("an event that does not matter is %v, %v", ev, err)
	}
}
