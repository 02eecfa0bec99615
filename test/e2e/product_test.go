//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// build makes the real twinlog, once for all tests; TestMain removes it.
var build = sync.OnceValues(func() (path string, err error) {
	if built, err = os.MkdirTemp("", "twinlog-e2e"); err != nil {
		return "", err
	}
	path = filepath.Join(built, "twinlog")
	if out, err := exec.Command("go", "build", "-o", path, "../../cmd/twinlog").CombinedOutput(); err != nil { //nolint:noctx // a build ends by itself
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return path, nil
})

// built is the folder of the binary; written by build, read after all tests.
var built string

// A product is `twinlog serve`, the real one, in a process of its own.
type product struct {
	cmd        *exec.Cmd
	dir        string
	http, mqtt string // addresses
	stderr     *lockedBuffer
	ended      chan struct{}
	err        error // of Wait; read after ended
}

type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serveProduct starts it on free ports and waits until it says that it is ready.
func serveProduct(t *testing.T, dir string, args ...string) *product {
	t.Helper()
	return serveUnder(t, nil, dir, args...)
}

// serveUnder is serveProduct under another program, with its arguments.
func serveUnder(t *testing.T, under []string, dir string, args ...string) *product {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	p := &product{dir: dir, stderr: &lockedBuffer{}, ended: make(chan struct{})}
	args = append([]string{path, "serve", "--operator", "Test Person", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--data", dir}, args...)
	args = append(slices.Clip(under), args...)
	p.cmd = exec.Command(args[0], args[1:]...) //nolint:noctx // ended by Cleanup, after the test's context
	p.cmd.Stderr = p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	go func() {
		r := bufio.NewScanner(out)
		for r.Scan() {
			switch f := strings.Fields(r.Text()); {
			case len(f) == 2 && f[0] == "GraphQL":
				p.http = strings.TrimSuffix(f[1], "/graphql")
			case len(f) == 2 && f[0] == "MQTT":
				p.mqtt = f[1]
				close(ready)
			}
		}
		_, _ = io.Copy(io.Discard, out)
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the server said: %.4000s", p.stderr)
		}
	})
	select {
	case <-ready:
	case <-p.ended:
		t.Fatalf("the server does not start: %v: %s", p.err, p.stderr)
	case <-time.After(60 * time.Second):
		t.Fatalf("the server is not ready within a minute: %s", p.stderr)
	}
	return p
}

func (p *product) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// stop ends the server with SIGTERM and says how long that took.
func (p *product) stop(t *testing.T) time.Duration {
	t.Helper()
	start := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		t.Fatal("the server does not end within 30 s of SIGTERM")
	}
	if p.err != nil {
		t.Errorf("after SIGTERM: %v: %s", p.err, p.stderr)
	}
	return time.Since(start)
}

// An answer is that of a GraphQL request.
type answer struct {
	Data   map[string]any
	Errors []struct {
		Message    string
		Path       []any
		Extensions map[string]any
	}
}

// code is that of the first error, or "".
func (a answer) code() string {
	if len(a.Errors) == 0 {
		return ""
	}
	return fmt.Sprint(a.Errors[0].Extensions["code"])
}

// at walks down the data; a number is an index.
func (a answer) at(path ...any) any {
	var v any = a.Data
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func (a answer) text(path ...any) string {
	s, _ := a.at(path...).(string)
	return s
}

func (p *product) post(query string, variables map[string]any) (a answer, status int, err error) {
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		return a, 0, err
	}
	b, status, err := p.postBytes(body)
	if err != nil {
		return a, status, err
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return a, status, fmt.Errorf("%w in %.300s", err, b)
	}
	return a, status, nil
}

func (p *product) postBytes(body []byte) ([]byte, int, error) {
	resp, err := http.Post(p.http+"/graphql", "application/json", bytes.NewReader(body)) //nolint:noctx // bounded by the server
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return b, resp.StatusCode, err
}

// ask fails the test on any error.
func (p *product) ask(t *testing.T, query string, variables map[string]any) answer {
	t.Helper()
	a, status, err := p.post(query, variables)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Errors) > 0 || status != http.StatusOK {
		t.Fatalf("status %d, %+v\nto %s", status, a.Errors, query)
	}
	return a
}

func (p *product) get(t *testing.T, path string) (string, int) {
	t.Helper()
	resp, err := http.Get(p.http + path) //nolint:noctx // bounded by the server
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), resp.StatusCode
}

// metric reads one number of /metrics.
func (p *product) metric(t *testing.T, name string) int {
	t.Helper()
	text, _ := p.get(t, "/metrics")
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` ([0-9.e+]+)$`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("%s is not among the metrics", name)
	}
	f, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(f)
}

// folded waits until every read model has all that is in the log now.
func (p *product) folded(t *testing.T) (head string) {
	t.Helper()
	head = p.ask(t, `{ system { head } }`, nil).text("system", "head")
	p.ask(t, `query($p: Position!) { plant(minPosition: $p, waitAtMost: "PT30S") { moment { knownAt } } }`, map[string]any{"p": head})
	return head
}

// pump registers acme / plant / area / line / NAME with one tag for each signal
// of a class, and binds them. It returns the tags' ids in that order.
func (p *product) pump(t *testing.T, name, device, effective string, signals ...string) (asset string, tags []string) {
	t.Helper()
	reason := map[string]any{"text": "commissioning"}
	var defs []any
	for _, s := range signals {
		defs = append(defs, map[string]any{"name": s, "unit": "CEL", "dataType": "FLOAT64"})
	}
	class := "class " + name
	p.ask(t, `mutation($in: AssetClassInput!) { defineAssetClass(input: $in) { position } }`, map[string]any{"in": map[string]any{
		"name": class, "tags": defs, "reason": reason, "effective": effective,
	}})
	parent, position := "", ""
	for _, level := range []string{"ENTERPRISE", "SITE", "AREA", "LINE", "EQUIPMENT"} {
		in := map[string]any{"name": strings.ToLower(level) + " of " + name, "level": level, "reason": reason, "effective": effective}
		if parent != "" {
			in["parent"] = parent
		}
		if level == "EQUIPMENT" {
			in["class"], in["name"] = class, name
		}
		a := p.ask(t, `mutation($in: RegisterAssetInput!) { registerAsset(input: $in) { position asset { id } } }`, map[string]any{"in": in})
		parent, position = a.text("registerAsset", "asset", "id"), a.text("registerAsset", "position")
	}
	a := p.ask(t, `query($id: ID!, $p: Position!) { plant(minPosition: $p) { asset(id: $id) { tags { nodes { id name } } } } }`,
		map[string]any{"id": parent, "p": position})
	for i, s := range signals {
		if got := a.text("plant", "asset", "tags", "nodes", i, "name"); got != s {
			t.Fatalf("tag %d is %q, want %q: %v", i, got, s, a.Data)
		}
		tag := a.text("plant", "asset", "tags", "nodes", i, "id")
		tags = append(tags, tag)
		b := p.ask(t, `mutation($in: BindTagInput!) { bindTag(input: $in) { position tag { id } } }`, map[string]any{"in": map[string]any{
			"tag": tag, "device": device, "signal": s, "effective": effective, "reason": reason,
		}})
		position = b.text("bindTag", "position")
	}
	p.ask(t, `query($p: Position!) { plant(minPosition: $p) { moment { knownAt } } }`, map[string]any{"p": position})
	return parent, tags
}
