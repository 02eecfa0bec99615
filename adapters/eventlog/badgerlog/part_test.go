package badgerlog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/twinlog/twinlog/domain/eventlog"
)

func TestRunsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []run
		rev, pos := eventlog.Revision(rapid.Uint64Range(0, 1<<40).Draw(t, "rev")), eventlog.Position(rapid.Uint64Range(1, 1<<62).Draw(t, "pos"))
		for range rapid.IntRange(1, 50).Draw(t, "events") {
			list = addRun(list, rev, pos)
			rev += eventlog.Revision(rapid.SampledFrom([]uint64{1, 1, 1, 2, 900}).Draw(t, "rev gap"))
			pos += eventlog.Position(rapid.SampledFrom([]uint64{1, 1, 1, 2, 70_000}).Draw(t, "pos gap"))
		}
		got, err := parseRuns(appendRuns(nil, list))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, list) {
			t.Fatalf("%v became %v", list, got)
		}
		for _, r := range list {
			for _, at := range []eventlog.Revision{r.rev, r.lastRev(), r.lastRev() + 1} {
				found, ok := findRun(got, at)
				want := slices.ContainsFunc(list, func(r run) bool { return r.rev <= at && at <= r.lastRev() })
				if ok != want || ok && (at < found.rev || at > found.lastRev()) {
					t.Fatalf("find %d in %v: %v, %v", at, list, found, ok)
				}
			}
		}
	})
}

func FuzzParseRuns(f *testing.F) {
	f.Add(appendRuns(nil, []run{{3, 7, 2}, {9, 9, 1}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseRuns(b)
		if err == nil && len(list) > len(b) {
			t.Fatalf("%d runs in %d bytes", len(list), len(b))
		}
	})
}

// somePart builds a part that uses every flag of a row.
func somePart(n int, stamp eventlog.Stamp) ([]byte, partHeader, []eventlog.Record) {
	b := newPartBuilder()
	b.reset(101)
	h := partHeader{
		key: partKey{other: false, last: 101 + eventlog.Position(n)*3, count: uint32(n)*3 + 1, both: true}, rows: n,
		previous: 90, chain: chainHash{1, 2, 3}, recorded: time.UnixMicro(1_700_000_000_000_123).UTC(), stamp: stamp,
	}
	var want []eventlog.Record
	revs := map[eventlog.StreamID]eventlog.Revision{}
	pos := eventlog.Position(101)
	for i := range n {
		id := eventlog.StreamID(fmt.Sprintf("telemetry-%d.0", i/5%3))
		pos += eventlog.Position(i % 3)
		revs[id] += eventlog.Revision(i % 2)
		env := eventlog.Envelope{Device: []string{"", "d-1"}[i/4%2], Zone: []string{"", "UTC"}[i/2%2], Build: []string{"", "v"}[i/8%2]}
		e := event{
			id: eventlog.EventID{byte(i)}, derived: i%7 == 3, telemetry: true, typ: []string{"a.b.v1", eventlog.TelemetryRecorded}[i/3%2],
			content: []string{"", "x/y"}[i/6%2], envelope: env.Stencil(nil), data: bytes.Repeat([]byte{byte(i)}, i%90),
		}
		b.add(&e, id, revs[id], pos)
		content := e.content
		if content == "" {
			content = eventlog.JSON
		}
		want = append(want, eventlog.Record{
			Stream: id, Revision: revs[id], Position: pos, ID: e.id, Type: e.typ, ContentType: content,
			Recorded: h.recorded, RawEnvelope: e.envelope.Append(nil, stamp), Data: e.data,
		})
		revs[id]++
		pos++
	}
	return b.bytes(h), h, want
}

func decoded(t testing.TB, raw []byte, h partHeader, want []eventlog.Record) {
	t.Helper()
	p, err := decodePart(raw, h.key)
	if err != nil {
		t.Fatal(err)
	}
	if p.previous != h.previous || p.chain != h.chain || !p.recorded.Equal(h.recorded) || len(p.rows) != len(want) {
		t.Fatalf("%+v, %d rows", p.partHeader, len(p.rows))
	}
	n := 0
	p.derive = func(eventlog.StreamID, string, []byte) (eventlog.EventID, bool) { return want[n].ID, true }
	for i := range p.rows {
		n = i
		got, err := p.record(i)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want[i], got, cmp.Comparer(func(a, b []byte) bool { return bytes.Equal(a, b) })); diff != "" {
			t.Fatalf("row %d: %s", i, diff)
		}
		if p.find(got.Position) != i {
			t.Fatalf("row %d is found at %d", i, p.find(got.Position))
		}
	}
}

func TestPartRoundTrip(t *testing.T) {
	for _, stamp := range []eventlog.Stamp{
		eventlog.NewStamp(time.UnixMicro(1_700_000_000_000_123), eventlog.ClockState{}),
		eventlog.NewStamp(time.UnixMicro(1_700_000_000_000_000), eventlog.ClockState{State: "SYNCED", OffsetUS: -5}),
	} {
		for _, n := range []int{1, 2, 10, 500} {
			raw, h, want := somePart(n, stamp)
			decoded(t, raw, h, want)
		}
	}
}

// TestPartBitFlips: a part with any one bit flipped is refused.
func TestPartBitFlips(t *testing.T) {
	raw, h, _ := somePart(12, eventlog.NewStamp(time.UnixMicro(1), eventlog.ClockState{}))
	for i := range raw {
		for bit := range 8 {
			raw[i] ^= 1 << bit
			if _, err := decodePart(raw, h.key); err == nil {
				t.Fatalf("bit %d of byte %d", bit, i)
			}
			raw[i] ^= 1 << bit
		}
	}
	if _, err := decodePart(raw, partKey{last: h.key.last, count: h.key.count}); err == nil {
		t.Error("another part's bytes were taken")
	}
}

// FuzzDecodePart: whatever stands before a right checksum, there is no panic
// and no more rows than bytes.
func FuzzDecodePart(f *testing.F) {
	for _, n := range []int{1, 3, 40} {
		raw, _, _ := somePart(n, eventlog.NewStamp(time.UnixMicro(1), eventlog.ClockState{}))
		f.Add(raw[:len(raw)-crc32.Size])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < fixedHeader {
			return
		}
		key := partKey{
			other: b[1]&otherPart != 0, both: b[1]&bothParts != 0,
			last: eventlog.Position(binary.BigEndian.Uint64(b[2:])), count: binary.BigEndian.Uint32(b[10:]),
		}
		p, err := decodePart(binary.BigEndian.AppendUint32(slices.Clone(b), crc32.Checksum(b, castagnoli)), key)
		if err != nil {
			return
		}
		p.derive = func(eventlog.StreamID, string, []byte) (eventlog.EventID, bool) { return eventlog.EventID{}, false }
		for i := range p.rows {
			_, _ = p.record(i)
		}
	})
}

func TestHeadSlots(t *testing.T) {
	path := t.TempDir() + "/HEAD"
	f, err := createHead(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range eventlog.Position(5) {
		if err := f.write(head{last: i + 1, hash: chainHash{byte(i)}, recorded: time.UnixMicro(int64(i) + 1).UTC()}); err != nil {
			t.Fatal(err)
		}
	}
	newest := int64(f.seq%2) * headSlot
	if _, h, err := openHead(path); err != nil || h.last != 5 || h.hash != (chainHash{4}) || !h.recorded.Equal(time.UnixMicro(5)) {
		t.Fatal(h, err)
	}
	if _, err := f.file.WriteAt([]byte{0xee}, newest+10); err != nil { // a torn write
		t.Fatal(err)
	}
	if _, h, err := openHead(path); err != nil || h.last != 4 {
		t.Fatal(h, err)
	}
	if _, err := f.file.WriteAt([]byte{0xee}, headSlot-newest+10); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openHead(path); err == nil {
		t.Fatal("HEAD without a valid slot was taken")
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
}
