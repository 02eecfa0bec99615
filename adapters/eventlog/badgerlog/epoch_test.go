package badgerlog_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/domain/eventlog"
)

func openEpoch(t *testing.T, l *badgerlog.Log, number uint16) eventlog.Position {
	t.Helper()
	e, err := eventlog.NewJSONEvent(eventlog.EventID{1, byte(number)}, eventlog.EpochOpened{Epoch: number, Why: "copy"}, eventlog.Envelope{})
	if err != nil {
		t.Fatal(err)
	}
	app, err := l.OpenEpoch(t.Context(), number, eventlog.EpochStream(l.Origin(), number), e)
	if err != nil {
		t.Fatal(err)
	}
	return app.First
}

func everything(t *testing.T, l eventlog.Log, after eventlog.Position) (all []eventlog.Record) {
	t.Helper()
	for r, err := range l.ReadAll(t.Context(), after, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// TestEpochs: positions stay what they are across epochs, sealing and restarts;
// those that a closed epoch never reached are refused wherever they are used.
func TestEpochs(t *testing.T) {
	dir := t.TempDir()
	cfg := badgerlog.Config{Window: 20, NoSealing: true}
	l := open(t, dir, cfg)
	id := eventlog.StreamID("telemetry-x.0")
	rng := rand.New(rand.NewPCG(1, 2))
	n := uint64(0)
	fill := func(count int) {
		for range count {
			events := facts(id, n, 1+rng.IntN(4))
			for i := range events {
				if rng.IntN(3) > 0 {
					events[i].Type = eventlog.TelemetryRecorded
				}
			}
			if _, err := l.Append(t.Context(), id, expect(n), events...); err != nil {
				t.Fatal(err)
			}
			n += uint64(len(events))
		}
	}
	var ends []eventlog.Position
	restart := func() {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = open(t, dir, cfg)
	}
	for i, number := range []uint16{3, 4, 90} {
		fill(7 + 20*i)
		head, _, err := l.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, head)
		if got, want := openEpoch(t, l, number), eventlog.NewPosition(number, head.Order()+1); got != want {
			t.Fatalf("epoch %d begins at %v, want %v", number, got, want)
		}
		if i == 1 {
			restart()
		}
	}
	fill(30)
	before := everything(t, l, 0)
	for i, r := range before {
		if r.Position.Order() != uint64(i)+1 {
			t.Fatalf("record %d at order %d", i, r.Position.Order())
		}
	}
	check := func(when string) {
		t.Helper()
		for i, end := range ends {
			if got := everything(t, l, end); len(got) != len(before)-int(end.Order()) || got[0].Position <= end {
				t.Errorf("%s: %d records after %v, want %d", when, len(got), end, len(before)-int(end.Order()))
			}
			for _, lostPos := range []eventlog.Position{end + 1, end + 7, eventlog.NewPosition(50, 1)} {
				_, err := l.Subscribe(t.Context(), lostPos, eventlog.Filter{})
				for _, readErr := range l.ReadAll(t.Context(), lostPos, eventlog.Forwards, eventlog.Filter{}) {
					err = errors.Join(err, readErr)
					if !errors.Is(readErr, eventlog.ErrPositionLost) {
						t.Errorf("%s: read after %v: %v", when, lostPos, readErr)
					}
				}
				if !errors.Is(err, eventlog.ErrPositionLost) || !errors.Is(l.Stands(lostPos), eventlog.ErrPositionLost) {
					t.Errorf("%s: %v, of a lost future: %v", when, lostPos, err)
				}
			}
			back := 0
			for r, err := range l.ReadAll(t.Context(), end+1, eventlog.Backwards, eventlog.Filter{}) {
				if err != nil || back == 0 && r.Position != end {
					t.Fatalf("%s: backwards from behind %v: %v, %v", when, end, r.Position, err)
				}
				back++
			}
			if back != int(end.Order()) {
				t.Errorf("%s: %d records up to %v", when, back, end)
			}
			sub, err := l.Subscribe(t.Context(), end, eventlog.Filter{})
			if err != nil || sub.Lag() != uint64(len(before))-end.Order() {
				t.Errorf("%s: lag after %v: %v, %v", when, end, sub.Lag(), err)
			}
			known, err := l.KnownAt(t.Context(), before[end.Order()-1].Recorded)
			if err != nil || known < end || known.Order() > uint64(len(before)) || before[known.Order()-1].Position != known {
				t.Errorf("%s: known at the end of epoch %d: %v, %v", when, i, known, err)
			}
		}
		sameRecords(t, when, everything(t, l, 0), before)
		var stream []eventlog.Record
		for r, err := range l.Read(t.Context(), id, 0, eventlog.Forwards) {
			if err != nil {
				t.Fatal(err)
			}
			stream = append(stream, r)
		}
		if len(stream) != int(n) {
			t.Errorf("%s: the stream has %d events, want %d", when, len(stream), n)
		}
		if got := l.Epochs(); len(got) != 4 || got[3].Number != 90 || got[1].Last != ends[1] {
			t.Errorf("%s: epochs %+v", when, got)
		}
	}
	check("before sealing")
	restart()
	check("after a restart")
	if err := l.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l.Sealed() <= uint64(ends[2]) {
		t.Fatalf("sealed to %v only", eventlog.Position(l.Sealed()))
	}
	check("after sealing")
	restart()
	check("after sealing and a restart")
	fill(30)
	if err := l.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	restart()
	sameRecords(t, "grown", everything(t, l, 0)[:len(before)], before)
}

// TestEpochOfNothing: a log may begin in a later epoch.
func TestEpochOfNothing(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, badgerlog.Config{Window: 5})
	if got, want := openEpoch(t, l, 7), eventlog.NewPosition(7, 1); got != want {
		t.Fatalf("began at %v, want %v", got, want)
	}
	for i := range uint64(30) {
		if _, err := l.Append(t.Context(), "a-1", expect(i), facts("a-1", i, 1)...); err != nil {
			t.Fatal(err)
		}
	}
	before := everything(t, l, 0)
	if err := l.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, badgerlog.Config{Window: 5})
	sameRecords(t, "again", everything(t, l, 0), before)
	if err := l.Stands(eventlog.NewPosition(0, 1)); !errors.Is(err, eventlog.ErrPositionLost) {
		t.Errorf("position 1 of epoch 0: %v", err)
	}
}

func sameRecords(t *testing.T, what string, got, want []eventlog.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d records, want %d", what, len(got), len(want))
	}
	for i, r := range got {
		if w := want[i]; r.Stream != w.Stream || r.Revision != w.Revision || r.Position != w.Position || r.ID != w.ID || r.Type != w.Type ||
			r.ContentType != w.ContentType || !r.Recorded.Equal(w.Recorded) || !bytes.Equal(r.RawEnvelope, w.RawEnvelope) || !bytes.Equal(r.Data, w.Data) {
			t.Fatalf("%s: record %d is\n%+v, want\n%+v", what, i, r, w)
		}
	}
}
