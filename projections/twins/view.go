package twins

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// Last is the reported value of a point.
type Last struct {
	OK         bool // false: the point has never been reported; all else is zero
	Value      telemetry.Value
	Quality    quality.Quality
	SourceTime time.Time
	ServerTime time.Time // zero if the message had none
	Recorded   time.Time
	Position   eventlog.Position // of the event that brought it
	// Changed is the position at which it became the current value: Position,
	// or later for a sample that had been ahead of its time or was corrected.
	Changed eventlog.Position
	// Corrected: value or quality is not as it was received.
	Corrected bool
	// Altered is the position of the correction, or of its undoing, by which it
	// looks as it does; 0 if it always did.
	Altered eventlog.Position
}

// View answers from the last values. Its methods may be used concurrently.
type View struct{ p *Projection }

// Latest returns the current value of each point, in the order of points. It
// reads memory only.
func (v *View) Latest(ctx context.Context, points []telemetry.Point) ([]Last, error) {
	out := make([]Last, len(points))
	v.p.mu.RLock()
	defer v.p.mu.RUnlock()
	if v.p.points == nil {
		return out, ctx.Err()
	}
	// A dashboard asks for the same points again and again.
	m := v.p.asked.Load()
	if m == nil || m.opened != v.p.opened {
		m = &asked{}
	}
	missed := 0
	for i, pt := range points {
		if i < len(m.points) && m.points[i] == pt {
			v.p.last(&v.p.slots[m.number[i]], &out[i])
			continue
		}
		missed++
		if n, ok := v.p.points.Find(pt); ok {
			v.p.last(&v.p.slots[n], &out[i])
		}
	}
	if missed > 100 {
		v.p.remember(points)
	}
	return out, ctx.Err()
}

// asked is a list of points that was asked for, with their numbers.
type asked struct {
	points []telemetry.Point
	number []uint32
	opened uint64
}

// remember keeps the beginning of a list up to the first unknown point. The
// caller holds the lock.
func (p *Projection) remember(points []telemetry.Point) {
	m := &asked{opened: p.opened}
	for _, pt := range points {
		n, ok := p.points.Find(pt)
		if !ok {
			break
		}
		m.number = append(m.number, n)
	}
	m.points = slices.Clone(points[:len(m.number)])
	p.asked.Store(m)
}

// last shows a slot. The caller holds the lock.
func (p *Projection) last(s *slot, out *Last) {
	if !s.ok {
		return
	}
	*out = Last{
		OK: true, Value: s.value, Quality: s.quality, Position: s.position, Changed: s.changed,
		SourceTime: time.Unix(0, s.source).UTC(), Recorded: time.Unix(0, s.recorded).UTC(), Altered: s.altered,
	}
	if s.fixed {
		now := p.shown[s.number]
		out.Value, out.Quality, out.Corrected = now.Value, now.Quality, true
	}
	if s.server != noServer {
		out.ServerTime = time.Unix(0, s.source+s.server).UTC()
	}
}

// Reads counts the reads of a store: there are none.
func (v *View) Reads() uint64 { return 0 }

// Unreadable counts the events that were not in their format and so are missing
// here. The log takes what any writer appends.
func (v *View) Unreadable() uint64 {
	v.p.mu.RLock()
	defer v.p.mu.RUnlock()
	return v.p.unread
}

// Through returns the position up to which the values are current.
func (v *View) Through() eventlog.Position {
	v.p.mu.RLock()
	defer v.p.mu.RUnlock()
	return v.p.through
}

// Changed returns a channel that is closed at the next change of any value.
// Take it before looking, and nothing is missed.
func (v *View) Changed() <-chan struct{} {
	v.p.mu.Lock()
	defer v.p.mu.Unlock()
	if v.p.wake == nil {
		v.p.wake = make(chan struct{})
	}
	return v.p.wake
}

// Change is one point's new value.
type Change struct {
	Index int // of the point, in the list given to Watch
	Last  Last
	// Missed is how many changes of the point's current value the subscriber
	// passed over since the last one that Next gave it (the first time: 0).
	// graph shows it as ValueChange.missed.
	Missed int
}

// Watch belongs to one subscriber and one goroutine. It buffers nothing: a slow
// subscriber costs what it watches, and never holds up the fold.
type Watch struct {
	p      *Projection
	points []telemetry.Point
	number []int32  // of each point, -1 while it has not been reported
	seen   []uint32 // the version that was given last
	known  int      // points that there were when number was made
	last   uint64   // changes that there were at the last look
	opened uint64   // a rebuild gives the points other numbers
	after  eventlog.Position
}

// Watch follows a set of points for one subscriber. Values of a point that
// change faster than the subscriber reads are skipped: the newest wins. after is
// the position from which to resume; 0 gives every value that there is.
func (v *View) Watch(points []telemetry.Point, after eventlog.Position) *Watch {
	w := &Watch{p: v.p, points: points, number: make([]int32, len(points)), seen: make([]uint32, len(points)), after: after}
	w.forget()
	return w
}

func (w *Watch) forget() {
	clear(w.seen)
	w.known, w.last = 0, 0
	for i := range w.number {
		w.number[i] = -1
	}
}

// Next waits until some of the points have changed since the last call (the
// first time: since after) and returns them in the order of Changed, with the
// position from which to resume. It fails only with ctx's error.
func (w *Watch) Next(ctx context.Context) ([]Change, eventlog.Position, error) {
	for {
		woken := (&View{w.p}).Changed()
		if changes, through := w.look(); len(changes) > 0 {
			return changes, through, nil
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

// look returns what has changed since the last look.
func (w *Watch) look() ([]Change, eventlog.Position) {
	w.p.mu.RLock()
	defer w.p.mu.RUnlock()
	if w.opened != w.p.opened {
		w.opened = w.p.opened
		w.forget()
	}
	if w.p.points == nil || w.p.changes == w.last {
		return nil, w.p.through
	}
	w.last = w.p.changes
	if n := w.p.points.Len(); n != w.known {
		w.known = n
		for i, pt := range w.points {
			if n, ok := w.p.points.Find(pt); ok && w.number[i] < 0 {
				w.number[i] = int32(n)
			}
		}
	}
	var out []Change
	for i, n := range w.number {
		if n < 0 {
			continue
		}
		s := &w.p.slots[n]
		if !s.ok || s.version == w.seen[i] {
			continue
		}
		c := Change{Index: i}
		if w.seen[i] > 0 {
			c.Missed = int(s.version - w.seen[i] - 1)
		}
		first := w.seen[i] == 0
		w.seen[i] = s.version
		if first && s.changed <= w.after {
			continue // the subscriber has it from before
		}
		w.p.last(s, &c.Last)
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b Change) int { return cmp.Compare(a.Last.Changed, b.Last.Changed) })
	w.after = max(w.after, w.p.through)
	return out, w.p.through
}
