//go:build linux

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twinlog/twinlog/test/budget"
)

// connect opens a connection of MQTT 3.1.1.
func connect(ctx context.Context, addr, client string) (net.Conn, *bufio.Reader, error) {
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	r := bufio.NewReader(conn)
	_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
	if err := hello(conn, r, client); err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return conn, r, nil
}

// TestTenThousandDevices speak once each, and are gone: they are all there, and
// cost no goroutines and little memory from then on.
func TestTenThousandDevices(t *testing.T) {
	t.Parallel()
	const n, workers = 10_000, 8
	p := serveProduct(t, t.TempDir())
	before := p.metric(t, "go_goroutines")
	memory := p.metric(t, "process_resident_memory_bytes")
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			// Each connection tells of a hundred devices, as a bridge does.
			for first := w; first < n; first += workers * 100 {
				conn, r, err := connect(t.Context(), p.mqtt, fmt.Sprint("bridge-", first))
				if err != nil {
					t.Error(err)
					return
				}
				sent := 0
				for d := first; d < n && sent < 100; d += workers {
					device := fmt.Sprint("D-", d)
					sent++
					if _, err := conn.Write(publishPacket(topic(device), uint16(sent), false, message(device, d))); err != nil {
						t.Error(err)
					}
				}
				for range sent {
					if _, err := readAck(r); err != nil {
						t.Error(err)
						break
					}
				}
				_ = conn.Close()
			}
		})
	}
	wg.Wait()
	p.folded(t)
	seen := 0
	for after := any(nil); ; {
		a := p.ask(t, `query($after: String) { plant { devices(first: 500, after: $after) { pageInfo { hasNextPage endCursor } nodes { name signals } } } }`, map[string]any{"after": after})
		nodes, _ := a.at("plant", "devices", "nodes").([]any)
		seen += len(nodes)
		if a.at("plant", "devices", "pageInfo", "hasNextPage") != true {
			break
		}
		after = a.text("plant", "devices", "pageInfo", "endCursor")
	}
	if seen != n {
		t.Errorf("%d devices, want %d", seen, n)
	}
	eventually(t, "goroutines end", func() bool { return p.metric(t, "go_goroutines") < before+20 })
	after := p.metric(t, "process_resident_memory_bytes")
	t.Logf("%d MB before, %d MB after", memory>>20, after>>20)
	if grown := after - memory; grown > 300<<20 {
		t.Errorf("memory has grown by %d MB", grown>>20)
	}
}

// TestReconnectStorm: clients share ids, take over each other's connections,
// vanish in the middle of a packet and come back at once. Afterwards nothing is
// left of them, and every PUBACK was true, also after a kill.
func TestReconnectStorm(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serveProduct(t, dir)
	seed := budget.Seed(t)
	before := p.metric(t, "go_goroutines")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var connections atomic.Int64
	type told struct {
		device string
		n      int
	}
	var mu sync.Mutex // guards acked
	acked := map[string][]int{}
	var wg sync.WaitGroup
	for w := range 12 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(w)))
			for n := 0; ctx.Err() == nil; {
				conn, r, err := connect(ctx, p.mqtt, fmt.Sprint("shared-", rng.IntN(4)))
				if err != nil {
					continue
				}
				connections.Add(1)
				device := fmt.Sprint("W-", w)
				burst := rng.IntN(6)
				var sent []told
				for i := range burst {
					b := publishPacket(topic(device), uint16(i+1), false, message(device, n))
					gone := rng.IntN(8) == 0
					if gone {
						b = b[:rng.IntN(len(b))]
					}
					if _, err := conn.Write(b); err != nil || gone {
						break
					}
					sent = append(sent, told{device, n})
					n++
				}
				_ = conn.SetReadDeadline(time.Now().Add(time.Duration(rng.IntN(20)) * time.Millisecond))
				for {
					id, err := readAck(r)
					if err != nil || int(id) > len(sent) || id == 0 {
						break
					}
					mu.Lock()
					acked[device] = append(acked[device], sent[id-1].n)
					mu.Unlock()
				}
				if rng.IntN(3) == 0 {
					_, _ = io.WriteString(conn, "\xe0\x00") // DISCONNECT
				}
				_ = conn.Close()
			}
		})
	}
	wg.Wait()
	eventually(t, "goroutines end", func() bool { return p.metric(t, "go_goroutines") < before+20 })
	c := newTalker(t, p.mqtt, "shared-0")
	c.publish(t, topic("W-0"), message("W-0", 1_000_000))
	p.kill()
	census := count(t, dir)
	total := 0
	for device, list := range acked {
		census.want(t, device, list)
		total += len(list)
	}
	t.Logf("%d connections, %d messages acknowledged", connections.Load(), total)
}

// TestKilledWhileFolding kills the server again and again while its read models
// are behind, with their store as the kill left it; at last they must say what
// models made anew from the log say.
func TestKilledWhileFolding(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(budget.Seed(t), 11))
	p := serveProduct(t, dir)
	_, tags := p.pump(t, "pump 1", "P-1", "2020-01-01T00:00:00Z", "n")
	p.pump(t, "pump 2", "P-2", "2020-01-01T00:00:00Z", "n")
	written := 0
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		pipes := []*pipeliner{{device: "P-1", window: 1000}, {device: "P-2", window: 1000}}
		for _, pipe := range pipes {
			pipe.made = written
		}
		var wg sync.WaitGroup
		for _, pipe := range pipes {
			wg.Go(func() { pipe.run(ctx, p.mqtt) })
		}
		eventually(t, "messages are acknowledged", func() bool { return len(pipes[0].acknowledged()) > 2000 })
		time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
		p.kill()
		cancel()
		wg.Wait()
		written = max(pipes[0].made, pipes[1].made)
		p = serveProduct(t, dir)
		time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
		if rng.IntN(2) == 0 {
			p.kill() // while it folds what it had missed
			p = serveProduct(t, dir)
		}
	}
	head := p.folded(t)
	ask := func() map[string]any {
		t.Helper()
		return p.ask(t, `query($at: Moment, $tags: [ID!]!) { plant(at: $at) {
			tagValues { paths values status start times position }
			devices { nodes { name signals firstSeen online } }
			series(tags: $tags, from: "2026-01-01T00:00:00Z", to: "2027-01-01T00:00:00Z", first: 1000000) { start times values status count }
			aggregates(tags: $tags, from: "2026-09-21T13:00:00Z", to: "2026-09-21T15:00:00Z", interval: "PT60S", functions: [AVERAGE, COUNT, TIME_AVERAGE, STANDARD_DEVIATION_SAMPLE]) { values status }
		} auditTrail(first: 200) { nodes { action stream revision position } } }`, map[string]any{"at": known(head), "tags": tags}).Data
	}
	live := ask()
	p.kill()
	if err := os.RemoveAll(filepath.Join(dir, "views")); err != nil {
		t.Fatal(err)
	}
	p = serveProduct(t, dir)
	p.folded(t)
	rebuilt := ask()
	if diff := differences("answer", live, rebuilt); len(diff) > 0 {
		t.Errorf("live and rebuilt: %d differences, %.1000s", len(diff), diff)
	}
	t.Logf("up to message %d, at %s", written, head)
}
