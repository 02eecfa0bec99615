package projections

import (
	"context"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Status says how far a projection has come.
type Status struct {
	Name     string
	Version  int
	Position eventlog.Position // everything up to here has been folded
	Lag      uint64            // positions between it and the end of the log
	CaughtUp bool              // it has reached what was the end at some time since it started
	Rebuilt  string            // why it was rebuilt at its last start, "" if it was not
}

// Config of a Runner. The zero Config is right for a server.
type Config struct {
	// BatchSize is the most records that are folded into one commit; 0: 1,000.
	BatchSize int
	// Notice, if set, is told what an operator should read: a rebuild and why.
	Notice func(projection, what string)
}

// Runner keeps projections up to date with a log.
type Runner struct{}

// NewRunner returns a Runner of the folds. Run starts it.
func NewRunner(log eventlog.Log, store Store, c Config, folds ...Fold) *Runner { return &Runner{} }

// Run folds until ctx ends, then commits what has been folded and returns nil;
// or it returns the first error of a fold, the store or the log.
func (r *Runner) Run(ctx context.Context) error { panic("soon") }

// WaitFor waits until every projection has folded everything up to pos. It
// fails with ctx's error only.
func (r *Runner) WaitFor(ctx context.Context, pos eventlog.Position) error { panic("soon") }

// Status returns every projection's status, in the order given to NewRunner.
func (r *Runner) Status() []Status { panic("soon") }

// Rebuild drops a projection's rows and folds the log again. It returns when
// the new rows have caught up.
func (r *Runner) Rebuild(ctx context.Context, name string) error { panic("soon") }
