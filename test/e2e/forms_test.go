//go:build linux

package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/test/peer"
)

// A client publishes one payload at QoS 1 and returns when it is acknowledged.
type client func(t *testing.T, p *product, id, topic string, retain bool, payload []byte)

func mosquitto(version string) client {
	return func(t *testing.T, p *product, id, topic string, retain bool, payload []byte) {
		t.Helper()
		host, port, _ := net.SplitHostPort(p.mqtt)
		args := []string{"-V", version, "-h", host, "-p", port, "-i", id, "-q", "1", "-t", topic, "-s"}
		if retain {
			args = append(args, "-r")
		}
		cmd := exec.CommandContext(t.Context(), peer.Need(t, "mosquitto_pub"), args...)
		cmd.Stdin = bytes.NewReader(payload)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("mosquitto_pub to %s: %v: %s", topic, err, out)
		}
	}
}

const npmPublish = `
import mqtt from 'mqtt'
const [url, version, id, topic, retain, payload] = process.argv.slice(1)
const c = await mqtt.connectAsync(url, { protocolVersion: Number(version), clientId: id, reconnectPeriod: 0, connectTimeout: 5000 })
await c.publishAsync(topic, Buffer.from(payload, 'base64'), { qos: 1, retain: retain === 'true' })
await c.endAsync()
`

func npm(version string) client {
	return func(t *testing.T, p *product, id, topic string, retain bool, payload []byte) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "node", "--input-type=module", "-e", npmPublish, "mqtt://"+p.mqtt, version, id, topic,
			fmt.Sprint(retain), base64.StdEncoding.EncodeToString(payload))
		cmd.Dir = peer.Node(t)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("npm mqtt to %s: %v: %s", topic, err, out)
		}
	}
}

// The forms' values: two signals each, with the quality that must come out.
type wantValue struct {
	Signal, Code, Status string
	Raw                  any
	Value                float64
	SourceTime           string
}

// TestForms sends the three forms of a message with clients that were not
// written here, and asks for everything that was sent over GraphQL.
func TestForms(t *testing.T) {
	t.Parallel()
	p := serveProduct(t, t.TempDir())
	for name, c := range map[string]client{
		"mosquitto-3": mosquitto("mqttv311"), "mosquitto-5": mosquitto("5"), "npm-4": npm("4"), "npm-5": npm("5"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ts := time.Now().UTC().Truncate(time.Millisecond).Add(-time.Second)
			source := ts.Add(-143 * time.Millisecond)
			rfc := func(t time.Time) string { return t.Format(time.RFC3339Nano) }
			for form, f := range map[string]struct {
				payload string
				want    []wantValue
			}{
				"full": {
					`{"schema_version":"2.1","msg_id":"01HS%[1]s","device_id":%[1]q,"device_type":"centrifugal_pump","ts":%[2]d,"seq":48291,
"d":{"temp":{"v":72.4,"q":192},"vib":{"v":0.82,"q":68},"flow":{"v":-0.1,"q":24}},"meta":{"fw_version":"2.3.1","source_ts":%[3]d,"edge_latency_ms":143}}`,
					[]wantValue{
						{"temp", "0x00000000", "GOOD", "opc-da:192", 72.4, rfc(source)},
						{"vib", "0x40900000", "UNCERTAIN", "opc-da:68", 0.82, rfc(source)},
						{"flow", "0x80310000", "BAD", "opc-da:24", -0.1, rfc(source)},
					},
				},
				"plain": {
					`{"schema_version":"2.1","msg_id":"01HS%[1]s","device_id":%[1]q,"ts":%[2]d,"d":{"temp":1e3,"vib":7}}`,
					[]wantValue{{"temp", "0x00000000", "GOOD", nil, 1000, rfc(ts)}, {"vib", "0x00000000", "GOOD", nil, 7, rfc(ts)}},
				},
				"short": {
					`{"v":"2.1","id":%[1]q,"t":%[2]d,"ti":72.5,"vr":0.25}`,
					[]wantValue{{"ti", "0x00000000", "GOOD", nil, 72.5, rfc(ts)}, {"vr", "0x00000000", "GOOD", nil, 0.25, rfc(ts)}},
				},
			} {
				device := strings.ToUpper(name) + "-" + form
				c(t, p, device, topic(device), false, fmt.Appendf(nil, f.payload, device, ts.UnixMilli(), source.UnixMilli()))
				asksForm(t, p, device, f.want)
			}
		})
	}
}

func asksForm(t *testing.T, p *product, device string, want []wantValue) {
	t.Helper()
	p.folded(t)
	dev := p.ask(t, `query($id: ID!) { plant { device(id: $id) { name type firmware registered signals online } } }`, map[string]any{"id": device})
	if dev.text("plant", "device", "name") != device || dev.at("plant", "device", "registered") != false {
		t.Fatalf("device %s: %v", device, dev.Data)
	}
	events := p.ask(t, `query($s: String!) { events(first: 10, filter: { stream: $s, telemetry: true }) { nodes {
		type actor { subject kind authMethods } samples { device signal value status statusCode sourceTime } } } }`,
		map[string]any{"s": "telemetry-" + device + ".0"})
	var signals []string
	for i, w := range want {
		s := func(field string) any { return events.at("events", "nodes", 0, "samples", i, field) }
		got := wantValue{Signal: fmt.Sprint(s("signal")), Code: fmt.Sprint(s("statusCode")), Status: fmt.Sprint(s("status")), SourceTime: fmt.Sprint(s("sourceTime"))}
		got.Value, _ = s("value").(float64)
		got.Raw = w.Raw // not in the row; asked from the tag
		if diff := cmp.Diff(w, got); diff != "" {
			t.Errorf("event of %s (-want +got):\n%s", device, diff)
		}
		signals = append(signals, w.Signal)
	}
	_, tags := p.pump(t, device, device, "2020-01-01T00:00:00Z", signals...)
	for i, w := range want {
		a := p.ask(t, `query($id: ID!) { plant { tag(id: $id) { value { value number sourceTime stale quality { status statusCode raw } }
			samples(from: "2020-01-01T00:00:00Z", to: "2090-01-01T00:00:00Z") { nodes { value sourceTime quality { statusCode raw } ref { stream revision index } } } } } }`,
			map[string]any{"id": tags[i]})
		v := func(path ...any) any { return a.at(append([]any{"plant", "tag", "value"}, path...)...) }
		got := wantValue{w.Signal, fmt.Sprint(v("quality", "statusCode")), fmt.Sprint(v("quality", "status")), v("quality", "raw"), 0, fmt.Sprint(v("sourceTime"))}
		got.Value, _ = v("value").(float64)
		if diff := cmp.Diff(w, got); diff != "" {
			t.Errorf("value of %s (-want +got):\n%s", device, diff)
		}
		ref, _ := json.Marshal(a.at("plant", "tag", "samples", "nodes"))
		wantRef, _ := json.Marshal([]any{map[string]any{
			"value": w.Value, "sourceTime": w.SourceTime, "quality": map[string]any{"statusCode": w.Code, "raw": w.Raw},
			"ref": map[string]any{"stream": "telemetry-" + device + ".0", "revision": "0", "index": i},
		}})
		if string(ref) != string(wantRef) {
			t.Errorf("samples of %s: %s, want %s", device, ref, wantRef)
		}
	}
}

// TestGarbageIsADeadLetter: what nothing can read is in the log with its bytes.
func TestGarbageIsADeadLetter(t *testing.T) {
	t.Parallel()
	p := serveProduct(t, t.TempDir())
	garbage := []byte("\x00\xff{\"d\":{nonsense")
	mosquitto("5")(t, p, "hooligan", topic("P-9"), false, garbage)
	mosquitto("mqttv311")(t, p, "hooligan", "not/in/the/tree", false, []byte("{}"))
	a := p.ask(t, `{ events(first: 10, filter: { types: ["telemetry.deadlettered.v1"] }) { nodes { stream data } } }`, nil)
	for i, want := range []struct{ stream, topic, reason, payload string }{
		{"deadletter-P-9", topic("P-9"), "not UTF-8", string(garbage)},
		{"deadletter-hooligan", "not/in/the/tree", "levels", "{}"},
	} {
		n := func(path ...any) string { return a.text(append([]any{"events", "nodes", i}, path...)...) }
		payload, _ := base64.StdEncoding.DecodeString(n("data", "payload"))
		if n("stream") != want.stream || n("data", "topic") != want.topic || n("data", "client") != "hooligan" ||
			!strings.Contains(n("data", "reason"), want.reason) || string(payload) != want.payload {
			t.Errorf("dead letter %d: %v, want %+v", i, a.at("events", "nodes", i), want)
		}
	}
	if n := p.metric(t, "twinlog_ingest_dead_letters_total"); n != 2 {
		t.Errorf("%d dead letters are counted, want 2", n)
	}
}

// TestSentTwiceStoredOnce: also when the server was killed or stopped between.
func TestSentTwiceStoredOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serveProduct(t, dir)
	send := func(device string) {
		t.Helper()
		mosquitto("5")(t, p, device, topic(device), false, message(device, 7))
	}
	rows := func(device string) (n int) {
		a := p.ask(t, `query($s: String!) { events(first: 10, filter: { stream: $s, telemetry: true }) { nodes { type } } }`,
			map[string]any{"s": "telemetry-" + device + ".0"})
		l, _ := a.at("events", "nodes").([]any)
		for i := range l {
			if a.text("events", "nodes", i, "type") == "telemetry.recorded.v1" {
				n++
			}
		}
		return n
	}
	for round, end := range []func(){func() { p.stop(t) }, func() { p.kill() }, nil} {
		send("P-1")
		send("P-1")
		if want, got := 2, p.metric(t, "twinlog_ingest_duplicates_total"); round > 0 && got != want || round == 0 && got != 1 {
			t.Errorf("round %d: %d duplicates are counted", round, got)
		}
		if n := rows("P-1"); n != 1 {
			t.Errorf("round %d: the message is stored %d times", round, n)
		}
		if end != nil {
			end()
			p = serveProduct(t, dir)
		}
	}
}

// TestStatus: a retained online, and the will of a connection that breaks.
func TestStatus(t *testing.T) {
	t.Parallel()
	p := serveProduct(t, t.TempDir())
	host, port, _ := net.SplitHostPort(p.mqtt)
	status := place + "/pump/P-5/status"
	mosquitto("5")(t, p, "P-5", status, true, []byte(`{"online":true}`))
	// The same client comes back with a will, and its connection breaks.
	cmd := exec.CommandContext(t.Context(), peer.Need(t, "mosquitto_sub"), "-V", "5", "-h", host, "-p", port, "-i", "P-5", "-t", status,
		"--will-topic", status, "--will-payload", `{"online":false,"reason":"conn_lost"}`, "--will-qos", "1", "--will-retain", "-C", "2")
	out := &lockedBuffer{}
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the retained status is delivered", func() bool { return strings.Contains(out.String(), `{"online":true}`) })
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	eventually(t, "the will is an event", func() bool {
		a := p.ask(t, `{ events(first: 10, filter: { stream: "device-P-5" }) { nodes { type data } } }`, nil)
		b, _ := json.Marshal(a.Data)
		return strings.Contains(string(b), "device.offline.v1")
	})
	a := p.ask(t, `{ events(first: 10, filter: { stream: "device-P-5" }) { nodes { type } } }`, nil)
	if got := fmt.Sprint(a.at("events", "nodes")); got != "[map[type:device.registered.v1] map[type:device.online.v1] map[type:device.offline.v1]]" {
		t.Errorf("events of the device: %s", got)
	}
	p.folded(t)
	a = p.ask(t, `{ plant { device(id: "P-5") { online statusReason statusAt } } }`, nil)
	if a.at("plant", "device", "online") != false || a.text("plant", "device", "statusReason") != "conn_lost" || a.text("plant", "device", "statusAt") == "" {
		t.Errorf("device: %v", a.Data)
	}
}

// TestHealth: the three pages that operators watch.
func TestHealth(t *testing.T) {
	t.Parallel()
	p := serveProduct(t, t.TempDir())
	mosquitto("5")(t, p, "P-1", topic("P-1"), false, message("P-1", 1))
	if body, status := p.get(t, "/healthz"); status != 200 || body != "ok\n" {
		t.Errorf("/healthz: %d %q", status, body)
	}
	p.folded(t)
	body, status := p.get(t, "/readyz")
	var ready struct {
		Ready       bool
		Projections []struct {
			Name string
			Lag  *uint64
		}
	}
	if err := json.Unmarshal([]byte(body), &ready); err != nil || status != 200 || !ready.Ready || len(ready.Projections) < 5 {
		t.Errorf("/readyz: %d %s %v", status, body, err)
	}
	for _, v := range ready.Projections {
		if v.Lag == nil || *v.Lag != 0 {
			t.Errorf("/readyz: %s is behind: %s", v.Name, body)
		}
	}
	for name, want := range map[string]int{
		"twinlog_ingest_messages_total": 1, "twinlog_ingest_recorded_total": 1, "twinlog_ingest_samples_total": 1,
		"twinlog_ingest_duplicates_total": 0, "twinlog_ingest_dead_letters_total": 0, `twinlog_projection_lag{projection="twins"}`: 0,
	} {
		if got := p.metric(t, name); got != want {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
	}
	if _, status := p.get(t, "/no-such-page"); status != 404 {
		t.Errorf("an unknown page: %d", status)
	}
}
