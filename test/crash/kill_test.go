package crash

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/test/budget"
	"github.com/twinlog/twinlog/test/peer"
)

// A life is a data directory through its crashes.
type life struct {
	dir, acks string
	forgets   string // the end of the names of files whose syncs are lost, "" for an honest disk
}

func newLife(t *testing.T) life {
	t.Helper()
	return life{dir: t.TempDir(), acks: filepath.Join(t.TempDir(), "acks")}
}

// forget makes room: a torture run has thousands of lives.
func (l life) forget() {
	if l.dir != "" {
		_ = os.RemoveAll(l.dir)
	}
}

// acknowledged reads what children said; a line that a kill cut is none.
func (l life) acknowledged(t *testing.T) map[eventlog.StreamID][]ack {
	t.Helper()
	f, err := os.Open(l.acks)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	acks := map[eventlog.StreamID][]ack{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var id eventlog.StreamID
		var a ack
		if _, err := fmt.Sscan(lines.Text(), &id, &a.rev, &a.first, &a.last); err != nil {
			t.Fatalf("acknowledgement %q: %v", lines.Text(), err)
		}
		if list := acks[id]; len(list) > 0 && list[len(list)-1].rev >= a.rev {
			t.Errorf("%s: revision %d acknowledged after %d", id, a.rev, list[len(list)-1].rev)
		}
		acks[id] = append(acks[id], a)
	}
	return acks
}

// ends tells in how many ways children ended.
type ends map[string]int

func (e ends) report(t *testing.T) {
	n := 0
	for _, how := range slices.Sorted(maps.Keys(e)) {
		t.Logf("%5d %s", e[how], how)
		n += e[how]
	}
	budget.Count(t, "kills", n)
}

// starting is held while a process is made: until it has become another
// program it holds what this one has open, the locks of other lives too.
var starting sync.Mutex

// run lets a child live until its moment comes, or for at most so long, and
// says how it ended.
func (l life) run(t *testing.T, o orders, atMost time.Duration, before ...string) string {
	t.Helper()
	o.Dir, o.Acks = l.dir, l.acks
	cmd := child(t, o, before...)
	var said strings.Builder
	cmd.Stderr = &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // strace leaves its child alone when it is killed
	starting.Lock()
	err := cmd.Start()
	starting.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(atMost, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	err = cmd.Wait()
	if text := said.String(); strings.Contains(text, "gives up") || strings.Contains(text, "panic") || strings.Contains(text, "goroutine ") {
		t.Fatalf("the child ended by itself: %v: %s", err, text)
	}
	switch {
	case !timer.Stop():
		return "at a random time"
	case len(before) > 0:
		return "entering a sync"
	case o.Later > 0:
		return "after " + o.Moment
	default:
		return "at " + o.Moment
	}
}

// look opens what the crash has left and holds it to the promises.
func (l life) look(t *testing.T, how string) {
	t.Helper()
	log, err := badgerlog.Open(t.Context(), logDir(l.dir), logConfig())
	if err != nil {
		t.Fatalf("after a kill %s: %v", how, err)
	}
	want := checkLog(t, log, l.acknowledged(t))
	checkViews(t, l.dir, log, want)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if t.Failed() {
		t.Fatalf("after a kill %s", how)
	}
}

// generation is after how many kills a new directory is begun: reading all of
// an old one takes longer each time.
const generation = 12

// lives go on beside each other: a kill is mostly waiting.
const lives = 4

// TestKilled kills the process at each named moment in turn, in the midst of
// what follows it, at random times, and in its first moments, when it repairs
// what the kill before has left. Every other time nobody looks in between.
func TestKilled(t *testing.T) {
	seed := budget.Seed(t)
	seen := make(chan ends, lives)
	end := time.Now().Add(budget.For(t))
	t.Run("lives", func(t *testing.T) {
		for i := range lives {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				seen <- killUntil(t, end, rand.New(rand.NewPCG(seed, uint64(i))))
			})
		}
	})
	close(seen)
	all := ends{}
	for one := range seen {
		for how, n := range one {
			all[how] += n
		}
	}
	all.report(t)
}

func killUntil(t *testing.T, end time.Time, rng *rand.Rand) ends {
	seen := ends{}
	var l life
	for n := 0; n < 4 || time.Now().Before(end); n++ {
		if n%generation == 0 {
			l.forget()
			l = newLife(t)
		}
		o, atMost := orders{}, time.Duration(1+rng.IntN(250))*time.Millisecond
		if n%5 != 4 {
			o = orders{Moment: moments[rng.IntN(len(moments))], Nth: 1 + rng.IntN(3)}
			if atMost = 2 * time.Second; rng.IntN(2) == 0 {
				o.Later = time.Duration(1 + rng.IntN(3_000_000))
			}
		}
		how := l.run(t, o, atMost)
		seen[how]++
		if n%2 == 1 {
			l.look(t, how)
		}
	}
	l.look(t, "at the end")
	return seen
}

// TestKilledEnteringASync kills the process when a thread of it enters one of
// its first syncs: what was written for it is in the page cache, of a commit
// the values and not the keys, or both, and nobody has been told.
func TestKilledEnteringASync(t *testing.T) {
	strace := peer.Need(t, "strace")
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	seen := ends{}
	var l life
	for end, n := time.Now().Add(budget.For(t)/4), 0; n < 2 || time.Now().Before(end); n++ {
		if n%generation == 0 {
			l.forget()
			l = newLife(t)
		}
		how := l.run(t, orders{}, 10*time.Second, strace, "-f", "-q", "-o", "/dev/null", "-e", "trace=msync,fsync",
			"-e", fmt.Sprintf("inject=msync,fsync:signal=SIGKILL:when=%d", 1+rng.IntN(60)))
		seen[how]++
		l.look(t, how)
	}
	seen.report(t)
}
