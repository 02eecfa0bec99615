package acquire

import (
	"context"
	"time"
)

// grid says which group is due next. Times are kept as points start + n·Every,
// so that a slow read delays one scan and does not shift all that follow.
type grid struct {
	groups []Group
	next   []time.Time
}

func newGrid(groups []Group, start time.Time) *grid {
	g := &grid{groups: groups, next: make([]time.Time, len(groups))}
	for i := range g.next {
		g.next[i] = start
	}
	return g
}

// first returns the index of the group that is due first; the earlier in the
// list wins a tie.
func (g *grid) first() int {
	first := 0
	for i, t := range g.next {
		if t.Before(g.next[first]) {
			first = i
		}
	}
	return first
}

// wait sleeps until a group is due. Without groups it sleeps until ctx ends.
func (g *grid) wait(ctx context.Context) error {
	if len(g.groups) == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	if d := time.Until(g.next[g.first()]); d > 0 {
		return sleep(ctx, d)
	}
	return ctx.Err()
}

// due returns the items of the group that is due and moves it to its next point
// after now.
func (g *grid) due(now time.Time) []int {
	i := g.first()
	every := g.groups[i].Every
	missed := now.Sub(g.next[i]) / every
	g.next[i] = g.next[i].Add((missed + 1) * every)
	return g.groups[i].Items
}
