package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/projections"
)

// Filter chooses rows; conditions add up, alternatives within one do not.
type Filter struct {
	Subjects   []string // Actor.Subject is one of these
	Kinds      []string // Actor.Kind is one of these
	Types      []string // the type is one of these
	TypePrefix string   // the type begins so: "asset.", "alarm.raised"
	Stream     eventlog.StreamID
	Entity     string    // the stream's entity, in any category
	From, To   time.Time // From <= Recorded < To; zero: open
}

// Page says which part of the trail to return.
type Page struct {
	// After and Before bound positions, both exclusive; 0: open.
	After, Before eventlog.Position
	Limit         int  // at most this many rows
	Backwards     bool // the last Limit rows instead of the first
}

// View answers from the trail. Its methods may be used concurrently.
type View struct{ p *Projection }

// List returns the rows of a page, always in the order of positions, none
// beyond upTo (0: the end), and whether there are more in the direction of the
// page. It reads the store once for a page found by position, and once more for
// each row found through an index.
func (v *View) List(ctx context.Context, f Filter, upTo eventlog.Position, p Page) ([]Row, bool, error) {
	s, err := v.p.rows.Snapshot(ctx, name)
	if err != nil {
		return nil, false, err
	}
	defer s.Close()
	lo, hi := p.After+1, eventlog.End
	if upTo != 0 {
		hi = min(hi, upTo+1)
	}
	if p.Before != 0 {
		hi = min(hi, p.Before)
	}
	lo, hi = v.within(f, lo, hi)
	var rows []Row
	more := false
	err = v.scan(s, f, lo, hi, p.Backwards, func(r Row) bool {
		if ctx.Err() != nil {
			return false
		}
		if !f.passes(r) {
			return true
		}
		if more = len(rows) >= p.Limit; more {
			return false
		}
		rows = append(rows, r)
		return true
	})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, false, fmt.Errorf("audit trail from %v: %w", lo, err)
	}
	if p.Backwards {
		slices.Reverse(rows)
	}
	return rows, more, nil
}

// within narrows [lo, hi) by the filter's times. Up to a mark no row is
// recorded later than the mark says, so nothing of From or after is before the
// last mark that is earlier. Behind a mark no row is recorded earlier, unless a
// clock went back; then passes decides row by row.
func (v *View) within(f Filter, lo, hi eventlog.Position) (eventlog.Position, eventlog.Position) {
	v.p.mu.RLock()
	defer v.p.mu.RUnlock()
	first := func(t time.Time) int {
		i, _ := slices.BinarySearchFunc(v.p.marks, t, func(m eventlog.Mark, t time.Time) int {
			if m.Recorded.Before(t) {
				return -1
			}
			return 1
		})
		return i
	}
	if !f.From.IsZero() {
		if i := first(f.From); i > 0 {
			lo = max(lo, v.p.marks[i-1].Position)
		}
	}
	if !f.To.IsZero() && !v.p.back {
		if i := first(f.To); i < len(v.p.marks) {
			hi = min(hi, v.p.marks[i].Position)
		}
	}
	return lo, hi
}

// scan yields candidate rows with positions in [lo, hi) by the most telling
// index that the filter allows.
func (v *View) scan(s projections.Snapshot, f Filter, lo, hi eventlog.Position, backwards bool, yield func(Row) bool) error {
	var prefix []byte
	switch {
	case f.Stream != "":
		prefix = projections.AppendText([]byte{streamPrefix}, string(f.Stream))
	case f.Entity != "":
		prefix = projections.AppendText([]byte{entityPrefix}, f.Entity)
	case len(f.Subjects) == 1:
		prefix = projections.AppendText([]byte{subjectPrefix}, f.Subjects[0])
	case len(f.Types) == 1:
		prefix = projections.AppendText([]byte{typePrefix}, f.Types[0])
	default:
		prefix = []byte{rowPrefix}
	}
	if lo >= hi {
		return nil
	}
	v.p.reads.Add(1)
	from := projections.AppendPosition(slices.Clone(prefix), lo)
	to := projections.AppendPosition(slices.Clone(prefix), hi)
	for w, err := range s.Scan(from, to, backwards) {
		if err != nil {
			return err
		}
		at := projections.CutPosition(w.Key[len(w.Key)-8:])
		value := w.Value
		if prefix[0] != rowPrefix {
			v.p.reads.Add(1)
			if value, err = s.Get(projections.AppendPosition([]byte{rowPrefix}, at)); err != nil {
				return err
			}
		}
		row, err := decode(at, value)
		if err != nil {
			return err
		}
		if !yield(row) {
			return nil
		}
	}
	return nil
}

func (f Filter) passes(r Row) bool {
	in := func(list []string, s string) bool { return len(list) == 0 || slices.Contains(list, s) }
	return in(f.Subjects, r.Actor.Subject) && in(f.Kinds, r.Actor.Kind) && in(f.Types, r.Type) &&
		strings.HasPrefix(r.Type, f.TypePrefix) &&
		(f.Stream == "" || r.Stream == f.Stream) && (f.Entity == "" || r.Stream.Entity() == f.Entity) &&
		(f.From.IsZero() || !r.Recorded.Before(f.From)) && (f.To.IsZero() || r.Recorded.Before(f.To))
}

// Reads counts the store reads made for queries so far.
func (v *View) Reads() uint64 { return v.p.reads.Load() }
