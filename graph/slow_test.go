package graph_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/twinlog/twinlog/graph"
)

// TestReadersWhoNeverRead opens a socket, a stream and a plain answer and reads
// none of them, while a writer goes on. The writer is not held up, each reader
// is closed, and the log says where it stood.
func TestReadersWhoNeverRead(t *testing.T) {
	s := bare(t, graph.Limits{Write: time.Second, Heartbeat: 200 * time.Millisecond})
	s.take("note-a", 0, "first")

	w := s.dial(t, `{}`)
	w.subscribe("s", follow, map[string]any{"after": "00000000000000000000"})

	u, _ := url.Parse(s.url)
	silent := func(request string) {
		conn, err := net.Dial("tcp", u.Host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if _, err := fmt.Fprint(conn, request); err != nil {
			t.Fatal(err)
		}
	}
	q := "query=" + url.QueryEscape(follow) + "&variables=" + url.QueryEscape(`{"after":"00000000000000000000"}`)
	silent("GET /graphql?" + q + " HTTP/1.1\r\nHost: " + u.Host + "\r\nAccept: text/event-stream\r\n\r\n")

	counters := s.handler.Counters()
	within(t, "both are subscribed", func() bool { return counters.Subscriptions.Load() == 2 })
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const pieces, size = 100, 200_000 // beyond what the kernel buffers between two sockets
	text := strings.Repeat("x", size)
	begun := time.Now()
	for i := range pieces {
		s.take("note-a", 1+i, text)
	}
	took := time.Since(begun)
	body, _ := json.Marshal(map[string]any{"query": `{ events(first: 1000) { nodes { data bytes } } }`})
	silent(fmt.Sprintf("POST /graphql HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", u.Host, len(body), body))

	within(t, "subscribers are closed", func() bool { return counters.SlowConsumers.Load() == 2 && counters.Subscriptions.Load() == 0 })
	within(t, "the plain reader is closed", func() bool { return counters.Unread.Load() == 1 })
	for _, transport := range []string{"websocket", "sse"} {
		if line := lineWith(s.logged.String(), "transport="+transport); !strings.Contains(line, "code=SLOW_CONSUMER") || !strings.Contains(line, "position=000000000000") {
			t.Errorf("the log does not say where the %s reader stood: %q", transport, line)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	held := int64(after.HeapAlloc) - int64(before.HeapAlloc) - pieces*size // the log is in memory here
	if held > 20<<20 {
		t.Errorf("%d MB are still held", held>>20)
	}
	t.Logf("%d MB written in %v, %d KB held besides the log", pieces*size>>20, took.Round(time.Millisecond), held>>10)
}

func lineWith(text, part string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return line
		}
	}
	return ""
}

func within(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
