package badgerlog_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/test/budget"
)

// damaged fills a log over several openings, so that it has value files,
// tables and a write-ahead file, and leaves it as a crash would.
func damagedSource(t *testing.T) string {
	dir, crashed := t.TempDir(), t.TempDir()
	for session := range uint64(3) {
		l, err := badgerlog.Open(t.Context(), dir, badgerlog.Config{Window: 40})
		if err != nil {
			t.Fatal(err)
		}
		for i := range uint64(10) {
			for w := range 3 {
				id, next := crashStream(w), (session*10+i)*4
				if _, err := l.Append(t.Context(), id, expect(next), facts(id, next, 4)...); err != nil {
					t.Fatal(err)
				}
			}
		}
		if session == 1 {
			if err := l.Seal(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if session == 2 {
			copyDir(t, dir, crashed)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return crashed
}

// digest reads a log in every way there is and hashes what it says.
func digest(ctx context.Context, l *badgerlog.Log) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, l.Origin())
	seqs := []func(func(eventlog.Record, error) bool){}
	for _, f := range []eventlog.Filter{
		{},
		{NoTelemetry: true},
		{Types: []string{eventlog.TelemetryRecorded}},
		{Categories: []string{"asset"}},
		{Categories: []string{"telemetry"}, NoTelemetry: true},
	} {
		seqs = append(seqs, l.ReadAll(ctx, 0, eventlog.Forwards, f), l.ReadAll(ctx, eventlog.End, eventlog.Backwards, f))
	}
	for w := range 3 {
		seqs = append(seqs, l.Read(ctx, crashStream(w), 0, eventlog.Forwards), l.Read(ctx, crashStream(w), eventlog.LastRevision, eventlog.Backwards))
	}
	for _, seq := range seqs {
		if err := hashAll(h, seq); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

func hashAll(h hash.Hash, seq func(func(eventlog.Record, error) bool)) error {
	for r, err := range seq {
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s %d %d %s %s %s %s %x\n", r.Stream, r.Revision, r.Position, r.ID, r.Type, r.ContentType, r.RawEnvelope, r.Data)
	}
	fmt.Fprintln(h)
	return nil
}

// verifyDamaged is the child: it says what it could read, or why not.
func verifyDamaged(dir string) error {
	l, err := badgerlog.Open(context.Background(), dir, badgerlog.Config{})
	if err != nil {
		fmt.Printf("refused: %v\n", err)
		return nil
	}
	sum, err := digest(context.Background(), l)
	if err != nil {
		fmt.Printf("refused: %v\n", err)
		return nil
	}
	fmt.Printf("read %s\n", sum)
	return l.Close()
}

// named is what a refusal must hold: positions, a stream, or a file.
var named = regexp.MustCompile(`position|revision \d|stream|HEAD|ORIGIN|MANIFEST|KEYREGISTRY|\d+\.(sst|vlog|mem)`)

// damages are what may become of a file.
var damages = []struct {
	name string
	do   func(t *testing.T, path string, size int64, rng *rand.Rand) (what string)
}{
	{"flips", func(t *testing.T, path string, size int64, rng *rand.Rand) string {
		at, bit := rng.Int64N(size), rng.IntN(8)
		flipAt(t, path, at, bit)
		return fmt.Sprintf("bit %d of byte %d flipped", bit, at)
	}},
	{"truncations", func(t *testing.T, path string, size int64, rng *rand.Rand) string {
		n := rng.Int64N(size)
		if err := os.Truncate(path, n); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("cut to %d of %d bytes", n, size)
	}},
	{"tears", func(t *testing.T, path string, size int64, rng *rand.Rand) string {
		const sector = 512
		at := rng.Int64N((size+sector-1)/sector) * sector
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt(make([]byte, min(sector, size-at)), at); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("sector at byte %d not written", at)
	}},
}

// TestDamage flips one bit anywhere in the directory, cuts a file anywhere, or
// takes a sector away. The log may then be refused, or a read may fail, and
// either must name what is lost; or nothing may be lost. What it may not do is
// answer with less or other than was acknowledged.
func TestDamage(t *testing.T) {
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	source := damagedSource(t)
	whole := filepath.Join(t.TempDir(), "whole") // opening it writes the write-ahead file into a table
	copyDir(t, source, whole)
	want := verifyInChild(t, whole)
	if !strings.HasPrefix(want, "read ") {
		t.Fatal(want)
	}
	files := usedBytes(t, source)
	counts, silent := map[string]int{}, 0
	dir := filepath.Join(t.TempDir(), "damaged")
	for end, n := time.Now().Add(budget.For(t)/4), 0; time.Now().Before(end); n++ {
		d := damages[0]
		if n%10 == 9 {
			d = damages[1+n/10%2]
		}
		copyDir(t, source, dir)
		f := files[rng.IntN(len(files))]
		what := d.do(t, filepath.Join(dir, f.name), f.size, rng)
		outcome := "harmless"
		switch got := verifyInChild(t, dir); {
		case got == want:
		case strings.HasPrefix(got, "refused: ") && named.MatchString(strings.ReplaceAll(got, dir, "")):
			outcome = "refused"
		case strings.HasPrefix(got, "read "):
			silent++
			t.Errorf("%s: %s: %s, want %s or a refusal", f.name, what, got, want)
		default:
			t.Errorf("%s: %s: names nothing that is lost: %s", f.name, what, got)
		}
		counts[fmt.Sprintf("%-11s %s %s", d.name, outcome, f.name)]++
		counts[d.name]++
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		t.Logf("%4d %s", counts[k], k)
	}
	for _, d := range damages {
		budget.Count(t, d.name, counts[d.name])
	}
	budget.Count(t, "silent-losses", silent)
}

func verifyInChild(t *testing.T, dir string) string {
	cmd := child(t, "verify", dir)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return fmt.Sprintf("died: %v: %.600s", err, said.String())
	}
	return strings.TrimSpace(string(out))
}

type usedFile struct {
	name string
	size int64 // up to the last byte that is not 0
}

func usedBytes(t *testing.T, dir string) (files []usedFile) {
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if n := len(bytes.TrimRight(b, "\x00")); n > 0 {
			rel, err := filepath.Rel(dir, path)
			files = append(files, usedFile{rel, int64(n)})
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func flipAt(t *testing.T, path string, at int64, bit int) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	b := make([]byte, 1)
	if _, err := file.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << bit
	if _, err := file.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// TestFlippedBlockIsNamed: damage inside a block leaves the rest readable, and
// the error names the positions.
func TestFlippedBlockIsNamed(t *testing.T) {
	dir := t.TempDir()
	cfg := badgerlog.Config{Window: 5, NoSealing: true} // the index of an open window is made from its blocks
	id := eventlog.StreamID("telemetry-x.0")
	secret := []byte("a value that stands in one block only")
	for i := range uint64(3) { // an opening each, and so a value file each
		l, err := badgerlog.Open(t.Context(), dir, cfg)
		if err != nil {
			t.Fatal(err)
		}
		events := facts(id, i*5, 5)
		if i == 1 {
			events[2].Data = secret
		}
		for j := range events { // so large that they go to a value file, whole
			events[j].Type = eventlog.TelemetryRecorded
			junk := make([]byte, 2000)
			rng := rand.New(rand.NewPCG(i, uint64(j)))
			for k := range junk {
				junk[k] = byte(rng.Uint32())
			}
			events[j].Data = append(events[j].Data, junk...)
		}
		if _, err := l.Append(t.Context(), id, expect(i*5), events...); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	paths, err := filepath.Glob(filepath.Join(dir, "badger", "*.vlog"))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(b, secret); at >= 0 {
			flipAt(t, path, int64(at)+3, 2)
			found = true
		}
	}
	if !found {
		t.Fatal("the block is in no value file")
	}
	l := open(t, dir, cfg)
	n := 0
	var failed error
	for _, err := range l.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
		if failed = err; err == nil {
			n++
		}
	}
	if want := "positions 00000000000000000006 to 00000000000000000010"; n != 5 || !errors.Is(failed, eventlog.ErrDamaged) || !strings.Contains(failed.Error(), want) {
		t.Errorf("%d events and then %v, want 5 and %s damaged", n, failed, want)
	}
	after := 0
	for _, err := range l.ReadAll(t.Context(), 10, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		after++
	}
	if after != 5 {
		t.Errorf("%d events after the damage, want 5", after)
	}
}

// TestMissingFiles: what is not there is named, not made anew.
func TestMissingFiles(t *testing.T) {
	source := damagedSource(t)
	for _, c := range []struct{ name, remove, want string }{
		{"HEAD", "HEAD", "HEAD is missing"},
		{"ORIGIN", "ORIGIN", "ORIGIN is missing"},
		{"the store", "badger", "positions 00000000000000000001 to 00000000000000000360 were acknowledged"},
	} {
		dir := t.TempDir()
		copyDir(t, source, dir)
		if err := os.RemoveAll(filepath.Join(dir, c.remove)); err != nil {
			t.Fatal(err)
		}
		l, err := badgerlog.Open(t.Context(), dir, badgerlog.Config{})
		if err == nil {
			l.Close()
		}
		if !errors.Is(err, eventlog.ErrDamaged) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("without %s: %v, want %s", c.name, err, c.want)
		}
	}
}

// TestDamagedBlockEnds spoils the length at the end of each block of each
// table, which Badger slices by before it looks at any checksum: reads fail and
// say so, and nothing panics.
func TestDamagedBlockEnds(t *testing.T) {
	source := damagedSource(t)
	l := open(t, source, badgerlog.Config{NoSealing: true})
	want, err := digest(t.Context(), l)
	if err := errors.Join(err, l.Close()); err != nil { // all is in tables now
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(source, "badger", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	spoiled, refused := 0, 0
	for _, path := range tables {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// A block's checksum is protobuf of its sum alone, 0x10 and a varint, and
		// its length in 4 bytes follows.
		for at := 16; at+4 < len(whole); at++ {
			n := int(binary.BigEndian.Uint32(whole[at:]))
			if n < 2 || n > 12 || whole[at-n] != 0x10 || whole[at-1]&0x80 != 0 {
				continue
			}
			b := bytes.Clone(whole)
			b[at] ^= 0x08
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			spoiled++
			l, err := badgerlog.Open(t.Context(), source, badgerlog.Config{NoSealing: true})
			if err == nil {
				var got string
				if got, err = digest(t.Context(), l); err == nil && got != want {
					t.Errorf("length at byte %d of %s: other events", at, filepath.Base(path))
				}
				err = errors.Join(err, l.Close())
			}
			if err != nil {
				refused++
				if !errors.Is(err, eventlog.ErrDamaged) {
					t.Errorf("length at byte %d of %s: %v", at, filepath.Base(path), err)
				}
			}
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if refused < 3 {
		t.Errorf("%d of %d spoiled lengths were met", refused, spoiled)
	}
	t.Logf("%d of %d spoiled lengths were met", refused, spoiled)
}
