package importer

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/twinlog/twinlog/domain/telemetry"
)

// columns is what a header means.
type columns struct {
	names   []string
	time    int
	device  int // -1: none
	signal  int // long form: the column with the signal's name; -1: wide form
	value   int // long form
	quality int // long form; -1: none
	signals map[int]string
}

var (
	timeNames    = []string{"time", "timestamp", "ts", "datetime", "date", "date time", "source_time", "sourcetime"}
	deviceNames  = []string{"device", "device_id"}
	signalNames  = []string{"signal", "tag", "tagname", "point", "sensor", "variable"}
	valueNames   = []string{"value", "v", "val"}
	qualityNames = []string{"quality", "q"}
)

// openCSV reads the header and says what the columns are. The delimiter is the
// one of ; , and tab that the header has most of.
func openCSV(r io.Reader, o Options) (*csv.Reader, columns, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	head, err := buffered.Peek(16 << 10)
	if err != nil && len(head) == 0 {
		return nil, columns{}, fmt.Errorf("%s is empty, expected a header line: %w", o.Name, ErrBadOptions)
	}
	if bytes.HasPrefix(head, []byte{0xFF, 0xFE}) || bytes.HasPrefix(head, []byte{0xFE, 0xFF}) {
		return nil, columns{}, fmt.Errorf("%s is UTF-16, expected UTF-8: %w", o.Name, ErrBadOptions)
	}
	if strings.HasPrefix(string(head), "\ufeff") { // a byte order mark, as spreadsheets write
		_, _ = buffered.Discard(len("\ufeff"))
		head = head[len("\ufeff"):]
	}
	first, _, _ := strings.Cut(string(head), "\n")
	in := csv.NewReader(buffered)
	in.Comma = ','
	for _, c := range []rune{';', '\t'} {
		if strings.Count(first, string(c)) > strings.Count(first, string(in.Comma)) {
			in.Comma = c
		}
	}
	in.TrimLeadingSpace = in.Comma != '\t'
	in.ReuseRecord = true
	header, err := in.Read()
	if err != nil {
		return nil, columns{}, fmt.Errorf("%s: header: %w", o.Name, err)
	}
	c, err := understand(slices.Clone(header), o)
	return in, c, err
}

func understand(header []string, o Options) (columns, error) {
	c := columns{time: -1, device: -1, signal: -1, value: -1, quality: -1, signals: map[int]string{}}
	find := func(names []string) int {
		return slices.IndexFunc(c.names, func(n string) bool { return slices.Contains(names, strings.ToLower(n)) })
	}
	for _, h := range header {
		if !utf8.ValidString(h) || strings.ContainsAny(h, "\r\n\x00") {
			return c, fmt.Errorf("%s: header %.80q, expected names in UTF-8, and lines that end with a line feed: %w", o.Name, h, ErrBadOptions)
		}
		c.names = append(c.names, strings.TrimSpace(h))
	}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	known := func(option, name string) {
		if !slices.Contains(c.names, name) {
			fault("%s %q: no such column, expected one of %s", option, name, strings.Join(c.names, ", "))
		}
	}
	for _, name := range o.Skip {
		known("--skip", name)
	}
	c.device = find(deviceNames)
	if s, v := find(signalNames), find(valueNames); s >= 0 && v >= 0 {
		c.signal, c.value, c.quality = s, v, find(qualityNames)
	}
	if c.signal < 0 { // the signals of long files are in their lines
		for _, name := range slices.Sorted(maps.Keys(o.Map)) {
			known("--map", name)
		}
	}
	if o.Time != "" {
		known("--time", o.Time)
		c.time = slices.Index(c.names, o.Time)
	} else if c.time = find(timeNames); c.time < 0 { // the first that is nothing else
		c.time = slices.IndexFunc(c.names, func(n string) bool {
			i := slices.Index(c.names, n)
			return i != c.device && i != c.signal && i != c.value && i != c.quality
		})
		if c.time < 0 {
			fault("no column of times, expected one called time, or --time COLUMN")
		}
	}
	seen := map[string]string{}
	for i, name := range c.names {
		if i == c.time || i == c.device || slices.Contains(o.Skip, name) {
			continue
		}
		signal := name
		if m, ok := o.Map[name]; ok {
			signal = m
		}
		if c.signal < 0 && seen[signal] != "" {
			fault("columns %q and %q are both signal %q, expected different ones (--map, --skip)", seen[signal], name, signal)
		}
		if signal == "" {
			fault("column %d has no name, expected one in the header, or --skip", i+1)
		}
		seen[signal] = name
		c.signals[i] = signal
	}
	if c.device < 0 && o.Device == "" {
		fault("no device: expected --device NAME, or a column called device")
	}
	if len(faults) > 0 {
		return c, fmt.Errorf("%s: %w: %w", o.Name, ErrBadOptions, errors.Join(faults...))
	}
	return c, nil
}

// csvRows calls each for every row that can be read, and tells of the others.
func csvRows(r io.Reader, o Options, clock clock, t *teller, each func(row) error) error {
	in, c, err := openCSV(r, o)
	if err != nil {
		return err
	}
	for {
		cells, err := in.Read()
		var bad *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &bad):
			t.now.Rows++
			t.now.Bytes = in.InputOffset()
			t.fault(Fault{Line: bad.StartLine, Given: shortened(strings.Join(cells, string(in.Comma))), Expected: fmt.Sprintf("%d columns of CSV (%v)", len(c.names), bad.Err)})
			continue
		case err != nil:
			return fmt.Errorf("%s: %w", o.Name, err)
		}
		line, _ := in.FieldPos(0)
		t.now.Rows++
		t.now.Bytes = in.InputOffset()
		r, fault := c.row(cells, o, clock)
		r.line = line
		if fault != nil {
			fault.Line = line
			t.fault(*fault)
			continue
		}
		if err := each(r); err != nil {
			return err
		}
	}
}

// row makes a row of cells, or says what is wrong with them.
func (c columns) row(cells []string, o Options, clock clock) (row, *Fault) {
	r := row{device: o.Device}
	cell := func(i int) string { return strings.TrimSpace(cells[i]) }
	if c.device >= 0 {
		r.device = cell(c.device)
	}
	if r.device == "" {
		return r, &Fault{Column: "device", Expected: "the name of a device"}
	}
	for i := range cells {
		if !utf8.ValidString(cells[i]) {
			return r, &Fault{Column: c.names[i], Given: shortened(cells[i]), Expected: "text in UTF-8"}
		}
	}
	at, expected := clock.read(cell(c.time))
	if expected != "" {
		return r, &Fault{Column: c.names[c.time], Given: cell(c.time), Expected: expected}
	}
	r.at = at
	if c.signal >= 0 {
		return c.long(r, cell, o)
	}
	for i := range cells {
		signal, ok := c.signals[i]
		if !ok || cell(i) == "" {
			continue
		}
		v, expected := value(cell(i), o.DecimalComma)
		if expected != "" {
			return r, &Fault{Column: c.names[i], Given: cell(i), Expected: expected}
		}
		r.samples = append(r.samples, telemetry.Sample{Signal: signal, Value: v, Quality: assumed})
	}
	if len(r.samples) == 0 {
		return r, &Fault{Given: shortened(strings.Join(cells, ";")), Expected: "at least one value"}
	}
	return r, nil
}

// long is a row of the form time, signal, value, quality.
func (c columns) long(r row, cell func(int) string, o Options) (row, *Fault) {
	signal := cell(c.signal)
	if m, ok := o.Map[signal]; ok {
		signal = m
	}
	if signal == "" {
		return r, &Fault{Column: c.names[c.signal], Expected: "the name of a signal"}
	}
	s := telemetry.Sample{Signal: signal, Quality: assumed}
	if c.quality >= 0 {
		q, ok := judged(cell(c.quality))
		if !ok {
			return r, &Fault{Column: c.names[c.quality], Given: cell(c.quality), Expected: expectedQuality}
		}
		s.Quality = q
	}
	text, expected := cell(c.value), ""
	switch {
	case text != "":
		s.Value, expected = value(text, o.DecimalComma)
	case !bad(s.Quality):
		expected = "a value, or a bad quality"
	}
	if expected != "" {
		return r, &Fault{Column: c.names[c.value], Given: text, Expected: expected}
	}
	r.samples = append(r.samples, s)
	return r, nil
}

// shortened keeps a message readable.
func shortened(text string) string {
	const most = 200
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}
