package logtool

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/cmd/logurl"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// Copied says what Copy did.
type Copied struct {
	Streams  int
	Events   uint64 // in both logs
	Had      uint64 // of them, those that an earlier copy had brought
	Sum      eventlog.Sum
	Opened   eventlog.Position // first event of the copy's own epoch; 0 on a server
	SameKept bool              // positions are those of the original
}

// copying stands behind the name of a directory until its log is whole.
const copying = ".copying"

// Copy brings every event of a log into another one: the same bytes at the same
// stream and revision, in the same order. In an embedded log Recorded, and so
// what was known at a time, stays, and positions do too if the original is an
// embedded log; the copy then begins an epoch of its own. It compares counts
// and SHA-256 of every stream at the end. It can be killed at any time and run
// again.
func Copy(ctx context.Context, from, to string, p *Progress) (c Copied, err error) {
	target, err := logurl.Parse(to)
	if err != nil {
		return c, err
	}
	place, err := logurl.Parse(from)
	if err != nil {
		return c, err
	}
	if place.Dir != "" {
		if err := mustExist(place.Dir); err != nil {
			return c, err
		}
	}
	src, err := logurl.Open(ctx, from, logurl.Config{})
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	if target.Dir == "" {
		return copyToServer(ctx, src, to, p)
	}
	if _, err := os.Stat(target.Dir); err == nil {
		return c, fmt.Errorf("%s: %w", target.Dir, ErrExists)
	}
	dir := filepath.Clean(target.Dir) + copying
	head, err := copyToDir(ctx, src, dir, p, &c)
	if err != nil {
		return c, fmt.Errorf("copy into %s (the same command goes on from here): %w", dir, err)
	}
	if err := finishDir(ctx, src, dir, head, &c); err != nil {
		return c, err
	}
	if err := os.Rename(dir, filepath.Clean(target.Dir)); err != nil {
		return c, err
	}
	return c, syncDir(filepath.Dir(filepath.Clean(target.Dir)))
}

// copyToDir returns where the original ended.
func copyToDir(ctx context.Context, src logurl.Log, dir string, p *Progress, c *Copied) (end eventlog.Position, err error) {
	l, err := badgerlog.OpenCopy(ctx, dir, logurl.Embedded(logurl.Config{Origin: src.Origin()}))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	head, _, err := l.Head(ctx)
	if err != nil {
		return 0, err
	}
	_, c.SameKept = src.(eventlog.Standing)
	after, err := sourcePlace(ctx, src, l)
	if err != nil {
		return 0, err
	}
	next := head
	if next == 0 && !c.SameKept {
		// Positions of a server are places in its files: none may be read here.
		skip := make([]byte, 1)
		if _, err := rand.Read(skip); err != nil {
			return 0, err
		}
		epoch, err := eventlog.NextEpoch(0, skip[0])
		if err != nil {
			return 0, err
		}
		next = eventlog.NewPosition(epoch, 0)
	}
	c.Had = head.Order()
	t := taker{log: l, head: head, met: true}
	for r, err := range src.ReadAll(ctx, after, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			return 0, err
		}
		p.Step(r.Position, 0)
		end = r.Position
		if next++; !c.SameKept {
			r.Position = next
		}
		if err := t.take(ctx, r); err != nil {
			return 0, err
		}
	}
	return max(end, after), t.flush(ctx)
}

// sourcePlace returns the original's position of the copy's last event.
func sourcePlace(ctx context.Context, src, copied eventlog.Log) (eventlog.Position, error) {
	for last, err := range copied.ReadAll(ctx, eventlog.End, eventlog.Backwards, eventlog.Filter{}) {
		if err != nil {
			return 0, err
		}
		for r, err := range src.Read(ctx, last.Stream, last.Revision, eventlog.Forwards) {
			if err != nil {
				return 0, err
			}
			if r.Digest() != last.Digest() {
				break
			}
			return r.Position, nil
		}
		return 0, fmt.Errorf("the copy ends with %s@%d, which is not what the original has there: %w", last.Stream, last.Revision, ErrDiffer)
	}
	return 0, nil
}

func finishDir(ctx context.Context, src logurl.Log, dir string, end eventlog.Position, c *Copied) (err error) {
	l, err := badgerlog.Open(ctx, dir, logurl.Embedded(logurl.Config{}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := l.Seal(ctx); err != nil {
		return err
	}
	if err := compare(ctx, src, l, end, c); err != nil {
		return err
	}
	c.Opened, err = newEpoch(ctx, l, end.Epoch(), "copy")
	return err
}

// copyToServer appends event by event: a server takes one stream at a time, and
// the order of all events is to stay.
func copyToServer(ctx context.Context, src logurl.Log, to string, p *Progress) (c Copied, err error) {
	dst, err := logurl.Open(ctx, to, logurl.Config{Origin: src.Origin()})
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	after, err := sourcePlace(ctx, src, dst)
	if err != nil {
		return c, err
	}
	end := after
	var batch []eventlog.Record
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		events := make([]eventlog.NewEvent, len(batch))
		for i, r := range batch {
			events[i] = eventlog.Copied(r)
		}
		_, err := dst.Append(ctx, batch[0].Stream, eventlog.After(batch[0].Revision), events...)
		batch = batch[:0]
		return err
	}
	size := 0
	for r, err := range src.ReadAll(ctx, after, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			return c, err
		}
		p.Step(r.Position, 0)
		end = r.Position
		if n := len(batch); n > 0 && (r.Stream != batch[0].Stream || n >= 500 || size+len(r.Data)+len(r.RawEnvelope) > eventlog.MaxAppendBytes/2) {
			if err := flush(); err != nil {
				return c, err
			}
			size = 0
		}
		batch = append(batch, r)
		size += len(r.Data) + len(r.RawEnvelope)
	}
	if err := flush(); err != nil {
		return c, err
	}
	return c, compare(ctx, src, dst, end, &c)
}

// tally is what a stream comes to.
type tally struct {
	count uint64
	sum   eventlog.Sum
}

// compare counts and sums every stream of both logs. The original may have
// grown: it is read up to end.
func compare(ctx context.Context, src, dst eventlog.Log, end eventlog.Position, c *Copied) error {
	want, err := tallies(ctx, src, end)
	if err != nil {
		return err
	}
	got, err := tallies(ctx, dst, eventlog.End)
	if err != nil {
		return err
	}
	var faults []error
	fault := func(id eventlog.StreamID) {
		w, g := want[id], got[id]
		faults = append(faults, fmt.Errorf("%s: %d events with sum %x, expected %d with %x", id, g.count, g.sum, w.count, w.sum))
	}
	ids := make([]eventlog.StreamID, 0, len(want))
	for id, w := range want {
		ids = append(ids, id)
		c.Events += w.count
		if got[id] != w {
			fault(id)
		}
	}
	for id := range got {
		if _, ok := want[id]; !ok {
			fault(id)
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("%w in %d streams:\n%w", ErrDiffer, len(faults), errors.Join(faults[:min(len(faults), 20)]...))
	}
	slices.Sort(ids)
	for _, id := range ids {
		t := want[id]
		c.Sum = c.Sum.Add(eventlog.Record{Stream: id, Revision: eventlog.Revision(t.count), Data: t.sum[:]})
	}
	c.Streams = len(ids)
	return nil
}

func tallies(ctx context.Context, l eventlog.Log, end eventlog.Position) (map[eventlog.StreamID]tally, error) {
	all := map[eventlog.StreamID]tally{}
	for r, err := range l.ReadAll(ctx, 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			return nil, err
		}
		if r.Position > end {
			break
		}
		t := all[r.Stream]
		all[r.Stream] = tally{t.count + 1, t.sum.Add(r)}
	}
	return all, nil
}
