//go:build linux

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// stream subscribes over server-sent events and returns the lines of data.
// An error is the test's, and ends the stream.
func (p *product) stream(ctx context.Context, t *testing.T, query string) (lines <-chan string) {
	t.Helper()
	out := make(chan string, 1)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.http+"/graphql", strings.NewReader(fmt.Sprintf(`{"query":%q}`, query)))
	if err != nil {
		t.Error(err)
		close(out)
		return out
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("subscription: %v, %v", resp, err)
		close(out)
		return out
	}
	go func() {
		defer close(out)
		defer resp.Body.Close()
		s := bufio.NewScanner(resp.Body)
		s.Buffer(nil, 16<<20)
		for s.Scan() {
			if data, ok := strings.CutPrefix(s.Text(), "data: "); ok {
				select {
				case out <- data:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out
}

// TestStopUnderLoad: SIGTERM while devices publish, subscribers listen over both
// transports, a request is half sent and a connection says nothing. The server
// ends by itself, soon, and what it acknowledged is in its log.
func TestStopUnderLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serveProduct(t, dir)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	pipes := []*pipeliner{{device: "P-1", window: 200}, {device: "P-2", window: 50}, {device: "P-3", window: 1}}
	var wg sync.WaitGroup
	for _, pipe := range pipes {
		wg.Go(func() { pipe.run(ctx, p.mqtt) })
	}
	lines := p.stream(ctx, t, `subscription { events(filter: { telemetry: true }) { position events { type } } }`)
	first := <-lines
	if !strings.Contains(first, "position") {
		t.Fatalf("first frame: %s", first)
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for range lines { //nolint:revive // it only reads
		}
	}()
	ws, _, err := websocket.Dial(ctx, strings.Replace(p.http, "http", "ws", 1)+"/graphql", &websocket.DialOptions{Subprotocols: []string{"graphql-transport-ws"}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow() //nolint:errcheck // it is closed by the server
	if err := ws.Write(ctx, websocket.MessageText, []byte(`{"type":"connection_init"}`)); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() {
		for {
			if _, _, err := ws.Read(ctx); err != nil {
				closed <- err
				return
			}
		}
	}()
	for _, begun := range []string{"", "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"} {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(p.http, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte(begun)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "messages are acknowledged", func() bool {
		for _, pipe := range pipes {
			if len(pipe.acknowledged()) < 20 {
				return false
			}
		}
		return true
	})
	took := p.stop(t)
	<-drained
	cancel()
	wg.Wait()
	t.Logf("it took %v", took)
	if took > 5*time.Second {
		t.Errorf("it took %v from SIGTERM to the end, want less than 5 s", took)
	}
	if err := <-closed; websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the socket was closed with %v, want 1001", err)
	}
	c := count(t, dir)
	for _, pipe := range pipes {
		c.want(t, pipe.device, pipe.acknowledged())
	}
}
