package graph

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/graph/plant"
	"github.com/twinlog/twinlog/projections/twins"
)

// newest sends the newest value of each tag that has changed since the frame
// before, however often it did. It holds the newest values nowhere: they are
// the read model's, and each frame is made when the reader is ready for it.
func (f *valueFeed) newest(ctx context.Context) error {
	structure := &structureWatch{}
	following, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		structure.follow(following, f.s.r.Read, f.known)
	}()
	defer func() { stop(); <-ended }()

	sent := sentPositions{}
	at, err := f.begin(ctx, sent)
	if err != nil {
		return err
	}
	looked := time.Now()
	watch := f.s.r.Read.Twins.Watch(f.watched.Points, at)
	for {
		// A binding that was dated ahead comes into force without news, so the
		// structure is looked at now and then as well.
		if structure.changed() || time.Since(looked) >= f.s.r.limits.Heartbeat {
			looked = time.Now()
			again, err := f.restructure(ctx, at, sent)
			if err != nil {
				return err
			}
			if again {
				watch = f.s.r.Read.Twins.Watch(f.watched.Points, at)
			}
		}
		if at, err = f.next(ctx, watch, structure, at, sent); err != nil {
			return err
		}
	}
}

// next waits for changes, but not longer than until the next heartbeat or a
// change of the structure, and sends them. It returns how far the reader is.
func (f *valueFeed) next(ctx context.Context, watch *twins.Watch, structure *structureWatch, at eventlog.Position, sent sentPositions) (eventlog.Position, error) {
	through := f.s.r.Read.Twins.Through() // before waiting: whatever comes later is reported later
	waiting, cancel := context.WithTimeout(ctx, max(f.s.r.limits.Heartbeat-time.Since(f.beat), time.Millisecond))
	defer cancel()
	structure.onChange(cancel)
	news, resume, err := watch.Next(waiting)
	returned := time.Now()
	switch {
	case err == nil:
		var changes []plant.ValueChange
		for _, c := range news {
			point := f.watched.Points[c.Index]
			changes = f.watched.OfPoint(changes, point, plant.Reported{
				Value: c.Last.Value, Code: c.Last.Quality.Code, SourceTime: c.Last.SourceTime,
				Position: max(c.Last.Position, c.Last.Altered), Corrected: c.Last.Corrected, Missed: c.Missed,
			})
		}
		at = max(at, resume)
		if err := f.frame(plant.Changes, sent.only(changes), at); err != nil {
			return at, err
		}
		return at, f.rest(ctx, returned)
	case !isPause(ctx, err):
		return at, err
	}
	at = max(at, through)
	if time.Since(f.beat) >= f.s.r.limits.Heartbeat {
		return at, f.frame(plant.Heartbeat, nil, at)
	}
	return at, nil
}

// begin sends the state now, or what is new to a reader who was away since a
// position; it returns from where to go on.
func (f *valueFeed) begin(ctx context.Context, sent sentPositions) (eventlog.Position, error) {
	at := f.known
	if f.after == nil {
		current, err := f.watched.Current(ctx, nil)
		if err != nil {
			return 0, err
		}
		if err := f.frame(plant.Snapshot, sent.only(current), at); err != nil {
			return 0, err
		}
		return at, f.frame(plant.CaughtUp, nil, at)
	}
	// New is what was recorded since, and the value of a tag that another point
	// feeds now, however old it is.
	earlier, err := f.s.r.Read.Watch(ctx, f.filter, max(*f.after, 1), f.s.r.limits.Watched, true)
	if err != nil {
		return 0, err
	}
	fresh, err := f.watched.Since(ctx, *f.after, f.watched.Rebound(earlier))
	if err != nil {
		return 0, err
	}
	if err := f.frame(plant.Changes, sent.only(fresh), at); err != nil {
		return 0, err
	}
	return at, f.frame(plant.CaughtUp, nil, at)
}

// restructure looks at the structure again. It sends the values of tags that
// another point feeds now, and says whether other points are to be watched.
func (f *valueFeed) restructure(ctx context.Context, at eventlog.Position, sent sentPositions) (again bool, err error) {
	before := f.watched
	if err := f.rewatch(ctx, f.s.r.Read.Folded()); err != nil {
		return false, err
	}
	rebound, err := f.watched.Current(ctx, f.watched.Rebound(before))
	if err != nil {
		return false, err
	}
	if err := f.frame(plant.Changes, sent.only(rebound), at); err != nil {
		return false, err
	}
	return !slices.Equal(f.watched.Points, before.Points), nil
}

// sentPositions is what was sent last of each tag, so that a value that two
// ways lead to is sent once.
type sentPositions map[string]eventlog.Position

func (s sentPositions) only(changes []plant.ValueChange) []plant.ValueChange {
	kept := changes[:0]
	for _, c := range changes {
		if s[c.Tag] != c.Position || c.Position == 0 {
			s[c.Tag] = c.Position
			kept = append(kept, c)
		}
	}
	return kept
}

// structureWatch wakes a subscription when the structure of the plant changes.
type structureWatch struct {
	mu   sync.Mutex // guards what follows
	news bool
	hook func() // ends the wait that is under way
}

// onChange sets what to call at the next change; at once if there was one.
func (s *structureWatch) onChange(hook func()) {
	s.mu.Lock()
	s.hook = hook
	now := s.news
	s.mu.Unlock()
	if now {
		hook()
	}
}

// changed says whether there was a change since it was asked last.
func (s *structureWatch) changed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	news := s.news
	s.news = false
	return news
}

// follow reads the log's structural events until ctx ends, or the log does,
// which the subscription itself then finds out as well.
func (s *structureWatch) follow(ctx context.Context, read *plant.Reader, after eventlog.Position) {
	sub, err := read.Log.Subscribe(ctx, after, eventlog.Filter{Types: structural})
	if err != nil {
		return
	}
	defer sub.Close() //nolint:errcheck // there is nothing left to do about it
	for {
		batch, err := sub.Next(ctx)
		if err != nil {
			return
		}
		if len(batch.Records) == 0 || read.Await(ctx, batch.Through) != nil {
			continue
		}
		s.mu.Lock()
		s.news = true
		hook := s.hook
		s.mu.Unlock()
		if hook != nil {
			hook()
		}
	}
}
