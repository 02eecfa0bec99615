//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestHostileMessages sends what no device should: every message is answered
// with a PUBACK and is in the log, as telemetry, refused or as a dead letter,
// and the server is as well as before.
func TestHostileMessages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serveProduct(t, dir)
	c := newTalker(t, p.mqtt, "stranger")
	good := func(device string) string {
		b, err := json.Marshal(device)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`{"schema_version":"2.1","msg_id":"m","device_id":%s,"ts":%d,"d":{"n":1}}`, b, time.Now().UnixMilli())
	}
	deep := strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000)
	long := strings.Repeat("x", 300)
	for _, m := range []struct{ what, topic, payload, want string }{
		{"unicode", topic("pump–7 Süd"), good("pump–7 Süd"), "telemetry.recorded.v1"},
		{"dollar", topic("$stats"), good("$stats"), "telemetry.recorded.v1"},
		{"dots", topic(".."), good(".."), "telemetry.recorded.v1"},
		{"percent", topic("%2F"), good("%2F"), "telemetry.recorded.v1"},
		{"emoji", topic("🏭"), good("🏭"), "telemetry.recorded.v1"},
		{"300 bytes", topic(long), good(long), "telemetry.deadlettered.v1"},
		{"200 bytes", topic(long[:200]), good(long[:200]), "telemetry.deadlettered.v1"},
		{"198 bytes", topic(long[:198]), good(long[:198]), "telemetry.recorded.v1"},
		{"70 times ü is 420 bytes", topic(strings.Repeat("ü", 70)), good(strings.Repeat("ü", 70)), "telemetry.deadlettered.v1"},
		{"slash", topic("pump/7"), good("pump/7"), "telemetry.deadlettered.v1"},
		{"empty level", place + "/pump//telemetry", good(""), "telemetry.deadlettered.v1"},
		{"another's device_id", topic("P-1"), good("P-2"), "telemetry.refused.v1"},
		{"NUL in device_id", topic("P-1"), good("P-1\x00"), "telemetry.refused.v1"},
		{"NUL in a signal", topic("P-3"), `{"device_id":"P-3","d":{"a\u0000b":1}}`, "telemetry.recorded.v1"},
		{"empty signal", topic("P-4"), `{"device_id":"P-4","d":{"":1}}`, "telemetry.recorded.v1"},
		{"no signals", topic("P-5"), `{"device_id":"P-5","d":{}}`, "telemetry.recorded.v1"},
		{"empty payload", topic("P-6"), "", "telemetry.deadlettered.v1"},
		{"null", topic("P-6"), "null", "telemetry.deadlettered.v1"},
		{"list", topic("P-6"), "[1,2]", "telemetry.deadlettered.v1"},
		{"deep", topic("P-6"), deep, "telemetry.deadlettered.v1"},
		{"deep lists", topic("P-6"), `{"d":` + strings.Repeat("[", 400_000), "telemetry.deadlettered.v1"},
		{"900 KB of spaces", topic("P-7"), good("P-7") + strings.Repeat(" ", 900_000), "telemetry.refused.v1"},
		{"900 KB of text", topic("P-8"), `{"device_id":"P-8","msg_id":"big","d":{"s":"` + strings.Repeat("é", 450_000) + `"}}`, "telemetry.refused.v1"},
		{"80,000 signals", topic("P-9"), signals(80_000), "telemetry.refused.v1"},
		{"1e400", topic("P-10"), `{"device_id":"P-10","d":{"n":1e400}}`, "telemetry.refused.v1"},
		{"-0 and 1e-400", topic("P-11"), `{"device_id":"P-11","d":{"n":-0,"m":1e-400}}`, "telemetry.recorded.v1"},
		{"far future", topic("P-12"), `{"device_id":"P-12","ts":9200000000000,"d":{"n":1}}`, "telemetry.recorded.v1"},
		{"beyond time", topic("P-13"), `{"device_id":"P-13","ts":1e300,"d":{"n":1}}`, "telemetry.refused.v1"},
		{"the year 1700", topic("P-14"), `{"device_id":"P-14","ts":-8500000000000,"d":{"n":1}}`, "telemetry.recorded.v1"},
		{"seq 2^64-1", topic("P-15"), `{"device_id":"P-15","seq":18446744073709551615,"d":{"n":1}}`, "telemetry.deadlettered.v1"},
		{"seq negative", topic("P-15"), `{"device_id":"P-15","seq":-1,"d":{"n":1}}`, "telemetry.refused.v1"},
		{"a clone of the server's streams", topic("P-16"), `{"device_id":"P-16","seq":1,"d":{"n":1},"meta":{"gw_id":"x","inc":"zz"}}`, "telemetry.deadlettered.v1"},
		{"status not JSON", place + "/pump/P-17/status", "online", "telemetry.deadlettered.v1"},
		{"status of year 1700", place + "/pump/P-18/status", `{"online":true,"ts":-8500000000000}`, "device.online.v1"},
		{"a command", place + "/pump/P-17/commands/1", "{}", "telemetry.deadlettered.v1"},
		{"lone surrogate", topic("P-19"), `{"device_id":"P-19","d":{"s":"\ud800"}}`, "telemetry.refused.v1"},
		{"quality out of range", topic("P-20"), `{"device_id":"P-20","d":{"n":{"v":1,"q":99999999999}}}`, "telemetry.refused.v1"},
	} {
		before := p.head(t)
		if err := c.try(m.topic, []byte(m.payload), 10*time.Second); err != nil {
			t.Errorf("%s: %v", m.what, err)
			c = newTalker(t, p.mqtt, "stranger")
			continue
		}
		var kinds []string
		a := p.ask(t, `{ events(last: 5, filter: { telemetry: true }) { nodes { position type stream } } }`, nil)
		nodes, _ := a.at("events", "nodes").([]any)
		for i := range nodes {
			if a.text("events", "nodes", i, "position") > before {
				kinds = append(kinds, a.text("events", "nodes", i, "type")+" in "+fmt.Sprintf("%.60s", a.text("events", "nodes", i, "stream")))
			}
		}
		found := false
		for _, k := range kinds {
			found = found || strings.HasPrefix(k, m.want+" ")
		}
		if !found {
			t.Errorf("%s: %v, want %s", m.what, kinds, m.want)
		}
	}
	p.folded(t)
	if _, status := p.get(t, "/readyz"); status != 200 {
		t.Errorf("/readyz: %d", status)
	}
	// Every event and every device can be read, page by page, by its own names;
	// and again after the read models were made anew.
	pages := func() (all []any) {
		t.Helper()
		for after := any(nil); ; {
			a := p.ask(t, `query($after: String) { plant { devices(first: 5, after: $after) { pageInfo { hasNextPage endCursor }
				nodes { id name signals online firstSeen statusAt } } } }`, map[string]any{"after": after})
			nodes, _ := a.at("plant", "devices", "nodes").([]any)
			all = append(all, nodes...)
			if a.at("plant", "devices", "pageInfo", "hasNextPage") != true {
				return all
			}
			after = a.text("plant", "devices", "pageInfo", "endCursor")
		}
	}
	devices := pages()
	for _, d := range devices {
		name, _ := d.(map[string]any)["name"].(string)
		a := p.ask(t, `query($id: ID!) { plant { device(id: $id) { id name signals online firstSeen statusAt } } }`, map[string]any{"id": name})
		if diff := differences(name, d, a.at("plant", "device")); len(diff) > 0 {
			t.Errorf("device %q alone and in the list: %v", name, diff)
		}
	}
	if len(devices) < 20 {
		t.Errorf("%d devices", len(devices))
	}
	for after := any(nil); ; {
		a := p.ask(t, `query($after: String) { events(first: 20, after: $after, filter: { telemetry: true }) { pageInfo { hasNextPage endCursor }
			nodes { id uuid stream revision type data samples { signal value sourceTime } } } }`, map[string]any{"after": after})
		if a.at("events", "pageInfo", "hasNextPage") != true {
			break
		}
		after = a.text("events", "pageInfo", "endCursor")
	}
	p.kill()
	if err := os.RemoveAll(filepath.Join(dir, "views")); err != nil {
		t.Fatal(err)
	}
	p = serveProduct(t, dir)
	p.folded(t)
	if diff := differences("devices", devices, pages()); len(diff) > 0 {
		t.Errorf("devices, live and rebuilt: %v", diff)
	}
}

func signals(n int) string {
	var b strings.Builder
	b.WriteString(`{"device_id":"P-9","d":{"s":0`)
	for i := range n {
		fmt.Fprintf(&b, `,"s%d":1`, i)
	}
	return b.String() + "}}"
}

func (p *product) head(t *testing.T) string {
	t.Helper()
	return p.ask(t, `{ system { head } }`, nil).text("system", "head")
}
