package logtool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/backup"
	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/cmd/logurl"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// RestoreOptions say what is restored where.
type RestoreOptions struct {
	Backup  string // directory
	Data    string // data directory
	Replace bool   // a log that is there is put aside
	// ToPosition and ToTime, if set, end the restored log early: behind the
	// last whole commit up to the position, and before the first event that
	// was recorded later than the time.
	ToPosition eventlog.Position
	ToTime     time.Time
}

// Restored says what a restore brought back and what not.
type Restored struct {
	Origin  string
	Through backup.Place      // the last event that is back
	Backup  backup.Place      // the last event of the backup
	Opened  eventlog.Position // first event of the new epoch
	// Replaced is where the log that was there is now, and how far it had been
	// acknowledged; "" if there was none.
	Replaced             string
	Acknowledged         eventlog.Position
	AcknowledgedRecorded time.Time
	AcknowledgedUnknown  error // why nobody can say
}

// Statement is the loss statement: what is not in the restored log.
func (r Restored) Statement() string {
	s := fmt.Sprintf("restored %d events of log %s, up to position %v, recorded at %s\n",
		r.Through.Events, r.Origin, r.Through.Position, stamp(r.Through.Recorded))
	if left := r.Backup.Events - r.Through.Events; left > 0 {
		s += fmt.Sprintf("left out: %d events of the backup after that, up to position %v, recorded at %s\n", left, r.Backup.Position, stamp(r.Backup.Recorded))
	}
	switch {
	case r.Replaced == "":
		s += fmt.Sprintf("lost: every event that was acknowledged after %s; how many only the lost log could say\n", stamp(r.Through.Recorded))
	case r.AcknowledgedUnknown != nil:
		s += fmt.Sprintf("lost: every event that was acknowledged after %s; the log that was replaced does not say how far it went (%v)\n", stamp(r.Through.Recorded), r.AcknowledgedUnknown)
	case r.Acknowledged.Order() <= r.Through.Position.Order():
		s += "lost: nothing; the log that was replaced ended there\n"
	default:
		s += fmt.Sprintf("lost: %d events that were acknowledged, positions after %v up to %v, recorded until %s\n",
			r.Acknowledged.Order()-r.Through.Position.Order(), r.Through.Position, r.Acknowledged, stamp(r.AcknowledgedRecorded))
	}
	if r.Replaced != "" {
		s += fmt.Sprintf("the log that was replaced is in %s\n", r.Replaced)
	}
	return s + fmt.Sprintf("epoch %d begins at position %v; positions up to %v are what they were, later ones of older epochs are refused\n",
		r.Opened.Epoch(), r.Opened, r.Through.Position)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "the beginning"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// restoring is where a log is made before it takes its place.
const restoring = "log.restoring"

// ErrExists is returned where a log is in the way.
var ErrExists = errors.New("there is a log already")

// errOther: what an earlier restore has left is of another backup.
var errOther = errors.New("begun from something else")

// Restore makes the log of a data directory from a backup, checks it against
// the backup's sums, opens a new epoch and removes views/, which is rebuilt. It
// can be killed at any time and run again.
func Restore(ctx context.Context, o RestoreOptions, p *Progress) (r Restored, err error) {
	chain, err := readChain(o.Backup)
	if err != nil {
		return r, err
	}
	if len(chain.Files) == 0 {
		return r, fmt.Errorf("%s holds no backup: %w", o.Backup, ErrChain)
	}
	log := filepath.Join(o.Data, "log")
	if _, err := os.Stat(log); err == nil && !o.Replace {
		return r, fmt.Errorf("%s: %w; --replace puts it aside", log, ErrExists)
	}
	if err := notRunning(ctx, o.Data); err != nil {
		return r, err
	}
	if err := os.MkdirAll(o.Data, 0o700); err != nil {
		return r, err
	}
	dir := filepath.Join(o.Data, restoring)
	r = Restored{Origin: chain.first.Origin, Backup: chain.End}
	if r.Through, err = refill(ctx, dir, chain, o, p); errors.Is(err, errOther) || errors.Is(err, eventlog.ErrDamaged) {
		if err = os.RemoveAll(dir); err == nil {
			r.Through, err = refill(ctx, dir, chain, o, p)
		}
	}
	if err != nil {
		return r, fmt.Errorf("restore into %s (the same command goes on from here): %w", dir, err)
	}
	last := r.Through.Position
	if _, err := os.Stat(log); err == nil {
		r.Acknowledged, r.AcknowledgedRecorded, r.AcknowledgedUnknown = badgerlog.Acknowledged(log)
		last = max(last, r.Acknowledged)
	}
	lost := eventlog.LostRange{Epoch: last.Epoch(), First: r.Through.Position.Order() + 1, Last: last.Order()}
	if r.Opened, err = open(ctx, dir, r.Through, last.Epoch(), "restore", lost); err != nil {
		return r, err
	}
	r.Replaced, err = takePlace(dir, log)
	return r, err
}

// refill brings the events of a backup into a log, behind those that are there.
func refill(ctx context.Context, dir string, c Chain, o RestoreOptions, p *Progress) (at backup.Place, err error) {
	l, err := badgerlog.OpenCopy(ctx, dir, logurl.Embedded(logurl.Config{Origin: c.first.Origin}))
	if err != nil {
		return at, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	head, _, err := l.Head(ctx)
	if err != nil {
		return at, err
	}
	t := taker{log: l, head: head, met: head == 0}
	cut := cutter{o: o, out: func(r eventlog.Record) error {
		at = at.Add(r)
		p.Step(r.Position, 0)
		return t.take(ctx, r)
	}}
	err = c.scan(func(records []eventlog.Record) error {
		for _, r := range records {
			if err := cut.add(r); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	if errors.Is(err, errEnough) {
		err = nil
	} else if err == nil {
		err = cut.flush()
	}
	if err == nil {
		err = t.flush(ctx)
	}
	if err == nil && !t.met {
		err = errOther
	}
	return at, err
}

// cutter lets whole commits pass up to where the restored log is to end.
type cutter struct {
	o       RestoreOptions
	out     func(eventlog.Record) error
	pending []eventlog.Record // of one commit: they share Recorded
}

func (c *cutter) add(r eventlog.Record) error {
	if !c.o.ToTime.IsZero() && r.Recorded.After(c.o.ToTime) {
		if err := c.flush(); err != nil {
			return err
		}
		return errEnough
	}
	if c.o.ToPosition == 0 {
		return c.out(r)
	}
	if n := len(c.pending); n > 0 && !c.pending[n-1].Recorded.Equal(r.Recorded) {
		if err := c.flush(); err != nil {
			return err
		}
	}
	if r.Position > c.o.ToPosition {
		return errEnough // and what is pending is half a commit
	}
	c.pending = append(c.pending, r)
	return nil
}

func (c *cutter) flush() error {
	for _, r := range c.pending {
		if err := c.out(r); err != nil {
			return err
		}
	}
	c.pending = c.pending[:0]
	return nil
}

// taker gives a log in batches what it has not taken yet.
type taker struct {
	log     *badgerlog.Log
	head    eventlog.Position // of what it had
	met     bool              // that event has come by
	pending []eventlog.Record
	bytes   int
	taken   int // since it was last sealed
}

const (
	takeRecords = 8192
	takeBytes   = 8 << 20
	sealEvery   = 1 << 18 // events: blocks take ten times the room of columns
)

func (t *taker) take(ctx context.Context, r eventlog.Record) error {
	if r.Position <= t.head {
		t.met = t.met || r.Position == t.head
		return nil
	}
	if !t.met {
		return errOther
	}
	t.pending = append(t.pending, r)
	t.bytes += len(r.Data) + len(r.RawEnvelope) + 128
	if len(t.pending) < takeRecords && t.bytes < takeBytes {
		return nil
	}
	return t.flush(ctx)
}

func (t *taker) flush(ctx context.Context) error {
	if len(t.pending) == 0 {
		return nil
	}
	if err := t.log.AppendCopies(ctx, t.pending); err != nil {
		return err
	}
	t.taken += len(t.pending)
	t.pending, t.bytes = t.pending[:0], 0
	if t.taken < sealEvery {
		return nil
	}
	t.taken = 0
	return t.log.Seal(ctx)
}

// open checks a log that has been made against the sum of what it was made
// from, and opens its new epoch with the event that maps the ones before.
func open(ctx context.Context, dir string, through backup.Place, last uint16, why string, lost ...eventlog.LostRange) (first eventlog.Position, err error) {
	l, err := badgerlog.Open(ctx, dir, logurl.Embedded(logurl.Config{}))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if err := l.Seal(ctx); err != nil {
		return 0, err
	}
	var got backup.Place
	for r, err := range l.ReadAll(ctx, 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			return 0, err
		}
		got = got.Add(r)
	}
	if got.Sum != through.Sum || got.Position != through.Position || got.Events != through.Events {
		return 0, fmt.Errorf("the log in %s holds %d events with sum %x, expected %d with sum %x: %w", dir, got.Events, got.Sum, through.Events, through.Sum, ErrDiffer)
	}
	return newEpoch(ctx, l, last, why, lost...)
}

// takePlace puts the new log where a log belongs, and what was there aside.
func takePlace(dir, log string) (replaced string, err error) {
	if _, err := os.Stat(log); err == nil {
		replaced = log + ".replaced-" + time.Now().UTC().Format("20060102T150405.000Z")
		if err := os.Rename(log, replaced); err != nil {
			return "", err
		}
	}
	if err := os.RemoveAll(filepath.Join(filepath.Dir(log), "views")); err != nil {
		return replaced, err
	}
	if err := os.Rename(dir, log); err != nil {
		return replaced, err
	}
	return replaced, syncDir(filepath.Dir(log))
}
