package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/twinlog/twinlog/domain/alarm"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// alarmSignal begins the names of the signals by which a gateway tells of an
// alarm, in its lane for alarms: alarm/NAME is true or false, and beside it may
// stand alarm/NAME/severity, /message, /kind and /signal.
const alarmSignal = "alarm/"

// alarmLane is what the streams of gateways' alarm lanes have in their names.
const alarmLane = "~alarms."

// Alarms turns what gateways tell of alarms into the alarms' own events, each
// once: an event's id follows from the row that it came with.
type Alarms struct {
	log     eventlog.Log
	handler *eventlog.Handler[alarm.State, alarm.Command]
}

// NewAlarms returns the watcher of a log.
func NewAlarms(log eventlog.Log) *Alarms {
	return &Alarms{log, eventlog.NewHandler(log, alarm.Decider, 1024)}
}

// Run follows the log until ctx ends.
func (a *Alarms) Run(ctx context.Context) error {
	at, err := a.begin(ctx)
	if err != nil {
		return err
	}
	sub, err := a.log.Subscribe(ctx, at, eventlog.Filter{Types: []string{eventlog.TelemetryRecorded}})
	if err != nil {
		return err
	}
	defer sub.Close() //nolint:errcheck // there is nothing left to do about it
	for {
		batch, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		for _, rec := range batch.Records {
			if !strings.Contains(string(rec.Stream), alarmLane) {
				continue
			}
			if err := a.Take(ctx, rec); err != nil {
				return err
			}
		}
	}
}

// begin is the place of the row that the newest alarm event came with: rows
// behind it may not have been taken, and taking one again changes nothing.
func (a *Alarms) begin(ctx context.Context) (eventlog.Position, error) {
	filter := eventlog.Filter{Types: []string{alarm.Raised{}.EventType(), alarm.Cleared{}.EventType()}, NoTelemetry: true}
	for rec, err := range a.log.ReadAll(ctx, eventlog.End, eventlog.Backwards, filter) {
		if err != nil {
			return 0, err
		}
		var e struct{ From *alarm.Source }
		if err := json.Unmarshal(rec.Data, &e); err != nil || e.From == nil {
			continue
		}
		for row, err := range a.log.Read(ctx, e.From.Stream, e.From.Revision, eventlog.Forwards) {
			if err != nil {
				return 0, err
			}
			return row.Position - 1, nil
		}
	}
	return 0, nil
}

// Take takes one row of an alarm lane.
func (a *Alarms) Take(ctx context.Context, rec eventlog.Record) error {
	row, err := telemetry.Decode(rec.Data)
	if err != nil {
		return fmt.Errorf("%s@%d: %w", rec.Stream, rec.Revision, err)
	}
	said := map[string]telemetry.Sample{}
	for _, s := range row.Samples {
		said[s.Signal] = s
	}
	for _, s := range row.Samples {
		name, ok := strings.CutPrefix(s.Signal, alarmSignal)
		// A condition that was not judged, since what it rests on is Bad, is no news.
		if !ok || name == "" || strings.Contains(name, "/") || s.Value.Kind != telemetry.Bool || s.Quality.Code.Status() == quality.IsBad {
			continue
		}
		text := func(what, standard string) string {
			if v := said[s.Signal+"/"+what].Value; v.Kind == telemetry.String && v.Str != "" {
				return v.Str
			}
			return standard
		}
		severity := 500
		if n, ok := said[s.Signal+"/severity"].Value.Number(); ok && n >= 1 && n <= 1000 {
			severity = int(n)
		}
		cmd := alarm.Observe{
			What: alarm.What{
				Device: row.Device, Name: name, Severity: severity,
				Kind: text("kind", "process"), Message: text("message", ""), Tag: text("signal", ""),
			},
			Active: s.Value.Bits == 1, At: row.SourceTime, From: &alarm.Source{Stream: rec.Stream, Revision: rec.Revision},
		}
		call := eventlog.Call{
			Key: eventlog.NewKey(a.log.Origin(), string(rec.Stream), s.Signal, fmt.Sprint(rec.Revision)),
			Envelope: eventlog.Envelope{
				Actor: eventlog.Actor{Subject: row.Gateway, Kind: eventlog.Service, AuthMethods: []string{"none"}}, Causation: rec.ID,
			},
		}
		_, err := a.handler.Execute(ctx, alarm.Stream(alarm.ID(row.Device, name)), call, cmd)
		if err != nil && !errors.Is(err, eventlog.ErrBadEvent) { // a name that no stream can have
			return fmt.Errorf("alarm %s of %s: %w", name, row.Device, err)
		}
	}
	return nil
}
