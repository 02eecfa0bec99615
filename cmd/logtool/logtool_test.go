package logtool_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/cmd/logtool"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/test/budget"
)

func save(t *testing.T, data, dir string) logtool.Backup {
	t.Helper()
	src, err := logtool.OpenData(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	b, err := logtool.Save(t.Context(), src, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSameBytesEverywhere: for random histories the SHA-256 of every event,
// taken at Append, is that of Read and ReadAll before sealing, after sealing,
// after backup and restore, and after copy there and back.
func TestSameBytesEverywhere(t *testing.T) {
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	rounds, events := 0, 0
	for end := time.Now().Add(budget.For(t) / 2); rounds == 0 || time.Now().Before(end); rounds++ {
		p := newPlant(t, rng)
		data, saved := dataDir(t, "plant"), filepath.Join(t.TempDir(), "saved")
		cfg := p.config(10 + rng.IntN(50))
		log := filepath.Join(data, "log")
		for i := range 3 {
			l, err := badgerlog.Open(t.Context(), log, cfg)
			if err != nil {
				t.Fatal(err)
			}
			p.append(l, 30+rng.IntN(100))
			p.check("before sealing", l)
			if rng.IntN(2) == 0 {
				if err := l.Seal(t.Context()); err != nil {
					t.Fatal(err)
				}
				p.check("after sealing", l)
			}
			closeLog(t, l)
			if i == 2 && rng.IntN(2) == 0 {
				break // events after the last backup
			}
			if b := save(t, data, saved); b.Through.Events != uint64(len(p.order)) {
				t.Fatalf("backup through event %d, want %d", b.Through.Events, len(p.order))
			}
		}
		if _, err := logtool.Check(saved); err != nil {
			t.Fatal(err)
		}

		there, back := filepath.Join(t.TempDir(), "there"), filepath.Join(t.TempDir(), "back")
		for _, c := range []struct{ from, to string }{{log, there}, {there, back}} {
			copied, err := logtool.Copy(t.Context(), c.from, c.to, nil)
			if err != nil {
				t.Fatal(err)
			}
			l := openLog(t, c.to)
			p.check("copy", l)
			if head, _, _ := l.Head(t.Context()); head != copied.Opened || head.Epoch() == 0 {
				t.Errorf("the copy's head is %v, its epoch begins at %v", head, copied.Opened)
			}
			closeLog(t, l)
		}

		target := dataDir(t, "restored")
		r, err := logtool.Restore(t.Context(), logtool.RestoreOptions{Backup: saved, Data: target}, nil)
		if err != nil {
			t.Fatal(err)
		}
		l := openLog(t, filepath.Join(target, "log"))
		p.checkFirst("restored", l, int(r.Through.Events))
		closeLog(t, l)
		events += len(p.order)
	}
	t.Logf("%d histories, %d events", rounds, events)
}

// TestRestoreToAMoment: a restore ends behind the last whole commit, opens an
// epoch, refuses what was lost and says what that was.
func TestRestoreToAMoment(t *testing.T) {
	rng := rand.New(rand.NewPCG(budget.Seed(t), 1))
	p := newPlant(t, rng)
	data, saved := dataDir(t, "plant"), filepath.Join(t.TempDir(), "saved")
	log := filepath.Join(data, "log")
	l, err := badgerlog.Open(t.Context(), log, p.config(40))
	if err != nil {
		t.Fatal(err)
	}
	p.append(l, 100)
	var all []eventlog.Record
	for r, err := range l.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	closeLog(t, l)
	save(t, data, saved)
	if err := os.Mkdir(filepath.Join(data, "views"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := logtool.Restore(t.Context(), logtool.RestoreOptions{Backup: saved, Data: data}, nil); !errors.Is(err, logtool.ErrExists) {
		t.Fatalf("over a log: %v", err)
	}
	for range 3 {
		at := all[rng.IntN(len(all))]
		byTime := rng.IntN(2) == 0
		o := logtool.RestoreOptions{Backup: saved, Data: data, Replace: true, ToPosition: at.Position}
		kept := 0
		for _, r := range all {
			if byTime && !r.Recorded.After(at.Recorded) || !byTime && r.Position <= at.Position && // its whole commit is
				(int(at.Position) == len(all) || !r.Recorded.Equal(all[at.Position].Recorded)) {
				kept++
			}
		}
		if byTime {
			o.ToPosition, o.ToTime = 0, at.Recorded
		}
		r, err := logtool.Restore(t.Context(), o, nil)
		if err != nil {
			t.Fatal(err)
		}
		if int(r.Through.Events) != kept {
			t.Fatalf("by time %v, at %v: %d events, want %d", byTime, at.Position, r.Through.Events, kept)
		}
		l := openLog(t, filepath.Join(data, "log"))
		p.checkFirst("restored", l, kept)
		for i, rec := range all {
			if err := l.Stands(rec.Position); (err == nil) != (i < kept) || err != nil && !errors.Is(err, eventlog.ErrPositionLost) {
				t.Fatalf("position %v of %d that were kept: %v", rec.Position, kept, err)
			}
		}
		closeLog(t, l)
		if _, err := os.Stat(filepath.Join(data, "views")); !errors.Is(err, os.ErrNotExist) {
			t.Error("views of the old epoch are still there")
		}
		if s := r.Statement(); !strings.Contains(s, "lost: ") || !strings.Contains(s, r.Replaced) {
			t.Errorf("statement %s", s)
		}
	}
	// The backup goes on in a log that it no longer describes: refused.
	src, err := logtool.OpenData(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if about, _ := src.About(t.Context()); about.Head.Order() <= uint64(len(all)) {
		if _, err := logtool.Save(t.Context(), src, saved, nil); !errors.Is(err, eventlog.ErrPositionLost) {
			t.Errorf("the backup went on behind a restore: %v", err)
		}
	}
}

// TestBrokenBackup: no byte of a backup can change, and no file go, unnoticed.
func TestBrokenBackup(t *testing.T) {
	rng := rand.New(rand.NewPCG(budget.Seed(t), 2))
	p := newPlant(t, rng)
	data, saved := dataDir(t, "plant"), filepath.Join(t.TempDir(), "saved")
	for range 3 {
		l, err := badgerlog.Open(t.Context(), filepath.Join(data, "log"), p.config(40))
		if err != nil {
			t.Fatal(err)
		}
		p.append(l, 20)
		closeLog(t, l)
		save(t, data, saved)
	}
	files, err := filepath.Glob(filepath.Join(saved, "*.tlb"))
	if err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	for range 60 {
		path := files[rng.IntN(3)]
		was, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bad := append([]byte{}, was...)
		bad[rng.IntN(len(bad))] ^= 1 << rng.IntN(8)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := logtool.Check(saved); err == nil {
			t.Errorf("a flipped bit in %s was not found", path)
		}
		if err := os.WriteFile(path, was, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	target := dataDir(t, "target")
	if _, err := logtool.Restore(t.Context(), logtool.RestoreOptions{Backup: saved, Data: target}, nil); !errors.Is(err, logtool.ErrChain) {
		t.Errorf("without the second file: %v", err)
	}
}
