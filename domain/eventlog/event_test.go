package eventlog

import (
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

type moved struct {
	To string `json:"to"`
	At int    `json:"at"`
}

func (moved) EventType() string { return "asset.moved.v1" }

func TestNewJSONEvent(t *testing.T) {
	e, err := NewJSONEvent(EventID{1}, moved{"<b>", 3}, Envelope{Zone: "UTC"})
	if err != nil || e.Type != "asset.moved.v1" || string(e.Data) != `{"at":3,"to":"<b>"}` || e.ID != (EventID{1}) || e.Envelope.Zone != "UTC" {
		t.Fatalf("%+v, %v", e, err)
	}
	if _, err := NewJSONEvent(EventID{1}, moved{To: "\xff"}, Envelope{}); !errors.Is(err, ErrNotCanonical) {
		t.Fatal(err)
	}
}

func TestIDsAndPositionsAsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var id EventID
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		if back, err := ParseEventID(strings.ToUpper(id.String())); err != nil || back != id || len(id.String()) != 36 {
			t.Fatal(id, back, err)
		}
		p := NewPosition(rapid.Uint16Range(0, 1<<15-1).Draw(t, "epoch"), rapid.Uint64Range(0, 1<<48-1).Draw(t, "order"))
		q := NewPosition(rapid.Uint16Range(0, 1<<15-1).Draw(t, "epoch"), rapid.Uint64Range(0, 1<<48-1).Draw(t, "order"))
		if back, err := ParsePosition(p.String()); err != nil || back != p {
			t.Fatal(p, back, err)
		}
		if (p < q) != (p.String() < q.String()) || p > End {
			t.Fatal("text does not sort as positions do:", p, q)
		}
	})
	if s := NewPosition(1, 5).String(); s != "00000281474976710661" {
		t.Error(s)
	}
	for _, s := range []string{"", "5", "0000000000000000000x", "+0000000000000000005", "09223372036854775808", "000000000000000000005"} {
		if p, err := ParsePosition(s); !errors.Is(err, ErrBadPosition) {
			t.Errorf("%q: %v, %v", s, p, err)
		}
	}
	for _, s := range []string{"", "01020304-0506-0708-090a-0b0c0d0e0f1", "01020304-0506-0708-090a-0b0c0d0e0f1g", "010203040-506-0708-090a-0b0c0d0e0f10"} {
		if id, err := ParseEventID(s); err == nil {
			t.Errorf("%q: %v", s, id)
		}
	}
}

func TestStreamNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.String(), rapid.StringN(1, 60, 60)).Draw(t, "name")
		id := Stream("device", name)
		if id.Category() != "device" || id.Entity() != name {
			t.Fatalf("%q became %q, read as %q", name, id, id.Entity())
		}
		if err := id.Check(); (err == nil) != (name != "" && len(id) <= len("device-")+maxStreamID) {
			t.Fatalf("%q: %v", id, err)
		}
	})
	for _, s := range []StreamID{"", "a", "-x", "a-", "A-x", "dead1-x", "asset-a b", "asset-ü", StreamID(strings.Repeat("a", 41) + "-x")} {
		if err := s.Check(); !errors.Is(err, ErrBadEvent) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		f                       Filter
		row, gap, asset         bool
		wantsTelemetry, wantsOt bool
	}{
		{Filter{}, true, true, true, true, true},
		{Filter{NoTelemetry: true}, false, true, true, false, true},
		{Filter{Types: []string{TelemetryRecorded}}, true, false, false, true, false},
		{Filter{Types: []string{"telemetry.gap.v1"}}, false, true, false, false, true},
		{Filter{Categories: []string{"asset"}}, false, false, true, false, true},
		{Filter{Categories: []string{"telemetry"}}, true, true, false, true, true},
		{Filter{Categories: []string{"telemetry"}, NoTelemetry: true}, false, true, false, false, true},
	} {
		got := []bool{
			c.f.Passes("telemetry-g.1", TelemetryRecorded), c.f.Passes("telemetry-g.1", "telemetry.gap.v1"),
			c.f.Passes("asset-1", "asset.moved.v1"), c.f.WantsTelemetry(), c.f.WantsOther(),
		}
		if want := []bool{c.row, c.gap, c.asset, c.wantsTelemetry, c.wantsOt}; !slices.Equal(got, want) {
			t.Errorf("%+v: %v, want %v", c.f, got, want)
		}
	}
}

func TestCheckAppend(t *testing.T) {
	ok := NewEvent{ID: EventID{1}, Type: "x.y.v1"}
	for name, c := range map[string]struct {
		id     StreamID
		events []NewEvent
	}{
		"no events":                 {"asset-1", nil},
		"no id":                     {"asset-1", []NewEvent{ok, {Type: "x"}}},
		"no type":                   {"asset-1", []NewEvent{{ID: EventID{1}}}},
		"long type":                 {"asset-1", []NewEvent{{ID: EventID{1}, Type: strings.Repeat("x", 256)}}},
		"content type not UTF-8":    {"asset-1", []NewEvent{{ID: EventID{1}, Type: "x", ContentType: "\xff"}}},
		"bad envelope":              {"asset-1", []NewEvent{{ID: EventID{1}, Type: "x", Envelope: Envelope{Zone: "\xff"}}}},
		"bad stream":                {"asset", []NewEvent{ok}},
		"telemetry in other stream": {"asset-1", []NewEvent{{ID: EventID{1}, Type: TelemetryRecorded}}},
	} {
		if err := CheckAppend(c.id, c.events); !errors.Is(err, ErrBadEvent) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := CheckAppend("telemetry-1.0", []NewEvent{ok, {ID: EventID{2}, Type: TelemetryRecorded}}); err != nil {
		t.Error(err)
	}
}

// TestKnownAtTime compares with the definition read word by word, over clocks
// that step back and indexes of any sparseness.
func TestKnownAtTime(t *testing.T) {
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		var all, marks []Mark
		var p Position
		var running time.Time
		for _, s := range rapid.SliceOfN(rapid.IntRange(0, 20), 0, 60).Draw(t, "recorded") {
			p += Position(rapid.IntRange(1, 3).Draw(t, "gap"))
			m := Mark{p, base.Add(time.Duration(s) * time.Second)}
			all = append(all, m)
			if m.Recorded.After(running) {
				running = m.Recorded
			}
			if rapid.IntRange(0, 5).Draw(t, "mark") == 0 {
				marks = append(marks, Mark{p, running})
			}
		}
		at := base.Add(time.Duration(rapid.IntRange(-1, 21).Draw(t, "t")) * time.Second)
		var want Position
		for _, m := range all {
			if m.Recorded.After(at) {
				break
			}
			want = m.Position
		}
		read := 0
		got, err := KnownAtTime(at, marks, func(after, through Position) iter.Seq2[Mark, error] {
			return func(yield func(Mark, error) bool) {
				for _, m := range all {
					if m.Position > after && m.Position <= through {
						if read++; !yield(m, nil) {
							return
						}
					}
				}
			}
		})
		if err != nil || got != want {
			t.Fatalf("known at %v: %d, want %d (%v)\nevents %v\nmarks %v", at, got, want, err, all, marks)
		}
		if len(marks) > 0 && len(all) > 0 && read == len(all) && marks[0].Position < want {
			t.Fatalf("the index was not used: all %d events read", read)
		}
	})
	broken := errors.New("broken")
	if _, err := KnownAtTime(base, nil, func(_, _ Position) iter.Seq2[Mark, error] {
		return func(yield func(Mark, error) bool) { yield(Mark{}, broken) }
	}); !errors.Is(err, broken) {
		t.Fatal(err)
	}
}
