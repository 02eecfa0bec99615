package web_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/twinlog/twinlog/test/peer"
)

// browser is one page of a headless Chromium, driven over the DevTools
// protocol. Whatever the browser asks of another host goes to a proxy of ours
// that writes it down and refuses it.
type browser struct {
	t       *testing.T
	conn    *websocket.Conn
	session string
	last    int

	// mu guards what the page did, written while waiting for answers.
	mu       sync.Mutex
	requests []string // URLs that the page asked for
	console  []string // errors: exceptions, refusals of the policy
	strays   []string // hosts that the proxy was asked for
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	chromium := peer.Need(t, "chromium")
	b := &browser{t: t}

	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refuse := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		b.strays = append(b.strays, r.Method+" "+r.Host)
		b.mu.Unlock()
		http.Error(w, "no network here", http.StatusBadGateway)
	})}
	go func() { _ = refuse.Serve(proxy) }()
	t.Cleanup(func() { refuse.Close() })

	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--proxy-server="+proxy.Addr().String(), "--remote-debugging-port=0", "--window-size=1400,860",
		"--user-data-dir="+dir, "about:blank")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		// Its helpers write for a moment longer.
		for range 50 {
			if os.RemoveAll(filepath.Join(dir, "Default")) == nil && os.RemoveAll(dir) == nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	b.connect(endpoint(t, bufio.NewScanner(stderr)))
	return b
}

func endpoint(t *testing.T, lines *bufio.Scanner) string {
	found := make(chan string, 1)
	go func() {
		for lines.Scan() { // to the end: a full pipe would stop the browser
			if _, url, ok := strings.Cut(lines.Text(), "DevTools listening on "); ok {
				found <- url
			}
		}
	}()
	select {
	case url := <-found:
		return url
	case <-time.After(30 * time.Second):
		t.Fatal("chromium did not say where its DevTools listen within 30 s")
		return ""
	}
}

func (b *browser) connect(url string) {
	b.t.Helper()
	conn, _, err := websocket.Dial(b.t.Context(), url, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	conn.SetReadLimit(64 << 20)
	b.conn = conn
	b.t.Cleanup(func() { _ = conn.CloseNow() })

	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Network", "Log"} {
		b.call(domain+".enable", nil, nil)
	}
}

// call sends one command and waits for its answer; events that come meanwhile
// are written down.
func (b *browser) call(method string, params, result any) {
	b.t.Helper()
	b.last++
	message, err := json.Marshal(map[string]any{"id": b.last, "method": method, "params": params, "sessionId": b.session})
	if b.session == "" {
		message, err = json.Marshal(map[string]any{"id": b.last, "method": method, "params": params})
	}
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), 60*time.Second)
	defer cancel()
	if err := b.conn.Write(ctx, websocket.MessageText, message); err != nil {
		b.t.Fatal(err)
	}
	for {
		_, data, err := b.conn.Read(ctx)
		if err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		var m struct {
			ID     int
			Method string
			Params json.RawMessage
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(data, &m); err != nil {
			b.t.Fatal(err)
		}
		switch {
		case m.ID == 0:
			b.note(m.Method, m.Params)
			continue
		case m.Error != nil:
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		case result != nil:
			if err := json.Unmarshal(m.Result, result); err != nil {
				b.t.Fatal(err)
			}
		}
		return
	}
}

func (b *browser) note(method string, params json.RawMessage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch method {
	case "Network.requestWillBeSent":
		var p struct{ Request struct{ URL string } }
		_ = json.Unmarshal(params, &p)
		b.requests = append(b.requests, p.Request.URL)
	case "Network.webSocketCreated":
		var p struct{ URL string }
		_ = json.Unmarshal(params, &p)
		b.requests = append(b.requests, p.URL)
	case "Runtime.exceptionThrown":
		b.console = append(b.console, string(params))
	case "Log.entryAdded":
		var p struct {
			Entry struct{ Level, Text, URL string }
		}
		_ = json.Unmarshal(params, &p)
		if p.Entry.Level == "error" {
			b.console = append(b.console, p.Entry.Text+" "+p.Entry.URL)
		}
	}
}

func (b *browser) open(url string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": url}, nil)
}

// eval returns the value of a JavaScript expression as text.
func (b *browser) eval(expression string) string {
	b.t.Helper()
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &r)
	if r.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", expression, r.ExceptionDetails.Exception.Description)
	}
	return fmt.Sprint(r.Result.Value)
}

// until waits for a JavaScript expression to be true.
func (b *browser) until(what, expression string) {
	b.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if b.eval("(() => { try { return !!("+expression+") } catch { return false } })()") == "true" {
			return
		}
	}
	b.shot("failed")
	b.t.Fatalf("%s: not within 30 s\npage: %s\nerrors: %q", what, b.eval("document.body.innerText"), b.console)
}

// shot keeps a picture of the page in the folder TWINLOG_SCREENSHOTS, if set.
func (b *browser) shot(name string) {
	b.t.Helper()
	dir := os.Getenv("TWINLOG_SCREENSHOTS")
	if dir == "" {
		return
	}
	var r struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &r)
	png, err := base64.StdEncoding.DecodeString(r.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// stayedHome fails if the page asked anything of another origin, or if its own
// policy had to stop it, or if a script failed.
func (b *browser) stayedHome(origin string) {
	b.t.Helper()
	b.eval("1") // takes in what was still under way
	b.mu.Lock()
	defer b.mu.Unlock()
	socket := "ws" + strings.TrimPrefix(origin, "http")
	for _, url := range b.requests {
		own := strings.HasPrefix(url, origin+"/") || strings.HasPrefix(url, socket+"/")
		if !own && !strings.HasPrefix(url, "data:") && !strings.HasPrefix(url, "blob:"+origin+"/") && url != "about:blank" {
			b.t.Errorf("the page asked for %s: not of its origin %s", url, origin)
		}
	}
	for _, host := range b.strays {
		// The browser itself asks its maker for updates and accounts; fonts are
		// what a page would ask for there.
		if strings.Contains(host, ".google") && !strings.Contains(host, "fonts.") {
			continue
		}
		b.t.Errorf("the browser asked the network: %s", host)
	}
	for _, e := range b.console {
		b.t.Errorf("the page's console: %s", e)
	}
	if len(b.requests) == 0 {
		b.t.Error("no request was seen at all: the test watches nothing")
	}
}
