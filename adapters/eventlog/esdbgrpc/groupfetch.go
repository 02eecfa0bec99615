package esdbgrpc

import (
	"context"
	"slices"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// fetch brings events behind the checkpoint, until ctx ends.
func (g *group) fetch(ctx context.Context) {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		_ = g.fetchOnce(ctx) // tried again; an end of the log ends ctx, too
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

func (g *group) fetchOnce(ctx context.Context) error {
	g.mu.Lock()
	at, isAt, f, pass := g.after, g.isAfter, g.sieve.log, g.sieve
	if n := len(g.window); n > 0 {
		at, isAt = placeOf(g.window[n-1].rec), true
	}
	g.mu.Unlock()
	var after eventlog.Position
	if isAt {
		for r, err := range g.log.Read(ctx, at.Stream, at.Revision, eventlog.Forwards) {
			if err != nil {
				return err
			}
			after = r.Position
			break
		}
	}
	sub, err := g.log.Subscribe(ctx, after, f)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Close() }()
	for {
		b, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		for _, r := range b.Records {
			if r.Stream.Category() == ledgerCategory || g.source != allStreams && string(r.Stream) != g.source || !pass.pass(r) {
				continue
			}
			if err := g.add(ctx, r); err != nil {
				return err
			}
		}
	}
}

// add waits for room in the window.
func (g *group) add(ctx context.Context, r eventlog.Record) error {
	for {
		g.mu.Lock()
		if ctx.Err() != nil {
			g.mu.Unlock()
			return ctx.Err()
		}
		if len(g.window) < g.cfg.Buffer {
			m := &message{rec: r}
			g.window, g.ready, g.last = append(g.window, m), append(g.ready, m), placeOf(r)
			g.lastAt = r.Position
			g.dispatch()
			g.mu.Unlock()
			return nil
		}
		g.mu.Unlock()
		select {
		case <-g.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// replay brings parked messages back, at most a number of them.
func (g *group) replay(ctx context.Context, most int) error {
	g.mu.Lock()
	n := min(most, len(g.parked))
	back := slices.Clone(g.parked[:n])
	g.parked = slices.Delete(g.parked, 0, n)
	g.mu.Unlock()
	for _, p := range back {
		for r, err := range g.log.Read(ctx, p.Stream, p.Revision, eventlog.Forwards) {
			if err != nil {
				return err
			}
			g.mu.Lock()
			g.again(&message{rec: r, replayed: true})
			g.dispatch()
			g.mu.Unlock()
			break
		}
	}
	return nil
}
