package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/twinlog/twinlog/adapters/field/station"
	"github.com/twinlog/twinlog/cmd/gateway"
	"github.com/twinlog/twinlog/cmd/gateway/testdata/semaphore"
	"github.com/twinlog/twinlog/edge"
)

// withSemaphore is the one line by which a protocol is added.
var withSemaphore = append(gateway.Protocols{semaphore.Protocol}, gateway.Standard...)

const towers = `
gateway: gw-1
place: acme/north/water/line-1
sources:
  - name: hill
    semaphore: {address: "%s"}
    retry: {min: 10ms, max: 20ms}
    devices:
      - id: T-1
        type: tower
        tags:
          - {name: left, flag: 1}
          - {name: right, flag: 2, scale: 0.1}
`

// A ledger is what a sink took, a line a sample.
type ledger struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

func (l *ledger) Put(_ context.Context, messages ...edge.Message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range messages {
		for _, s := range m.Row.Samples {
			at := fmt.Sprint(m.Row.SourceTime.UnixMilli())
			if m.Row.SourceTime.Year() > 2000 {
				at = "now"
			}
			value := "none"
			if x, ok := s.Value.Number(); ok {
				value = fmt.Sprint(x)
			}
			l.lines = append(l.lines, fmt.Sprintf("%s %s=%s %v", at, s.Signal, value, s.Quality.Code))
		}
	}
	select {
	case l.more <- struct{}{}:
	default:
	}
	return nil
}

// TestAProtocolIsAFolderAndALine takes a protocol that nobody knew when the
// gateway was written through its whole pipeline: spontaneous events with their
// own time and quality, a loss, and what was kept meanwhile.
func TestAProtocolIsAFolderAndALine(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for _, says := range []string{
			"state 1 1000 5\nnow 2 2000 70\nnow 1 3000 6\nnow 1 3500 -\nnow 9 1 1\n",
			"kept 1 4000 7\nkept 1 5000 8\nstate 1 5000 8\nstate 2 2000 70\n",
		} {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte(says))
			if strings.HasPrefix(says, "state") {
				_ = conn.Close()
			}
		}
	}()
	c, err := withSemaphore.Parse("towers.yaml", fmt.Appendf(nil, towers, listener.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	pipelines, err := c.Pipelines(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{more: make(chan struct{}, 1)}
	g, err := edge.New(l, slog.New(slog.DiscardHandler), pipelines)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	want := []string{
		"1000 left=5 Good", "2000 right=7 Good", "3000 left=6 Good", "3500 left=none BadSensorFailure",
		"now left=none BadNoCommunication", "now right=none BadNoCommunication",
		"4000 left=7 Good", "5000 left=8 Good", "now left=8 Good", "now right=7 Good",
	}
	for ctx.Err() == nil {
		<-l.more
		l.mu.Lock()
		n := len(l.lines)
		l.mu.Unlock()
		if n >= len(want) {
			break
		}
	}
	cancel()
	<-done
	if diff := cmp.Diff(want, l.lines); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
	if _, err := gateway.Parse("towers.yaml", fmt.Appendf(nil, towers, "127.0.0.1:1")); err == nil {
		t.Error("without the line the protocol is known all the same")
	}
}

// schema compiles the JSON Schema of some protocols.
func schema(t *testing.T, p gateway.Protocols) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(p.Schema())))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("gateway.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := compiler.Compile("gateway.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// document is a YAML text as JSON has it.
func document(t *testing.T, text []byte) any {
	t.Helper()
	b, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestSchema: an editor that knows the schema accepts what the gateway accepts,
// and sees a misspelt or missing key as the gateway does.
func TestSchema(t *testing.T) {
	s := schema(t, withSemaphore)
	texts := map[string][]byte{"config_test.go": []byte(good), "the demonstration": station.GatewayConfig("127.0.0.1:502"), "semaphore": fmt.Appendf(nil, towers, "127.0.0.1:1")}
	entries, err := os.ReadDir("../../docs/protocols")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if text, err := os.ReadFile("../../docs/protocols/" + e.Name()); err == nil {
			if _, example, ok := strings.Cut(string(text), "```yaml\ngateway:"); ok {
				example, _, _ = strings.Cut(example, "```\n")
				texts[e.Name()] = []byte("gateway:" + example)
			}
		}
	}
	for name, text := range texts {
		if _, err := withSemaphore.Parse(name, text); err != nil {
			t.Errorf("%s: the gateway: %v", name, err)
		}
		if err := s.Validate(document(t, text)); err != nil {
			t.Errorf("%s: the schema: %v", name, err)
		}
	}
	for what, change := range map[string][2]string{
		"a misspelt tag key":      {"scale: 3.6", "skale: 3.6"},
		"a misspelt protocol key": {"timeout: 250ms", "timeuot: 250ms"},
		"a number out of range":   {"bit: 3", "bit: 16"},
		"no place":                {"place: acme/north/water/line-1", ""},
		"no duration":             {"every: 2s", "every: often"},
	} {
		text := []byte(strings.Replace(good, change[0], change[1], 1))
		if _, err := withSemaphore.Parse(what, text); err == nil {
			t.Errorf("%s: the gateway accepts it", what)
		}
		if s.Validate(document(t, text)) == nil {
			t.Errorf("%s: the schema accepts it", what)
		}
	}
}
