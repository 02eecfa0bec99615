package acquire

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/twinlog/twinlog/domain/quality"
)

// connectWithin bounds one attempt to open a session: a machine that does not
// answer a SYN for this long is a machine that is not there.
const connectWithin = 5 * time.Second

// Poll keeps a session to src and reads each group on its own grid (start +
// n·Every) until ctx ends; it returns ctx's error or the first error of hear.
// A read that took longer than its period is followed by the next point of the
// grid, not by a burst that makes up for what was missed.
//
// While there is no session every item is Bad, BadNoCommunication, once per
// attempt: what is not read has no value, and the server must not show the last
// one as if it were fresh.
func Poll(ctx context.Context, src Polled, groups []Group, retry Retry, vitals *Vitals, log *slog.Logger, hear func(context.Context, Scan) error) (err error) {
	defer src.Close() //nolint:errcheck // there is nobody left to tell
	vitals.begin(log)
	defer func() { vitals.stopped(err) }()
	p := poller{src: src, hear: hear, all: everyItem(groups), vitals: vitals}
	grid := newGrid(groups, time.Now())
	for failures := 0; ; failures++ {
		lost := p.connect(ctx)
		silent := lost != nil
		for lost == nil {
			if err := grid.wait(ctx); err != nil {
				return err
			}
			if lost, err = p.read(ctx, grid.due(time.Now())); err != nil {
				return err
			}
			if lost == nil {
				failures = 0
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wait := retry.Wait(failures)
		vitals.lost(lost, failures+1, wait)
		log.LogAttrs(ctx, slog.LevelDebug, "no session", slog.Any("error", lost), slog.Int("attempt", failures+1), slog.Duration("next", wait))
		if silent {
			if err := p.silence(ctx); err != nil {
				return err
			}
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

type poller struct {
	src    Polled
	hear   func(context.Context, Scan) error
	all    []int
	vitals *Vitals
}

func (p poller) connect(ctx context.Context) error {
	p.vitals.connecting()
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	return p.src.Connect(ctx)
}

// read visits one group. lost is the session's error, err the gateway's own.
func (p poller) read(ctx context.Context, items []int) (lost, err error) {
	readings, lost := p.src.Read(ctx, items)
	if ctx.Err() != nil {
		return nil, ctx.Err() // what came half-way is nobody's fault, least of all the sensor's
	}
	if len(readings) != len(items) {
		return nil, fmt.Errorf("source returned %d readings for %d items", len(readings), len(items))
	}
	if lost == nil {
		p.vitals.heard(readings, len(p.all))
	}
	return lost, p.hear(ctx, stamp(readings, time.Now().UTC()))
}

// silence reports every item as not read.
func (p poller) silence(ctx context.Context) error {
	return p.hear(ctx, Silence(p.all, time.Now().UTC()))
}

// Silence is the scan of a source that cannot be reached.
func Silence(items []int, at time.Time) Scan {
	readings := make([]Reading, len(items))
	for i, item := range items {
		readings[i] = Reading{Item: item, Quality: quality.Of(quality.BadNoCommunication)}
	}
	return stamp(readings, at)
}

// stamp gives the readings that a source left without a time the end of the
// visit. A source that makes several requests stamps each answer itself.
func stamp(readings []Reading, at time.Time) Scan {
	for i := range readings {
		if readings[i].At.IsZero() {
			readings[i].At = at
		}
	}
	return Scan{At: at, Readings: readings}
}

func everyItem(groups []Group) []int {
	var all []int
	for _, g := range groups {
		all = append(all, g.Items...)
	}
	return all
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
