package correction_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

var update = flag.Bool("update", false, "write the golden file if there is none")

func at(second int) time.Time { return time.Date(2026, 3, 1, 6, 0, second, 0, time.UTC) }

const stream = eventlog.StreamID("correction-site")

func earlier(r eventlog.Revision) []correction.Earlier {
	return []correction.Earlier{{Stream: stream, Revision: r}}
}

func spans() []correction.Span {
	return []correction.Span{{Device: "D", From: at(0), To: at(10)}}
}

func TestDecide(t *testing.T) {
	five := &correction.Value{Value: telemetry.FloatValue(5)}
	bad := correction.Made{Action: correction.MarkBad, Spans: spans(), StatusCode: quality.Bad}
	undo := func(r eventlog.Revision) correction.Made {
		return correction.Made{Action: correction.Undo, Supersedes: earlier(r)}
	}
	ref := correction.Ref{Device: "D", Signal: "p", Stream: "telemetry-D", SourceTime: at(1)}
	own := ref
	own.Value = five
	for _, c := range []struct {
		name  string
		given []correction.Made
		when  correction.Made
		err   error
	}{
		{name: "mark bad", when: bad},
		{name: "undo", given: []correction.Made{bad}, when: undo(0)},
		{name: "undo the undoing", given: []correction.Made{bad, undo(0)}, when: undo(1)},
		{name: "undo what an undoing brought back", given: []correction.Made{bad, undo(0), undo(1)}, when: undo(0)},
		{name: "undo twice", given: []correction.Made{bad, undo(0)}, when: undo(0), err: correction.ErrSuperseded},
		{name: "undo what is none", given: []correction.Made{bad}, when: undo(1), err: correction.ErrNoCorrection},
		{name: "supersede one twice at once", given: []correction.Made{bad}, when: correction.Made{Action: correction.Undo, Supersedes: append(earlier(0), earlier(0)...)}, err: correction.ErrBadCorrection},
		{name: "a better one instead", given: []correction.Made{bad}, when: correction.Made{Action: correction.MarkBad, Spans: spans(), StatusCode: quality.BadSensorFailure, Supersedes: earlier(0)}},
		{name: "a Good one is not Bad", when: correction.Made{Action: correction.MarkBad, Spans: spans()}, err: correction.ErrBadCorrection},
		{name: "a value for all", when: correction.Made{Action: correction.Substitute, Samples: []correction.Ref{ref, ref}, Value: five}},
		{name: "a value for each", when: correction.Made{Action: correction.Substitute, Samples: []correction.Ref{own, own}}},
		{name: "a value for some", when: correction.Made{Action: correction.Substitute, Samples: []correction.Ref{own, ref}}, err: correction.ErrBadCorrection},
		{name: "a value for all and for each", when: correction.Made{Action: correction.Substitute, Samples: []correction.Ref{own, own}, Value: five}, err: correction.ErrBadCorrection},
		{name: "a value where none belongs", when: correction.Made{Action: correction.ChangeQuality, Spans: spans(), Value: five}, err: correction.ErrBadCorrection},
		{name: "from after to", when: correction.Made{Action: correction.MarkBad, StatusCode: quality.Bad, Spans: []correction.Span{{Device: "D", From: at(1), To: at(1)}}}, err: correction.ErrBadCorrection},
		{name: "later ones of what is there", when: correction.Made{Action: correction.MarkBad, StatusCode: quality.Bad, Samples: []correction.Ref{ref}, IncludingLater: true}, err: correction.ErrBadCorrection},
		{name: "a condition on nothing", when: correction.Made{Action: correction.MarkBad, StatusCode: quality.Bad, Samples: []correction.Ref{ref}, Condition: &correction.Condition{Firmware: "1"}}, err: correction.ErrBadCorrection},
		{name: "an action that is none", when: correction.Made{Action: "ERASE", Spans: spans()}, err: correction.ErrBadCorrection},
		{name: "too many samples", when: correction.Made{Action: correction.MarkBad, StatusCode: quality.Bad, Samples: make([]correction.Ref, correction.MaxSamples+1)}, err: correction.ErrBadCorrection},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s correction.State
			for _, m := range c.given {
				s = correction.Decider.Evolve(s, m)
			}
			got, err := correction.Decider.Decide(s, c.when)
			if !errors.Is(err, c.err) || (err == nil) != (len(got) == 1) {
				t.Errorf("%v, %d events, expected %v", err, len(got), c.err)
			}
		})
	}
}

// TestGolden holds the bytes on disk: a failure means that old logs would read
// differently.
func TestGolden(t *testing.T) {
	m := correction.Made{
		Action: correction.Substitute, Condition: &correction.Condition{Firmware: "2.3.1", Gateway: "GW"},
		Impact: correction.Impact{Digest: "00", Samples: 7}, IncludingLater: true,
		Samples: []correction.Ref{{
			Device: "D", Index: 3, Revision: 9, Signal: "p", SourceTime: at(1), Stream: "telemetry-D.x",
			Value: &correction.Value{Value: telemetry.BoolValue(true)},
		}},
		Scale: &correction.Scale{Factor: 0.1, Offset: -2}, Spans: []correction.Span{{Device: "D", Signal: "p", From: at(0), To: at(10)}},
		StatusCode: quality.GoodEdited, Supersedes: earlier(4), Tag: "a/p", Value: &correction.Value{Value: telemetry.StringValue("on")},
	}
	data, err := eventlog.CanonicalJSON(m)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "events", correction.MadeType+".json")
	if _, err := os.Stat(path); *update && errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(data) != string(want) {
		t.Errorf("got %s\nexpected %s", data, want)
	}
	var back correction.Made
	if err := json.Unmarshal(want, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, back); diff != "" {
		t.Error(diff)
	}
}
