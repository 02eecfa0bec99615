//go:build linux

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/test/budget"
	"github.com/twinlog/twinlog/test/peer"
)

// demoGateway is the stream of the demonstration's gateway, but for its incarnation.
const demoGateway = "telemetry-gw-riverside-01."

// A demo is `twinlog demo`, the real one, in a process of its own.
type demo struct {
	product
	curls []string // the command lines that it prints
	after time.Duration
}

// startDemo starts it on free ports and waits until it says that it is ready.
func startDemo(t *testing.T, dir string, args ...string) *demo {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	d := &demo{product: product{dir: dir, stderr: &lockedBuffer{}, ended: make(chan struct{})}}
	args = append([]string{"demo", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--data", dir}, args...)
	d.cmd = exec.Command(path, args...) //nolint:noctx // ended by Cleanup, after the test's context
	d.cmd.Stderr = d.stderr
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	go func() {
		r := bufio.NewScanner(out)
		for said := false; r.Scan(); {
			switch f := strings.Fields(r.Text()); {
			case len(f) == 2 && f[0] == "GraphQL":
				d.http = strings.TrimSuffix(f[1], "/graphql")
			case len(f) > 0 && f[0] == "curl":
				d.curls = append(d.curls, strings.TrimSpace(r.Text()))
			case strings.Contains(r.Text(), "values/s") && !said:
				said = true
				d.after = time.Since(start)
				close(ready)
			}
		}
		_, _ = io.Copy(io.Discard, out)
		d.err = d.cmd.Wait()
		close(d.ended)
	}()
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			t.Logf("the demonstration said: %.4000s", d.stderr)
		}
	})
	select {
	case <-ready:
	case <-d.ended:
		t.Fatalf("the demonstration does not start: %v: %s", d.err, d.stderr)
	case <-time.After(60 * time.Second):
		t.Fatalf("the demonstration is not ready within a minute: %s", d.stderr)
	}
	return d
}

// interrupt is Ctrl-C.
func (d *demo) interrupt(t *testing.T) {
	t.Helper()
	start := time.Now()
	if err := d.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.ended:
	case <-time.After(30 * time.Second):
		t.Fatal("the demonstration does not end within 30 s of Ctrl-C")
	}
	took := time.Since(start)
	t.Logf("ended within %v of Ctrl-C", took)
	if d.err != nil || took > 5*time.Second {
		t.Errorf("after Ctrl-C: %v within %v, want exit code 0 within 5 s: %s", d.err, took, d.stderr)
	}
}

// A kept is what a demonstration left in its log.
type kept struct {
	head     eventlog.Position
	types    map[string]int
	gaps     []string            // where, and what they say
	gateways []eventlog.StreamID // streams of the gateway, one for each incarnation
	rows     []sent              // of the first of them, in log order
}

// sent is one message of the gateway.
type sent struct {
	seq           uint64
	seen, arrived time.Time // by the gateway, and in the log
}

func (s sent) lag() time.Duration { return s.arrived.Sub(s.seen) }

// open reads the log of a demonstration that has ended.
func (d *demo) open(t *testing.T) kept {
	t.Helper()
	log, err := openLog(t.Context(), filepath.Join(d.dir, "server"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	k := kept{types: map[string]int{}}
	for rec, err := range log.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		k.head = rec.Position
		k.types[rec.Type]++
		if rec.Type == (telemetry.Gap{}).EventType() {
			k.gaps = append(k.gaps, fmt.Sprintf("%s@%d: %s", rec.Stream, rec.Revision, rec.Data))
		}
		if !strings.HasPrefix(string(rec.Stream), demoGateway) {
			continue
		}
		if rec.Revision == 0 {
			k.gateways = append(k.gateways, rec.Stream)
		}
		if rec.Type != eventlog.TelemetryRecorded || rec.Stream != k.gateways[0] {
			continue
		}
		row, err := telemetry.Decode(rec.Data)
		if err != nil {
			t.Fatal(err)
		}
		k.rows = append(k.rows, sent{row.Seq, row.ServerTime, rec.Recorded})
	}
	return k
}

// whole fails unless every message of the gateway is there once, in order, and
// nothing was given up.
func (k kept) whole(t *testing.T) {
	t.Helper()
	if len(k.gateways) != 1 {
		t.Errorf("gateway streams %v, want one: one incarnation", k.gateways)
	}
	if len(k.rows) == 0 {
		t.Fatal("the gateway said nothing")
	}
	for i, r := range k.rows {
		if r.seq != uint64(i)+2 { // 1 is source.started
			t.Fatalf("message %d of the gateway has seq %d, want %d", i, r.seq, i+2)
		}
	}
	for _, typ := range []string{"telemetry.lost.v1", "telemetry.refused.v1", "telemetry.deadlettered.v1", "source.cloned.v1"} {
		if k.types[typ] > 0 {
			t.Errorf("%d %s", k.types[typ], typ)
		}
	}
	for _, gap := range k.gaps {
		if strings.HasPrefix(gap, demoGateway) || !strings.Contains(gap, `"restarted"`) {
			t.Error(gap)
		}
	}
	if k.types["source.started.v1"] != 1 {
		t.Errorf("%d source.started.v1, want 1", k.types["source.started.v1"])
	}
}

// TestDemo runs the demonstration as a stranger does: it is ready, its queries
// answer, a browser's client sees it live, Ctrl-C ends it, and a second start
// goes on.
func TestDemo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := startDemo(t, dir)
	if d.after > 5*time.Second {
		t.Errorf("ready after %v, want at most 5 s", d.after)
	}
	if len(d.curls) != 3 {
		t.Fatalf("%d command lines printed, want 3", len(d.curls))
	}
	time.Sleep(2 * time.Second) // a scan or two
	for _, line := range d.curls {
		d.try(t, line)
	}
	d.watch(t)
	d.interrupt(t)
	first := d.open(t)
	first.whole(t)
	if len(first.gaps) > 0 {
		t.Error(first.gaps)
	}

	d = startDemo(t, dir)
	time.Sleep(2 * time.Second)
	d.interrupt(t)
	second := d.open(t)
	second.whole(t)
	if len(second.gaps) > 2 { // two pumps that publish by themselves count anew when they are switched on
		t.Error(second.gaps)
	}
	if second.head <= first.head || len(second.rows) <= len(first.rows) {
		t.Errorf("the second start brought the log from %d to %d, and the gateway from %d messages to %d", first.head, second.head, len(first.rows), len(second.rows))
	}
	for _, typ := range []string{"asset.registered.v1", "tag.bound.v1", "assetclass.defined.v1", "device.registered.v1", "source.started.v1"} {
		if first.types[typ] == 0 || second.types[typ] != first.types[typ] {
			t.Errorf("%d %s, then %d: want some, and no more by the second start", first.types[typ], typ, second.types[typ])
		}
	}
}

// try runs a command line that the demonstration printed, in a shell.
func (d *demo) try(t *testing.T, line string) {
	t.Helper()
	peer.Need(t, "curl")
	out, err := exec.CommandContext(t.Context(), "sh", "-c", line).Output()
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	var a answer
	if err := json.Unmarshal(out, &a); err != nil || len(a.Errors) > 0 {
		t.Fatalf("%s\nanswers %s (%v)", line, out, err)
	}
	var empty func(v any) bool
	empty = func(v any) bool { // nothing but nulls and empty lists
		switch v := v.(type) {
		case nil:
			return true
		case map[string]any:
			for _, m := range v {
				if empty(m) {
					return true
				}
			}
			return len(v) == 0
		case []any:
			return len(v) == 0
		}
		return false
	}
	if empty(a.Data) {
		t.Errorf("%s\nanswers %s", line, out)
	}
}

// watch subscribes to all values with npm's graphql-ws and counts what comes.
func (d *demo) watch(t *testing.T) {
	t.Helper()
	folder := peer.Node(t)
	request, err := json.Marshal(map[string]any{
		"query":     `subscription($plant: ID!) { values(filter: {under: $plant}) { kind position changes { path value } } }`,
		"variables": map[string]any{"plant": d.ask(t, `{plant{asset(path:"acme"){id}}}`, nil).text("plant", "asset", "id")},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "graphql-ws.mjs", "ws"+strings.TrimPrefix(d.http, "http")+"/graphql", string(request))
	cmd.Dir = folder
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	var from time.Time
	updates, position := 0, ""
	const watched = 5 * time.Second
	for r := bufio.NewScanner(out); r.Scan(); {
		var line struct {
			Next struct {
				Data struct {
					Values struct {
						Kind, Position string
						Changes        []struct{ Path string }
					}
				}
			}
		}
		if err := json.Unmarshal(r.Bytes(), &line); err != nil || line.Next.Data.Values.Kind == "" {
			t.Fatalf("%v in %s", err, r.Text())
		}
		v := line.Next.Data.Values
		if v.Position < position {
			t.Fatalf("position %s after %s", v.Position, position)
		}
		position = v.Position
		switch {
		case v.Kind == "CAUGHT_UP" || from.IsZero() && v.Kind == "SNAPSHOT":
			from = time.Now()
		case v.Kind == "CHANGES":
			updates += len(v.Changes)
		}
		if !from.IsZero() && time.Since(from) > watched {
			break
		}
	}
	if rate := float64(updates) / watched.Seconds(); rate < 5 {
		t.Errorf("%.1f updates a second, want at least 5", rate)
	} else {
		t.Logf("%.1f updates a second", rate)
	}
}

// TestDemoOutage cuts the gateway's link to the server: while it is cut its
// values are shown as stale and those of other machines are not; afterwards
// everything arrives, late and in order.
func TestDemoOutage(t *testing.T) {
	t.Parallel() // it mostly waits
	cut := min(max(3*budget.For(t), 12*time.Second), time.Minute)
	d := startDemo(t, t.TempDir(), "--calm", "--outage-after", "4s", "--outage-lasts", cut.String())
	const cell = "acme/riverside/waterworks/line-1/lifting-cell/"
	stale := func(pump string) (stale bool) {
		a := d.ask(t, fmt.Sprintf(`{plant{tag(path:%q){value{stale age quality{name}}}}}`, cell+pump+"/flow"), nil)
		stale, _ = a.at("plant", "tag", "value", "stale").(bool)
		return stale
	}
	time.Sleep(time.Second)
	if stale("P-101") || stale("P-105") {
		t.Error("stale before anything was cut")
	}
	time.Sleep(cut) // 3 to 4 s before it is joined again
	if !stale("P-101") {
		t.Error("P-101 is read by the gateway and not stale while its link is cut")
	}
	if stale("P-105") {
		t.Error("P-105 publishes by itself and is stale while the gateway's link is cut")
	}
	eventually(t, "P-101 speaks again", func() bool { return !stale("P-101") })
	time.Sleep(3 * time.Second)
	d.interrupt(t)

	k := d.open(t)
	k.whole(t)
	if len(k.gaps) > 0 {
		t.Error(k.gaps)
	}
	// Each second is there, though the server was away.
	for i := 1; i < len(k.rows); i++ {
		if hole := k.rows[i].seen.Sub(k.rows[i-1].seen); hole > 3*time.Second {
			t.Errorf("nothing was kept from %v for %v", k.rows[i-1].seen, hole)
		}
	}
	// The drain: what was kept longest arrives first, and then less and less late.
	worst, late := 0, 0
	for i, r := range k.rows {
		if r.lag() > k.rows[worst].lag() {
			worst = i
		}
		if r.lag() > 2*time.Second {
			late++
		}
	}
	last := k.rows[len(k.rows)-1]
	t.Logf("cut for %v: %d of %d messages late, the worst by %v, the last by %v", cut, late, len(k.rows), k.rows[worst].lag(), last.lag())
	if first := k.rows[0].lag(); first > 2*time.Second || k.rows[worst].lag() < cut-2*time.Second || last.lag() > 2*time.Second {
		t.Errorf("late by %v at first, %v at worst, %v at last, of an outage of %v", first, k.rows[worst].lag(), last.lag(), cut)
	}
	for i := worst + 1; i < len(k.rows); i++ {
		if k.rows[i].lag() > k.rows[i-1].lag()+2*time.Second {
			t.Errorf("message %d is late by %v after %v: not the order in which it was kept", i, k.rows[i].lag(), k.rows[i-1].lag())
			break
		}
	}
}
