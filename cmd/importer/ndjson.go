package importer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/twinlog/twinlog/domain/telemetry"
)

// maxLine bounds one line of NDJSON: a message of the uplink is smaller.
const maxLine = 1 << 20

// ndjsonRows reads lines such as
//
//	{"time": "2026-03-01T10:00:00Z", "device": "P-1", "flow": 12.5, "pressure": {"v": 3.1, "q": 192}}
func ndjsonRows(r io.Reader, o Options, clock clock, t *teller, each func(row) error) error {
	in := bufio.NewReaderSize(r, maxLine)
	for n := 1; ; n++ {
		line, size, err := nextLine(in)
		t.now.Bytes += size
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: line %d: %w", o.Name, n, err)
		}
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if line = bytes.TrimSpace(line); len(line) == 0 && size < maxLine {
			continue
		}
		t.now.Rows++
		if size > maxLine {
			t.fault(Fault{Line: n, Expected: fmt.Sprintf("a line of at most %d bytes, not %d", maxLine, size)})
			continue
		}
		row, fault := object(line, o, clock)
		row.line = n
		if fault != nil {
			fault.Line = n
			t.fault(*fault)
			continue
		}
		if err := each(row); err != nil {
			return err
		}
	}
}

// nextLine returns the next line and its size; the line is nil where it is
// longer than maxLine. A line that breaks off with an error is none.
func nextLine(in *bufio.Reader) (line []byte, size int64, err error) {
	line, err = in.ReadSlice('\n')
	size = int64(len(line))
	for errors.Is(err, bufio.ErrBufferFull) {
		var more []byte
		more, err = in.ReadSlice('\n')
		line, size = nil, size+int64(len(more))
	}
	if errors.Is(err, io.EOF) && size > 0 {
		err = nil // the last line may lack its line feed
	}
	return line, size, err
}

// member is one of an object, as the file has it.
type member struct {
	name string
	raw  json.RawMessage
}

// members reads an object in the order of its names, so that a row's content
// does not depend on how the file orders it.
func members(text []byte) ([]member, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("not UTF-8")
	}
	if text[0] != '{' || !json.Valid(text) {
		return nil, json.Unmarshal(text, &map[string]json.RawMessage{}) // it says where
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	_, _ = dec.Token() // the brace
	var all []member
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		m := member{name: name.(string)} //nolint:errcheck // the text is valid, and this is a name
		if err := dec.Decode(&m.raw); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b member) int { return strings.Compare(a.name, b.name) })
	for i := 1; i < len(all); i++ {
		if all[i].name == all[i-1].name {
			return nil, fmt.Errorf("%q is there twice", all[i].name)
		}
	}
	return all, nil
}

func object(text []byte, o Options, clock clock) (row, *Fault) {
	r := row{device: o.Device}
	all, err := members(text)
	if err != nil {
		return r, &Fault{Given: shortened(string(text)), Expected: "a JSON object: " + err.Error()}
	}
	timed, named := "", ""
	for _, m := range all {
		lower := strings.ToLower(m.name)
		switch {
		case m.name == o.Time || (o.Time == "" && slices.Contains(timeNames, lower)):
			if timed != "" {
				return r, &Fault{Column: m.name, Given: string(m.raw), Expected: "one time, and not " + timed + " as well (--time says which)"}
			}
			at, expected := clock.read(plain(m.raw))
			if expected != "" {
				return r, &Fault{Column: m.name, Given: plain(m.raw), Expected: expected}
			}
			r.at, timed = at, m.name
		case slices.Contains(deviceNames, lower):
			if named != "" {
				return r, &Fault{Column: m.name, Given: string(m.raw), Expected: "one device, and not " + named + " as well"}
			}
			r.device, named = strings.TrimSpace(plain(m.raw)), m.name
		case slices.Contains(o.Skip, m.name) || string(m.raw) == "null":
		default:
			s, fault := signal(m, o)
			if fault != nil {
				return r, fault
			}
			r.samples = append(r.samples, s)
		}
	}
	switch {
	case timed == "":
		return r, &Fault{Column: "time", Expected: expectedTime}
	case r.device == "":
		return r, &Fault{Column: "device", Expected: "the name of a device"}
	case len(r.samples) == 0:
		return r, &Fault{Given: shortened(string(text)), Expected: "at least one value"}
	}
	return r, nil
}

// signal reads a number, a truth value, a text, or {"v": …, "q": …}.
func signal(m member, o Options) (telemetry.Sample, *Fault) {
	s := telemetry.Sample{Signal: m.name, Quality: assumed}
	if name, ok := o.Map[m.name]; ok {
		s.Signal = name
	}
	raw := m.raw
	if raw[0] == '{' {
		var both struct {
			V json.RawMessage `json:"v"`
			Q json.Number     `json:"q"`
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&both); err != nil || len(both.V) == 0 {
			return s, &Fault{Column: m.name, Given: shortened(string(raw)), Expected: `a value, or {"v": value, "q": OPC DA quality}`}
		}
		var ok bool
		if s.Quality, ok = judged(both.Q.String()); !ok {
			return s, &Fault{Column: m.name, Given: both.Q.String(), Expected: expectedQuality}
		}
		raw = both.V
	}
	expected := ""
	switch raw[0] {
	case '"':
		s.Value = telemetry.StringValue(plain(raw))
	case '[', '{':
		expected = "one value"
	case 'n':
		if !bad(s.Quality) {
			expected = "a value, or a bad quality"
		}
	default:
		s.Value, expected = value(string(raw), false)
	}
	if expected != "" {
		return s, &Fault{Column: m.name, Given: shortened(string(raw)), Expected: expected}
	}
	return s, nil
}

// plain is a JSON string's text, or the JSON itself.
func plain(raw json.RawMessage) string {
	var s string
	if len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}
