package memlog_test

import (
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/domain/eventlog"
)

func TestSmoke(t *testing.T) {
	l := memlog.New("o", time.Now)
	a, err := l.Append(t.Context(), "asset-1", eventlog.NoStream, eventlog.NewEvent{ID: eventlog.EventID{1}, Type: "x.y.v1", Data: []byte("{}")})
	if err != nil || a.First != 1 {
		t.Fatal(a, err)
	}
	for r, err := range l.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
		t.Logf("%s %v", r.RawEnvelope, err)
	}
}
