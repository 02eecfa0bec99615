package importer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// rows are all samples of a log, one a line.
func rows(t *testing.T, log eventlog.Log) string {
	t.Helper()
	var b strings.Builder
	for rec, err := range log.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{Types: []string{eventlog.TelemetryRecorded}}) {
		if err != nil {
			t.Fatal(err)
		}
		row, err := telemetry.Decode(rec.Data)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %s", row.SourceTime.Format(time.RFC3339Nano), row.Device)
		for _, s := range row.Samples {
			fmt.Fprintf(&b, " %s=", s.Signal)
			switch number, ok := s.Value.Number(); {
			case s.Value.Kind == telemetry.Null:
				b.WriteString("null")
			case s.Value.Kind == telemetry.Bool:
				b.WriteString(map[uint64]string{0: "false", 1: "true"}[s.Value.Bits])
			case ok:
				fmt.Fprint(&b, number)
			default:
				fmt.Fprintf(&b, "%q", s.Value.Str)
			}
			fmt.Fprintf(&b, "/%v", s.Quality.Code.Status())
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestForms(t *testing.T) {
	for _, c := range []struct {
		name, text, want string
		options          Options
	}{
		{
			name: "wide, with empty cells", options: Options{Format: "csv", Device: "P"},
			text: "time,b,a\n2026-01-02T03:04:05Z,1,\n2026-01-02T04:04:05+01:00,,off\n",
			want: "2026-01-02T03:04:05Z P b=1/Good\n2026-01-02T03:04:05Z P a=\"off\"/Good\n",
		},
		{
			name: "semicolons, a byte order mark, carriage returns, decimal commas", options: Options{Format: "csv", Device: "P", DecimalComma: true},
			text: "\ufeffDatum;x [°C]\r\n02.01.2026 03:04:05;1,5\r\n02.01.2026 03:04:06;-3\r\n",
			want: "2026-01-02T03:04:05Z P x [°C]=1.5/Good\n2026-01-02T03:04:06Z P x [°C]=-3/Good\n",
		},
		{
			name: "tabs, a device column before the times, columns mapped and left out", options: Options{Format: "csv", Map: map[string]string{"F": "flow"}, Skip: []string{"note"}},
			text: "device\twhen\tF\tnote\nA\t1767323045\t1\tn\nB\t1767323045000\ttrue\tn\n",
			want: "2026-01-02T03:04:05Z A flow=1/Good\n2026-01-02T03:04:05Z B flow=true/Good\n",
		},
		{
			name: "long, with qualities, a bad value that is missing and a signal mapped", options: Options{Format: "csv", Device: "P", Map: map[string]string{"y": "z"}},
			text: "timestamp;tag;value;quality;unit\n2026-01-02 03:04:05.25;x;1;192;bar\n2026-01-02 03:04:06;x;;0;bar\n2026-01-02 03:04:07;y;2;64;bar\n",
			want: "2026-01-02T03:04:05.25Z P x=1/Good\n2026-01-02T03:04:06Z P x=null/Bad\n2026-01-02T03:04:07Z P z=2/Uncertain\n",
		},
		{
			name: "NDJSON", options: Options{Format: "ndjson", Device: "P"},
			text: "\n{\"time\": 1767323045, \"b\": 1, \"a\": {\"v\": \"on\", \"q\": 64}, \"c\": null}\n  {\"ts\":\"2026-01-02T03:04:06.000000001Z\",\"device\":\"Q\",\"a\":{\"v\":null,\"q\":0}}",
			want: "2026-01-02T03:04:05Z P a=\"on\"/Uncertain b=1/Good\n2026-01-02T03:04:06.000000001Z Q a=null/Bad\n",
		},
		{
			name: "a layout with the offset in it beats the zone", options: Options{Format: "csv", Device: "P", TimeFormat: "02/01/06 15:04 -0700", Zone: "Europe/Berlin"},
			text: "time,a\n02/01/26 03:04 +0000,1\n02/01/26 03:04 -0500,2\n",
			want: "2026-01-02T03:04:00Z P a=1/Good\n2026-01-02T08:04:00Z P a=2/Good\n",
		},
		{
			name: "seconds, milliseconds, microseconds and nanoseconds", options: Options{Format: "csv", Device: "P"},
			text: "time,a\n1767323045,1\n1767323045001,2\n1767323045000002,3\n1767323045000000004,4\n",
			want: "2026-01-02T03:04:05Z P a=1/Good\n2026-01-02T03:04:05.001Z P a=2/Good\n2026-01-02T03:04:05.000002Z P a=3/Good\n2026-01-02T03:04:05.000000004Z P a=4/Good\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := memlog.New("o", time.Now)
			_, faults, err := bring(log, strings.NewReader(c.text), c.options)
			if err != nil || len(faults) > 0 {
				t.Fatalf("%v, %v", err, faults)
			}
			if diff := cmp.Diff(c.want, rows(t, log)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestOneIdentity imports one row as wide CSV with its columns in another order
// and as NDJSON: it is one row.
func TestOneIdentity(t *testing.T) {
	log := memlog.New("o", time.Now)
	for i, f := range []struct {
		format, text string
	}{
		{"csv", "time,a,b\n2026-01-02 03:04:05,1,x\n"},
		{"csv", "b;a;time\nx;1.0;2026-01-02T04:04:05+01:00\n"},
		{"ndjson", `{"b":"x","time":1767323045,"a":1e0}`},
	} {
		p, faults, err := bring(log, strings.NewReader(f.text), Options{Format: f.format, Device: "P"})
		if err != nil || len(faults) > 0 || p.Stored != map[bool]int{true: 1, false: 0}[i == 0] {
			t.Errorf("%q: %+v, %v, %v", f.text, p, faults, err)
		}
	}
}

func TestFaults(t *testing.T) {
	const berlin = "Europe/Berlin"
	long := strings.Repeat("x", maxLine)
	for _, c := range []struct {
		name, text string
		options    Options
		stored     int
		want       []Fault // Expected may be a part of it
	}{
		{
			name: "a local time that never was, one that was twice, and their neighbours", options: Options{Format: "csv", Zone: berlin}, stored: 4,
			text: "time,a\n2026-03-29 01:59:59,1\n2026-03-29 02:30:00,2\n2026-03-29 03:00:00,3\n2026-10-25 01:59:59,4\n2026-10-25 02:30:00,5\n2026-10-25 03:00:00,6\n",
			want: []Fault{{3, "time", "2026-03-29 02:30:00", "a local time that exists in Europe/Berlin"}, {6, "time", "2026-10-25 02:30:00", "twice in Europe/Berlin"}},
		},
		{
			name: "half an hour on Lord Howe, and a date line that lost a day", options: Options{Format: "ndjson", Zone: "Australia/Lord_Howe"}, stored: 2,
			text: `{"time":"2026-10-04 02:15:00","a":1}` + "\n" + `{"time":"2026-10-04 02:30:00","a":1}` + "\n" + `{"time":"2026-04-05 01:45:00","a":1}` + "\n" + `{"time":"2026-04-05 02:00:00","a":1}` + "\n",
			want: []Fault{{1, "time", "2026-10-04 02:15:00", "exists"}, {3, "time", "2026-04-05 01:45:00", "twice"}},
		},
		{
			name: "cells", options: Options{Format: "csv"}, stored: 2,
			text: "time;a;b\n2026-01-01 00:00:00;1;2\nyesterday;1;2\n2026-01-01 00:00:01;1,5;2\n2026-01-01 00:00:02;;\n2026-01-01 00:00:03;1\n2026-01-01 00:00:04;1e999;1\n0001-01-01T00:00:00Z;1;1\n2026-01-01 00:00:05;\xff;1\n2026-01-01 00:00:06;1;\n",
			want: []Fault{
				{3, "time", "yesterday", "RFC 3339"},
				{4, "a", "1,5", "--decimal-comma"},
				{5, "", "2026-01-01 00:00:02;;", "at least one value"},
				{6, "", "2026-01-01 00:00:03;1", "3 columns"},
				{7, "a", "1e999", "number"},
				{8, "time", "0001-01-01T00:00:00Z", "a year from 1700"},
				{9, "a", "\xff", "UTF-8"},
			},
		},
		{
			name: "a quote that is not closed", options: Options{Format: "csv"}, stored: 1,
			text: "time,a\n2026-01-01 00:00:00,1\n2026-01-01 00:00:01,\"2\n2026-01-01 00:00:02,3\n",
			want: []Fault{{3, "", "2026-01-01 00:00:01", "columns of CSV"}},
		},
		{
			name: "long form", options: Options{Format: "csv"}, stored: 1,
			text: "time,signal,value,quality\n2026-01-01 00:00:00,x,1,192\n2026-01-01 00:00:01,x,1,300\n2026-01-01 00:00:02,,1,\n2026-01-01 00:00:03,x,,192\n",
			want: []Fault{{3, "quality", "300", "OPC DA"}, {4, "signal", "", "name of a signal"}, {5, "value", "", "a value"}},
		},
		{
			name: "NDJSON", options: Options{Format: "ndjson"}, stored: 2,
			text: `{"time":1767323045,"a":1}` + "\n{\"time\":1767323045,\n[1]\n" + `{"a":1}` + "\n" + `{"time":1767323045}` + "\n" +
				`{"time":1767323045,"a":[1]}` + "\n" + `{"time":1767323045,"a":{"v":1,"q":"good"}}` + "\n" + `{"time":1767323045,"a":1,"a":2}` + "\n" +
				`{"time":1767323045,"ts":1767323046,"a":1}` + "\n" + `{"time":1767323045,"a":"` + long + "\"}\n" + `{"time":1767323045,"a":2}`,
			want: []Fault{
				{2, "", `{"time":1767323045,`, "a JSON object"},
				{3, "", "[1]", "a JSON object"},
				{4, "time", "", "RFC 3339"},
				{5, "", `{"time":1767323045}`, "at least one value"},
				{6, "a", "[1]", "one value"},
				{7, "a", `{"v":1,"q":"good"}`, "OPC DA"},
				{8, "", `{"time":1767323045,"a":1,"a":2}`, "twice"},
				{9, "ts", "1767323046", "not time as well"},
				{10, "", "", "at most 1048576 bytes"},
			},
		},
		{
			name: "two members that are one signal", options: Options{Format: "ndjson", Map: map[string]string{"b": "a"}}, stored: 0,
			text: `{"time":1767323045,"a":1,"b":2}`,
			want: []Fault{{1, "", "P", "each signal once"}},
		},
		{
			name: "names that nothing can be called", options: Options{Format: "ndjson"}, stored: 0,
			text: `{"time":1767323045,"device":"` + strings.Repeat("ü", 60) + `","a":1}` + "\n" + `{"time":1767323045,"` + strings.Repeat("s", 201) + `":1}`,
			want: []Fault{{1, "device", strings.Repeat("ü", 60), "a shorter name"}, {2, strings.Repeat("s", 200) + "…", strings.Repeat("s", 200) + "…", "1 to 200 bytes"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.options.Device = "P"
			log := memlog.New("o", time.Now)
			p, faults, err := bring(log, strings.NewReader(c.text), c.options)
			if err != nil || p.Stored != c.stored || p.Faults != len(c.want) || p.Rows != c.stored+len(c.want) {
				t.Errorf("%+v, %v; want %d stored and %d faults", p, err, c.stored, len(c.want))
			}
			for i := range min(len(faults), len(c.want)) {
				if !strings.Contains(faults[i].Expected, c.want[i].Expected) {
					t.Errorf("fault %d says %q, want %q in it", i, faults[i].Expected, c.want[i].Expected)
				}
				faults[i].Expected = c.want[i].Expected
			}
			if diff := cmp.Diff(c.want, faults); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, c := range []struct {
		name, text, want string
		options          Options
	}{
		{"all faults of a header at once", "when,a,a,\n", "\"nosuch\": no such column, expected one of when, a, a", Options{Format: "csv", Time: "nosuch", Device: "P"}},
		{"two columns of one name", "when,a,a\n", `both signal "a"`, Options{Format: "csv", Device: "P"}},
		{"a column without a name", "when,\n", "column 2 has no name", Options{Format: "csv", Device: "P"}},
		{"nobody measured", "when,a\n", "expected --device NAME", Options{Format: "csv"}},
		{"an empty file", "", "empty", Options{Format: "csv", Device: "P"}},
		{"UTF-16", "\xff\xfet\x00", "UTF-16", Options{Format: "csv", Device: "P"}},
		{"Latin-1", "time,\xe9tat\n", "UTF-8", Options{Format: "csv", Device: "P"}},
		{"lines of an old Macintosh", "time,a\r2026-01-01 00:00:00,1\r", "line feed", Options{Format: "csv", Device: "P"}},
		{"a zone that is none", "time,a\n", "Europe/Berlin", Options{Format: "csv", Device: "P", Zone: "CEST+1"}},
		{"the zone of this machine", "time,a\n", "depends on the machine", Options{Format: "csv", Device: "P", Zone: "Local"}},
		{"an abbreviated zone", "time,a\n", "MST", Options{Format: "csv", Device: "P", TimeFormat: "2006-01-02 15:04 MST"}},
		{"another format", "", "expected csv or ndjson", Options{Format: "xlsx"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := memlog.New("o", time.Now)
			if _, _, err := bring(log, strings.NewReader(c.text), c.options); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
			if head, _, _ := log.Head(t.Context()); head != 0 {
				t.Error("something was stored")
			}
		})
	}
}

// TestWhatAFileBreaksOffAfterIsKept reads a file whose medium fails in a row.
func TestWhatAFileBreaksOffAfterIsKept(t *testing.T) {
	for format, text := range map[string]string{
		"csv":    "time,a\n2026-01-01 00:00:00,1\n2026-01-01 00:00:01,2.",
		"ndjson": "{\"time\":1767323045,\"a\":1}\n{\"time\":1767323046,\"a\":2}",
	} {
		log := memlog.New("o", time.Now)
		p, faults, err := bring(log, &failing{strings.NewReader(text)}, Options{Format: format, Device: "P"})
		if err == nil || !strings.Contains(err.Error(), errBroken.Error()) || p.Stored != 1 || len(faults) > 0 {
			t.Errorf("%s: %+v, %v, %v, want one row stored and the error", format, p, faults, err)
		}
	}
}

type failing struct{ *strings.Reader }

func (f *failing) Read(b []byte) (int, error) {
	if f.Len() == 0 {
		return 0, errBroken
	}
	return f.Reader.Read(b)
}

func TestDryRunStoresNothing(t *testing.T) {
	log := memlog.New("o", time.Now)
	text := "time,a\n2026-01-01 00:00:00,1\n2026-01-01 00:00:00,1\n2026-01-01 00:00:01,\n"
	p, _, err := bring(log, strings.NewReader(text), Options{Format: "csv", Device: "P", DryRun: true})
	if head, _, _ := log.Head(t.Context()); err != nil || p.Stored != 1 || p.Known != 1 || p.Faults != 1 || head != 0 {
		t.Errorf("%+v, %v, head %d", p, err, head)
	}
}

// TestImportedSignalsCanBeAsked looks for the tags that show what was imported.
func TestImportedSignalsCanBeAsked(t *testing.T) {
	log := memlog.New("o", time.Now)
	long := strings.Repeat("é", 90)
	for _, device := range []string{"P/1", "P"} {
		text := "time,1/m/s," + long + "\n1700-01-01T00:00:00Z,1,2\n"
		if _, faults, err := bring(log, strings.NewReader(text), Options{Format: "csv", Device: device}); err != nil || len(faults) > 0 {
			t.Fatal(err, faults)
		}
	}
	s := asset.NewStructure()
	for rec, err := range log.Read(t.Context(), asset.StructureStream("o"), 0, eventlog.Forwards) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := asset.Decode(rec.Type, rec.Data)
		if err != nil {
			t.Fatal(err)
		}
		s.Apply(e, rec.Position)
	}
	paths, err := paths(t.Context(), Log{Log: log}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	first := time.Date(1700, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	for path, device := range map[string]string{"imported/P%2F1": "P/1", "imported/P": "P"} {
		n := s.Node(paths[path])
		if n == nil {
			t.Fatalf("no %s in %v", path, paths)
		}
		got := map[string]asset.Point{}
		for name, l := range n.Tags {
			f, _ := l.At(first, 1<<63-1)
			got[name] = f.Value
		}
		short := segment(long)
		if len(short) > 120 || !strings.HasPrefix(short, "ééé") {
			t.Errorf("tag %q", short)
		}
		want := map[string]asset.Point{"1%2Fm%2Fs": {Device: device, Signal: "1/m/s"}, short: {Device: device, Signal: long}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}
