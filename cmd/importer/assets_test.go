package importer

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/eventlog"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func bringAssets(t *testing.T, log eventlog.Log, o Options, text string) (Progress, []Fault, error) {
	t.Helper()
	var faults []Fault
	p, err := Assets(t.Context(), Log{Log: log}, strings.NewReader(text), o, noon, Hooks{Fault: func(f Fault) { faults = append(faults, f) }})
	return p, faults, err
}

// shape is what the structure stream says, a line an event.
func shape(t *testing.T, log eventlog.Log) []string {
	t.Helper()
	names, all := map[string]string{"": ""}, []string(nil)
	for rec, err := range log.Read(t.Context(), asset.StructureStream("o"), 0, eventlog.Forwards) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := asset.Decode(rec.Type, rec.Data)
		if err != nil {
			t.Fatal(err)
		}
		switch e := e.(type) {
		case asset.Registered:
			names[e.Asset] = names[e.Parent] + "/" + e.Name
			all = append(all, names[e.Asset]+" "+string(e.Level)+" "+string(e.Nameplate))
		case asset.TagBound:
			all = append(all, names[e.Asset]+"."+e.Tag+" = "+e.Device+"."+e.Signal)
		default:
			all = append(all, rec.Type)
		}
	}
	return all
}

const plantCSV = "\ufeffpath;level;nameplate.maker;nameplate.kW\r\nacme;enterprise;;\r\nacme/north;SITE;;\r\nacme/north/P-1;Equipment;ACME;11\r\n"

var plant = []string{"/acme ENTERPRISE ", "/acme/north SITE ", `/acme/north/P-1 EQUIPMENT {"kW":"11","maker":"ACME"}`}

func TestAssets(t *testing.T) {
	for _, c := range []struct{ name, format, text string }{
		{"paths", "csv", plantCSV},
		{"parents and names", "csv", "level,parent,name,nameplate.maker,nameplate.kW\nENTERPRISE,,acme,,\nSITE,acme,north,,\nEQUIPMENT,acme/north,P-1,ACME,11\n"},
		{"a tree", "json", `{"name":"acme","level":"ENTERPRISE","children":[{"children":[{"name":"P-1","level":"EQUIPMENT","nameplate":{"kW":"11","maker":"ACME"}}],"name":"north","level":"SITE"}]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := memlog.New("o", time.Now)
			o := Options{Name: "f", Format: c.format}
			dry := o
			dry.DryRun = true
			p, faults, err := bringAssets(t, log, dry, c.text)
			if head, _, _ := log.Head(t.Context()); err != nil || p.Stored != 3 || len(faults) > 0 || head != 0 {
				t.Fatalf("dry: %+v, %v, %v, head %d", p, faults, err, head)
			}
			if p, faults, err = bringAssets(t, log, o, c.text); err != nil || p.Stored != 3 || p.Rows != 3 || len(faults) > 0 {
				t.Fatalf("%+v, %v, %v", p, faults, err)
			}
			if diff := cmp.Diff(plant, shape(t, log)); diff != "" {
				t.Error(diff)
			}
			for _, text := range []string{c.text, plantCSV} { // again, and in another form
				o.Format = "csv"
				if text != plantCSV {
					o.Format = c.format
				}
				p, faults, err := bringAssets(t, log, o, text)
				if err != nil || p.Stored != 0 || p.Known != 3 || len(faults) > 0 {
					t.Errorf("again: %+v, %v, %v", p, faults, err)
				}
			}
			if diff := cmp.Diff(plant, shape(t, log)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTagsOfATree(t *testing.T) {
	log := memlog.New("o", time.Now)
	text := `[{"name":"acme","level":"ENTERPRISE","tags":[{"name":"T","device":"D","signal":"s"},{"name":"T","device":"D","signal":"s"}]}]`
	for i, want := range []Progress{{Rows: 1, Stored: 2}, {Rows: 1, Known: 2}} {
		p, faults, err := bringAssets(t, log, Options{Format: "json"}, text)
		if err != nil || len(faults) > 0 || p != want {
			t.Errorf("import %d: %+v, %v, %v", i, p, faults, err)
		}
	}
	// What somebody changed since stays changed.
	svc := asset.NewService(log)
	ids, err := paths(t.Context(), Log{Log: log}, noon)
	if err != nil {
		t.Fatal(err)
	}
	call := eventlog.Call{Key: eventlog.NewKey("o", "t", "bindTag", "1")}
	if _, err := svc.Do(t.Context(), call, asset.BindTag{Asset: ids["acme"], Tag: "T", Device: "E", Signal: "s", Effective: noon.Add(time.Hour)}, nil); err != nil {
		t.Fatal(err)
	}
	if p, _, err := bringAssets(t, log, Options{Format: "json"}, text); err != nil || p.Stored != 0 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestAssetFaults(t *testing.T) {
	for _, c := range []struct {
		name, format, text string
		stored             int
		want               []Fault
	}{
		{
			"csv", "csv", "path,level\nacme,ENTERPRISE\nacme/x/y,SITE\n,SITE\nacme/b,PLANET\nacme/c,SITE,1\nacme/d,ENTERPRISE\nacme/e,SITE\n\"acme/f,SITE\n", 2,
			[]Fault{
				{4, "path", "", "from the enterprise down"},
				{6, "", "acme/c,SITE,1", "2 columns"},
				{9, "", "", "columns of CSV"},
				{3, "path", "acme/x/y", "a parent that is there, or earlier in the file: acme/x"},
				{5, "", "acme/b", "PLANET"},
				{7, "", "acme/d", "ENTERPRISE"},
			},
		},
		{
			"json", "json", "[\n{\"name\":\"acme\",\"level\":\"ENTERPRISE\",\"children\":[\n {\"name\":\"b\",\"level\":\"PLANET\",\n  \"tags\":[{\"name\":\"t\",\"device\":\"d\",\"signal\":\"s\"}]}]}]", 1,
			[]Fault{{3, "", "acme/b", "PLANET"}, {3, "", "acme/b/t", "no such asset"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, faults, err := bringAssets(t, memlog.New("o", time.Now), Options{Format: c.format}, c.text)
			if err != nil || p.Stored != c.stored || p.Faults != len(c.want) {
				t.Errorf("%+v, %v", p, err)
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

func TestAssetFilesThatAreNone(t *testing.T) {
	for _, c := range []struct{ format, text, want string }{
		{"csv", "name\nacme\n", "expected level, and path or name"},
		{"csv", "", "empty"},
		{"json", "[\n{\"name\":\"a\",\n\"colour\":1}]", "line 3"},
		{"json", "{\"name\":\"a\",\n\"name\":\"b\"}", "twice"},
		{"json", "[{\"level\":\"SITE\"}]", "without a name"},
		{"json", "[]\n[]", "something after it"},
		{"json", "7", "a tree of assets"},
		{"json", "[{\"name\":\"a\",\"children\":7}]", "children"},
		{"json", strings.Repeat("[{\"name\":\"a\",\"children\":", 1000), "levels"},
		{"xml", "", "csv or json"},
	} {
		log := memlog.New("o", time.Now)
		if _, _, err := bringAssets(t, log, Options{Name: "f", Format: c.format}, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q in it", c.text[:min(len(c.text), 60)], err, c.want)
		}
	}
}

// TestMovedAndRetired imports after the plant was changed: paths are those of
// now, and a log whose moves would make a circle in its own order has none.
func TestMovedAndRetired(t *testing.T) {
	log := memlog.New("o", time.Now)
	text := "path,level\nacme,ENTERPRISE\nacme/a,COMPONENT\nacme/b,COMPONENT\nacme/c,COMPONENT\n"
	if p, faults, err := bringAssets(t, log, Options{Format: "csv"}, text); err != nil || p.Stored != 4 {
		t.Fatal(p, faults, err)
	}
	ids, err := paths(t.Context(), Log{Log: log}, noon)
	if err != nil {
		t.Fatal(err)
	}
	svc := asset.NewService(log)
	do := func(key string, cmd asset.Command) {
		t.Helper()
		if _, err := svc.Do(t.Context(), eventlog.Call{Key: eventlog.NewKey("o", "t", "do", key)}, cmd, nil); err != nil {
			t.Fatal(err)
		}
	}
	a, b, top := ids["acme/a"], ids["acme/b"], ids["acme"]
	do("0", asset.Move{Asset: b, Parent: ids["acme/c"], Effective: noon.Add(time.Hour)})
	do("1", asset.Move{Asset: b, Parent: top, Effective: noon.Add(2 * time.Hour)})
	do("2", asset.Move{Asset: a, Parent: b, Effective: noon.Add(2 * time.Hour)})
	do("3", asset.Move{Asset: b, Parent: a, Effective: noon.Add(time.Hour)})
	later, err := paths(t.Context(), Log{Log: log}, noon.Add(90*time.Minute))
	if err != nil || later["acme/a/b"] != b {
		t.Errorf("an hour later: %v, %v", later, err)
	}
	do("4", asset.Retire{Asset: a, Effective: noon.Add(3 * time.Hour)})
	last, err := paths(t.Context(), Log{Log: log}, noon.Add(4*time.Hour))
	if err != nil || len(last) != 3 || last["acme/b"] != b {
		t.Errorf("at last: %v, %v", last, err)
	}
}
