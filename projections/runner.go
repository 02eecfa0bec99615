package projections

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// ErrUnknown says that the Runner does not have a projection of that name.
var ErrUnknown = errors.New("no such projection")

// Status says how far a projection has come.
type Status struct {
	Name     string
	Version  int
	Position eventlog.Position // everything up to here has been folded
	Lag      uint64            // positions between it and the end of the log
	CaughtUp bool              // it had reached the end of the log when it last looked
	Rebuilt  string            // why it was last rebuilt, "" if it was not since NewRunner
}

// Config of a Runner. The zero Config is right for a server.
type Config struct {
	// BatchSize is the most records that are folded into one commit; 0: 4,096.
	BatchSize int
	// Pace is the least time between two commits of a projection that is
	// caught up, so that a stream of small appends does not become a stream of
	// small commits; 0: 10 ms. Nobody waits for it: WaitFor ends it.
	Pace time.Duration
	// Notice, if set, is told what an operator should read: that a projection
	// is rebuilt, and why.
	Notice func(projection, what string)
}

// idleCommit is after how many positions without rows a checkpoint is committed
// all the same: a restart then reads no more than these again.
const idleCommit = 65_536

// Runner keeps projections up to date with a log: one goroutine for each, each
// with a subscription of its own, so that a slow one holds up nobody.
type Runner struct {
	workers []*worker
	byName  map[string]*worker
}

// NewRunner returns a Runner of the folds. Run starts it.
func NewRunner(log eventlog.Log, store Store, c Config, folds ...Fold) *Runner {
	if c.BatchSize <= 0 {
		c.BatchSize = 4096
	}
	if c.Pace <= 0 {
		c.Pace = 10 * time.Millisecond
	}
	if c.Notice == nil {
		c.Notice = func(string, string) {}
	}
	r := &Runner{byName: map[string]*worker{}}
	for _, f := range folds {
		w := &worker{log: log, store: store, config: c, fold: f, moved: make(chan struct{}), hurry: make(chan struct{}, 1), rebuild: make(chan chan error)}
		r.workers = append(r.workers, w)
		r.byName[f.Name()] = w
	}
	return r
}

// Run folds until ctx ends, then commits what has been folded and returns nil;
// or it returns the first error of a fold, the store or the log, and then a
// commit may be missing: what it held is folded again at the next start.
func (r *Runner) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(r.workers))
	var wg sync.WaitGroup
	for i, w := range r.workers {
		wg.Go(func() {
			if errs[i] = w.run(ctx); errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// WaitFor waits until every projection has folded everything up to pos. It
// fails with ctx's error only.
func (r *Runner) WaitFor(ctx context.Context, pos eventlog.Position) error {
	for _, w := range r.workers {
		if err := w.waitFor(ctx, pos); err != nil {
			return err
		}
	}
	return nil
}

// Status returns every projection's status, in the order given to NewRunner.
func (r *Runner) Status() []Status {
	all := make([]Status, len(r.workers))
	for i, w := range r.workers {
		all[i] = w.status()
	}
	return all
}

// Position returns the position up to which every projection has folded.
func (r *Runner) Position() eventlog.Position {
	least := eventlog.End
	for _, w := range r.workers {
		least = min(least, w.status().Position)
	}
	return least
}

// Rebuild drops a projection's rows and folds the log again. It returns when
// the new rows have reached what was the log's end when it was called. While it
// lasts, WaitFor waits and the projection answers with what it has.
func (r *Runner) Rebuild(ctx context.Context, name string) error {
	w, ok := r.byName[name]
	if !ok {
		return fmt.Errorf("projection %q: %w", name, ErrUnknown)
	}
	head, _, err := w.log.Head(ctx)
	if err != nil {
		return fmt.Errorf("projection %s: %w", name, err)
	}
	done := make(chan error, 1)
	select {
	case w.rebuild <- done:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err = <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err != nil {
		return err
	}
	return w.waitFor(ctx, head)
}
