package importer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/twinlog/twinlog/domain/telemetry"
)

// maxLine bounds one line of NDJSON: a message of the uplink is smaller.
const maxLine = 1 << 20

func sample(signal, cell string) telemetry.Sample {
	return telemetry.Sample{Signal: signal, Value: value(cell), Quality: assumed}
}

// ndjsonRows reads lines such as
//
//	{"time": "2026-03-01T10:00:00Z", "device": "P-1", "flow": 12.5, "pressure": {"v": 3.1, "q": 192}}
func ndjsonRows(r io.Reader, o Options, clock clock, t *teller, each func(row) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for n := 1; lines.Scan(); n++ {
		text := bytes.TrimSpace(lines.Bytes())
		t.now.Bytes += int64(len(lines.Bytes())) + 1
		if len(text) == 0 {
			continue
		}
		t.now.Rows++
		r, fault := object(text, o, clock)
		r.line = n
		if fault != nil {
			fault.Line = n
			t.fault(*fault)
			continue
		}
		if err := each(r); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w (a line is at most %d bytes)", o.Name, err, maxLine)
	}
	return nil
}

func object(text []byte, o Options, clock clock) (row, *Fault) {
	r := row{device: o.Device}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return r, &Fault{Given: string(text[:min(len(text), 200)]), Expected: "a JSON object: " + err.Error()}
	}
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names) // a row's content does not depend on how the file orders it
	timed := false
	for _, name := range names {
		lower, text := strings.ToLower(name), plain(members[name])
		switch {
		case name == o.Time || (o.Time == "" && slices.Contains(timeNames, lower)):
			at, expected := clock.read(text)
			if expected != "" {
				return r, &Fault{Column: name, Given: text, Expected: expected}
			}
			r.at, timed = at, true
		case slices.Contains(deviceNames, lower):
			r.device = text
		case slices.Contains(o.Skip, name) || text == "null":
		default:
			signal := name
			if m, ok := o.Map[name]; ok {
				signal = m
			}
			s, fault := member(signal, members[name])
			if fault != nil {
				return r, fault
			}
			r.samples = append(r.samples, s)
		}
	}
	switch {
	case !timed:
		return r, &Fault{Column: "time", Expected: expectedTime}
	case r.device == "":
		return r, &Fault{Column: "device", Expected: "the name of a device"}
	case len(r.samples) == 0:
		return r, &Fault{Given: string(text[:min(len(text), 200)]), Expected: "at least one value"}
	}
	return r, nil
}

// member reads a signal: a number, a truth value, a text, or {"v": …, "q": …}.
func member(signal string, raw json.RawMessage) (telemetry.Sample, *Fault) {
	q := assumed
	if raw[0] == '{' {
		var both struct {
			V json.RawMessage `json:"v"`
			Q json.Number     `json:"q"`
		}
		if err := json.Unmarshal(raw, &both); err != nil || len(both.V) == 0 {
			return telemetry.Sample{}, &Fault{Column: signal, Given: string(raw), Expected: `a value, or {"v": value, "q": OPC DA quality}`}
		}
		var ok bool
		if q, ok = judged(both.Q.String()); !ok {
			return telemetry.Sample{}, &Fault{Column: signal, Given: both.Q.String(), Expected: "an OPC DA quality, 0 to 255"}
		}
		raw = both.V
	}
	if raw[0] == '"' {
		return telemetry.Sample{Signal: signal, Value: telemetry.StringValue(plain(raw)), Quality: q}, nil
	}
	if raw[0] == '[' || raw[0] == '{' {
		return telemetry.Sample{}, &Fault{Column: signal, Given: string(raw), Expected: "one value"}
	}
	return telemetry.Sample{Signal: signal, Value: value(string(raw)), Quality: q}, nil
}

// plain is a JSON string's text, or the JSON itself.
func plain(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil && len(raw) > 0 && raw[0] == '"' {
		return s
	}
	return string(raw)
}
