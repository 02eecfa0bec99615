package badweek

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/twinlog/twinlog/edge/outbox"
	"github.com/twinlog/twinlog/test/budget"
)

// childEnv tells a child process that it is a gateway: "id dir addr ca from".
const childEnv = "TWINLOG_BADWEEK"

func TestMain(m *testing.M) {
	if orders := os.Getenv(childEnv); orders != "" {
		if err := gatewayProcess(orders); err != nil {
			fmt.Fprintln(os.Stderr, "gateway:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// gatewayProcess makes messages until its standard input ends, says which were
// accepted under which number, and then drains.
func gatewayProcess(orders string) error {
	var id, dir, addr, ca string
	var n int
	if _, err := fmt.Sscan(orders, &id, &dir, &addr, &ca, &n); err != nil {
		return err
	}
	lanes, disk, link, err := openBox(context.Background(), id, dir, addr, ca)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- lanes.Run(ctx, link) }()
	out := bufio.NewWriter(os.Stdout)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		count, err := strconv.Atoi(in.Text())
		if err != nil {
			return err
		}
		for ; count > 0; n++ {
			bodies, marks := []outbox.Body{}, []mark{}
			for range 1 + n%20 {
				fmt.Fprintf(out, "try %d\n", n)
				bodies = append(bodies, message(id, n, time.Now(), func(at mark) { marks = append(marks, at) }))
				n, count = n+1, count-1
			}
			if err := errors.Join(out.Flush(), lanes.Put(ctx, outbox.Priority(n%4-1), bodies...)); err != nil {
				return err
			}
			for i, at := range marks {
				fmt.Fprintf(out, "got %d %s %s %d\n", n-len(marks)+i, at.source, at.incarnation, at.seq)
			}
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
	for lanes.Total().Depth > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	<-done
	return errors.Join(lanes.Close(), disk.Close())
}

// TestBadgerDays plays days of a gateway in a process of its own, with Badger
// and TLS as they are, which is killed at any moment several times a day while
// the server restarts. A day has 8,640 messages.
func TestBadgerDays(t *testing.T) {
	seed, end, days := budget.Seed(t), time.Now().Add(budget.For(t)), 0
	for ; days == 0 || time.Now().Before(end); days++ {
		badgerDay(t, rand.New(rand.NewPCG(seed, uint64(days))), days)
		if t.Failed() {
			t.Fatalf("day %d of seed %d", days, seed)
		}
	}
	t.Logf("%d days", days)
}

const dayMessages = 8640

func badgerDay(t *testing.T, rng *rand.Rand, day int) {
	p := newPlant(t)
	defer p.halt()
	g := &gateway{id: fmt.Sprintf("gw-%d", day), accepted: map[mark]int{}, tried: map[int]bool{}}
	dir := t.TempDir()
	kills, most := 0, 1+rng.IntN(6)
	for n := 1; n < dayMessages; {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s %s %d", childEnv, g.id, filepath.Join(dir, "outbox"), p.addr, p.ca, n))
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		outR, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var said tail
		cmd.Stderr = &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		count := dayMessages - n
		die := kills < most
		_, _ = fmt.Fprintln(in, count)
		if !die {
			_ = in.Close()
		}
		if rng.IntN(3) == 0 {
			p.restart()
		}
		stopAt := n + rng.IntN(count)
		for lines := bufio.NewScanner(outR); lines.Scan(); {
			n = g.heard(t, lines.Text(), n)
			if die && n >= stopAt {
				die = false
				kills++
				_ = cmd.Process.Kill()
			}
		}
		_ = in.Close()
		if err := cmd.Wait(); err != nil && n >= dayMessages {
			t.Logf("the last gateway: %v: %s", err, said.b)
		}
		n++
	}
	// One life more, which only drains.
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s %s %d", childEnv, g.id, filepath.Join(dir, "outbox"), p.addr, p.ca, 1))
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	sum := judge(t, p.log, []*gateway{g})
	if sum.Stored+sum.Refused != len(g.accepted) || sum.Lost != 0 {
		t.Errorf("%d accepted, %+v", len(g.accepted), sum)
	}
	t.Logf("day %d: %d accepted, %d kills", day, len(g.accepted), kills)
}

// heard notes a line of the child and returns the highest n that it spoke of.
func (g *gateway) heard(t *testing.T, line string, high int) int {
	t.Helper()
	var n int
	var at mark
	if _, err := fmt.Sscanf(line, "try %d", &n); err == nil {
		g.tried[n] = true
		return max(high, n)
	}
	if _, err := fmt.Sscanf(line, "got %d %s %s %d", &n, &at.source, &at.incarnation, &at.seq); err == nil {
		g.accepted[at] = n
	}
	return max(high, n)
}

// tail keeps what a process said last.
type tail struct{ b []byte }

var _ io.Writer = (*tail)(nil)

func (s *tail) Write(b []byte) (int, error) {
	s.b = append(s.b, b...)
	s.b = s.b[max(0, len(s.b)-2000):]
	return len(b), nil
}
