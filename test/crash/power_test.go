//go:build linux

package crash

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/adapters/rows/badgerrows"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/test/budget"
	"github.com/twinlog/twinlog/test/peer"
)

// TestPowerCut takes the power away at the end of a sync. strace stops the
// process there, a disk has kept what each completed sync wrote, and what it
// gives back is opened: strictly what was synced, or with some of the pages that
// the kernel had not been asked for yet. The next round goes on with it.
func TestPowerCut(t *testing.T) {
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	cuts, rebuilt, unreadable := ends{}, 0, 0
	var l life
	for end, n := time.Now().Add(budget.For(t)/2), 0; n < 2 || time.Now().Before(end); n++ {
		if n%8 == 0 {
			l.forget()
			l = newLife(t)
		}
		how := "strictly what was synced"
		if n%2 == 1 {
			how = "what was synced and some more pages"
		}
		before := l
		l = l.powerCut(t, 1+rng.IntN(120), n%2 == 0, rng)
		before.forget()
		cuts[how]++
		log, err := badgerlog.Open(t.Context(), logDir(l.dir), logConfig())
		if err != nil {
			t.Fatalf("after a power cut, %s: %v", how, err)
		}
		want := checkLog(t, log, l.acknowledged(t))
		// Views are not synced: what cannot be opened is deleted, as the error says.
		if rows, err := badgerrows.Open(viewDir(l.dir), rowsConfig); errors.Is(err, badgerrows.ErrUnreadable) {
			unreadable++
			if err := os.RemoveAll(viewDir(l.dir)); err != nil {
				t.Fatal(err)
			}
		} else if err := errors.Join(err, rows.Close()); err != nil {
			t.Fatal(err)
		}
		if checkViews(t, l.dir, log, want) != "" {
			rebuilt++
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("after a power cut, %s", how)
		}
	}
	t.Logf("views: %d times ahead of the log and rebuilt, %d times unreadable and deleted", rebuilt, unreadable)
	cuts.report(t)
}

// TestThePowerCutFindsAMissingSync: the same with a disk that forgets the syncs
// of one kind of file loses acknowledged events.
func TestThePowerCutFindsAMissingSync(t *testing.T) {
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	for _, kind := range []string{".mem", ".vlog"} {
		l := newLife(t)
		l.forgets = kind
		l = l.powerCut(t, 60, true, rng)
		log, err := badgerlog.Open(t.Context(), logDir(l.dir), logConfig())
		if err == nil {
			n := 0
			for _, readErr := range log.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
				if readErr != nil {
					err = readErr
					break
				}
				n++
			}
			last := uint64(0)
			for _, list := range l.acknowledged(t) {
				last = max(last, uint64(list[len(list)-1].last))
			}
			if err == nil && uint64(n) < last {
				err = fmt.Errorf("%d events of %d", n, last)
			}
			log.Close()
		}
		if err == nil {
			t.Errorf("without the syncs of *%s nothing is missing", kind)
		}
		t.Logf("without the syncs of *%s: %v", kind, err)
	}
}

// powerCut runs a child on l until so many syncs have ended after the first
// acknowledgement, and returns the life that goes on with what the disk holds.
func (l life) powerCut(t *testing.T, syncs int, strictly bool, rng *rand.Rand) life {
	t.Helper()
	strace := peer.Need(t, "strace")
	for _, dir := range []string{logDir(l.dir), viewDir(l.dir)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	fifo := filepath.Join(t.TempDir(), "strace")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	disk := newDisk(t, l.dir)
	cmd := child(t, orders{Dir: l.dir, Acks: l.acks}, strace, "-f", "-y", "-s", "4096", "-o", fifo,
		"-e", "trace=msync,fsync,fdatasync", "-e", "inject=msync,fsync,fdatasync:signal=SIGSTOP")
	var said strings.Builder
	cmd.Stderr = &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // strace and the child
		_ = cmd.Wait()
	}()
	next := life{dir: t.TempDir(), acks: filepath.Join(t.TempDir(), "acks"), forgets: l.forgets}
	size := func() int64 {
		if info, err := os.Stat(l.acks); err == nil {
			return info.Size()
		}
		return 0
	}
	before := size()
	err := follow(fifo, func(path string) error {
		if l.forgets != "" && strings.HasSuffix(path, l.forgets) {
			return nil
		}
		return disk.sync(path)
	}, func() bool {
		if size() > before {
			syncs--
		}
		return syncs < 0
	})
	if err != nil {
		t.Fatalf("%v; the child says %q", err, said.String())
	}
	// All threads stand: what the child has said by now is what the disk must have.
	if err := copyFileIfThere(l.acks, next.acks); err != nil {
		t.Fatal(err)
	}
	if err := disk.restore(next.dir, strictly, rng); err != nil {
		t.Fatal(err)
	}
	return next
}

func copyFileIfThere(from, to string) error {
	if err := copyFile(from, to); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

var (
	syncCall  = regexp.MustCompile(`^(\d+) +(msync|fsync|fdatasync)\((.*)$`)
	syncEnd   = regexp.MustCompile(`^(\d+) .*\) += 0`)
	stopLine  = regexp.MustCompile(`^(\d+) +--- SIGSTOP \{`)
	openFile  = regexp.MustCompile(`^\d+<(.*?)>`)
	mappedAt  = regexp.MustCompile(`^0x([0-9a-f]+),`)
	errNoStop = errors.New("strace ended before the power cut")
)

// follow reads strace's output, tells of each completed sync while the process
// stands, and lets it go on, until cut says so; then the process stands.
func follow(fifo string, synced func(path string) error, cut func() bool) error {
	f, err := os.Open(fifo)
	if err != nil {
		return err
	}
	defer f.Close()
	begun := map[string]string{} // the arguments of each thread's sync
	var ended [][2]string        // thread, arguments
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		if m := syncCall.FindStringSubmatch(line); m != nil {
			begun[m[1]] = m[3]
		}
		if m := syncEnd.FindStringSubmatch(line); m != nil && begun[m[1]] != "" {
			ended = append(ended, [2]string{m[1], begun[m[1]]})
			delete(begun, m[1])
		}
		m := stopLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		tid, err := strconv.Atoi(m[1])
		if err != nil {
			return err
		}
		if !stands(tid) {
			continue // the process has been let go since
		}
		for _, e := range ended {
			path, err := fileOf(e[0], e[1])
			if err != nil {
				return err
			}
			if err := synced(path); err != nil {
				return err
			}
		}
		ended = ended[:0]
		if cut() {
			return nil
		}
		if err := syscall.Kill(tid, syscall.SIGCONT); err != nil {
			return err
		}
	}
	return errNoStop
}

// fileOf returns the file of a sync's descriptor or mapping.
func fileOf(tid, args string) (string, error) {
	if m := openFile.FindStringSubmatch(args); m != nil {
		return strings.TrimSuffix(m[1], " (deleted)"), nil
	}
	m := mappedAt.FindStringSubmatch(args)
	if m == nil {
		return "", fmt.Errorf("a sync of %q: %w", args, errNoStop)
	}
	maps, err := os.ReadFile("/proc/" + tid + "/maps")
	if err != nil {
		return "", err
	}
	at, err := strconv.ParseUint(m[1], 16, 64)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err == nil && from <= at && at < to {
			_, path, _ := strings.Cut(line, "/")
			return "/" + strings.TrimSuffix(strings.TrimSpace(path), " (deleted)"), nil
		}
	}
	return "", nil // it has been unmapped since, and deleted
}

// stands waits until all threads of tid's process have stopped; false if they
// run, because the stop is an old one.
func stands(tid int) bool {
	for range 500 {
		tasks, err := filepath.Glob("/proc/" + strconv.Itoa(tid) + "/task/*/stat")
		if err != nil || len(tasks) == 0 {
			return false
		}
		all := true
		for _, task := range tasks {
			b, err := os.ReadFile(task)
			if err != nil {
				continue // a thread that has ended
			}
			_, state, _ := strings.Cut(string(b), ") ")
			all = all && (strings.HasPrefix(state, "t") || strings.HasPrefix(state, "T"))
		}
		if all {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}
