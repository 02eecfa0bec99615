package edge

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge/acquire"
	"github.com/twinlog/twinlog/edge/deadband"
	judge "github.com/twinlog/twinlog/edge/quality"
)

// listenTick is how often a source that speaks by itself is checked for silence:
// a stale limit is seconds at the least.
const listenTick = time.Second

// A run is one pipeline at work. All but counts is owned by the goroutine that
// supervises it.
type run struct {
	Pipeline
	sink Sink
	log  *slog.Logger

	judges  []*judge.Judge
	sent    []deadband.Sent
	native  []heard // by tag: the last reading that the device timed itself
	vitals  acquire.Vitals
	refused bool // the sink's refusal has been logged and it has taken nothing since

	counts struct {
		scans, readings, bad, messages, samples, refused, restarts atomic.Uint64
	}
}

// heard is what tells a measurement from the same one read again.
type heard struct {
	at   time.Time
	code quality.Code
}

func newRun(p Pipeline, sink Sink, log *slog.Logger) *run {
	return &run{Pipeline: p, sink: sink, log: log, sent: make([]deadband.Sent, len(p.Tags))}
}

// supervise keeps the pipeline going. What was sent is remembered across a
// restart, since the server still shows it; what was judged is not.
func (r *run) supervise(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; failures++ {
		started := time.Now()
		err := r.once(ctx)
		if ctx.Err() != nil {
			return
		}
		r.counts.restarts.Add(1)
		r.log.LogAttrs(ctx, slog.LevelError, "pipeline failed", slog.Any("error", err))
		if time.Since(started) > time.Minute {
			failures = 0 // it worked for a while, so the next try may come soon
		}
		select {
		case <-ctx.Done():
		case <-time.After(r.Retry.Wait(failures)):
		}
	}
}

// once runs the pipeline until it fails. A decoder that panics on what a machine
// sent takes down its own pipeline and nothing else.
func (r *run) once(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	now := time.Now()
	r.judges = make([]*judge.Judge, len(r.Tags))
	r.native = make([]heard, len(r.Tags))
	for i, t := range r.Tags {
		limits := t.Limits
		limits.Over = max(limits.Over, t.Every)
		r.judges[i] = judge.New(limits, now)
	}
	if r.Reporting != nil {
		return acquire.Listen(ctx, r.Reporting, len(r.Tags), listenTick, r.Retry, &r.vitals, r.log, r.hear)
	}
	return acquire.Poll(ctx, r.Polled, r.groups(), r.Retry, &r.vitals, r.log, r.hear)
}

// groups puts the tags of one period into one group, in the order of the tags.
func (r *run) groups() []acquire.Group {
	var groups []acquire.Group
	at := map[time.Duration]int{}
	for item, t := range r.Tags {
		i, ok := at[t.Every]
		if !ok {
			i = len(groups)
			at[t.Every] = i
			groups = append(groups, acquire.Group{Every: t.Every})
		}
		groups[i].Items = append(groups[i].Items, item)
	}
	return groups
}

// hear takes one scan through the pipeline.
func (r *run) hear(ctx context.Context, scan acquire.Scan) error {
	r.counts.scans.Add(1)
	r.counts.readings.Add(uint64(len(scan.Readings)))
	var out batch
	for _, reading := range scan.Readings {
		if reading.Item < 0 || reading.Item >= len(r.Tags) {
			return fmt.Errorf("reading of item %d, expected 0 to %d", reading.Item, len(r.Tags)-1)
		}
		if p, ok := r.weigh(reading); ok {
			out.add(r.Tags[p.tag].Device, p)
		}
	}
	for tag, j := range r.judges {
		if j.Overdue(scan.At) {
			out.add(r.Tags[tag].Device, piece{tag: tag, rank: r.Tags[tag].Priority, code: quality.BadNoCommunication, at: scan.At})
		}
	}
	for parts := out.parts; len(parts) > 0; {
		n := together(parts)
		if err := r.put(ctx, parts[:n], scan.At); err != nil {
			return err
		}
		parts = parts[n:]
	}
	return nil
}

// together is how many of parts are put at once, at least one.
func together(parts []part) int {
	samples := len(parts[0].pieces)
	for n := 1; n < len(parts); n++ {
		if samples += len(parts[n].pieces); n == maxPutMessages || samples > maxPutSamples {
			return n
		}
	}
	return len(parts)
}

// weigh makes the sample of a reading and reports whether it is worth sending.
func (r *run) weigh(reading acquire.Reading) (piece, bool) {
	tag := reading.Item
	if reading.Cause == acquire.Historic {
		return r.historic(reading)
	}
	native := !reading.SourceTime.IsZero()
	at := reading.At
	if native && reading.Cause == acquire.Snapshot && r.sent[tag].Any && !reading.SourceTime.After(r.sent[tag].At) {
		// It has been so since before what was said last. That it is so now is
		// what the gateway has seen, so the time is the gateway's.
		native = false
	}
	if native {
		at = reading.SourceTime
		this := heard{at, reading.Quality.Code}
		if this == r.native[tag] {
			return piece{}, false
		}
		r.native[tag] = this
	}
	value, said := r.Tags[tag].Scale.Apply(reading.Value)
	code := worse(reading.Quality.Code, said)
	r.judges[tag].Heard(reading.At)
	value, code = r.judges[tag].Judge(reading.Value, value, code, at)
	if code.Status() == quality.IsBad {
		r.counts.bad.Add(1)
	}
	p := piece{tag: tag, rank: r.Tags[tag].Priority, value: value, code: code, at: at, native: native}
	return p, r.Tags[tag].Deadband.Passes(r.sent[tag], value, code, at)
}

// historic makes the sample of what happened while nobody listened. It says
// nothing of what the tag is now, so neither the judge nor the deadband learns
// from it.
func (r *run) historic(reading acquire.Reading) (piece, bool) {
	if reading.SourceTime.IsZero() {
		return piece{}, false // without its own time it would be told as of now
	}
	value, said := r.Tags[reading.Item].Scale.Apply(reading.Value)
	code := worse(reading.Quality.Code, said)
	if code.Status() == quality.IsBad {
		value = telemetry.Value{}
	}
	return piece{tag: reading.Item, value: value, code: code, at: reading.SourceTime, native: true, historic: true}, true
}

// worse keeps the first reason unless the second is graver.
func worse(first, second quality.Code) quality.Code {
	if second.Status() > first.Status() {
		return second
	}
	return first
}

// put hands messages to the sink. Only what the sink took counts as sent, so a
// refused sample is not lost behind the deadband but said again.
func (r *run) put(ctx context.Context, parts []part, now time.Time) error {
	messages := make([]Message, len(parts))
	for i, part := range parts {
		messages[i] = r.message(part, now)
	}
	if err := r.sink.Put(ctx, messages...); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.counts.refused.Add(uint64(len(messages)))
		if !r.refused {
			r.refused = true
			r.log.LogAttrs(ctx, slog.LevelError, "messages not taken", slog.Int("count", len(messages)), slog.Any("error", err))
		}
		return nil
	}
	r.refused = false
	r.counts.messages.Add(uint64(len(messages)))
	for _, part := range parts {
		r.counts.samples.Add(uint64(len(part.pieces)))
		for _, p := range part.pieces {
			if p.historic {
				continue
			}
			r.sent[p.tag] = deadband.Sent{Value: p.value, Quality: p.code, At: p.at, Any: true}
		}
	}
	return nil
}

func (r *run) message(part part, now time.Time) Message {
	device := r.Devices[part.device]
	m := Message{Priority: part.rank, Place: device.Place, Row: telemetry.Row{
		Device: device.ID, DeviceType: device.Type,
		SourceTime: part.at, ServerTime: now, Basis: telemetry.FromSourceTS,
		EdgeLatency: max(now.Sub(part.at), 0),
	}}
	for _, p := range part.pieces {
		m.Row.Samples = append(m.Row.Samples, telemetry.Sample{
			Signal:  r.Tags[p.tag].Signal,
			Value:   p.value,
			Quality: quality.Of(p.code),
		})
	}
	return m
}

func (r *run) status() Status {
	return Status{
		Source: r.Name, Health: r.vitals.Health(), Scans: r.counts.scans.Load(), Readings: r.counts.readings.Load(), Bad: r.counts.bad.Load(),
		Messages: r.counts.messages.Load(), Samples: r.counts.samples.Load(),
		Refused: r.counts.refused.Load(), Restarts: r.counts.restarts.Load(),
	}
}
