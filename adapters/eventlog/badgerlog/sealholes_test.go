package badgerlog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/test/budget"
)

// sealedLog is holed with true rows among the telemetry, sealed.
func sealedLog(t *testing.T, dir string) *Log {
	t.Helper()
	l, err := Open(t.Context(), dir, Config{Window: 6, RecentBytes: 1, NoSealing: true})
	if err != nil {
		t.Fatal(err)
	}
	next := map[eventlog.StreamID]uint64{}
	for i := range 12 {
		id := []eventlog.StreamID{"telemetry-a.0", "asset-1", "telemetry-a.0"}[i%3]
		types := [][]string{{eventlog.TelemetryRecorded, eventlog.TelemetryRecorded}, {"x.y.v1", "x.z.v1"}, {eventlog.TelemetryRecorded, "telemetry.gap.v1"}}[i%3]
		expected := eventlog.NoStream
		if next[id] > 0 {
			expected = eventlog.At(eventlog.Revision(next[id] - 1))
		}
		var events []eventlog.NewEvent
		for j, typ := range types {
			r := telemetry.Row{
				Device: "P-1", MsgID: fmt.Sprint(i, j), HasSeq: true, Seq: uint64(i), SourceTime: time.UnixMilli(1_790_000_000_000).UTC(),
				EdgeLatency: telemetry.NoLatency, Samples: []telemetry.Sample{{Signal: "t", Value: telemetry.StringValue(fmt.Sprint(i))}},
			}
			events = append(events, eventlog.NewEvent{ID: eventlog.EventID{1, byte(i), byte(j)}, Type: typ, Data: r.AppendBinary(nil)})
			if i%2 == 0 {
				events[j].Data = []byte(fmt.Sprint(i, j))
			}
		}
		if _, err := l.Append(t.Context(), id, expected, events...); err != nil {
			t.Fatal(err)
		}
		next[id] += 2
	}
	// What a try that was cut short may have left must not mix with the next.
	if err := l.db.Update(func(txn *badger.Txn) error {
		return txn.Set(append(sealedPartKey(6, 1), 0, 1), []byte("left behind"))
	}); err != nil {
		t.Fatal(err)
	}
	if err := l.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestSealedDamageIsNamed takes away, or flips a bit of, each value of sealed
// windows behind the log's back: every read gives what it gave before, or
// fails and says where, after a part of it.
func TestSealedDamageIsNamed(t *testing.T) {
	l := sealedLog(t, t.TempDir())
	defer l.Close()
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	if n := len(keysOf(t, l.db, telemetryKey)); n == 0 || n > 3 {
		t.Fatalf("%d blocks after sealing", n)
	}
	want := answers(t, l)
	found := map[byte]int{}
	for _, kind := range []byte{sealKey, chunkKey, windowKey} {
		for _, key := range keysOf(t, l.db, kind) {
			for range 6 {
				bit := rng.IntN(1 << 20)
				restore := spoilKey(t, l.db, key, bit)
				l.sealedUnits.units = nil
				for i, got := range answers(t, l) {
					switch {
					case got.err == nil && !slices.Equal(got.ids, want[i].ids):
						t.Errorf("key %x: %s gives %d events, want %d", key, got.name, len(got.ids), len(want[i].ids))
					case got.err == nil:
					case !errors.Is(got.err, eventlog.ErrDamaged):
						t.Errorf("key %x: %s fails with %v", key, got.name, got.err)
					case kind == chunkKey && !strings.Contains(got.err.Error(), "sealed positions 0"):
						t.Errorf("key %x: %s does not say where: %v", key, got.name, got.err)
					case !slices.Equal(got.ids, want[i].ids[:len(got.ids)]):
						t.Errorf("key %x: %s gives other events before it fails", key, got.name)
					default:
						found[kind]++
					}
				}
				restore()
			}
		}
		if found[kind] == 0 {
			t.Errorf("no read failed with damage to keys of kind %c", kind)
		}
	}
	l.sealedUnits.units = nil
	for i, got := range answers(t, l) {
		if got.err != nil || !slices.Equal(got.ids, want[i].ids) {
			t.Errorf("restored: %s: %v", got.name, got.err)
		}
	}
}

// TestSealErrorIsSeen: a block that cannot be sealed is said, until it can.
func TestSealErrorIsSeen(t *testing.T) {
	l, err := Open(t.Context(), t.TempDir(), Config{Window: 6, RecentBytes: 1, NoSealing: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	expected := eventlog.NoStream
	for i := range 12 {
		e := eventlog.NewEvent{ID: eventlog.EventID{1, byte(i)}, Type: eventlog.TelemetryRecorded, Data: []byte{byte(i)}}
		a, err := l.Append(t.Context(), "telemetry-a.0", expected, e)
		if err != nil {
			t.Fatal(err)
		}
		expected = eventlog.At(a.Revision)
	}
	restore := spoilKey(t, l.db, keysOf(t, l.db, telemetryKey)[2], 1)
	if sealed, err := l.sealWaiting(t.Context(), &pacer{}); sealed || !errors.Is(err, eventlog.ErrDamaged) || !errors.Is(l.SealError(), err) {
		t.Errorf("a damaged block: sealed %v, %v; SealError says %v", sealed, err, l.SealError())
	}
	restore()
	if sealed, err := l.sealWaiting(t.Context(), &pacer{}); !sealed || err != nil || l.SealError() != nil || l.sealed.Load() != 6 {
		t.Errorf("mended: sealed %v up to %d, %v; SealError says %v", sealed, l.sealed.Load(), err, l.SealError())
	}
}

// spoilKey flips a bit of a key's value, or deletes the key if bit is even.
func spoilKey(t *testing.T, db *badger.DB, key []byte, bit int) (restore func()) {
	t.Helper()
	var was []byte
	var meta byte
	err := db.Update(func(txn *badger.Txn) error {
		item, err := txn.Get(key)
		if err != nil {
			return err
		}
		meta = item.UserMeta()
		if was, err = item.ValueCopy(nil); err != nil || bit%2 == 0 {
			return errors.Join(err, txn.Delete(key))
		}
		b := slices.Clone(was)
		b[bit/16%len(b)] ^= 1 << (bit / 2 % 8)
		return txn.SetEntry(badger.NewEntry(key, b).WithMeta(meta))
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := db.Update(func(txn *badger.Txn) error { return txn.SetEntry(badger.NewEntry(key, was).WithMeta(meta)) }); err != nil {
			t.Fatal(err)
		}
	}
}

// FuzzSealedPart: no bytes make a reader panic or take memory without bounds.
func FuzzSealedPart(f *testing.F) {
	r := telemetry.Row{Device: "P-1", MsgID: "x", SourceTime: time.UnixMilli(1).UTC(), Samples: []telemetry.Sample{{Signal: "t"}, {Signal: "u"}}}
	data := r.AppendBinary(nil)
	rows := []row{{pos: 1, data: data}, {pos: 2, rev: 1, data: data}}
	block := &part{partHeader: partHeader{key: partKey{last: 2, count: 2}}, streams: []eventlog.StreamID{"telemetry-a.0"}, rows: rows}
	block.types, block.stencils = [][2]string{{"a", "b"}}, []eventlog.Stencil{{Text: []byte("{}"), Clk: 1, Rec: 1}}
	var m partMaker
	for _, odd := range []bool{false, true} {
		w := &toBeSealed{
			into: seal{first: 1, last: 2}, parts: []*part{block}, starts: []int{0}, flat: rows, maker: &m, odd: map[int32]bool{0: odd, 1: odd},
		}
		w.arrange()
		for _, p := range m.arranger.plan() {
			if p.kind.verbatim {
				f.Add(uint8(partVerbatim), m.verbatim(nil, p, rows))
			} else {
				f.Add(uint8(partColumns), m.columns(nil, p))
			}
		}
	}
	o := sealedOrder{
		first: 1, last: 2, lastBlock: 2, streams: []eventlog.StreamID{"telemetry-a.0"}, firstRev: []eventlog.Revision{0},
		groupStream: []int64{0}, groupPart: []int64{1}, group: []int32{0, 0}, offset: []uint32{0, 1}, rev: []uint32{0, 1},
		commitLast: []int64{1}, commits: []sealedCommit{{count: 2, recorded: time.UnixMilli(1)}},
		types: [][2]string{{"a", "b"}}, kind: []int64{0, 0}, envelopes: []eventlog.Stencil{{Text: []byte("{}"), Clk: 1, Rec: 1}}, envelope: []int64{0, 0},
	}
	f.Add(uint8(2), o.append(nil, &m.codec))
	f.Fuzz(func(_ *testing.T, kind uint8, body []byte) {
		var c codec
		switch kind % 3 {
		case partVerbatim:
			c.decodeVerbatim(body)
		case partColumns:
			if p, ok := c.decodeColumns(body); ok {
				for g := range len(p.starts) - 1 {
					for i := p.starts[g]; i < p.starts[g+1]; i++ {
						p.appendRow(nil, g, i, 7)
					}
				}
			}
		default:
			if o, ok := decodeOrder(body, 2, &c); ok {
				for i := range o.group {
					_, _ = o.commitOf(i), o.position(i)
				}
			}
		}
	})
}
