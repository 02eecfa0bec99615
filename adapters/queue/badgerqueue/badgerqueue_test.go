package badgerqueue

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge/outbox"
	"github.com/twinlog/twinlog/edge/outbox/queuetest"
)

// disk is a store whose lives end with Close, or in copies of its files.
type disk struct {
	dir string
	q   *Queue
}

func (d *disk) Open(t *testing.T) outbox.Queue {
	t.Helper()
	if d.q != nil {
		if err := d.q.Close(); err != nil {
			t.Fatal(err)
		}
	}
	d.q = open(t, d.dir)
	return d.q
}

func open(t *testing.T, dir string) *Queue {
	t.Helper()
	s, err := Open(dir, Config{})
	if err != nil {
		t.Fatal(err)
	}
	q, err := s.Lane("")
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestQueue(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) queuetest.Store {
		d := &disk{dir: t.TempDir()}
		t.Cleanup(func() { _ = d.q.Close() })
		return d
	})
}

// fill commits n messages one by one and acknowledges the first acked.
func fill(t *testing.T, q *Queue, n, acked uint64) {
	t.Helper()
	for seq := uint64(1); seq <= n; seq++ {
		h := outbox.Head{Incarnation: "00000000000000aa", Next: seq + 1, Acked: min(acked, seq), Messages: seq - min(acked, seq)}
		if err := q.Commit(t.Context(), outbox.Change{Put: []outbox.Message{queuetest.Message(seq, 100)}, Head: h}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFilesHoldEveryCommit opens copies of the files, taken while the store is
// open, as a killed process leaves them.
func TestFilesHoldEveryCommit(t *testing.T) {
	q := open(t, t.TempDir())
	defer q.Close()
	for n := uint64(1); n <= 3; n++ {
		h := outbox.Head{Incarnation: "00000000000000aa", Next: n + 1, Messages: n}
		if err := q.Commit(t.Context(), outbox.Change{Put: []outbox.Message{queuetest.Message(n, 100)}, Head: h}); err != nil {
			t.Fatal(err)
		}
		copied := t.TempDir()
		copyTree(t, q.dir, copied)
		again := open(t, copied)
		got, err := again.Read(t.Context(), 1, 10, 10, 1<<20)
		if err != nil || uint64(len(got)) != n {
			t.Fatalf("after commit %d: %d messages, %v", n, len(got), err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(filepath.Join(to, "db", "LOCK"))
}

// TestFlippedBitBeginsANewIncarnation is the reason for the head file: Badger
// opens a store with one flipped bit in its write-ahead log without an error
// and without what followed the bit.
func TestFlippedBitBeginsANewIncarnation(t *testing.T) {
	q := open(t, t.TempDir())
	fill(t, q, 200, 40)
	dir := t.TempDir()
	copyTree(t, q.dir, dir) // a clean close would move the log into a table
	_ = q.Close()

	mems, err := filepath.Glob(filepath.Join(dir, "db", "*.mem"))
	if err != nil || len(mems) == 0 {
		t.Fatalf("no write-ahead log: %v", err)
	}
	b, err := os.ReadFile(mems[0])
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(b, queuetest.Message(100, 100).Payload[:20])
	if i < 0 {
		t.Fatal("message 100 is not in the write-ahead log")
	}
	b[i] ^= 1
	if err := os.WriteFile(mems[0], b, 0o600); err != nil {
		t.Fatal(err)
	}

	for range 2 { // also when the new store has not been used yet
		after := open(t, dir)
		head, previous, err := after.Load(t.Context())
		if err != nil || head != (outbox.Head{}) {
			t.Fatalf("head %+v, %v: expected a new store", head, err)
		}
		want := outbox.Previous{Incarnation: "00000000000000aa", LastAcked: 40, Reason: "outbox damaged"}
		if d := cmp.Diff(want, previous); d != "" {
			t.Fatal(d)
		}
		if err := after.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if aside, _ := filepath.Glob(filepath.Join(dir, "damaged-*", "db", "MANIFEST")); len(aside) != 1 {
		t.Fatalf("put aside: %v", aside)
	}
}

func TestLosesTheHeadFileAndGoesOn(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir)
	fill(t, q, 5, 0)
	_ = q.Close()
	if err := os.Remove(filepath.Join(dir, "head")); err != nil {
		t.Fatal(err)
	}
	q = open(t, dir)
	defer q.Close()
	if head, _, _ := q.Load(t.Context()); head.Next != 6 {
		t.Fatalf("head %+v", head)
	}
}

func TestTornHeadSlotLeavesTheOther(t *testing.T) {
	name := filepath.Join(t.TempDir(), "head")
	h, _, err := openHeadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for n := uint64(1); n <= 3; n++ {
		if err := h.Write(outbox.Head{Incarnation: "00000000000000aa", Next: n, Acked: n}); err != nil {
			t.Fatal(err)
		}
	}
	_ = h.Close()
	b, _ := os.ReadFile(name)
	for cut := range len(b) {
		torn := append([]byte{}, b...)
		torn[cut] ^= 0x40
		if err := os.WriteFile(name, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		h, last, err := openHeadFile(name)
		if err != nil || last.next < 2 {
			t.Fatalf("byte %d: slot %+v, %v", cut, last, err)
		}
		_ = h.Close()
	}
}

// TestReserve refuses to grow on a nearly full disk and still takes what shrinks.
func TestReserve(t *testing.T) {
	q := open(t, t.TempDir())
	defer q.Close()
	head := outbox.Head{Incarnation: "00000000000000aa", Next: 3, Messages: 2, Bytes: 200}
	if err := q.Commit(t.Context(), outbox.Change{Put: []outbox.Message{queuetest.Message(1, 100), queuetest.Message(2, 100)}, Head: head}); err != nil {
		t.Fatal(err)
	}
	q.free = func(string) (int64, error) { return minReserve - 1, nil }
	more := head
	more.Next, more.Bytes = 4, 300
	if err := q.Commit(t.Context(), outbox.Change{Put: []outbox.Message{queuetest.Message(3, 100)}, Head: more}); !errors.Is(err, outbox.ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	less := head
	less.Bytes = 150
	if err := q.Commit(t.Context(), outbox.Change{Drop: outbox.Range{From: 1, To: 1}, Head: less}); err != nil {
		t.Fatal(err)
	}
}

// TestAnsweredMessagesLeaveTheDisk counts the keys after the answers.
func TestAnsweredMessagesLeaveTheDisk(t *testing.T) {
	q := open(t, t.TempDir())
	defer q.Close()
	var put []outbox.Message
	for seq := uint64(1); seq <= 5000; seq++ {
		put = append(put, queuetest.Message(seq, 20))
	}
	head := outbox.Head{Incarnation: "00000000000000aa", Next: 5001, Messages: 5000}
	if err := q.Commit(t.Context(), outbox.Change{Put: put, Head: head}); err != nil {
		t.Fatal(err)
	}
	head.Acked, head.Messages = 4990, 10
	for range 4 {
		if err := q.Commit(t.Context(), outbox.Change{Head: head}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := q.Read(t.Context(), 1, 5000, 5000, 1<<30)
	if err != nil || len(got) != 10 {
		t.Fatalf("%d messages left, %v, want 10", len(got), err)
	}
}

// TestMemory holds the promise of 20 MB: Badger's own accounts of what it
// may hold, since the heap of a test says little.
func TestMemory(t *testing.T) {
	o := dbOptions("x")
	if sum := o.MemTableSize*int64(o.NumMemtables+1) + o.BlockCacheSize + o.IndexCacheSize; sum > 20<<20 {
		t.Fatalf("%d bytes of tables and caches", sum)
	}
}

const inc = "00112233445566aa"

func FuzzMessage(f *testing.F) {
	lost := outbox.Message{Seq: 7, Last: 9, Loss: &outbox.Loss{Messages: 3}}
	for _, m := range []outbox.Message{queuetest.Message(7, 40), lost} {
		f.Add(encodeMessage(m, inc))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMessage(7, b, inc)
		if err != nil {
			if !errors.Is(err, outbox.ErrDamaged) {
				t.Fatalf("error %v is not ErrDamaged", err)
			}
			return
		}
		again, err := decodeMessage(7, encodeMessage(m, inc), inc)
		if d := cmp.Diff(m, again); err != nil || d != "" {
			t.Fatalf("%v %s", err, d)
		}
	})
}

func TestHeadOfAnotherVersionIsNamed(t *testing.T) {
	b := encodeHead(outbox.Head{Incarnation: "00000000000000aa"})
	b[0] = 9
	if _, err := decodeHead(b); !errors.Is(err, outbox.ErrDamaged) || !strings.Contains(fmt.Sprint(err), "version 9") {
		t.Fatal(err)
	}
}

// TestLanesShareAStore: each has its own messages, head and past.
func TestLanesShareAStore(t *testing.T) {
	dir := t.TempDir()
	names := []string{"", "alarms", "backlog", "backlog-low"}
	for life := range 2 {
		s, err := Open(dir, Config{})
		if err != nil {
			t.Fatal(err)
		}
		if life == 1 && !slices.Equal(s.Lanes(), names) {
			t.Fatalf("lanes %q", s.Lanes())
		}
		for i, name := range names {
			q, err := s.Lane(name)
			if err != nil {
				t.Fatal(err)
			}
			if life == 0 {
				fill(t, q, uint64(10+i), 0)
			}
			got, err := q.Read(t.Context(), 1, 1<<60, 100, 1<<20)
			if err != nil || len(got) != 10+i {
				t.Fatalf("life %d, lane %q: %d messages, %v", life, name, len(got), err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTheMsgIDThatFollowsIsNotStored and comes back all the same.
func TestTheMsgIDThatFollowsIsNotStored(t *testing.T) {
	m := queuetest.Message(7, 0)
	for _, payload := range []string{
		`{"schema_version":"2.1","msg_id":"` + telemetry.MsgID(inc, 7) + `","seq":7}`,
		`{"schema_version":"2.1","msg_id":"` + telemetry.MsgID(inc, 8) + `","seq":7}`,
		`{"seq":7}`, ``,
	} {
		m.Payload = []byte(payload)
		b := encodeMessage(m, inc)
		if i := strings.Index(payload, telemetry.MsgID(inc, 7)); i > 0 && bytes.Contains(b, []byte(payload[i:i+20])) {
			t.Errorf("%s is stored with its msg_id", payload)
		}
		again, err := decodeMessage(7, b, inc)
		if d := cmp.Diff(m, again); err != nil || d != "" {
			t.Errorf("%v %s", err, d)
		}
	}
}
