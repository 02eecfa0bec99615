package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// pumpAnswers asks all signals of the imported pump for their history and for
// aggregates of every minute and of the day, known at a position ("": all).
func pumpAnswers(t *testing.T, srv running, known string) string {
	t.Helper()
	at := ""
	if known != "" {
		at = fmt.Sprintf(`(at:{known:{at:%q}})`, known)
	}
	var tags struct {
		Plant struct {
			Tags struct{ Nodes []struct{ ID, Path string } }
		}
	}
	srv.ask(t, fmt.Sprintf(`{plant%s{tags{nodes{id path}}}}`, at), &tags)
	ids := make([]string, len(tags.Plant.Tags.Nodes))
	for i, tag := range tags.Plant.Tags.Nodes {
		ids[i] = strconv.Quote(tag.ID)
	}
	span := `from:"2020-03-09T00:00:00Z",to:"2020-03-10T00:00:00Z"`
	list := strings.Join(ids, ",")
	var got struct {
		Plant map[string]json.RawMessage
	}
	srv.ask(t, fmt.Sprintf(`{plant%s{
		series(tags:[%s],%s){tag{path} start times values status count corrected}
		minutes:aggregates(tags:[%s],%s,interval:"PT1M",functions:[AVERAGE,MINIMUM,MAXIMUM,COUNT,TIME_AVERAGE],maxRows:100000){tag{path} function values status}
		day:aggregates(tags:[%s],%s,interval:"P1D",functions:[AVERAGE,COUNT,START,END,DELTA,TOTAL,STANDARD_DEVIATION_SAMPLE]){tag{path} function values status}
		tagValues{paths values status start times}
	}}`, at, list, span, list, span, list, span), &got)
	return fmt.Sprintf("%s\n%s\n%s\n%s", got.Plant["series"], got.Plant["minutes"], got.Plant["day"], got.Plant["tagValues"])
}

// TestRealPumpInAnyOrder brings one file in shuffled, in two halves, and with a
// tenth of its rows twice: every answer is that of the import in order, and as
// known before the second half those of the first.
func TestRealPumpInAnyOrder(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(skab, "valve1-0.csv"))
	if err != nil {
		t.Skip("no real pump data beside this checkout")
	}
	lines := bytes.SplitAfter(bytes.TrimRight(text, "\r\n"), []byte("\n"))
	lines[len(lines)-1] = append(bytes.Clone(lines[len(lines)-1]), '\n')
	header, rows := lines[0], lines[1:]
	bring := func(data string, rows [][]byte) {
		t.Helper()
		file := write(t, "pump.csv", string(header)+string(bytes.Join(rows, nil)))
		if _, complaints, err := command(t, "import", "samples", file, "--device", "pump", "--data", data); err != nil {
			t.Fatal(err, complaints)
		}
	}
	served := func(data string, more ...[][]byte) running {
		t.Helper()
		for _, rows := range more {
			bring(data, rows)
		}
		return serveData(t, data)
	}
	data := func() string { return filepath.Join(t.TempDir(), "data") }

	inOrder := served(data(), rows)
	want := pumpAnswers(t, inOrder, "")
	firstHalf := pumpAnswers(t, served(data(), rows[:len(rows)/2]), "")
	if want == firstHalf || len(want) < 100_000 {
		t.Fatalf("%d bytes of answers: nothing is compared", len(want))
	}
	r := rand.New(rand.NewPCG(1, 2))
	shuffled := append([][]byte{}, rows...)
	r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	if got := pumpAnswers(t, served(data(), shuffled), ""); got != want {
		t.Error("shuffled, the answers are others")
	}
	twice := append([][]byte{}, rows...)
	for range len(rows) / 10 {
		at := r.IntN(len(twice))
		twice = append(twice[:at], append([][]byte{rows[r.IntN(len(rows))]}, twice[at:]...)...)
	}
	if got := pumpAnswers(t, served(data(), twice), ""); got != want {
		t.Error("with a tenth twice, the answers are others")
	}
	halves := data()
	bring(halves, rows[:len(rows)/2])
	known := fmt.Sprintf("%020d", head(t, halves))
	both := served(halves, rows[len(rows)/2:])
	if got := pumpAnswers(t, both, ""); got != want {
		t.Error("in two halves, the answers are others")
	}
	if got := pumpAnswers(t, both, known); got != firstHalf {
		t.Error("known before the second half, the answers are not those of the first alone")
	}
	both.substitute(t, rows, want)
}

// substitute puts 99.5 in for ten minutes of the pump's temperature: the day's
// average is then what a sum by hand says, and known before it is the old one.
func (r running) substitute(t *testing.T, rows [][]byte, before string) {
	t.Helper()
	const column, from, to = 5, 100, 700 // of the file; rows
	instant := func(row int) string {
		return strings.Replace(strings.SplitN(string(rows[row]), ";", 2)[0], " ", "T", 1) + "Z"
	}
	var tag struct {
		Plant struct{ Tag struct{ ID string } }
	}
	r.ask(t, `{plant{tag(path:"imported/pump/Temperature"){id}}}`, &tag)
	var at struct{ System struct{ Head string } }
	r.ask(t, `{system{head}}`, &at)
	body := fmt.Sprintf(`{"query":%q}`, fmt.Sprintf(`mutation{correct(input:{action:SUBSTITUTE,tag:%q,from:%q,to:%q,value:99.5,reason:{text:"calibration"}}){samples position}}`,
		tag.Plant.Tag.ID, instant(from), instant(to)))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.addr+"/graphql", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Twinlog-Operator", "ines")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var made struct {
		Data   struct{ Correct struct{ Samples int } }
		Errors json.RawMessage
	}
	if err := json.NewDecoder(res.Body).Decode(&made); err != nil || len(made.Errors) > 0 || made.Data.Correct.Samples != to-from {
		t.Fatalf("%+v %s %v", made, made.Errors, err)
	}
	sum := new(big.Rat)
	for i, row := range rows {
		v, err := strconv.ParseFloat(strings.Split(string(row), ";")[column], 64)
		if err != nil {
			t.Fatal(err)
		}
		if i >= from && i < to {
			v = 99.5
		}
		sum.Add(sum, new(big.Rat).SetFloat64(v))
	}
	var got struct {
		Plant struct{ Aggregates []struct{ Values []float64 } }
	}
	r.ask(t, fmt.Sprintf(`{plant{aggregates(tags:[%q],from:"2020-03-09T00:00:00Z",to:"2020-03-10T00:00:00Z",interval:"P1D",functions:[AVERAGE]){values}}}`, tag.Plant.Tag.ID), &got)
	if want, _ := sum.Quo(sum, new(big.Rat).SetInt64(int64(len(rows)))).Float64(); got.Plant.Aggregates[0].Values[0] != want {
		t.Errorf("the day's average is %v, expected %v", got.Plant.Aggregates[0].Values[0], want)
	}
	if got := pumpAnswers(t, r, at.System.Head); got != before {
		t.Error("known before the correction, the answers are not the old ones")
	}
	if got := pumpAnswers(t, r, ""); got == before {
		t.Error("the correction changed nothing")
	}
}
