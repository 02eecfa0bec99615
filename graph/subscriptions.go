package graph

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/settings"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/graph/fault"
	"github.com/twinlog/twinlog/graph/plant"
)

// subscriptions follow the log. None of them holds more than one frame, and
// none is known to whoever writes: a reader who is slow, or who never reads,
// slows nobody.
type subscriptions struct{ r *Resolver }

// Bounds of one frame: what a browser takes in without a pause.
const (
	maxFrameEvents  = 500
	maxFrameBytes   = 1 << 20
	maxFrameChanges = 5000
)

// from is where a subscription goes on: what the document says, or else what
// the client said beside it.
func (s subscriptions) from(ctx context.Context, path string, after *eventlog.Position) (*eventlog.Position, error) {
	if beside := endingOf(ctx).after; beside != nil { // a browser that comes back sends its first address again
		after, path = beside, "Last-Event-ID"
	}
	if after == nil {
		return nil, nil
	}
	head, _, err := s.r.Read.Log.Head(ctx)
	if err != nil {
		return nil, err
	}
	if err := eventlog.CheckPosition(ctx, s.r.Read.Log, *after); errors.Is(err, eventlog.ErrPositionLost) {
		return nil, &fault.Coded{
			Err:      fmt.Errorf("%s: %w", path, err),
			Problems: []fault.Problem{{Path: []string{path}, Given: after.String(), Expected: "a position of this log, up to " + head.String()}},
		}
	} else if err != nil {
		return nil, err
	}
	return after, nil
}

// Events implements gen.SubscriptionResolver.
func (s subscriptions) Events(ctx context.Context, filter *plant.EventFilter, after *eventlog.Position) (<-chan *plant.EventFrame, error) {
	start, err := s.from(ctx, "after", after)
	if err != nil {
		return nil, err
	}
	if start == nil {
		head, _, err := s.r.Read.Log.Head(ctx)
		if err != nil {
			return nil, err
		}
		start = &head
	}
	sub, err := s.r.Read.Log.Subscribe(ctx, *start, filter.LogFilter())
	if err != nil {
		return nil, err
	}
	f := &eventFeed{s: s, filter: filter, sub: sub, at: *start}
	return frames(ctx, func(send func(*plant.EventFrame, eventlog.Position) error) error {
		defer sub.Close() //nolint:errcheck // there is nothing left to do about it
		f.send = send
		return f.run(ctx)
	}), nil
}

// eventFeed is one events subscription: a position and little more.
type eventFeed struct {
	s        subscriptions
	filter   *plant.EventFilter
	sub      eventlog.Subscription
	send     func(*plant.EventFrame, eventlog.Position) error
	at       eventlog.Position // everything up to here has been sent, or does not pass
	caughtUp bool
}

func (f *eventFeed) run(ctx context.Context) error {
	beat := time.Now()
	for {
		batch, err := nextBatch(ctx, f.sub, f.s.r.limits.Heartbeat-time.Since(beat))
		switch {
		case err == nil:
		case isPause(ctx, err):
			beat = time.Now()
			if err := f.frame(plant.Heartbeat, nil, f.at); err != nil {
				return err
			}
			continue
		default:
			return stopping(ctx, err)
		}
		sent, err := f.batch(batch)
		if err != nil {
			return err
		}
		if sent {
			beat = time.Now()
		}
	}
}

// batch sends a batch in frames.
func (f *eventFeed) batch(b eventlog.Batch) (sent bool, err error) {
	var events []*plant.Event
	size := 0
	for _, rec := range b.Records {
		if !f.filter.Passes(rec) {
			continue
		}
		event, err := plant.NewEvent(f.s.r.Read.Log.Origin(), rec)
		if err != nil {
			return sent, err
		}
		events, size = append(events, event), size+len(rec.Data)+len(rec.RawEnvelope)
		if len(events) >= maxFrameEvents || size >= maxFrameBytes {
			if err := f.frame(plant.Changes, events, rec.Position); err != nil {
				return sent, err
			}
			events, size, sent = nil, 0, true
		}
	}
	f.at = max(f.at, b.Through)
	if len(events) > 0 {
		if err := f.frame(plant.Changes, events, f.at); err != nil {
			return sent, err
		}
		sent = true
	}
	if b.CaughtUp && !f.caughtUp {
		f.caughtUp, sent = true, true
		err = f.frame(plant.CaughtUp, nil, f.at)
	}
	return sent, err
}

func (f *eventFeed) frame(kind plant.FrameKind, events []*plant.Event, at eventlog.Position) error {
	return f.send(&plant.EventFrame{Kind: kind, Events: events, Position: at}, at)
}

// nextBatch waits for news, but not longer than until the next heartbeat.
func nextBatch(ctx context.Context, sub eventlog.Subscription, atMost time.Duration) (eventlog.Batch, error) {
	waiting, cancel := context.WithTimeout(ctx, max(atMost, time.Millisecond))
	defer cancel()
	return sub.Next(waiting)
}

// isPause tells a wait that is over from a subscription that is.
func isPause(ctx context.Context, err error) bool {
	return ctx.Err() == nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled))
}

// stopping is what a reader is told when the log or the server stops.
func stopping(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Values implements gen.SubscriptionResolver.
func (s subscriptions) Values(ctx context.Context, filter plant.ValueFilter, start *plant.ValueStart, delivery *plant.Delivery, maxRate *time.Duration) (<-chan *plant.ValueFrame, error) {
	const longest = time.Hour
	rate := 250 * time.Millisecond
	if maxRate != nil {
		rate = *maxRate
	}
	if rate < 0 || rate > longest {
		return nil, fault.Bad("maxRate", rate.String(), "0 to "+longest.String())
	}
	var after *eventlog.Position
	if start != nil {
		// Checked here although the schema says @oneOf: gqlgen 0.17.98 checks
		// literals only, and a variable brings none.
		if after = start.After; after == nil {
			return nil, fault.Bad("start", "no field", "exactly one field that is not null")
		}
	}
	after, err := s.from(ctx, "start.after", after)
	if err != nil {
		return nil, err
	}
	f := &valueFeed{s: s, filter: filter, after: after, rate: rate, beat: time.Now()}
	if after != nil {
		if err := s.r.Read.Await(ctx, *after); err != nil {
			return nil, err
		}
	}
	f.known = s.r.Read.Folded()
	if f.watched, err = s.r.Read.Watch(ctx, filter, f.known, s.r.limits.Watched, false); err != nil {
		return nil, err
	}
	run := f.newest
	if delivery != nil && *delivery == plant.Every {
		run = f.every
	}
	return frames(ctx, func(send func(*plant.ValueFrame, eventlog.Position) error) error {
		f.send = send
		return stopping(ctx, run(ctx))
	}), nil
}

// valueFeed is one values subscription.
type valueFeed struct {
	s       subscriptions
	filter  plant.ValueFilter
	after   *eventlog.Position
	rate    time.Duration
	send    func(*plant.ValueFrame, eventlog.Position) error
	watched *plant.Watched
	known   eventlog.Position // of watched

	beat time.Time     // when the last frame was taken
	took time.Duration // how long the reader took to be ready for it
}

func (f *valueFeed) frame(kind plant.FrameKind, changes []plant.ValueChange, at eventlog.Position) error {
	if len(changes) == 0 && kind == plant.Changes {
		return nil
	}
	begun := time.Now()
	if err := f.send(&plant.ValueFrame{Kind: kind, Changes: changes, Position: at}, at); err != nil {
		return err
	}
	f.beat = time.Now()
	f.took = f.beat.Sub(begun)
	return nil
}

// rest waits until the next frame may be made, one rate after an instant.
func (f *valueFeed) rest(ctx context.Context, since time.Time) error {
	wait := time.NewTimer(f.rate - time.Since(since))
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// structural are the types of the events that change what a Watched is.
var structural = []string{
	asset.TypeRegistered, asset.TypeMoved, asset.TypeRenamed, asset.TypeRetired,
	asset.TypeTagBound, asset.TypeTagUnbound, asset.TypeClassDefined,
}

// reshaping are the types of the events that change how later samples look, or
// earlier ones.
var reshaping = []string{settings.ChangedType, correction.MadeType}

// every sends every sample in log order: it reads the log, from the start
// position on or from a snapshot's, and never the newest values. The structure
// changes where the log says that it does.
func (f *valueFeed) every(ctx context.Context) error {
	at := f.known
	if f.after != nil {
		at = *f.after
		if err := f.rewatch(ctx, max(at, 1)); err != nil { // 0 would mean all that is known
			return err
		}
	} else {
		current, err := f.watched.Current(ctx, nil)
		if err != nil {
			return err
		}
		if err := f.frame(plant.Snapshot, current, at); err != nil {
			return err
		}
	}
	sub, err := f.s.r.Read.Log.Subscribe(ctx, at, eventlog.Filter{Types: slices.Concat([]string{eventlog.TelemetryRecorded}, structural, reshaping)})
	if err != nil {
		return err
	}
	defer sub.Close() //nolint:errcheck // there is nothing left to do about it
	caughtUp := false
	var view telemetry.View
	for {
		batch, err := nextBatch(ctx, sub, f.s.r.limits.Heartbeat-time.Since(f.beat))
		switch {
		case err == nil:
		case isPause(ctx, err):
			if err := f.frame(plant.Heartbeat, nil, at); err != nil {
				return err
			}
			continue
		default:
			return err
		}
		if err := f.everyOf(ctx, batch, &view); err != nil {
			return err
		}
		at = max(at, batch.Through)
		if batch.CaughtUp && !caughtUp {
			caughtUp = true
			if err := f.frame(plant.CaughtUp, nil, at); err != nil {
				return err
			}
		}
	}
}

// everyOf sends a batch in frames, at most one in each rate unless they are full.
func (f *valueFeed) everyOf(ctx context.Context, b eventlog.Batch, view *telemetry.View) error {
	var changes []plant.ValueChange
	for _, rec := range b.Records {
		var err error
		if rec.Type != eventlog.TelemetryRecorded {
			changes, err = f.reshape(ctx, changes, rec)
		} else {
			changes, err = f.watched.OfRow(changes, view, rec)
		}
		if err == nil && len(changes) >= maxFrameChanges {
			err = f.everyFrame(changes, rec.Position)
			changes = nil
		}
		if err != nil {
			return err
		}
	}
	if len(changes) == 0 {
		return nil
	}
	if err := f.everyFrame(changes, b.Through); err != nil {
		return err
	}
	return f.rest(ctx, f.beat)
}

// everyFrame sends a frame, and ends the subscription of a reader too slow.
func (f *valueFeed) everyFrame(changes []plant.ValueChange, at eventlog.Position) error {
	if err := f.frame(plant.Changes, changes, at); err != nil {
		return err
	}
	if f.took > f.s.r.limits.Slow {
		return &fault.Placed{
			Err:      fmt.Errorf("ready for a frame after %v, expected within %v: %w", f.took.Round(time.Millisecond), f.s.r.limits.Slow, fault.ErrSlowConsumer),
			Position: at,
		}
	}
	return nil
}

// reshape looks at the tags again where the log says that something about them
// has changed, and adds the values that a correction made look otherwise.
func (f *valueFeed) reshape(ctx context.Context, changes []plant.ValueChange, rec eventlog.Record) ([]plant.ValueChange, error) {
	if err := f.s.r.Read.Await(ctx, rec.Position); err != nil {
		return nil, err
	}
	if err := f.rewatch(ctx, rec.Position); err != nil {
		return nil, err
	}
	if rec.Type != correction.MadeType {
		return changes, nil
	}
	altered, err := f.watched.Altered(ctx, rec.Position)
	return append(changes, altered...), err
}

func (f *valueFeed) rewatch(ctx context.Context, known eventlog.Position) error {
	w, err := f.s.r.Read.Watch(ctx, f.filter, known, f.s.r.limits.Watched, true)
	if err != nil {
		return err
	}
	f.watched, f.known = w, known
	return nil
}
