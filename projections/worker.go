package projections

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// worker runs one fold.
type worker struct {
	log     eventlog.Log
	store   Store
	config  Config
	fold    Fold
	hurry   chan struct{}   // somebody waits: do not pace
	rebuild chan chan error // asks for a rebuild; answered when the rows are dropped

	// mu guards everything below.
	mu      sync.Mutex
	at      eventlog.Position // folded, in memory and in rows
	waiters int
	moved   chan struct{} // closed, and made anew, when at moves
	sub     eventlog.Subscription
	caught  bool
	rebuilt string
}

func (w *worker) run(ctx context.Context) error {
	why := ""
	for {
		done, err := w.follow(ctx, why)
		switch {
		case errors.Is(err, eventlog.ErrPositionLost):
			// The log ends before what has been folded, or its numbers have
			// begun a new epoch: the rows tell of events that are not there.
			why = fmt.Sprintf("its checkpoint is not in the log (%v)", err)
		case err != nil || done == nil:
			return w.named(err)
		default:
			why = "asked for"
		}
		err = w.drop(ctx, why)
		if done != nil {
			done <- err
		}
		if err = stopped(ctx, err); err != nil || ctx.Err() != nil {
			return w.named(err)
		}
	}
}

// named says whose error it is.
func (w *worker) named(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("projection %s version %d: %w", w.fold.Name(), w.fold.Version(), err)
}

// drop forgets the rows and says so. The fold itself forgets at its next Open.
func (w *worker) drop(ctx context.Context, why string) error {
	w.mu.Lock()
	w.rebuilt, w.at, w.caught = why, 0, false
	w.mu.Unlock()
	w.config.Notice(w.fold.Name(), "rebuilt from the log: "+why)
	return w.store.Drop(ctx, w.fold.Name())
}

// follow folds from the checkpoint on until ctx ends (nil, nil), a rebuild is
// asked for (the channel to answer) or something fails.
func (w *worker) follow(ctx context.Context, why string) (chan error, error) {
	at, err := w.open(ctx, why)
	if err != nil {
		return nil, stopped(ctx, err)
	}
	sub, err := w.log.Subscribe(ctx, at, w.fold.Filter())
	if err != nil {
		return nil, stopped(ctx, err)
	}
	defer sub.Close() //nolint:errcheck // it only reads
	w.mu.Lock()
	w.sub = sub
	w.mu.Unlock()

	// A rebuild interrupts Next as the end of ctx does.
	next, interrupt := context.WithCancel(ctx)
	asked := make(chan chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case done := <-w.rebuild:
			asked <- done
			interrupt()
		case <-next.Done():
		}
	})
	err = w.loop(next, sub, at)
	interrupt()
	wg.Wait()
	select {
	case done := <-asked:
		return done, nil
	default:
		return nil, stopped(ctx, err)
	}
}

// stopped is nil where the end of ctx is all that happened.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// open brings the fold to the checkpoint, or to the beginning if the rows are
// another version's or beyond the log's end.
func (w *worker) open(ctx context.Context, why string) (eventlog.Position, error) {
	name := w.fold.Name()
	at, err := w.store.Checkpoint(ctx, name, w.fold.Version())
	if err != nil {
		return 0, err
	}
	head, _, err := w.log.Head(ctx)
	if err != nil {
		return 0, err
	}
	if at > head {
		return 0, fmt.Errorf("checkpoint %v is beyond the log's end %v: %w", at, head, eventlog.ErrPositionLost)
	}
	snap, err := w.store.Snapshot(ctx, name)
	if err != nil {
		return 0, err
	}
	defer func() { snap.Close() }()
	if at == 0 && why == "" && !empty(snap) {
		// Rows without a checkpoint are another version's.
		if err := w.drop(ctx, fmt.Sprintf("its rows are not of version %d", w.fold.Version())); err != nil {
			return 0, err
		}
		snap.Close()
		if snap, err = w.store.Snapshot(ctx, name); err != nil {
			return 0, err
		}
	}
	if err := w.fold.Open(snap, at); err != nil {
		return 0, fmt.Errorf("open at %v: %w", at, err)
	}
	w.publish(at, false)
	return at, nil
}

func empty(s Snapshot) bool {
	for _, err := range s.Scan(nil, nil, false) {
		return err != nil // the fold meets the error when it opens
	}
	return true
}

// loop folds what the subscription brings. committed is the checkpoint in the
// store.
func (w *worker) loop(ctx context.Context, sub eventlog.Subscription, committed eventlog.Position) error {
	checkpoint := committed
	for {
		b, err := sub.Next(ctx)
		if err != nil {
			return errors.Join(w.settle(ctx, committed, checkpoint), err)
		}
		began := time.Now()
		for part := range parts(b, w.config.BatchSize) {
			var rows Writes
			at, err := w.fold.Fold(part, &rows)
			if err != nil {
				return fmt.Errorf("fold through %v: %w", part.Through, err)
			}
			checkpoint = max(checkpoint, at)
			if len(rows.list) > 0 || checkpoint-committed >= idleCommit {
				// The batch is folded in memory already, so the end of ctx may
				// not keep its rows from following.
				if err := w.commit(context.WithoutCancel(ctx), checkpoint, &rows); err != nil {
					return err
				}
				committed = checkpoint
			}
			w.publish(part.Through, part.CaughtUp)
			if ctx.Err() != nil {
				break
			}
		}
		if b.CaughtUp {
			w.pace(ctx, began)
		}
	}
}

func (w *worker) commit(ctx context.Context, at eventlog.Position, rows *Writes) error {
	return w.store.Commit(ctx, w.fold.Name(), w.fold.Version(), at, rows)
}

// settle commits a checkpoint that has moved without rows, at a clean stop.
func (w *worker) settle(ctx context.Context, committed, checkpoint eventlog.Position) error {
	if checkpoint == committed {
		return nil
	}
	return w.commit(context.WithoutCancel(ctx), checkpoint, &Writes{})
}

// parts cuts a batch, so that a commit has a bounded size whatever the log
// hands out.
func parts(b eventlog.Batch, size int) func(func(eventlog.Batch) bool) {
	return func(yield func(eventlog.Batch) bool) {
		for len(b.Records) > size {
			part := eventlog.Batch{Records: b.Records[:size:size], Through: b.Records[size-1].Position}
			if !yield(part) {
				return
			}
			b.Records = b.Records[size:]
		}
		yield(b)
	}
}

// pace waits until Pace after began, unless somebody is waiting for news.
func (w *worker) pace(ctx context.Context, began time.Time) {
	w.mu.Lock()
	waiting := w.waiters > 0
	w.mu.Unlock()
	d := w.config.Pace - time.Since(began)
	if waiting || d <= 0 {
		return
	}
	select { // a hurry that was for an earlier batch
	case <-w.hurry:
		return
	default:
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-w.hurry:
	case <-ctx.Done():
	}
}

func (w *worker) publish(at eventlog.Position, caught bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at, w.caught = at, caught
	close(w.moved)
	w.moved = make(chan struct{})
}

func (w *worker) waitFor(ctx context.Context, pos eventlog.Position) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiters++
	defer func() { w.waiters-- }()
	for w.at < pos {
		moved := w.moved
		w.mu.Unlock()
		select {
		case w.hurry <- struct{}{}:
		default:
		}
		var err error
		select {
		case <-moved:
		case <-ctx.Done():
			err = fmt.Errorf("projection %s has not reached %v: %w", w.fold.Name(), pos, ctx.Err())
		}
		w.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Status{
		Name: w.fold.Name(), Version: w.fold.Version(), Position: w.at,
		CaughtUp: w.caught, Rebuilt: w.rebuilt,
	}
	if w.sub != nil {
		s.Lag = w.sub.Lag()
	}
	return s
}
