package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twinlog/twinlog/cmd/server"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/test/peer"
)

// skab is real pump data, kept beside the checkout and not in it.
const skab = "../../../shared/data/skab"

// command runs twinlog as its user does and returns what it says.
func command(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, complaints bytes.Buffer
	err = run(t.Context(), args, streams{&out, &complaints})
	return out.String(), complaints.String(), err
}

// says runs a command that must succeed and say this.
func says(t *testing.T, want string, args ...string) {
	t.Helper()
	out, complaints, err := command(t, args...)
	if err != nil || out != want+"\n" {
		t.Errorf("twinlog %s\nsays %q, %v, %q\nwant %q", strings.Join(args, " "), out, err, complaints, want)
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// running is a server on a data directory, ended by stop.
type running struct {
	addr string
	stop func()
}

func serveData(t *testing.T, data string) running {
	t.Helper()
	srv, err := server.Open(t.Context(), server.Config{HTTP: "127.0.0.1:0", MQTT: "127.0.0.1:0", Data: data})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx) }()
	stopped := false
	r := running{srv.HTTPAddr(), func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}}
	t.Cleanup(r.stop)
	head, _, err := srv.Log().Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Runner().WaitFor(t.Context(), head); err != nil {
		t.Fatal(err)
	}
	return r
}

// ask puts the answer's data into result.
func (r running) ask(t *testing.T, query string, result any) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"query": query})
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post("http://"+r.addr+"/graphql", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Data   json.RawMessage
		Errors json.RawMessage
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || len(answer.Errors) > 0 {
		t.Fatalf("%s: %v %s", query, err, answer.Errors)
	}
	if err := json.Unmarshal(answer.Data, result); err != nil {
		t.Fatal(err)
	}
}

// head is where a data directory's log ends.
func head(t *testing.T, data string) eventlog.Position {
	t.Helper()
	log, err := server.OpenLog(t.Context(), data, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	end, _, err := log.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return end
}

func TestImportSamples(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	file := write(t, "pump.csv", "datetime;Flow;Pressure;note\r\n"+
		"2026-01-01 00:00:00;1,5;3;ok\r\n2026-01-01 00:00:01;1,6;4;ok\r\n2026-01-01 00:00:02;1,7;;ok\r\n")
	here := []string{"import", "samples", file, "--device", "P-7", "--decimal-comma", "--skip", "note", "--map", "Flow=flow", "--zone", "Europe/Berlin", "--operator", "Ada", "--data", data}

	says(t, "pump.csv: 3 rows, 3 would be stored, 0 known already, 0 refused", append(slices.Clone(here), "--dry-run")...)
	says(t, "pump.csv: 3 rows, 3 stored, 0 known already, 0 refused", here...)
	before := head(t, data)
	says(t, "pump.csv: 3 rows, 0 stored, 3 known already, 0 refused", here...)
	if after := head(t, data); after != before {
		t.Errorf("the second import brought the log from %d to %d", before, after)
	}

	srv := serveData(t, data)
	var got struct {
		Plant struct {
			Tag struct {
				Samples struct {
					Nodes []struct {
						SourceTime time.Time
						Number     float64
					}
				}
			}
		}
	}
	srv.ask(t, `{plant{tag(path:"imported/P-7/flow"){samples(from:"2025-12-31T00:00:00Z",to:"2026-01-02T00:00:00Z"){nodes{sourceTime number}}}}}`, &got)
	if n := got.Plant.Tag.Samples.Nodes; len(n) != 3 || n[2].Number != 1.7 || !n[0].SourceTime.Equal(time.Date(2025, 12, 31, 23, 0, 0, 0, time.UTC)) {
		t.Errorf("history holds %+v", n)
	}

	if _, _, err := command(t, here...); err == nil || !strings.Contains(err.Error(), "--server") {
		t.Errorf("beside a running server: %v, expected it to name --server", err)
	}
	there := append(slices.Clone(here[:len(here)-2]), "--server", "http://"+srv.addr)
	says(t, "pump.csv: 3 rows, 0 stored, 3 known already, 0 refused", there...)
	more := write(t, "more.ndjson", `{"ts":"2026-01-01T10:00:00Z","flow":2.5}`+"\n")
	says(t, "more.ndjson: 1 rows, 1 stored, 0 known already, 0 refused", "import", "samples", more, "--device", "P-7", "--server", "http://"+srv.addr)
}

func TestImportReportsWhatItRefuses(t *testing.T) {
	var text strings.Builder
	text.WriteString("time,a\n2026-01-01 00:00:00,1\n")
	for range shownFaults + 5 {
		text.WriteString("never,1\n")
	}
	file, rejects := write(t, "x.csv", text.String()), filepath.Join(t.TempDir(), "rejects.ndjson")
	out, complaints, err := command(t, "import", "samples", file, "--device", "P", "--data", t.TempDir(), "--rejects", rejects)
	if err == nil || !strings.Contains(err.Error(), "25 rows were refused, the others are in") {
		t.Errorf("ended with %v", err)
	}
	if want := "x.csv: 26 rows, 1 stored, 0 known already, 25 refused\n"; out != want {
		t.Errorf("said %q, want %q", out, want)
	}
	if n := strings.Count(complaints, "expected RFC 3339"); n != shownFaults || !strings.Contains(complaints, `x.csv: line 3, time: "never", expected RFC 3339`) {
		t.Errorf("%d faults shown, want %d:\n%s", n, shownFaults, complaints)
	}
	kept, err := os.ReadFile(rejects)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(kept)), "\n")
	var last struct {
		Line          int
		Column, Given string
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || len(lines) != 25 || last.Line != 27 || last.Column != "time" || last.Given != "never" {
		t.Errorf("%d rejects, the last is %+v, %v", len(lines), last, err)
	}
}

func TestImportAssets(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	table := write(t, "plant.csv", "path,level,nameplate.maker\nacme,ENTERPRISE,\nacme/north,SITE,\nacme/north/P-1,EQUIPMENT,Sulzer\nacme/south/P-2,EQUIPMENT,\n")
	_, complaints, err := command(t, "import", "assets", table, "--data", data)
	if err == nil || !strings.Contains(complaints, "plant.csv: line 5, path: \"acme/south/P-2\", expected a parent that is there") {
		t.Errorf("an asset without its parent: %v, %s", err, complaints)
	}
	tree := write(t, "plant.json", `{"name":"acme","level":"ENTERPRISE","children":[{"name":"south","level":"SITE","children":[
		{"name":"P-2","level":"EQUIPMENT","tags":[{"name":"flow","device":"D-2","signal":"f"}]}]}]}`)
	says(t, "plant.json: 3 rows, 3 stored, 1 known already, 0 refused", "import", "assets", tree, "--data", data)
	before := head(t, data)
	says(t, "plant.json: 3 rows, 0 stored, 4 known already, 0 refused", "import", "assets", tree, "--data", data)
	if after := head(t, data); after != before {
		t.Errorf("the second import brought the log from %d to %d", before, after)
	}
	var got struct {
		Plant struct {
			A struct{ Nameplate map[string]string }
			B struct {
				Tags struct{ Nodes []struct{ Name string } }
			}
		}
	}
	serveData(t, data).ask(t, `{plant{a:asset(path:"acme/north/P-1"){nameplate} b:asset(path:"acme/south/P-2"){tags{nodes{name}}}}}`, &got)
	if got.Plant.A.Nameplate["maker"] != "Sulzer" || len(got.Plant.B.Tags.Nodes) != 1 || got.Plant.B.Tags.Nodes[0].Name != "flow" {
		t.Errorf("the plant is %+v", got.Plant)
	}
}

// TestRealPumpsImportedOnce brings the files in with one command each, and again:
// the same, renamed, overlapping by half, and with nothing left of the data
// directory but the log and the keys. Then history must say what awk says.
func TestRealPumpsImportedOnce(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(skab, "*.csv"))
	if err != nil || len(files) == 0 {
		t.Skip("no real pump data beside this checkout")
	}
	peer.Need(t, "awk")
	data := filepath.Join(t.TempDir(), "data")
	rows := map[string]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		n := bytes.Count(text, []byte("\n")) - 1
		rows[name] = n
		args := func(file string) []string {
			return []string{"import", "samples", file, "--device", strings.TrimSuffix(name, ".csv"), "--data", data}
		}
		lines := bytes.SplitAfter(text, []byte("\n"))
		half := write(t, "half.csv", string(bytes.Join(lines[:1+n/2], nil)))
		says(t, fmt.Sprintf("half.csv: %d rows, %d stored, 0 known already, 0 refused", n/2, n/2), args(half)...)
		says(t, fmt.Sprintf("%s: %d rows, %d stored, %d known already, 0 refused", name, n, n-n/2, n/2), args(file)...)
	}
	before := head(t, data)
	if err := os.RemoveAll(filepath.Join(data, "views")); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		renamed := write(t, "renamed.csv", string(text))
		says(t, fmt.Sprintf("renamed.csv: %d rows, 0 stored, %d known already, 0 refused", rows[name], rows[name]),
			"import", "samples", renamed, "--device", strings.TrimSuffix(name, ".csv"), "--data", data)
	}
	if after := head(t, data); after != before {
		t.Errorf("importing all of it again brought the log from %d to %d", before, after)
	}
	srv := serveData(t, data)
	for _, file := range files {
		compareWithAwk(t, srv, file, rows[filepath.Base(file)])
	}
}

// awk prints column, count, average, minimum and maximum.
const awk = `NR==1{for(i=2;i<=NF;i++)h[i]=$i;next} {for(i=2;i<=NF;i++){v=$i+0;s[i]+=v;if(!n[i]++||v<lo[i])lo[i]=v;if(n[i]==1||v>hi[i])hi[i]=v}} END{for(i in n)printf "%s;%d;%.17g;%.17g;%.17g\n",h[i],n[i],s[i]/n[i],lo[i],hi[i]}`

func compareWithAwk(t *testing.T, srv running, file string, rows int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "awk", "-F", "[;\r]", awk, file)
	text, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	columns := 0
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSpace(line), ";")
		if f[0] == "" { // what awk sees behind the carriage return
			continue
		}
		columns++
		path := "imported/" + strings.TrimSuffix(filepath.Base(file), ".csv") + "/" + f[0]
		var id struct {
			Plant struct{ Tag struct{ ID string } }
		}
		srv.ask(t, fmt.Sprintf(`{plant{tag(path:%q){id}}}`, path), &id)
		var got struct {
			Plant struct {
				Aggregates []struct {
					Function string
					Values   []float64
				}
			}
		}
		srv.ask(t, fmt.Sprintf(`{plant{aggregates(tags:[%q],from:"2020-01-01T00:00:00Z",to:"2021-01-01T00:00:00Z",interval:"P366D",functions:[COUNT,AVERAGE,MINIMUM,MAXIMUM]){function values}}}`, id.Plant.Tag.ID), &got)
		for i, a := range got.Plant.Aggregates {
			want, err := strconv.ParseFloat(f[1+i], 64)
			if err != nil || len(a.Values) != 1 {
				t.Fatalf("%s: awk says %q, history %v", path, line, a)
			}
			// awk adds up doubles one by one; history's sums are exact.
			if given := a.Values[0]; given != want && (a.Function != "AVERAGE" || math.Abs(given-want) > 1e-10*math.Abs(want)) {
				t.Errorf("%s: %s is %v, awk says %v", path, a.Function, given, want)
			}
			if a.Function == "COUNT" && a.Values[0] != float64(rows) {
				t.Errorf("%s: %v samples of %d rows", path, a.Values[0], rows)
			}
		}
		if len(got.Plant.Aggregates) != 4 {
			t.Errorf("%s: %d aggregates, want 4", path, len(got.Plant.Aggregates))
		}
	}
	if columns < 8 {
		t.Errorf("awk found %d columns in %s, want at least 8", columns, file)
	}
}

// TestImportIsExplained holds the manual to the flags that exist.
func TestImportIsExplained(t *testing.T) {
	out, _, err := command(t, "import", "samples", "--help")
	if err != nil {
		t.Fatal(err)
	}
	manual, err := os.ReadFile("../../docs/import.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range strings.FieldsFunc(out, func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz-", r) }) {
		if strings.HasPrefix(word, "--") && word != "--help" && !bytes.Contains(manual, []byte("`"+word)) {
			t.Errorf("docs/import.md does not explain %s", word)
		}
	}
}
