package graph_test

import (
	"context"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/adapters/rows/memrows"
	"github.com/twinlog/twinlog/cmd/server"
	"github.com/twinlog/twinlog/domain/alarm"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/graph"
	"github.com/twinlog/twinlog/graph/plant"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/alarms"
)

// tell appends a row of a gateway's alarm lane and has it taken, twice.
func tell(t *testing.T, log eventlog.Log, n uint64, at time.Time, active bool, severity int64) {
	t.Helper()
	good := quality.Quality{Scheme: quality.OPCUA}
	row := telemetry.Row{
		Device: "P-1", DeviceType: "pump", Gateway: "gw~alarms", Seq: n, HasSeq: true, SourceTime: at, EdgeLatency: telemetry.NoLatency,
		Samples: []telemetry.Sample{
			{Signal: "alarm/overheat", Value: telemetry.BoolValue(active), Quality: good},
			{Signal: "alarm/overheat/severity", Value: telemetry.IntValue(severity), Quality: good},
			{Signal: "alarm/overheat/message", Value: telemetry.StringValue("bearing too hot"), Quality: good},
		},
	}
	stream := telemetry.Stream("gw~alarms", "00112233445566aa")
	expected := eventlog.NoStream
	if n > 1 {
		expected = eventlog.At(eventlog.Revision(n - 2))
	}
	var id eventlog.EventID
	id[0], id[15] = 0x77, byte(n)
	if _, err := log.Append(t.Context(), stream, expected, eventlog.NewEvent{ID: id, Type: eventlog.TelemetryRecorded, ContentType: telemetry.ContentType, Data: row.AppendBinary(nil)}); err != nil {
		t.Fatal(err)
	}
	for rec, err := range log.Read(t.Context(), stream, eventlog.Revision(n-1), eventlog.Forwards) {
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := server.NewAlarms(log).Take(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
		}
	}
}

type alarmSeen struct {
	ID                        string
	Condition, Priority, Name string
	Active                    bool
	Raises                    int
	Message                   *string
}

func TestAlarms(t *testing.T) {
	log, store := memlog.New(origin, time.Now), memrows.New()
	fold := alarms.New(store)
	runner := projections.NewRunner(log, store, projections.Config{Pace: time.Millisecond}, fold)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- runner.Run(ctx) }()
	defer func() { cancel(); <-done }()
	s := serve(t, &graph.Resolver{
		Read:     &plant.Reader{Log: log, Runner: runner, Now: time.Now, Build: "test", Alarms: fold},
		Identity: people{},
	}, graph.Limits{})
	began := time.Now().Add(-time.Hour).Truncate(time.Millisecond).UTC()

	list := func(filter string) []alarmSeen {
		t.Helper()
		head, _, _ := log.Head(t.Context())
		var got struct {
			Plant struct{ Alarms struct{ Nodes []alarmSeen } }
		}
		s.ask(&got, `query($p: Position!) { plant(minPosition: $p) { alarms`+filter+` { nodes { id name condition priority active raises message } } } }`, map[string]any{"p": head.String()})
		return got.Plant.Alarms.Nodes
	}
	if got := list(""); len(got) != 0 {
		t.Fatalf("before anything: %+v", got)
	}
	tell(t, log, 1, began, true, 800)
	got := list(`(filter: {active: true, priorities: [CRITICAL]})`)
	if len(got) != 1 || got[0].Condition != "UNACKNOWLEDGED" || got[0].Name != "overheat" || got[0].Raises != 1 || *got[0].Message != "bearing too hot" {
		t.Fatalf("raised: %+v", got)
	}
	id := got[0].ID
	var acked struct {
		AcknowledgeAlarm struct {
			Repeated bool
			Alarm    alarmSeen
		}
	}
	const acknowledge = `mutation($id: ID!) { acknowledgeAlarm(input: {alarm: $id, reason: {text: "seen on the panel"}}) { repeated alarm { condition } } }`
	s.ask(&acked, acknowledge, map[string]any{"id": id})
	if acked.AcknowledgeAlarm.Alarm.Condition != "ACKNOWLEDGED" {
		t.Fatalf("%+v", acked)
	}
	if code := s.code(acknowledge, map[string]any{"id": id}); code != "ILLEGAL_STATE" {
		t.Errorf("acknowledging twice: %s", code)
	}
	tell(t, log, 2, began.Add(10*time.Minute), false, 800)
	if got := list(`(filter: {conditions: [NORMAL]})`); len(got) != 1 {
		t.Errorf("cleared: %+v", list(""))
	}
	var shelved struct{ ShelveAlarm struct{ Alarm alarmSeen } }
	s.ask(&shelved, `mutation($id: ID!, $until: Time) { shelveAlarm(input: {alarm: $id, until: $until, reason: {text: "sensor is being replaced"}}) { alarm { condition } } }`,
		map[string]any{"id": id, "until": time.Now().Add(time.Hour).UTC()})
	if shelved.ShelveAlarm.Alarm.Condition != "SHELVED" {
		t.Errorf("%+v", shelved)
	}
	if code := s.code(`mutation($id: ID!, $until: Time) { shelveAlarm(input: {alarm: $id, until: $until, reason: {text: "for ever"}}) { alarm { condition } } }`,
		map[string]any{"id": id, "until": time.Now().Add(1000 * time.Hour).UTC()}); code != "BAD_INPUT" {
		t.Errorf("shelving for ever: %s", code)
	}
	unknown := plant.GlobalID(plant.AlarmID, origin, "P-9/none")
	if code := s.code(acknowledge, map[string]any{"id": unknown}); code != "NOT_FOUND" {
		t.Errorf("an alarm that never was: %s", code)
	}
	raised := 0
	for rec, err := range log.Read(t.Context(), alarm.Stream("P-1/overheat"), 0, eventlog.Forwards) {
		if err != nil {
			t.Fatal(err)
		}
		if rec.Type == (alarm.Raised{}).EventType() {
			raised++
		}
	}
	if raised != 1 {
		t.Errorf("one row, taken twice, raised the alarm %d times", raised)
	}
}
