package eventlog_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

var splitTime = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

// TestSplitEnvelope: an envelope that a log stamped comes apart into the very
// stencil that it was made from, whatever stands in its texts.
func TestSplitEnvelope(t *testing.T) {
	for name, e := range map[string]eventlog.Envelope{
		"nothing":     {},
		"an actor":    {Actor: eventlog.Actor{Subject: `a"}],{rec`, Kind: eventlog.Human, AuthMethods: []string{"x,", "]"}}},
		"only after":  {Terminal: "t", Zone: "Europe/Berlin"},
		"on all ends": {Build: "b", Device: "d", Reason: &eventlog.Reason{Code: "\\"}, Effective: splitTime},
	} {
		for _, clock := range []eventlog.ClockState{{}, {State: "SYNCED", Source: `ntp:"}`, OffsetUS: -4}} {
			want, stamp := e.Stencil(nil), eventlog.NewStamp(splitTime, clock)
			raw := want.Append(nil, stamp)
			got, gotStamp := eventlog.SplitEnvelope(raw, splitTime)
			if !bytes.Equal(got.Text, want.Text) || got.Clk != want.Clk || got.Rec != want.Rec ||
				!bytes.Equal(gotStamp.Clk, stamp.Clk) || !bytes.Equal(gotStamp.Rec, stamp.Rec) {
				t.Errorf("%s: %s became %s (%d, %d) and %s %s, want %s (%d, %d)", name, raw, got.Text, got.Clk, got.Rec, gotStamp.Clk, gotStamp.Rec, want.Text, want.Clk, want.Rec)
			}
			if s, _ := eventlog.SplitEnvelope(raw, splitTime.Add(time.Microsecond)); !s.Fixed() {
				t.Errorf("%s: another Recorded than the envelope's was taken for its own", name)
			}
		}
	}
}

// FuzzSplitEnvelope: whatever it is given, the same bytes come back.
func FuzzSplitEnvelope(f *testing.F) {
	for _, s := range []string{
		`{}`, ``, `{`, `[1,{"rec":1}]`, `{"rec":"2026-03-01T12:00:00.123456Z"}`, `{"a":{"b":"}"},"rec":"2026-03-01T12:00:00.123456Z","zone":"x"}`,
		`{"rec":"2026-03-01T12:00:00.123456Z","clk":{}}`, `{"rec":"2026-03-01T12:00:00.123456Z","rec":"2026-03-01T12:00:00.123456Z"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, stamp := eventlog.SplitEnvelope(raw, splitTime)
		if got := s.Append(nil, stamp); !bytes.Equal(got, raw) {
			t.Fatalf("%q came back as %q", raw, got)
		}
	})
}
