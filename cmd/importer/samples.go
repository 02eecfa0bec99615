package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/twinlog/twinlog/domain/device"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// Log is what an import needs of a log, and who imports.
type Log struct {
	eventlog.Log
	Actor eventlog.Actor
}

// Samples imports a file of samples and returns what became of it. After an
// error what was stored stays stored; the same import again goes on from there.
func Samples(ctx context.Context, log Log, r io.Reader, o Options, hooks Hooks) (Progress, error) {
	clock, err := newClock(o)
	if err != nil {
		return Progress{}, err
	}
	read := csvRows
	switch o.Format {
	case "csv":
	case "ndjson":
		read = ndjsonRows
	default:
		return Progress{}, fmt.Errorf("format %q of %s, expected csv or ndjson: %w", o.Format, o.Name, ErrBadOptions)
	}
	t := &teller{hooks: hooks}
	im := &samples{log: log, options: o, teller: t, devices: map[string]*series{}}
	var failed error // of the log
	err = read(r, o, clock, t, func(r row) error { failed = im.add(ctx, r); return failed })
	if failed == nil { // what was read before a file broke off is worth keeping
		err = errors.Join(err, im.finish(ctx))
	}
	t.tell(true)
	return t.now, err
}

// samples is an import under way.
type samples struct {
	log     Log
	options Options
	teller  *teller
	devices map[string]*series
}

// series is one device's part of it.
type series struct {
	stream   eventlog.StreamID
	known    map[ulid.ULID]struct{}
	expected eventlog.Expected
	batch    []eventlog.NewEvent
	bytes    int
	signals  []string // in the order of their appearance
	seen     map[string]bool
}

// stream keeps imported rows apart from those that the device sends itself,
// whose stream has a dedupe window of its own.
func stream(device string) eventlog.StreamID {
	return telemetry.Stream("import~"+device, telemetry.Unordered)
}

// batchBytes leaves room for the largest envelope below MaxAppendBytes.
const batchBytes = eventlog.MaxAppendBytes * 3 / 4

// envelopeBytes is more than the envelope of a row.
const envelopeBytes = 512

func (im *samples) add(ctx context.Context, r row) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if unfit := im.unfit(&r); unfit != nil {
		im.teller.fault(*unfit)
		return nil //nolint:nilerr // the row is refused, and the rest is imported
	}
	r.order()
	s, ok := im.devices[r.device]
	if !ok {
		var err error
		if s, err = im.open(ctx, r.device); err != nil {
			return err
		}
		im.devices[r.device] = s
	}
	for _, m := range r.samples {
		if !s.seen[m.Signal] {
			s.seen[m.Signal] = true
			s.signals = append(s.signals, m.Signal)
		}
	}
	id := r.id()
	if _, known := s.known[id]; known {
		im.teller.now.Known++
		im.teller.tell(false)
		return nil
	}
	stored := telemetry.Row{
		Device: r.device, DeviceType: im.options.DeviceType, MsgID: id.String(), SourceTime: r.at,
		Basis: telemetry.FromSourceTS, EdgeLatency: telemetry.NoLatency, Samples: r.samples,
	}
	data := stored.AppendBinary(nil)
	if len(data)+envelopeBytes > batchBytes {
		im.teller.fault(Fault{Line: r.line, Given: r.device, Expected: fmt.Sprintf("a row of at most %d bytes, not %d", batchBytes-envelopeBytes, len(data))})
		return nil
	}
	if s.bytes+len(data)+envelopeBytes > batchBytes {
		if err := im.flush(ctx, s); err != nil {
			return err
		}
	}
	s.known[id] = struct{}{}
	s.bytes += len(data) + envelopeBytes
	s.batch = append(s.batch, eventlog.NewEvent{
		ID: telemetry.UnorderedID(im.log.Origin(), r.device, stored.MsgID), Type: eventlog.TelemetryRecorded,
		ContentType: telemetry.ContentType, Data: data, Envelope: eventlog.Envelope{Actor: im.log.Actor},
	})
	im.teller.tell(false)
	return nil
}

// maxName is what a tag can be bound to.
const maxName = 200

// unfit says what the log could not name.
func (im *samples) unfit(r *row) *Fault {
	if err := stream(r.device).Check(); err != nil {
		return &Fault{Line: r.line, Column: "device", Given: shortened(r.device), Expected: "a shorter name: " + err.Error()}
	}
	if err := telemetry.CheckSignals(r.samples); err != nil {
		return &Fault{Line: r.line, Given: r.device, Expected: "each signal once: " + err.Error()}
	}
	for _, s := range r.samples {
		if s.Signal == "" || len(s.Signal) > maxName {
			return &Fault{Line: r.line, Column: shortened(s.Signal), Given: shortened(s.Signal), Expected: fmt.Sprintf("a signal's name of 1 to %d bytes", maxName)}
		}
	}
	return nil
}

// open reads what is known of a device's imports from the log.
func (im *samples) open(ctx context.Context, name string) (*series, error) {
	s := &series{stream: stream(name), known: map[ulid.ULID]struct{}{}, seen: map[string]bool{}}
	for rec, err := range im.log.Read(ctx, s.stream, 0, eventlog.Forwards) {
		if err != nil {
			return nil, fmt.Errorf("what is known of %s: %w", name, err)
		}
		s.expected = eventlog.At(rec.Revision)
		if rec.Type != eventlog.TelemetryRecorded {
			continue
		}
		stored, err := telemetry.Decode(rec.Data)
		if err != nil {
			return nil, fmt.Errorf("%s@%d: %w", rec.Stream, rec.Revision, err)
		}
		// A device may be called import~P and speak for itself in this stream.
		if id, err := ulid.ParseStrict(stored.MsgID); err == nil && stored.Device == name {
			s.known[id] = struct{}{}
		}
	}
	return s, nil
}

func (im *samples) flush(ctx context.Context, s *series) error {
	if len(s.batch) == 0 {
		return nil
	}
	if !im.options.DryRun {
		done, err := im.log.Append(ctx, s.stream, s.expected, s.batch...)
		if errors.Is(err, eventlog.ErrConflict) {
			return fmt.Errorf("%s: another import of this device is under way; wait for it and import again: %w", s.stream, err)
		}
		if err != nil {
			return fmt.Errorf("store %d rows: %w", len(s.batch), err)
		}
		s.expected = eventlog.At(done.Revision)
	}
	im.teller.now.Stored += len(s.batch)
	s.batch, s.bytes = nil, 0
	return nil
}

// finish stores what is left and says that the devices exist.
func (im *samples) finish(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(im.devices)) {
		s := im.devices[name]
		if err := im.flush(ctx, s); err != nil {
			return err
		}
		if im.options.DryRun {
			continue
		}
		call := eventlog.Call{Key: eventlog.NewKey(im.log.Origin(), "import", "seeDevice", name), Envelope: eventlog.Envelope{Actor: im.log.Actor}}
		see := device.See{Device: name, Type: im.options.DeviceType, How: device.Known}
		if _, _, err := device.Decider.Execute(ctx, im.log, device.Stream(name), call, see); err != nil {
			return fmt.Errorf("register device %s: %w", name, err)
		}
		if !im.options.NoBind {
			if err := im.bind(ctx, name, s.signals); err != nil {
				return err
			}
		}
	}
	return nil
}
