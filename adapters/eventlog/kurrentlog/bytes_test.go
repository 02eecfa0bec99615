package kurrentlog_test

import (
	"bytes"
	"testing"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// TestBytesOnBothSides: what was written on either side of the protocol is the
// same to the byte on the other.
func TestBytesOnBothSides(t *testing.T) {
	served := openBadger(t)
	address, _ := serve(t, served, "")
	l := open(t, address)
	env := eventlog.Envelope{Actor: eventlog.Actor{Subject: "p-1", Kind: eventlog.Human}, Zone: "Europe/Berlin"}
	n := 0
	for i, side := range []eventlog.Log{served, l, served, l} {
		for _, content := range []string{"", "application/octet-stream", "application/x-row; v=\"ü\""} {
			e := fact(n)
			e.ContentType, e.Envelope, e.Data = content, env, []byte{0, 255, byte(i)}
			if _, err := side.Append(t.Context(), "telemetry-gw.1", at(n), e); err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	there := map[eventlog.EventID]eventlog.Record{}
	for r, err := range served.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		there[r.ID] = r
	}
	got := 0
	for r, err := range l.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		s := there[r.ID]
		if !bytes.Equal(r.RawEnvelope, s.RawEnvelope) || !bytes.Equal(r.Data, s.Data) || r.ContentType != s.ContentType ||
			r.Position != s.Position || r.Revision != s.Revision || r.Stream != s.Stream || r.Type != s.Type {
			t.Errorf("through the protocol\n%+v\nserved\n%+v", r, s)
		}
		got++
	}
	if got != n || len(there) != n {
		t.Errorf("%d events through the protocol, %d served, want %d", got, len(there), n)
	}
}
