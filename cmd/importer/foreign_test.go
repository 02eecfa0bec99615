package importer

import (
	"strings"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// TestADeviceOfThatName imports for P where a device that calls itself import~P
// has spoken: neither hides the other.
func TestADeviceOfThatName(t *testing.T) {
	log := memlog.New("o", time.Now)
	spoken := telemetry.Row{
		Device: "import~P", MsgID: "not a ULID", SourceTime: time.Unix(1_767_323_045, 0).UTC(), EdgeLatency: telemetry.NoLatency,
		Samples: []telemetry.Sample{{Signal: "a", Value: telemetry.FloatValue(1), Quality: assumed}},
	}
	event := eventlog.NewEvent{
		ID: telemetry.UnorderedID("o", spoken.Device, spoken.MsgID), Type: eventlog.TelemetryRecorded,
		ContentType: telemetry.ContentType, Data: spoken.AppendBinary(nil),
	}
	if _, err := log.Append(t.Context(), telemetry.Stream(spoken.Device, telemetry.Unordered), eventlog.NoStream, event); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 0} {
		p, faults, err := bring(log, strings.NewReader("time,a\n2026-01-02 03:04:05,1\n"), Options{Format: "csv", Device: "P"})
		if err != nil || len(faults) > 0 || p.Stored != want {
			t.Fatalf("%+v, %v, %v, want %d stored", p, faults, err, want)
		}
	}
}
