package importer

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
)

// fuzzed imports any bytes: each row that was read is stored, known or
// reported, and a second import stores nothing.
func fuzzed(t *testing.T, o Options, text []byte) {
	t.Helper()
	log := memlog.New("o", time.Now)
	o.NoBind = true // what assets may be called is the domain's to fuzz
	first, faults, err := bring(log, bytes.NewReader(text), o)
	if first.Faults != len(faults) || err == nil && first.Rows != first.Stored+first.Known+first.Faults {
		t.Fatalf("%+v with %d faults", first, len(faults))
	}
	for _, f := range faults {
		if f.Line < 1 || f.Line > 1+bytes.Count(text, []byte("\n")) || f.Expected == "" {
			t.Fatalf("fault %+v of %d lines", f, bytes.Count(text, []byte("\n")))
		}
	}
	again, _, secondErr := bring(log, bytes.NewReader(text), o)
	if (err == nil) != (secondErr == nil) || again.Stored != 0 || again.Rows != first.Rows || again.Known != first.Known+first.Stored {
		t.Fatalf("first %+v, %v; then %+v, %v", first, err, again, secondErr)
	}
}

func FuzzCSV(f *testing.F) {
	for _, text := range []string{
		"time,a,b\n2026-01-01 00:00:00,1,x\n2026-01-01 00:00:00,1,x\n",
		"\ufeffdatetime;device;Flow\r\n01.02.2026 10:00:00;P;1,5\r\n;;\r\n\"\n",
		"ts\tsignal\tvalue\tq\n1767323045\tx\t1\t192\n1767323045\tx\t\t0\n",
		"time,a\n2026-10-25 02:30:00,1\n2026-03-29 02:30:00,\"2\n",
		"\xff\xfe", "\r", "time", ",\n,", "time,a\n0001-01-01T00:00:00Z,1e999\n",
	} {
		f.Add([]byte(text), true)
		f.Add([]byte(text), false)
	}
	f.Fuzz(func(t *testing.T, text []byte, comma bool) {
		fuzzed(t, Options{Name: "f", Format: "csv", Device: "P", Zone: "Europe/Berlin", DecimalComma: comma, Map: nil}, text)
	})
}

func FuzzNDJSON(f *testing.F) {
	for _, text := range []string{
		`{"time":1767323045,"a":1}` + "\n" + `{"time":"2026-01-01T00:00:00Z","device":"Q","a":{"v":"x","q":64}}`,
		`{"ts":1,"a":1}` + "\n{\n[]\nnull\n" + `{"time":1767323045,"a":null,"b":{"v":null,"q":0}}`,
		`{"time":1767323045,"a":1,"a":2}`, "\ufeff{}\r\n", "\x00", strings.Repeat("[", 1000), "\xff", "\n\n  \n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		fuzzed(t, Options{Name: "f", Format: "ndjson", Device: "P", Zone: "Europe/Berlin"}, text)
	})
}

// FuzzAssets holds the readers of assets to the same: never a panic, and what
// was read is stored, there, or reported.
func FuzzAssets(f *testing.F) {
	f.Add([]byte("path,level,class,nameplate.maker\nacme,ENTERPRISE,,\nacme/north,site,,ACME\n"), false)
	f.Add([]byte("parent;name;level\n;acme;ENTERPRISE\nacme;\"x;\n"), false)
	f.Add([]byte(`[{"name":"acme","level":"ENTERPRISE","nameplate":{"a":1},"tags":[{"name":"t","device":"d","signal":"s"}],"children":[{"name":"n","level":"SITE"}]}]`), true)
	f.Add([]byte(strings.Repeat(`{"name":"a","children":[`, 200)), true)
	f.Fuzz(func(t *testing.T, text []byte, tree bool) {
		log := memlog.New("o", time.Now)
		o := Options{Name: "f", Format: map[bool]string{true: "json", false: "csv"}[tree]}
		first, err := Assets(t.Context(), Log{Log: log}, bytes.NewReader(text), o, time.Unix(1_767_323_045, 0), Hooks{})
		if err != nil {
			return
		}
		again, err := Assets(t.Context(), Log{Log: log}, bytes.NewReader(text), o, time.Unix(1_767_323_046, 0), Hooks{})
		if err != nil || again.Stored != 0 || again.Rows != first.Rows || again.Faults != first.Faults {
			t.Fatalf("first %+v; then %+v, %v", first, again, err)
		}
	})
}
