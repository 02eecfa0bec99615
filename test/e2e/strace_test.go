//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twinlog/twinlog/test/budget"
	"github.com/twinlog/twinlog/test/peer"
)

// TestEveryAcknowledgementFollowsASync watches the server's system calls: each
// of 1,000 PUBACKs is written after a sync that began after its PUBLISH had been
// read, and that had ended. A test with SIGKILL cannot see a missing sync,
// because what a process wrote outlives it in the page cache.
func TestEveryAcknowledgementFollowsASync(t *testing.T) {
	const messages = 1000
	tr := traced(t, messages)
	early := tr.early()
	t.Logf("%d PUBLISH read, %d PUBACK written, %d syncs", len(tr.published), len(tr.acked), len(tr.syncs))
	if len(tr.published) != messages || len(tr.acked) != messages {
		t.Fatalf("%d PUBLISH and %d PUBACK in the trace, want %d each", len(tr.published), len(tr.acked), messages)
	}
	if len(early) > 0 {
		t.Fatalf("%d PUBACKs were written before a sync, the first is number %d", len(early), early[0])
	}
}

// TestTheTraceShowsAHastyServer: the same test of a server that acknowledges
// first must fail.
func TestTheTraceShowsAHastyServer(t *testing.T) {
	const messages = 60
	tr := traced(t, messages, envHasty+"=1")
	if early := tr.early(); len(early) < messages/6 {
		t.Fatalf("%d of %d early PUBACKs were seen", len(early), messages)
	}
}

// traced publishes so many messages, in bursts, to a server under strace.
func traced(t *testing.T, messages int, env ...string) *trace {
	t.Helper()
	strace := peer.Need(t, "strace")
	dir, addr := t.TempDir(), freeAddr(t)
	out := filepath.Join(dir, "trace")
	p := launch(t, dir, addr, []string{strace, "-f", "-y", "-xx", "-s", "70000", "-o", out, "-e", "trace=read,write,msync,fsync,fdatasync"}, env...)

	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	r := bufio.NewReader(conn)
	if err := hello(conn, r, "P-1"); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	for n := 0; n < messages; {
		burst := min(1+rng.IntN(12), messages-n)
		for i := range burst {
			if _, err := conn.Write(publishPacket(topic("P-1"), uint16(n+i+1), false, message("P-1", n+i))); err != nil {
				t.Fatal(err)
			}
		}
		for i := range burst {
			if id, err := readAck(r); err != nil || id != uint16(n+i+1) {
				t.Fatalf("PUBACK %d, %v", id, err)
			}
		}
		n += burst
	}
	_ = syscall.Kill(p.pid, syscall.SIGTERM)
	_ = p.cmd.Wait()
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tr, err := readTrace(f)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// A trace is what strace saw; times are line numbers.
type trace struct {
	published []int // when each PUBLISH had been read whole
	acked     []int // when the write of each PUBACK began
	syncs     []span
}

type span struct{ begin, end int }

// early returns the PUBACKs that no sync preceded.
func (tr *trace) early() (early []int) {
	// soonest[i] is when the first of the syncs from i on had ended.
	soonest := make([]int, len(tr.syncs)+1)
	soonest[len(tr.syncs)] = math.MaxInt
	for i := len(tr.syncs) - 1; i >= 0; i-- {
		soonest[i] = min(soonest[i+1], tr.syncs[i].end)
	}
	next := 0
	for k, acked := range tr.acked {
		if k >= len(tr.published) {
			return append(early, k)
		}
		for next < len(tr.syncs) && tr.syncs[next].begin <= tr.published[k] {
			next++
		}
		if soonest[next] >= acked {
			early = append(early, k)
		}
	}
	return early
}

var (
	callLine   = regexp.MustCompile(`^(\d+) +(\w+)\((.*)$`)
	resumeLine = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)$`)
	dataPart   = regexp.MustCompile(`"((?:\\x[0-9a-f]{2})*)"`)
	resultPart = regexp.MustCompile(`\) += (-?\d+)`)
	fdPart     = regexp.MustCompile(`^(\d+)<([^>]*)>`)
)

const unfinished = " <unfinished ...>"

// a call is one system call, put together from its one or two lines.
type call struct {
	name       string
	fd         int
	file       string // strace -y, hexadecimal as everything with -xx
	data       []byte
	result     int
	begin, end int
}

// readTrace reads strace's output and the MQTT in it.
func readTrace(r io.Reader) (*trace, error) {
	tr := &trace{}
	open := map[string]*call{} // by thread
	incoming, outgoing := map[int]*packets{}, map[int]*packets{}
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for line := 1; s.Scan(); line++ {
		text := s.Text()
		var c *call
		if m := callLine.FindStringSubmatch(text); m != nil {
			c = &call{name: m[2], begin: line}
			c.add(strings.TrimSuffix(m[3], unfinished))
			if strings.HasSuffix(m[3], unfinished) {
				open[m[1]] = c
				if c.name == "write" {
					tr.write(outgoing, incoming, c) // its data leaves from here on
				}
				continue
			}
			if c.name == "write" {
				tr.write(outgoing, incoming, c)
			}
		} else if m := resumeLine.FindStringSubmatch(text); m != nil && open[m[1]] != nil {
			c = open[m[1]]
			delete(open, m[1])
			c.add(m[3])
		} else {
			continue
		}
		c.end = line
		switch c.name {
		case "read":
			if err := tr.read(incoming, c); err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
		case "msync", "fsync", "fdatasync":
			if c.result == 0 && !strings.HasSuffix(c.file, "HEAD") { // the HEAD file holds no event
				tr.syncs = append(tr.syncs, span{c.begin, c.end})
			}
		}
	}
	sortSpans(tr.syncs)
	return tr, s.Err()
}

func sortSpans(s []span) {
	for i := range s { // nearly sorted: by the end
		for j := i; j > 0 && s[j].begin < s[j-1].begin; j-- {
			s[j], s[j-1] = s[j-1], s[j]
		}
	}
}

// add takes what a line says of a call.
func (c *call) add(args string) {
	if m := fdPart.FindStringSubmatch(args); m != nil {
		c.fd, _ = strconv.Atoi(m[1])
		c.file = string(unhex(m[2]))
	}
	if m := dataPart.FindStringSubmatch(args); m != nil && c.data == nil {
		c.data = unhex(m[1])
	}
	if m := resultPart.FindStringSubmatch(args); m != nil {
		c.result, _ = strconv.Atoi(m[1])
	}
}

func unhex(s string) []byte {
	b, _ := hex.DecodeString(strings.ReplaceAll(s, `\x`, ""))
	return b
}

// packets puts the packets of one direction together.
type packets struct{ rest []byte }

// next takes a whole packet off the front; nil if there is none.
func (p *packets) next() (kind byte, body []byte) {
	n, at := 0, 1
	for ; at < len(p.rest) && at < 5; at++ {
		n |= int(p.rest[at]&0x7f) << (7 * (at - 1))
		if p.rest[at] < 0x80 {
			break
		}
	}
	if at >= len(p.rest) || len(p.rest) < at+1+n {
		return 0, nil
	}
	kind, body = p.rest[0]>>4, p.rest[at+1:at+1+n]
	p.rest = p.rest[at+1+n:]
	return kind, body
}

// read notes the PUBLISH packets that a read completed. A descriptor is MQTT's
// if the first thing read from it is a CONNECT.
func (tr *trace) read(incoming map[int]*packets, c *call) error {
	if c.result <= 0 {
		return nil
	}
	if len(c.data) != c.result {
		return fmt.Errorf("read of %d bytes shows %d", c.result, len(c.data))
	}
	p := incoming[c.fd]
	if p == nil {
		if !bytes.Contains(c.data, []byte("MQTT")) || c.data[0] != 0x10 {
			return nil
		}
		p = &packets{}
		incoming[c.fd] = p
	}
	p.rest = append(p.rest, c.data...)
	for kind, body := p.next(); body != nil; kind, body = p.next() {
		if kind == 3 {
			n := int(binary.BigEndian.Uint16(body))
			if id := binary.BigEndian.Uint16(body[2+n:]); int(id) != len(tr.published)+1 {
				return fmt.Errorf("PUBLISH %d, want %d", id, len(tr.published)+1)
			}
			tr.published = append(tr.published, c.end)
		}
	}
	return nil
}

// write notes the PUBACK packets of a write.
func (tr *trace) write(outgoing, incoming map[int]*packets, c *call) {
	if incoming[c.fd] == nil {
		return
	}
	p := outgoing[c.fd]
	if p == nil {
		p = &packets{}
		outgoing[c.fd] = p
	}
	p.rest = append(p.rest, c.data...)
	for kind, body := p.next(); body != nil; kind, body = p.next() {
		if kind == 4 {
			tr.acked = append(tr.acked, c.begin)
		}
	}
}
