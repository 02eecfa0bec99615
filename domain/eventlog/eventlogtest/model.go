package eventlogtest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// A Store is a log that RunModel may stop and start.
type Store struct {
	Log eventlog.Log
	// Restart stops the log, cleanly or not, and opens it again.
	Restart func() (eventlog.Log, error)
	Close   func() error
}

// RunModel compares random histories with a model that is nothing but a slice,
// for the time d. open makes an empty store.
func RunModel(t *testing.T, d time.Duration, open func() (Store, error)) {
	end, histories := time.Now().Add(d), 0
	defer func() { t.Logf("%d histories", histories) }()
	for time.Now().Before(end) && !t.Failed() {
		rapid.Check(t, func(t *rapid.T) {
			if time.Now().After(end) {
				return
			}
			histories++
			runModel(t, open)
		})
	}
}

// model is what the log should hold. all are the records as they were first
// read back; whatever happens they stay the same to the byte.
type model struct {
	store   Store
	all     []eventlog.Record
	made    map[eventlog.StreamID][]eventlog.NewEvent
	streams map[eventlog.StreamID][]eventlog.Record
	sub     eventlog.Subscription
	subAt   eventlog.Position
	subF    eventlog.Filter
}

func runModel(t *rapid.T, open func() (Store, error)) {
	s, err := open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	m := &model{store: s, made: map[eventlog.StreamID][]eventlog.NewEvent{}, streams: map[eventlog.StreamID][]eventlog.Record{}}
	t.Repeat(map[string]func(*rapid.T){
		"append":    m.append,
		"retry":     m.retry,
		"conflict":  m.conflict,
		"read":      m.read,
		"read all":  m.readAll,
		"known at":  m.knownAt,
		"subscribe": m.subscribe,
		"follow":    m.follow,
		"restart":   m.restart,
	})
	m.whole(t)
	if s.Restart != nil {
		m.restart(t)
		m.whole(t)
	}
}

var modelStreams = []eventlog.StreamID{"telemetry-a.0", "telemetry-a.01", "telemetry-b.0", "asset-1", "asset-10", "class-pump"}

func (m *model) draw(t *rapid.T) (eventlog.StreamID, []eventlog.NewEvent) {
	id := rapid.SampledFrom(modelStreams).Draw(t, "stream")
	types := []string{moved, "asset.renamed.v1"}
	if id.Category() == eventlog.TelemetryCategory {
		types = []string{row, row, row, gap}
	}
	events := make([]eventlog.NewEvent, rapid.OneOf(rapid.IntRange(1, 3), rapid.IntRange(1, 60)).Draw(t, "events"))
	env := eventlog.Envelope{Device: rapid.SampledFrom([]string{"", "d-1"}).Draw(t, "device")}
	size := rapid.OneOf(rapid.IntRange(0, 40), rapid.IntRange(0, 3000)).Draw(t, "size")
	for i := range events {
		events[i] = event(rapid.SampledFrom(types).Draw(t, "type"), string(bytes.Repeat([]byte{byte('a' + i%26)}, size)))
		if rapid.IntRange(0, 9).Draw(t, "other envelope") == 0 {
			env.Zone = rapid.SampledFrom([]string{"", "UTC", "Europe/Berlin"}).Draw(t, "zone")
		}
		events[i].Envelope = env
	}
	return id, events
}

func (m *model) append(t *rapid.T) {
	id, events := m.draw(t)
	next := len(m.streams[id])
	a, err := m.store.Log.Append(t.Context(), id, expect(next), events...)
	if err != nil {
		t.Fatal(err)
	}
	var got []eventlog.Record
	for r, err := range m.store.Log.Read(t.Context(), id, eventlog.Revision(next), eventlog.Forwards) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if len(got) != len(events) || got[0].Position != a.First || got[len(got)-1].Position != a.Last || a.Repeated {
		t.Fatalf("%d events appended (%+v), %d read back", len(events), a, len(got))
	}
	for i, r := range got {
		m.check(t, r, id, next+i, events[i])
		m.all = append(m.all, r)
	}
	m.streams[id] = append(m.streams[id], got...)
	m.made[id] = append(m.made[id], events...)
}

func (m *model) check(t *rapid.T, r eventlog.Record, id eventlog.StreamID, revision int, e eventlog.NewEvent) {
	if e.ContentType == "" {
		e.ContentType = eventlog.JSON
	}
	env, err := r.Envelope()
	if err != nil {
		t.Fatal(err)
	}
	e.Envelope.Recorded, e.Envelope.Clock = r.Recorded, env.Clock
	if r.Stream != id || int(r.Revision) != revision || r.ID != e.ID || r.Type != e.Type || r.ContentType != e.ContentType ||
		!bytes.Equal(r.Data, e.Data) || !bytes.Equal(r.RawEnvelope, e.Envelope.AppendCanonical(nil)) {
		t.Fatalf("read back %s\nappended %+v", show(r), e)
	}
	if n := len(m.all); n > 0 && (r.Position <= m.all[n-1].Position || r.Recorded.Before(m.all[n-1].Recorded)) {
		t.Fatalf("%s\nfollows %s", show(r), show(m.all[n-1]))
	}
}

func (m *model) retry(t *rapid.T) {
	id := rapid.SampledFrom(modelStreams).Draw(t, "stream")
	made := m.made[id]
	if len(made) == 0 {
		t.Skip()
	}
	from := rapid.IntRange(0, len(made)-1).Draw(t, "from")
	to := rapid.IntRange(from+1, len(made)).Draw(t, "to")
	a, err := m.store.Log.Append(t.Context(), id, expect(from), made[from:to]...)
	want := eventlog.Appended{
		First: m.streams[id][from].Position, Last: m.streams[id][to-1].Position, Revision: eventlog.Revision(to - 1), Repeated: true,
	}
	if err != nil || a != want {
		t.Fatalf("retry: %+v, %v, want %+v", a, err, want)
	}
}

func (m *model) conflict(t *rapid.T) {
	id, events := m.draw(t)
	made := m.made[id]
	next := rapid.IntRange(0, len(made)+3).Draw(t, "next")
	if next < len(made) && rapid.Bool().Draw(t, "overlap") {
		events = append(slices.Clone(made[next:]), events...) // half of it is there
	} else if next == len(made) {
		t.Skip()
	}
	_, err := m.store.Log.Append(t.Context(), id, expect(next), events...)
	if !errors.Is(err, eventlog.ErrConflict) {
		t.Fatalf("append of %d at %d where %d are: %v", len(events), next, len(made), err)
	}
}

func (m *model) read(t *rapid.T) {
	id := rapid.SampledFrom(modelStreams).Draw(t, "stream")
	stream := m.streams[id]
	from := rapid.IntRange(0, len(stream)+1).Draw(t, "from")
	limit := rapid.SampledFrom([]int{1, 5, 1 << 30}).Draw(t, "limit")
	m.equal(t, "read", collectSome(t, m.store.Log.Read(t.Context(), id, eventlog.Revision(from), eventlog.Forwards), limit),
		stream[min(from, len(stream)):], limit)
	back := reversed(stream[:min(from+1, len(stream))])
	m.equal(t, "read back", collectSome(t, m.store.Log.Read(t.Context(), id, eventlog.Revision(from), eventlog.Backwards), limit), back, limit)
	m.equal(t, "read last", collectSome(t, m.store.Log.Read(t.Context(), id, eventlog.LastRevision, eventlog.Backwards), limit), reversed(stream), limit)
}

func (m *model) readAll(t *rapid.T) {
	f := rapid.SampledFrom(filters).Draw(t, "filter")
	i := rapid.IntRange(0, len(m.all)).Draw(t, "after")
	limit := rapid.SampledFrom([]int{1, 5, 1 << 30}).Draw(t, "limit")
	after := eventlog.Position(0)
	if i > 0 {
		after = m.all[i-1].Position
	}
	m.equal(t, "read all", collectSome(t, m.store.Log.ReadAll(t.Context(), after, eventlog.Forwards, f), limit), filtered(m.all[i:], f), limit)
	before, back := eventlog.End, m.all
	if i < len(m.all) {
		before, back = m.all[i].Position, m.all[:i]
	}
	m.equal(t, "read all back", collectSome(t, m.store.Log.ReadAll(t.Context(), before, eventlog.Backwards, f), limit), reversed(filtered(back, f)), limit)
}

func (m *model) knownAt(t *rapid.T) {
	at := time.Now().Add(time.Hour)
	if len(m.all) > 0 {
		at = rapid.SampledFrom(m.all).Draw(t, "record").Recorded.Add(time.Duration(rapid.IntRange(-1, 1).Draw(t, "ns")))
	}
	var want eventlog.Position
	for _, r := range m.all {
		if r.Recorded.After(at) {
			break
		}
		want = r.Position
	}
	if got, err := m.store.Log.KnownAt(t.Context(), at); err != nil || got != want {
		t.Fatalf("known at %v: %v, %v, want %v", at, got, err, want)
	}
}

func (m *model) subscribe(t *rapid.T) {
	i := rapid.IntRange(0, len(m.all)).Draw(t, "after")
	m.subAt = 0
	if i > 0 {
		m.subAt = m.all[i-1].Position
	}
	m.subF = rapid.SampledFrom(filters).Draw(t, "filter")
	m.stopSubscription()
	var err error
	if m.sub, err = m.store.Log.Subscribe(t.Context(), m.subAt, m.subF); err != nil {
		t.Fatal(err)
	}
}

func (m *model) stopSubscription() {
	if m.sub != nil {
		_ = m.sub.Close()
		m.sub = nil
	}
}

// follow brings the subscription to the end, in batches.
func (m *model) follow(t *rapid.T) {
	head, _, err := m.store.Log.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m.sub == nil || m.subAt == head {
		t.Skip()
	}
	var got []eventlog.Record
	from := m.subAt
	for m.subAt < head {
		b, err := m.sub.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, m.subAt = append(got, b.Records...), b.Through
	}
	i, _ := slices.BinarySearchFunc(m.all, from+1, func(r eventlog.Record, p eventlog.Position) int { return int(r.Position) - int(p) })
	m.equal(t, fmt.Sprintf("follow %+v after %v", m.subF, from), got, filtered(m.all[i:], m.subF), 1<<30)
}

func (m *model) restart(t *rapid.T) {
	if m.store.Restart == nil {
		t.Skip()
	}
	m.stopSubscription()
	l, err := m.store.Restart()
	if err != nil {
		t.Fatal(err)
	}
	if l.Origin() != m.store.Log.Origin() {
		t.Fatalf("origin was %s and is %s", m.store.Log.Origin(), l.Origin())
	}
	m.store.Log = l
}

func (m *model) whole(t *rapid.T) {
	var head eventlog.Position
	var recorded time.Time
	if n := len(m.all); n > 0 {
		head, recorded = m.all[n-1].Position, m.all[n-1].Recorded
	}
	if p, rec, err := m.store.Log.Head(t.Context()); p != head || !rec.Equal(recorded) || err != nil {
		t.Fatalf("head %v %v %v, want %v %v", p, rec, err, head, recorded)
	}
	for _, f := range filters {
		m.equal(t, fmt.Sprintf("%+v", f), collectSome(t, m.store.Log.ReadAll(t.Context(), 0, eventlog.Forwards, f), 1<<30), filtered(m.all, f), 1<<30)
	}
	for id, want := range m.streams {
		m.equal(t, string(id), collectSome(t, m.store.Log.Read(t.Context(), id, 0, eventlog.Forwards), 1<<30), want, 1<<30)
	}
}

func (m *model) equal(t *rapid.T, what string, got, want []eventlog.Record, limit int) {
	want = want[:min(limit, len(want))]
	for i := range min(len(got), len(want)) {
		if !same(got[i], want[i]) {
			t.Fatalf("%s: record %d is\n%s\nwant\n%s", what, i, show(got[i]), show(want[i]))
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d records, want %d", what, len(got), len(want))
	}
}

func collectSome(t *rapid.T, seq func(func(eventlog.Record, error) bool), limit int) []eventlog.Record {
	var got []eventlog.Record
	for r, err := range seq {
		if err != nil {
			t.Fatalf("after %d records: %v", len(got), err)
		}
		if got = append(got, r); len(got) == limit {
			break
		}
	}
	return got
}
