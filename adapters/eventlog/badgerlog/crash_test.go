package badgerlog_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/test/budget"
)

// fact is the event at a revision of a stream: whoever reads it can say
// whether it is the right one.
func fact(id eventlog.StreamID, rev uint64) eventlog.NewEvent {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(id), rev))
	data := binary.BigEndian.AppendUint64(nil, rev)
	for n := int(sum[0]); len(data) < n*4; { // up to a kilobyte, which does not pack
		sum2 := sha256.Sum256(data)
		data = append(data, sum2[:]...)
	}
	e := eventlog.NewEvent{ID: eventlog.EventID(sum[:16]), Type: "asset.moved.v1", Data: data}
	if id.Category() == eventlog.TelemetryCategory && sum[1]%8 != 0 {
		e.Type, e.ContentType = eventlog.TelemetryRecorded, "application/octet-stream"
		if sum[2]%2 == 0 {
			e.Data = oddRow(rand.New(rand.NewPCG(binary.BigEndian.Uint64(sum[:]), 0)), rev)
		}
	}
	return e
}

func facts(id eventlog.StreamID, from uint64, n int) []eventlog.NewEvent {
	out := make([]eventlog.NewEvent, n)
	for i := range out {
		out[i] = fact(id, from+uint64(i))
	}
	return out
}

func expect(next uint64) eventlog.Expected {
	if next == 0 {
		return eventlog.NoStream
	}
	return eventlog.At(eventlog.Revision(next - 1))
}

func crashStream(w int) eventlog.StreamID {
	return eventlog.StreamID([]string{fmt.Sprintf("telemetry-w%d.0", w), fmt.Sprintf("asset-%d", w)}[w%2])
}

const crashWriters = 8

// crashConfig closes windows often, so that crashes fall among them.
var crashConfig = badgerlog.Config{Window: 500}

// writeUntilKilled is the child: it says on standard output what was
// acknowledged, one line for each append.
func writeUntilKilled(dir string) error {
	l, err := badgerlog.Open(context.Background(), dir, crashConfig)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make(chan error, crashWriters)
	for w := range crashWriters {
		wg.Go(func() { errs <- writeFacts(l, crashStream(w), rand.New(rand.NewPCG(rand.Uint64(), 0))) })
	}
	return <-errs
}

func writeFacts(l *badgerlog.Log, id eventlog.StreamID, rng *rand.Rand) error {
	next := uint64(0)
	for r, err := range l.Read(context.Background(), id, eventlog.LastRevision, eventlog.Backwards) {
		if err != nil {
			return err
		}
		next = uint64(r.Revision) + 1
		break
	}
	if next > 0 { // what was perhaps acknowledged and perhaps not is asked again
		n := min(next, 3)
		a, err := l.Append(context.Background(), id, expect(next-n), facts(id, next-n, int(n))...)
		if err != nil || !a.Repeated {
			return fmt.Errorf("append of %d events that are there: %+v, %w", n, a, err)
		}
	}
	for {
		n := 1 + rng.IntN(20)
		a, err := l.Append(context.Background(), id, expect(next), facts(id, next, n)...)
		if err != nil {
			return err
		}
		fmt.Printf("%s %d %d\n", id, a.Revision, a.Last) // one write each
		next += uint64(n)
	}
}

// TestKilled kills a writing process again and again: everything that it
// acknowledged is there, once, in place, and the log has no hole.
func TestKilled(t *testing.T) {
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	dir, end := t.TempDir(), time.Now().Add(budget.For(t)/8)
	acked := map[eventlog.StreamID]ack{}
	kills, total := 0, 0
	for time.Now().Before(end) || kills < 2 {
		total += runAndKill(t, dir, acked, time.Duration(50+rng.IntN(400))*time.Millisecond)
		kills++
		l, err := badgerlog.Open(t.Context(), dir, crashConfig)
		if err != nil {
			t.Fatal(err)
		}
		checkFacts(t, l, acked)
		if err := l.Close(); err != nil { // every other run starts after a clean stop
			t.Fatal(err)
		}
	}
	t.Logf("%d kills, %d appends acknowledged", kills, total)
}

type ack struct {
	rev eventlog.Revision
	pos eventlog.Position
}

func runAndKill(t *testing.T, dir string, acked map[eventlog.StreamID]ack, after time.Duration) (n int) {
	return runAndKillAs(t, "write", dir, acked, after)
}

func runAndKillAs(t *testing.T, role, dir string, acked map[eventlog.StreamID]ack, after time.Duration) (n int) {
	cmd := child(t, role, dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var kill *time.Timer
	for lines.Scan() {
		if kill == nil { // counted from the first acknowledgement
			kill = time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
		var id string
		var a ack
		if _, err := fmt.Sscan(lines.Text(), &id, &a.rev, &a.pos); err != nil {
			continue // cut in the middle by the kill
		}
		if was, ok := acked[eventlog.StreamID(id)]; ok && a.rev <= was.rev {
			t.Errorf("%s: revision %d acknowledged after %d", id, a.rev, was.rev)
		}
		acked[eventlog.StreamID(id)] = a
		n++
	}
	if err := cmd.Wait(); kill == nil {
		t.Fatalf("the child ended by itself: %v", err)
	}
	return n
}

// checkFacts reads the whole log in three ways.
func checkFacts(t *testing.T, l *badgerlog.Log, acked map[eventlog.StreamID]ack) {
	t.Helper()
	next := map[eventlog.StreamID]uint64{}
	var pos eventlog.Position
	for r, err := range l.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if pos++; r.Position != pos {
			t.Fatalf("position %v follows %v", r.Position, pos-1)
		}
		if want := fact(r.Stream, uint64(r.Revision)); uint64(r.Revision) != next[r.Stream] || r.ID != want.ID || string(r.Data) != string(want.Data) {
			t.Fatalf("%s@%d at %v, expected revision %d", r.Stream, r.Revision, r.Position, next[r.Stream])
		}
		next[r.Stream]++
		if a := acked[r.Stream]; r.Revision == a.rev && a.pos != 0 && r.Position != a.pos {
			t.Fatalf("%s@%d is at %v and was acknowledged at %v", r.Stream, r.Revision, r.Position, a.pos)
		}
	}
	for id, a := range acked {
		if next[id] <= uint64(a.rev) {
			t.Errorf("%s ends before revision %d, which was acknowledged", id, a.rev)
		}
		n := uint64(0)
		for r, err := range l.Read(t.Context(), id, 0, eventlog.Forwards) {
			if err != nil || uint64(r.Revision) != n {
				t.Fatalf("%s@%d, expected %d: %v", id, r.Revision, n, err)
			}
			n++
		}
		if n != next[id] {
			t.Errorf("%s has %d events by its index and %d by reading all", id, n, next[id])
		}
	}
	others := 0
	for r, err := range l.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{Categories: []string{"asset"}}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Stream.Category() != "asset" {
			t.Fatalf("category asset holds %s", r.Stream)
		}
		others++
	}
	for id, n := range next {
		if id.Category() == "asset" {
			others -= int(n)
		}
	}
	if others != 0 {
		t.Errorf("the category index has %d events more than the log", others)
	}
}

// TestPowerCut copies the directory whenever an append has been acknowledged,
// which is what a disk holds if the power goes then, and opens every copy. HEAD
// is synced each second only, so it may come back older: that proves less and
// is no damage. A store older than HEAD is.
func TestPowerCut(t *testing.T) {
	dir, copies := t.TempDir(), t.TempDir()
	l, err := badgerlog.Open(t.Context(), dir, badgerlog.Config{Window: 20})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const cuts = 8
	acked := map[eventlog.StreamID]ack{}
	var held []map[eventlog.StreamID]ack
	var ends []eventlog.Position
	for i := range cuts {
		for w := range 3 {
			id := crashStream(w)
			next := uint64(0)
			if a, ok := acked[id]; ok {
				next = uint64(a.rev) + 1
			}
			a, err := l.Append(t.Context(), id, expect(next), facts(id, next, 5)...)
			if err != nil {
				t.Fatal(err)
			}
			acked[id] = ack{a.Revision, a.Last}
		}
		copyDir(t, dir, filepath.Join(copies, fmt.Sprint(i)))
		head, _, _ := l.Head(t.Context())
		held, ends = append(held, maps.Clone(acked)), append(ends, head)
	}
	for i := range cuts {
		for _, headOf := range []int{0, i, cuts - 1} {
			cut := t.TempDir()
			copyDir(t, filepath.Join(copies, fmt.Sprint(i)), cut)
			copyFile(t, filepath.Join(copies, fmt.Sprint(headOf), "HEAD"), filepath.Join(cut, "HEAD"))
			l, err := badgerlog.Open(t.Context(), cut, badgerlog.Config{})
			if headOf > i {
				want := fmt.Sprintf("positions %v to %v", ends[i]+1, ends[headOf])
				if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), eventlog.ErrDamaged.Error()) {
					t.Errorf("store %d with HEAD %d: %v, want %s missing", i, headOf, err, want)
				}
				if err == nil {
					l.Close()
				}
				continue
			}
			if err != nil {
				t.Fatalf("store %d with HEAD %d: %v", i, headOf, err)
			}
			if head, _, _ := l.Head(t.Context()); head != ends[i] {
				t.Errorf("store %d ends at %v, want %v", i, head, ends[i])
			}
			checkFacts(t, l, held[i])
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func copyDir(t testing.TB, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		copyFile(t, path, filepath.Join(to, rel))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// copyFile copies what is written of a file and leaves its holes: Badger's
// preallocated files are nearly all hole.
func copyFile(t testing.TB, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	info, err := in.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Truncate(info.Size()); err != nil {
		t.Fatal(err)
	}
	const seekData, seekHole = 3, 4 // lseek(2); elsewhere than on Linux this fails
	for end := int64(0); end < info.Size(); {
		start, err := in.Seek(end, seekData)
		if errors.Is(err, syscall.ENXIO) {
			return // nothing but a hole follows
		} else if err != nil {
			t.Fatal(err)
		}
		if end, err = in.Seek(start, seekHole); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.NewOffsetWriter(out, start), io.NewSectionReader(in, start, end-start)); err != nil {
			t.Fatal(err)
		}
	}
}
