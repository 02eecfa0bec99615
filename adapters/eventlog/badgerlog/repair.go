package badgerlog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// ErrWhole is returned for a log from which nothing is missing.
var ErrWhole = errors.New("nothing is missing from the log")

// Salvaged says what Salvage brought over and what it could not.
type Salvaged struct {
	Events uint64
	Last   eventlog.Position
	// Filled are ranges of positions whose events were lost and in whose
	// places events of type log.lost.v1 stand now.
	Filled []eventlog.LostRange
	// Missing is the range that was acknowledged behind the last event.
	Missing eventlog.LostRange
	Losses  []Loss
}

// Salvage copies what is readable of the damaged log in dir into a new log in
// to, and changes nothing in dir but what Badger changes by itself. Every event
// keeps its stream, revision and position. Lost ones are replaced by events
// that say so: at their stream and revision where later events of the stream
// tell that there was one, else in a stream of their own.
func Salvage(ctx context.Context, dir, to string, cfg Config, step func(eventlog.Position)) (s Salvaged, err error) {
	report, err := VerifyDir(ctx, dir, cfg, step)
	if err != nil {
		return s, err
	}
	if s.Losses = report.Losses; report.Lost == 0 {
		return s, fmt.Errorf("%s: %w", dir, ErrWhole)
	}
	l, _, err := openDamaged(ctx, dir, cfg)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, l.closeDamaged()) }()
	if l.origin == "" {
		return s, fmt.Errorf("the log in %s does not say its origin, and none is given: %w", dir, eventlog.ErrDamaged)
	}
	cfg.Origin = l.origin
	out, err := OpenCopy(ctx, to, cfg)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	f := filler{l: l, out: out, s: &s, step: step, next: map[eventlog.StreamID]eventlog.Revision{}}
	if err := f.findHoles(ctx); err != nil {
		return s, err
	}
	if err := f.copy(ctx); err != nil {
		return s, err
	}
	s.Last = f.at
	if last, _, err := Acknowledged(dir); err == nil && last > f.at {
		s.Missing = eventlog.LostRange{Epoch: last.Epoch(), First: f.at.Order() + 1, Last: last.Order()}
	}
	return s, out.Seal(ctx)
}

// A hole is a revision that a stream's later events tell of.
type hole struct {
	stream   eventlog.StreamID
	revision eventlog.Revision
	before   eventlog.Position // the event of the stream that comes next
}

// filler copies and fills holes.
type filler struct {
	l, out   *Log
	s        *Salvaged
	step     func(eventlog.Position)
	holes    []hole // those whose event comes first stand first
	next     map[eventlog.StreamID]eventlog.Revision
	at       eventlog.Position
	recorded time.Time
	pending  []eventlog.Record
}

// walk reads the damaged log. Records of a window that was found twice come
// once: positions rise.
func (f *filler) walk(ctx context.Context, visit func(eventlog.Record) error) error {
	v := f.l.openingView()
	defer v.close()
	v.sealed = eventlog.Position(f.l.sealed.Load())
	w := &walker{view: v, ctx: ctx, head: math.MaxInt64, loss: func(Loss) {}}
	last := eventlog.Position(0)
	for r, err := range w.records() {
		if err != nil {
			return err
		}
		if r.Position <= last {
			continue
		}
		last = r.Position
		if err := visit(r); err != nil {
			return err
		}
	}
	return nil
}

func (f *filler) findHoles(ctx context.Context) error {
	next := map[eventlog.StreamID]eventlog.Revision{}
	return f.walk(ctx, func(r eventlog.Record) error {
		for rev := next[r.Stream]; rev < r.Revision; rev++ {
			f.holes = append(f.holes, hole{r.Stream, rev, r.Position})
		}
		next[r.Stream] = r.Revision + 1
		return nil
	})
}

func (f *filler) copy(ctx context.Context) error {
	epochs := f.l.starts()
	err := f.walk(ctx, func(r eventlog.Record) error {
		if want := follow(epochs, f.at); want < r.Position {
			if f.recorded.IsZero() {
				f.recorded = r.Recorded
			}
			if err := f.fill(ctx, epochs, want, r.Position); err != nil {
				return err
			}
		}
		if want := f.next[r.Stream]; r.Revision != want {
			return fmt.Errorf("%s@%d at position %v comes where revision %d is next, and no lost position can hold what is missing: %w",
				r.Stream, r.Revision, r.Position, want, eventlog.ErrDamaged)
		}
		if f.step != nil {
			f.step(r.Position)
		}
		f.s.Events++
		return f.put(ctx, r)
	})
	if err != nil {
		return err
	}
	return f.flush(ctx)
}

// fill puts events that say that one was lost to all positions from from up to
// before end.
func (f *filler) fill(ctx context.Context, epochs []epochStart, from, end eventlog.Position) error {
	for p := from; p < end; p = follow(epochs, p) {
		if n := len(f.s.Filled); n > 0 && f.s.Filled[n-1].Epoch == p.Epoch() && f.s.Filled[n-1].Last+1 == p.Order() {
			f.s.Filled[n-1].Last = p.Order()
		} else {
			f.s.Filled = append(f.s.Filled, eventlog.LostRange{Epoch: p.Epoch(), First: p.Order(), Last: p.Order(), Filled: true})
		}
		id := eventlog.Stream("lost", fmt.Sprintf("%.150s.%d", f.l.origin, p.Epoch()))
		rev := f.next[id]
		i := slices.IndexFunc(f.holes, func(h hole) bool { return f.next[h.stream] == h.revision && h.before > p })
		if i >= 0 {
			id, rev = f.holes[i].stream, f.holes[i].revision
			f.holes = slices.Delete(f.holes, i, i+1)
		}
		key := eventlog.NewKey(f.l.origin, "twinlog repair", string(id), fmt.Sprint(rev))
		e, err := eventlog.NewJSONEvent(key.Event(0), eventlog.EventLost{}, eventlog.Envelope{})
		if err != nil {
			return err
		}
		env := eventlog.Envelope{Recorded: f.recorded, Actor: eventlog.Actor{Kind: eventlog.Admin, Subject: "twinlog repair"}}
		if err := f.put(ctx, eventlog.Record{
			Stream: id, Revision: rev, Position: p, ID: e.ID, Type: e.Type, ContentType: eventlog.JSON,
			Recorded: f.recorded, RawEnvelope: env.AppendCanonical(nil), Data: e.Data,
		}); err != nil {
			return err
		}
	}
	return nil
}

func (f *filler) put(ctx context.Context, r eventlog.Record) error {
	f.next[r.Stream] = r.Revision + 1
	f.at, f.recorded = r.Position, r.Recorded
	if f.pending = append(f.pending, r); len(f.pending) < chunkRecords {
		return nil
	}
	return f.flush(ctx)
}

func (f *filler) flush(ctx context.Context) error {
	if len(f.pending) == 0 {
		return nil
	}
	err := f.out.AppendCopies(ctx, f.pending)
	f.pending = f.pending[:0]
	return err
}

// Stats says how a log uses its disk.
type Stats struct {
	Origin string
	Head   eventlog.Position
	Epochs []eventlog.Epoch
	Sealed eventlog.Position // telemetry up to here lies in columns
	Tables int64             // bytes of Badger's tables
	Values int64             // bytes of its value files
	Other  int64             // write-ahead files and the rest
}

// Stats measures the log.
func (l *Log) Stats() (Stats, error) {
	s := Stats{Origin: l.origin, Head: l.extent().head, Epochs: l.Epochs(), Sealed: eventlog.Position(l.sealed.Load())}
	for pattern, sum := range map[string]*int64{"*.sst": &s.Tables, "*.vlog": &s.Values, "*": &s.Other} {
		paths, err := filepath.Glob(filepath.Join(l.dir, storeName, pattern))
		if err != nil {
			return s, err
		}
		for _, path := range paths {
			*sum += diskBytes(path)
		}
	}
	s.Other -= s.Tables + s.Values
	return s, nil
}
