package logtool_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
)

type place struct {
	stream   eventlog.StreamID
	revision eventlog.Revision
}

// plant appends a random history and keeps, from what it gave and its own
// clock alone, the digest of every event.
type plant struct {
	t       testing.TB
	rng     *rand.Rand
	now     time.Time
	next    map[eventlog.StreamID]eventlog.Revision
	digests map[place][32]byte
	order   []place
}

func newPlant(t testing.TB, rng *rand.Rand) *plant {
	return &plant{
		t: t, rng: rng, now: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC),
		next: map[eventlog.StreamID]eventlog.Revision{}, digests: map[place][32]byte{},
	}
}

var clockState = eventlog.ClockState{State: "SYNCED", Source: "ntp:x"}

func (p *plant) config(window int) badgerlog.Config {
	return badgerlog.Config{
		Origin: "site-1", IDs: telemetry.DeriveID, Window: window, NoSealing: true,
		Now: func() time.Time { return p.now }, Clock: func() eventlog.ClockState { return clockState },
	}
}

func (p *plant) append(l *badgerlog.Log, appends int) {
	p.t.Helper()
	for range appends {
		p.now = p.now.Add(time.Duration(p.rng.IntN(3)) * 700 * time.Microsecond)
		id := eventlog.StreamID([]string{"telemetry-a.0", "telemetry-b.0", "asset-x", "person-1", "command-7"}[p.rng.IntN(5)])
		events := make([]eventlog.NewEvent, 1+p.rng.IntN(5))
		for i := range events {
			e := &events[i]
			rev := p.next[id] + eventlog.Revision(i)
			e.ID = eventlog.NewKey("site-1", "s", string(id), fmt.Sprint(rev)).Event(0)
			e.Type, e.ContentType = "a.happened.v1", eventlog.JSON
			e.Envelope = eventlog.Envelope{Device: []string{"", "dev"}[p.rng.IntN(2)], Terminal: []string{"", "t"}[p.rng.IntN(2)]}
			if id.Category() == eventlog.TelemetryCategory && p.rng.IntN(5) > 0 {
				e.Type = eventlog.TelemetryRecorded
			}
			e.Data = make([]byte, p.rng.IntN(200))
			for k := range e.Data {
				e.Data[k] = byte(p.rng.IntN(7))
			}
			if p.rng.IntN(300) == 0 {
				e.Data = append(e.Data, make([]byte, 100_000)...)
			}
			stamped := e.Envelope
			stamped.Recorded, stamped.Clock = p.now, clockState
			raw := stamped.AppendCanonical(nil)
			if p.rng.IntN(6) == 0 {
				raw = fmt.Appendf(nil, `{"foreign": %d}`, p.rng.IntN(9))
				e.RawEnvelope = raw
			}
			r := eventlog.Record{Stream: id, Revision: rev, ID: e.ID, Type: e.Type, ContentType: e.ContentType, RawEnvelope: raw, Data: e.Data}
			p.digests[place{id, rev}] = r.Digest()
			p.order = append(p.order, place{id, rev})
		}
		if _, err := l.Append(p.t.Context(), id, eventlog.After(p.next[id]), events...); err != nil {
			p.t.Fatal(err)
		}
		p.next[id] += eventlog.Revision(len(events))
	}
}

// check compares Read and ReadAll with the digests taken at Append. Events of
// epochs are the log's own.
func (p *plant) check(what string, l eventlog.Log) {
	p.t.Helper()
	p.checkFirst(what, l, len(p.order))
}

func (p *plant) checkFirst(what string, l eventlog.Log, n int) {
	p.t.Helper()
	at := 0
	for r, err := range l.ReadAll(context.Background(), 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			p.t.Fatalf("%s: %v", what, err)
		}
		if r.Type == (eventlog.EpochOpened{}).EventType() {
			continue
		}
		if at == n {
			p.t.Fatalf("%s: more than %d events", what, n)
		}
		if want := p.order[at]; r.Stream != want.stream || r.Revision != want.revision || r.Digest() != p.digests[want] {
			p.t.Fatalf("%s: event %d is %s@%d, not what was appended as %s@%d", what, at, r.Stream, r.Revision, want.stream, want.revision)
		}
		at++
	}
	if at != n {
		p.t.Fatalf("%s: %d events, want %d", what, at, n)
	}
	counts := map[eventlog.StreamID]int{}
	for _, k := range p.order[:n] {
		counts[k.stream]++
	}
	for id, count := range counts {
		rev := eventlog.Revision(0)
		for r, err := range l.Read(context.Background(), id, 0, eventlog.Forwards) {
			if err != nil {
				p.t.Fatalf("%s: %v", what, err)
			}
			if r.Revision != rev || r.Digest() != p.digests[place{id, rev}] {
				p.t.Fatalf("%s: %s@%d is not what was appended", what, id, r.Revision)
			}
			rev++
		}
		if int(rev) != count {
			p.t.Fatalf("%s: %s has %d events, want %d", what, id, rev, count)
		}
	}
}

// openLog opens a log as servers do, and closes it with the test.
func openLog(t testing.TB, dir string) *badgerlog.Log {
	t.Helper()
	l, err := badgerlog.Open(t.Context(), dir, badgerlog.Config{IDs: telemetry.DeriveID})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func closeLog(t testing.TB, l *badgerlog.Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// dataDir makes a data directory on the way to a log.
func dataDir(t testing.TB, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}
