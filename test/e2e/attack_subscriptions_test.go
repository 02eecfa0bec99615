//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/twinlog/twinlog/test/budget"
)

type eventFrame struct {
	Data struct {
		Events struct {
			Kind     string
			Position string
			Events   []struct{ Position, Stream, Revision string }
		}
		Values struct {
			Kind     string
			Position string
			Changes  []struct {
				Value    float64
				Position string
				Missed   int
			}
		}
	}
	Errors []any
}

// TestSubscribedAnywhere starts subscriptions after random positions while three
// clients write, and ends them at random: each tells what comes after its
// position, with no gap and no repeat, and one that goes on after the last
// position of another one sees the rest.
func TestSubscribedAnywhere(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(budget.Seed(t), 3))
	p := serveProduct(t, t.TempDir())
	_, tags := p.pump(t, "pump 1", "P-1", "2020-01-01T00:00:00Z", "n")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	pipes := []*pipeliner{{device: "P-1", window: 8}, {device: "P-2", window: 2}, {device: "P-3", window: 1}}
	var writing sync.WaitGroup
	for _, pipe := range pipes {
		writing.Go(func() { pipe.run(ctx, p.mqtt) })
	}

	type heard struct{ after, position, stream, revision string }
	var mu sync.Mutex // guards all that follows
	var seen [][]heard
	var values [][]float64
	var listening sync.WaitGroup
	start := func(after string, frames int) {
		listening.Go(func() {
			var list []heard
			for range 2 { // and once more after the last position
				sub, end := context.WithCancel(ctx)
				n := 0
				for line := range p.stream(sub, t, fmt.Sprintf(`subscription { events(after: "%s", filter: { telemetry: true }) { kind position events { position stream revision } } }`, after)) {
					var f eventFrame
					if err := json.Unmarshal([]byte(line), &f); err != nil || len(f.Errors) > 0 {
						t.Errorf("frame %.200s: %v", line, err)
						break
					}
					for _, e := range f.Data.Events.Events {
						list = append(list, heard{after, e.Position, e.Stream, e.Revision})
					}
					after = f.Data.Events.Position
					if n++; n >= frames {
						break
					}
				}
				end()
			}
			mu.Lock()
			seen = append(seen, list)
			mu.Unlock()
		})
	}
	listenValues := func() {
		listening.Go(func() {
			sub, end := context.WithCancel(ctx)
			defer end()
			var list []float64
			n := 0
			for line := range p.stream(sub, t, fmt.Sprintf(`subscription { values(filter: { tags: [%q] }, delivery: EVERY) { kind position changes { value position missed } } }`, tags[0])) {
				var f eventFrame
				if err := json.Unmarshal([]byte(line), &f); err != nil || len(f.Errors) > 0 {
					t.Errorf("frame %.200s: %v", line, err)
					break
				}
				for _, c := range f.Data.Values.Changes {
					list = append(list, c.Value)
				}
				if n++; n >= 20 {
					break
				}
			}
			mu.Lock()
			values = append(values, list)
			mu.Unlock()
		})
	}
	for range 12 {
		head := p.head(t)
		var h uint64
		_, _ = fmt.Sscanf(head, "%d", &h)
		start(fmt.Sprintf("%020d", rng.Uint64N(h+1)), 3+rng.IntN(10))
		listenValues()
		time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond)
	}
	listening.Wait()
	for _, pipe := range pipes {
		pipe.hush()
	}
	eventually(t, "everything is acknowledged", func() bool { return pipes[0].settled() && pipes[1].settled() && pipes[2].settled() })
	cancel()
	writing.Wait()

	// The log itself, page by page.
	var all []heard
	for after := any(nil); ; {
		a := p.ask(t, `query($after: String) { events(first: 1000, after: $after, filter: { telemetry: true }) { pageInfo { hasNextPage endCursor } nodes { position stream revision } } }`,
			map[string]any{"after": after})
		nodes, _ := a.at("events", "nodes").([]any)
		for i := range nodes {
			n := func(f string) string { return a.text("events", "nodes", i, f) }
			all = append(all, heard{"", n("position"), n("stream"), n("revision")})
		}
		if a.at("events", "pageInfo", "hasNextPage") != true {
			break
		}
		after = a.text("events", "pageInfo", "endCursor")
	}
	told := 0
	for _, list := range seen {
		if len(list) == 0 {
			continue
		}
		first := 0
		for first < len(all) && all[first].position <= list[0].after {
			first++
		}
		for i, e := range list {
			e.after = ""
			if first+i >= len(all) || all[first+i] != e {
				t.Fatalf("after %s, event %d: %v, the log has %v", list[0].after, i, e, all[min(first+i, len(all)-1)])
			}
			told++
		}
	}
	for _, list := range values {
		for i := 2; i < len(list); i++ { // the first may be the snapshot's
			if list[i] != list[i-1]+1 {
				t.Fatalf("values of every message: %v after %v", list[i], list[i-1])
			}
		}
	}
	t.Logf("%d subscriptions told %d of %d events", len(seen), told, len(all))
}
