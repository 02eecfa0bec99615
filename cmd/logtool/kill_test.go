package logtool_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/cmd/logtool"
	"github.com/twinlog/twinlog/test/budget"
)

const childVariable = "TWINLOG_LOGTOOL_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		os.Exit(m.Run())
	}
	if err := child(context.Background(), os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child does what the test kills.
func child(ctx context.Context, what, from, to string) error {
	switch what {
	case "backup":
		src, err := logtool.OpenData(ctx, from)
		if err != nil {
			return err
		}
		if _, err := logtool.Save(ctx, src, to, nil); err != nil {
			return err
		}
		return src.Close()
	case "restore":
		_, err := logtool.Restore(ctx, logtool.RestoreOptions{Backup: from, Data: to}, nil)
		return err
	}
	_, err := logtool.Copy(ctx, filepath.Join(from, "log"), to, nil)
	return err
}

// TestKilledAndResumed: a backup, a restore and a copy that are killed at
// random times end as if they had not been, when the same command runs again.
func TestKilledAndResumed(t *testing.T) {
	rng := rand.New(rand.NewPCG(budget.Seed(t), 5))
	p := newPlant(t, rng)
	data, work := dataDir(t, "plant"), t.TempDir()
	l, err := badgerlog.Open(t.Context(), filepath.Join(data, "log"), p.config(400))
	if err != nil {
		t.Fatal(err)
	}
	p.append(l, 2000)
	closeLog(t, l)
	start := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
		cmd.Env = append(os.Environ(), childVariable+"=1")
		cmd.Stderr = os.Stderr
		return cmd
	}
	saved, restored, copied := filepath.Join(work, "saved"), filepath.Join(work, "restored"), filepath.Join(work, "copied")
	kills := 0
	for _, c := range []struct{ what, from, to, log string }{
		{"backup", data, saved, ""},
		{"restore", saved, restored, filepath.Join(restored, "log")},
		{"copy", data, copied, copied},
	} {
		begun := time.Now()
		if err := start(c.what, c.from, filepath.Join(work, "unkilled-"+c.what)).Run(); err != nil {
			t.Fatal(err)
		}
		whole := time.Since(begun)
		done := false
		for tries := 0; tries < 6 && !done; tries++ {
			cmd := start(c.what, c.from, c.to)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(time.Duration(rng.Int64N(int64(whole))), func() { _ = cmd.Process.Kill() })
			err := cmd.Wait()
			timer.Stop()
			if cmd.ProcessState.ExitCode() >= 0 && err != nil {
				t.Fatalf("%s after %d kills: %v", c.what, tries, err)
			}
			if err != nil {
				kills++
			}
			_, missing := os.Stat(c.log)
			done = err == nil || c.log != "" && missing == nil // it was faster than the kill
		}
		if !done {
			if err := start(c.what, c.from, c.to).Run(); err != nil {
				t.Fatalf("%s after kills: %v", c.what, err)
			}
		}
		if c.log == "" {
			if chain, err := logtool.Check(c.to); err != nil || chain.End.Events != uint64(len(p.order)) {
				t.Fatalf("backup of %d events: %d, %v", len(p.order), chain.End.Events, err)
			}
			continue
		}
		l := openLog(t, c.log)
		p.check(c.what, l)
		if r, err := l.Verify(t.Context(), nil); err != nil || r.Lost > 0 {
			t.Fatalf("%s: %v, %v", c.what, r.Losses, err)
		}
		closeLog(t, l)
	}
	t.Logf("%d kills", kills)
}
