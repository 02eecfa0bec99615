package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/twinlog/twinlog/cmd/server"
	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// generate writes the plant and its past straight into a data directory and
// returns the number of samples.
func generate(ctx context.Context, data string, end time.Time) (int, error) {
	log, err := server.OpenLog(ctx, data, slog.New(slog.DiscardHandler))
	if err != nil {
		return 0, err
	}
	defer log.Close() //nolint:errcheck // appends were durable before they returned
	begin := end.Add(-days * 24 * time.Hour)
	if err := structure(ctx, log, begin, "bench", devices); err != nil {
		return 0, err
	}
	rest := totalSamples/signals - busyDayRows - busyMinuteRows
	each := rest / (devices - 1)
	made := 0
	for d := range devices {
		w := &writer{log: log, device: fmt.Sprintf("bench-%d", d), signals: signals}
		if d == 0 {
			err = w.rows(ctx, begin, time.Minute, busyMinuteRows)
			if err == nil {
				err = w.rows(ctx, end.Add(-24*time.Hour+500*time.Millisecond), time.Second, busyDayRows-1)
			}
		} else {
			err = w.rows(ctx, begin, end.Sub(begin)/time.Duration(each), each)
		}
		if err == nil {
			err = w.flush(ctx)
		}
		if err != nil {
			return 0, err
		}
		made += int(w.seq) * signals
	}
	return made, nil
}

// structure registers an asset for each of n devices, PREFIX-0 and so on, and
// binds its tags: PREFIX/pump-0/signal_0 and so on.
func structure(ctx context.Context, log eventlog.Log, begin time.Time, prefix string, n int) error {
	svc := asset.NewService(log)
	call := func(mutation string, n int) eventlog.Call {
		return eventlog.Call{
			Key:      eventlog.NewKey(log.Origin(), "bench", mutation, fmt.Sprint(n)),
			Envelope: eventlog.Envelope{Actor: eventlog.Actor{Subject: "bench", Kind: eventlog.Service}},
		}
	}
	tags := make([]asset.TagDef, signals)
	for i := range tags {
		tags[i] = asset.TagDef{Name: fmt.Sprintf("signal_%d", i), DataType: asset.Float64}
	}
	if _, err := svc.DefineClass(ctx, call("class", 0), asset.DefineClass{Class: "bench-pump", Tags: tags, Effective: begin}, nil); err != nil {
		return err
	}
	root, _, err := svc.Register(ctx, call("root", 0), asset.Register{Name: prefix, Level: asset.Enterprise, Effective: begin})
	if err != nil {
		return err
	}
	var items []eventlog.Item[asset.Command]
	for d := range n {
		c := call("pump", d)
		id := c.Key.Entity(0)
		items = append(items, eventlog.Item[asset.Command]{Call: c, Command: asset.Register{
			Asset: id, Name: fmt.Sprintf("pump-%d", d), Level: asset.Equipment, Parent: root, Class: "bench-pump", Effective: begin,
		}})
		for i := range signals {
			items = append(items, eventlog.Item[asset.Command]{Call: call("bind", d*signals+i), Command: asset.BindTag{
				Asset: id, Tag: tags[i].Name, Device: fmt.Sprintf("%s-%d", prefix, d), Signal: tags[i].Name, Effective: begin,
			}})
		}
	}
	results, err := svc.DoAll(ctx, items)
	if err != nil {
		return err
	}
	for i, r := range results {
		if r.Err != nil {
			return fmt.Errorf("command %d: %w", i, r.Err)
		}
	}
	return nil
}

// writer appends one device's rows in large batches.
type writer struct {
	log      eventlog.Log
	device   string
	signals  int
	seq      uint64
	expected eventlog.Expected
	batch    []eventlog.NewEvent
	bytes    int
}

func (w *writer) rows(ctx context.Context, from time.Time, step time.Duration, n int) error {
	samples := make([]telemetry.Sample, w.signals)
	for i := range n {
		at := from.Add(time.Duration(i) * step).Truncate(time.Millisecond)
		for s := range samples {
			v := math.Round(10*(50+20*math.Sin(float64(i)/500+float64(s)))) / 10
			samples[s] = telemetry.Sample{
				Signal: fmt.Sprintf("signal_%d", s), Value: telemetry.FloatValue(v),
				Quality: quality.Quality{Code: quality.Good, Raw: 192, Scheme: quality.OPCDA},
			}
		}
		w.seq++
		row := telemetry.Row{
			Device: w.device, DeviceType: "pump", MsgID: telemetry.MsgID("0000000000000000", w.seq),
			Seq: w.seq, HasSeq: true, SourceTime: at, ServerTime: at, SchemaVersion: "2.1", EdgeLatency: -1, Samples: samples,
		}
		data := row.AppendBinary(nil)
		w.batch = append(w.batch, eventlog.NewEvent{
			ID: telemetry.UnorderedID(w.log.Origin(), w.device, row.MsgID), Type: eventlog.TelemetryRecorded,
			ContentType: telemetry.ContentType, Data: data,
			Envelope: eventlog.Envelope{Actor: eventlog.Actor{Subject: w.device, Kind: eventlog.Device}},
		})
		if w.bytes += len(data) + 200; w.bytes > eventlog.MaxAppendBytes*9/10 {
			if err := w.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *writer) flush(ctx context.Context) error {
	if len(w.batch) == 0 {
		return nil
	}
	done, err := w.log.Append(ctx, telemetry.Stream(w.device, telemetry.Unordered), w.expected, w.batch...)
	w.expected, w.batch, w.bytes = eventlog.At(done.Revision), w.batch[:0], 0
	return err
}
