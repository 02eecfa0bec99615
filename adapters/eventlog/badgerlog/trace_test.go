package badgerlog_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/test/peer"
)

// A message between parent and child is 16 bytes in one read or write, so that
// a trace shows it whole.
const messageLen = 16

// answerAppends is the child: each message on standard input is an append to a
// stream of its own, answered on standard output when it is durable.
func answerAppends(dir string) error {
	l, err := badgerlog.Open(context.Background(), dir, badgerlog.Config{})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	var acked atomic.Int64
	for {
		b := make([]byte, messageLen)
		if _, err := io.ReadFull(os.Stdin, b); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		wg.Go(func() {
			id := eventlog.Stream("telemetry", strings.TrimSpace(string(b)))
			answer := fmt.Sprintf("ack%12s\n", b[3:15])
			if _, err := l.Append(context.Background(), id, eventlog.NoStream, facts(id, 0, 4)...); err != nil {
				answer = fmt.Sprintf("err%12s\n", b[3:15])
			} else {
				acked.Add(4)
			}
			fmt.Print(answer)
		})
	}
	wg.Wait()
	select {
	case err := <-l.Failed():
		fmt.Printf("failed: %v\n", err)
		_, err2 := l.Append(context.Background(), "asset-1", eventlog.NoStream, fact("asset-1", 0))
		if !errors.Is(err2, eventlog.ErrDamaged) {
			return fmt.Errorf("append after %w: %w", err, err2)
		}
		// What could not be synced is in Badger all the same, but no reader sees it.
		for _, err := range l.ReadAll(context.Background(), 0, eventlog.Forwards, eventlog.Filter{}) {
			if acked.Add(-1); err != nil {
				return err
			}
		}
		if acked.Load() != 0 {
			return fmt.Errorf("%d events more are acknowledged than read", acked.Load())
		}
		return nil // as after a power cut: not closed
	default:
		return l.Close()
	}
}

// exchange sends n appends, some at once, and returns the answers.
func exchange(t *testing.T, dir string, n, atOnce int, strace ...string) (answers []string) {
	cmd := child(t, "answer", dir, strace...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for sent := 0; sent < n; {
		batch := min(atOnce, n-sent)
		for range batch {
			fmt.Fprintf(in, "req%12d\n", sent)
			sent++
		}
		for range batch {
			if !lines.Scan() {
				t.Fatal("the child gave up")
			}
			answers = append(answers, lines.Text())
		}
	}
	in.Close()
	for lines.Scan() {
		answers = append(answers, lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return answers
}

// TestSyncBeforeAck looks at the system calls: each acknowledgement leaves
// after two msyncs, of the value file and of the write-ahead file, that began
// after its append was handed in and succeeded. A killed process cannot show
// that, because its pages survive it.
func TestSyncBeforeAck(t *testing.T) {
	strace := peer.Need(t, "strace")
	trace := filepath.Join(t.TempDir(), "trace")
	const n = 200
	answers := exchange(t, t.TempDir(), n, 4, strace, "-f", "-s", "64", "-e", "trace=read,write,msync,fsync,fdatasync", "-o", trace)
	if len(answers) != n || strings.Contains(strings.Join(answers, ""), "err") {
		t.Fatalf("%d answers: %q", len(answers), answers)
	}
	b, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	acks, syncs := checkTrace(t, string(b))
	if acks != n {
		t.Errorf("%d acknowledgements in the trace, want %d", acks, n)
	}
	t.Logf("%d acknowledgements, %d syncs", acks, syncs)
}

var (
	callLine    = regexp.MustCompile(`^(\d+) +(\w+)\((.*)$`)
	resumedLine = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)$`)
	messageText = regexp.MustCompile(`(req|ack) +(\d+)\\n`)
)

type synced struct {
	began, ended int // lines
	what         string
}

// checkTrace reads the output of strace -f: a call may begin on one line
// ("<unfinished ...>") and end on a later one of the same thread.
func checkTrace(t *testing.T, trace string) (acks, syncs int) {
	var done []synced
	begun := map[string]synced{}
	handed := map[string]int{}
	for i, line := range strings.Split(trace, "\n") {
		var pid, call, rest string
		resumed := false
		if m := callLine.FindStringSubmatch(line); m != nil {
			pid, call, rest = m[1], m[2], m[3]
		} else if m := resumedLine.FindStringSubmatch(line); m != nil {
			pid, call, rest, resumed = m[1], m[2], m[3], true
		} else {
			continue
		}
		unfinished := strings.Contains(rest, "<unfinished ...>")
		switch call {
		case "msync":
			s := begun[pid]
			if !resumed {
				s = synced{began: i, what: strings.SplitN(rest, ",", 2)[0]}
			}
			if unfinished {
				begun[pid] = s
			} else if strings.HasSuffix(strings.TrimSpace(rest), "= 0") {
				s.ended = i
				done = append(done, s)
			}
		case "read":
			for _, m := range messageText.FindAllStringSubmatch(rest, -1) {
				handed[m[2]] = i
			}
		case "write":
			m := messageText.FindStringSubmatch(rest)
			if m == nil || m[1] != "ack" || resumed {
				continue
			}
			acks++
			files := map[string]bool{}
			for _, s := range done {
				if s.began > handed[m[2]] && s.ended < i {
					files[s.what] = true
				}
			}
			if len(files) < 2 {
				t.Errorf("append %s was handed in at line %d and acknowledged at line %d, with %d files synced between", m[2], handed[m[2]], i, len(files))
			}
		}
	}
	return acks, len(done)
}

// TestFailedSync makes single msyncs fail. Whichever file they are of: the
// append is refused, the log stops, and what was acknowledged is there later.
// strace counts the calls of each thread, so which one fails is not known; over
// some runs both files' are among them.
func TestFailedSync(t *testing.T) {
	strace := peer.Need(t, "strace")
	valueFile, writeAhead := 0, 0
	for when := 1; when <= 6; when++ {
		dir := t.TempDir()
		answers := exchange(t, dir, 60, 1, strace, "-f", "-q", "-o", "/dev/null", "-e", "trace=msync",
			"-e", fmt.Sprintf("inject=msync:error=EIO:when=%d", when))
		var acked []string
		failed := false
		for _, a := range answers[:len(answers)-1] {
			switch {
			case strings.HasPrefix(a, "ack"):
				if failed {
					t.Errorf("msync %d: acknowledged after a failed sync: %q", when, answers)
				}
				acked = append(acked, strings.Replace(a, "ack", "req", 1))
			case strings.HasPrefix(a, "err"):
				failed = true
			}
		}
		why := answers[len(answers)-1]
		if !failed || !strings.HasPrefix(why, "failed: ") || !strings.Contains(why, "input/output error") {
			t.Fatalf("msync %d: no failure was told: %q", when, answers)
		}
		if strings.Contains(why, "curlf") {
			valueFile++
		} else {
			writeAhead++
		}
		l := open(t, dir, badgerlog.Config{})
		for _, a := range acked {
			id := eventlog.Stream("telemetry", a)
			if n := count(t, l.Read(t.Context(), id, 0, eventlog.Forwards)); n != 4 {
				t.Errorf("msync %d: %s has %d events, 4 were acknowledged", when, id, n)
			}
		}
	}
	if valueFile == 0 || writeAhead == 0 {
		t.Errorf("%d failures of the value file and %d of the write-ahead file, want both", valueFile, writeAhead)
	}
	t.Logf("%d failures of the value file, %d of the write-ahead file", valueFile, writeAhead)
}
