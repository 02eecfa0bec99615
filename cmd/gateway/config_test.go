package gateway_test

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/adapters/field/modbus"
	"github.com/twinlog/twinlog/cmd/conf"
	"github.com/twinlog/twinlog/cmd/gateway"
)

const good = `
gateway: gw-north-01
place: acme/north/water/line-1
uplink:
  url: mqtt://127.0.0.1:1883
outbox:
  max_bytes: 2GiB
sources:
  - name: plc-1
    modbus:
      address: 192.168.10.5:502
      timeout: 250ms
      gap: 0
    every: 2s
    devices:
      - id: P-101
        type: centrifugal_pump
        unit_id: 7
        tags:
          - name: flow
            register: 40001
            type: float32
            order: CDAB
            scale: 3.6
            decimals: 2
            range: [0, 120]
            frozen: 30s
            max_rate: 20
            deadband: {percent: 0.5, longest: 1m}
          - &current
            name: current
            table: input
            address: 9
            scale: 0.001
            loop: [0, 250]
            every: 500ms
            deadband: {absolute: 0.2}
          - <<: *current
            name: current_2
            address: 10
          - name: running
            register: "00003"
          - {name: fault, register: 400100, bit: 3}
`

func TestParse(t *testing.T) {
	c, err := gateway.Parse("plant.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if c.ID != "gw-north-01" || c.Uplink.URL != "mqtt://127.0.0.1:1883" || c.Outbox.MaxBytes != 2<<30 || len(c.Sources) != 1 {
		t.Fatalf("got %+v", c)
	}
	s := c.Sources[0]
	link := s.Connection
	if link.Duration("timeout") != 250*time.Millisecond || !link.Given("gap") || link.Int("gap") != 0 || link.Int("tries") != 3 || link.Given("tries") || link.Duration("pause") != 50*time.Millisecond {
		t.Errorf("modbus: %+v", link)
	}
	type item struct {
		Unit, Address, Bit           int
		Register, Table, Type, Order string
	}
	want := []item{
		{Unit: 7, Register: "40001", Type: "float32", Order: "CDAB"},
		{Unit: 7, Table: "input", Address: 9},
		{Unit: 7, Table: "input", Address: 10},
		{Unit: 7, Register: "00003"},
		{Unit: 7, Register: "400100", Bit: 3},
	}
	var got []item
	for _, i := range s.Items {
		got = append(got, item{i.Int("unit_id"), i.Int("address"), i.Int("bit"), i.Text("register"), i.Text("table"), i.Text("type"), i.Text("order")})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("items (-want +got):\n%s", diff)
	}
	var every []time.Duration
	for _, tag := range s.Tags {
		every = append(every, tag.Every)
	}
	if diff := cmp.Diff([]time.Duration{2 * time.Second, 500 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second, 2 * time.Second}, every); diff != "" {
		t.Errorf("periods (-want +got):\n%s", diff)
	}
	if s.Devices[0].Place != "acme/north/water/line-1" || s.Devices[0].Type != "centrifugal_pump" {
		t.Errorf("device: %+v", s.Devices[0])
	}
}

// TestParseFindsEveryFault: testdata/faults.txt is what a person is told about
// testdata/faults.yaml, written down by hand.
func TestParseFindsEveryFault(t *testing.T) {
	text, err := os.ReadFile("testdata/faults.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/faults.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, err = gateway.Protocols{modbus.Protocol}.Parse("faults.yaml", text)
	if _, ok := errors.AsType[*conf.Faults](err); !ok {
		t.Fatalf("error %v, want faults", err)
	}
	if diff := cmp.Diff(string(want), err.Error()+"\n"); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

// TestDocumentedConfiguration: what the manual shows is accepted.
func TestDocumentedConfiguration(t *testing.T) {
	text, err := os.ReadFile("../../docs/protocols/modbus.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, ok := strings.Cut(string(text), "```yaml\n")
	example, _, ended := strings.Cut(example, "```\n")
	if !ok || !ended {
		t.Fatal("the manual has no example")
	}
	c, err := gateway.Parse("modbus.md", []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Sources) != 1 || len(c.Sources[0].Tags) != 3 {
		t.Errorf("got %+v", c)
	}
}

func TestParseRefusesWhatIsNoYAML(t *testing.T) {
	for _, text := range []string{"gateway: [", "a: b: c", "\t- x", "gateway: a\ngateway: b\n", "--- \na: 1\n---\nb: 2\n", "gateway: *nobody", "42", "[]", ""} {
		_, err := gateway.Parse("x.yaml", []byte(text))
		if _, ok := errors.AsType[*conf.Faults](err); !ok {
			t.Errorf("%q: error %v, want faults", text, err)
		}
	}
}

// FuzzParse holds the reader of configurations to two promises: it never
// panics, and what it accepts makes a gateway.
func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	if text, err := os.ReadFile("testdata/faults.yaml"); err == nil {
		f.Add(text)
	}
	f.Add([]byte("gateway: &a [*a]\nplace: *a"))
	f.Add([]byte("<<: {<<: {gateway: x}}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := gateway.Parse("fuzz.yaml", text)
		if err != nil {
			if faults, ok := errors.AsType[*conf.Faults](err); !ok || len(faults.List) == 0 {
				t.Fatalf("error %v, want faults", err)
			}
			return
		}
		if _, err := c.Pipelines(slog.New(slog.DiscardHandler)); err != nil {
			t.Fatalf("accepted, and then: %v\n%s", err, text)
		}
	})
}
