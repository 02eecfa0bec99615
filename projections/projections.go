// Package projections turns the event log into answers.
//
// A projection is a fold: a pure function of the log, without clock, I/O or
// configuration of its own. What it keeps can be deleted at any time and is
// rebuilt to the same bytes. The Runner owns everything else: reading the log,
// committing what was folded together with how far, and telling readers when a
// position has been reached (WaitFor).
package projections

import (
	"context"
	"iter"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// A Fold is one projection. The Runner calls Open, then Fold from one goroutine; queries run concurrently and guard what they share.
type Fold interface {
	// Name names the rows and the checkpoint; never reused for another meaning.
	Name() string
	// Version is raised when the fold's result changes; the Runner then rebuilds.
	Version() int
	// Filter says which records the fold needs.
	Filter() eventlog.Filter
	// Open restores the in-memory part from what was committed, and forgets
	// whatever the fold held before: a rebuild opens it again. at is the
	// committed checkpoint, 0 for a new or dropped projection; folding resumes
	// with the records after it. s is closed when Open returns.
	Open(s Snapshot, at eventlog.Position) error
	// Fold applies a batch and puts what must be kept into w. It returns the
	// checkpoint that w brings the store to: b.Through, or less if the fold
	// wants the records after it again when it restarts.
	// The result must not depend on how the log is cut into batches; a batch
	// may have no records, only a Through that has moved.
	Fold(b eventlog.Batch, w *Writes) (checkpoint eventlog.Position, err error)
}

// Writes collects what one batch changes, in order; a later write of a key wins.
type Writes struct{ list []Write }

// Write is one key set, or deleted when Value is nil.
type Write struct{ Key, Value []byte }

// Put sets a key. The slices belong to w from now on.
func (w *Writes) Put(key, value []byte) {
	if value == nil {
		value = []byte{}
	}
	w.list = append(w.list, Write{key, value})
}

// Delete removes a key.
func (w *Writes) Delete(key []byte) { w.list = append(w.list, Write{key, nil}) }

// List returns the writes in the order they were made.
func (w *Writes) List() []Write { return w.list }

// Store is the port of a read model's store: an ordered map of bytes for each
// projection name. It need not be durable at once, but rows and checkpoint
// must never part.
type Store interface {
	// Checkpoint returns how far the named projection has been committed at
	// this version: 0 if never, or at another version.
	Checkpoint(ctx context.Context, name string, version int) (eventlog.Position, error)
	// Commit applies the writes and sets the checkpoint, both or neither: one
	// transaction, as far as a reader or a crash can tell.
	Commit(ctx context.Context, name string, version int, at eventlog.Position, w *Writes) error
	// Snapshot returns a consistent view of the named projection's rows.
	Snapshot(ctx context.Context, name string) (Snapshot, error)
	// Drop forgets the rows and checkpoint of the named projection.
	Drop(ctx context.Context, name string) error
}

// Snapshot reads one projection's rows as of one moment. Close it. The slices
// that it returns are the caller's.
type Snapshot interface {
	// Get returns the value of key, or nil.
	Get(key []byte) ([]byte, error)
	// Scan yields the keys in [from, to) in order, or in reverse order. A nil
	// to is behind the last row.
	Scan(from, to []byte, reverse bool) iter.Seq2[Write, error]
	Close()
}
