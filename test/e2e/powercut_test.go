//go:build linux

package e2e

import (
	"bufio"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twinlog/twinlog/test/budget"
	"github.com/twinlog/twinlog/test/peer"
)

// TestPowerCut restores the data directory as it was at the last completed sync.
//
// strace stops the server at the end of every sync. At a random one the
// directory is copied; then the server goes on until its next sync ends, and
// there the power goes. Whatever had been acknowledged until then must be in the
// copy, since no sync came in between. The next round goes on with the copy.
func TestPowerCut(t *testing.T) {
	const rounds = 4
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	dir, addr := t.TempDir(), freeAddr(t)
	var pipe pipeliner
	pipe.device, pipe.window = "P-1", 20
	for range rounds {
		dir = untilPowerCut(t, dir, addr, &pipe, 10+rng.IntN(60))
		c := count(t, dir)
		c.want(t, pipe.device, pipe.acknowledged())
	}
	t.Logf("%d messages were acknowledged in %d rounds", len(pipe.acknowledged()), rounds)
}

// TestPowerCutFindsAHastyServer: the same with a server that acknowledges first
// loses messages.
func TestPowerCutFindsAHastyServer(t *testing.T) {
	dir, addr := t.TempDir(), freeAddr(t)
	pipe := pipeliner{device: "P-1", window: 20}
	dir = untilPowerCut(t, dir, addr, &pipe, 20, envHasty+"=1")
	stored := count(t, dir).devices[pipe.device]
	for _, n := range pipe.acknowledged() {
		if stored[n] == 0 {
			return
		}
	}
	t.Fatal("no acknowledged message is missing")
}

// untilPowerCut runs a server on dir, with one client, until so many syncs have
// ended since the client began, and returns what the disk then holds.
func untilPowerCut(t *testing.T, dir, addr string, pipe *pipeliner, syncs int, env ...string) (restored string) {
	t.Helper()
	strace := peer.Need(t, "strace")
	out := filepath.Join(t.TempDir(), "strace")
	if err := syscall.Mkfifo(out, 0o600); err != nil {
		t.Fatal(err)
	}
	restored = t.TempDir()
	stops := &stopper{dir: dir, restored: restored, armed: make(chan int, 1), cut: make(chan error, 1)}
	go stops.follow(out)
	p := launch(t, dir, addr, []string{
		strace, "-f", "-o", out, "-e", "trace=msync,fsync,fdatasync", "-e", "inject=msync,fsync,fdatasync:signal=SIGSTOP",
	}, env...)

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	client := make(chan struct{})
	go func() { pipe.run(ctx, addr); close(client) }()
	before := len(pipe.acknowledged())
	eventually(t, "messages are acknowledged", func() bool { return len(pipe.acknowledged()) > before })
	stops.armed <- syncs
	select {
	case err := <-stops.cut:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("no power cut within a minute")
	}
	time.Sleep(50 * time.Millisecond) // what was written before still reaches the client
	p.kill()
	stop()
	<-client
	return restored
}

// A stopper reads strace's output and lets the server go on after each sync.
type stopper struct {
	dir, restored string
	armed         chan int   // how many syncs until the copy
	cut           chan error // the copy is made, and the server stands at its next sync
}

// follow ends with strace, or leaves the server standing at the power cut.
func (s *stopper) follow(fifo string) {
	f, err := os.Open(fifo)
	if err != nil {
		s.cut <- err
		return
	}
	defer f.Close()
	left, copied := -1, false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		thread, rest, _ := strings.Cut(lines.Text(), " ")
		if !strings.HasPrefix(strings.TrimSpace(rest), "--- SIGSTOP {") {
			continue
		}
		tid, err := strconv.Atoi(thread)
		if err != nil {
			s.cut <- err
			return
		}
		stands := stands(tid)
		select {
		case left = <-s.armed:
		default:
		}
		switch {
		case left < 0 || !stands:
		case left > 0:
			left--
		case !copied:
			if err := exec.CommandContext(context.Background(), "cp", "-a", s.dir+"/.", s.restored).Run(); err != nil {
				s.cut <- errors.Join(errors.New("copy"), err)
				return
			}
			copied = true
		default:
			s.cut <- nil
			return
		}
		_ = syscall.Kill(tid, syscall.SIGCONT)
	}
}

// stands waits until all threads of tid's process have stopped; false if they
// run, because the stop is an old one.
func stands(tid int) bool {
	for range 200 {
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
