package lease

import (
	"context"
	"errors"
	"fmt"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Claim takes a lease for a server to which the resource has come by itself,
// as a source does by connecting: from nobody, from a dead server, and from a
// living one that has had it for a while (its connection is probably half
// open). It returns a *HeldError where another server has only just taken it,
// so that two boxes of one name cannot make the log grow by fighting.
func (k *Keeper) Claim(ctx context.Context, resource string) error {
	_, err := k.take(ctx, resource, true)
	return err
}

// Hold waits until no living server has the lease, takes it and calls run,
// again after each loss, until ctx ends or run returns by itself. The context
// of run ends when the lease is lost.
func (k *Keeper) Hold(ctx context.Context, resource string, run func(context.Context) error) error {
	for {
		lost, err := k.take(ctx, resource, false)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, eventlog.ErrClosed), errors.Is(err, eventlog.ErrBadEvent):
			return err
		case err != nil: // held, or the log could not be asked
			if err := k.nextBeat(ctx); err != nil {
				return err
			}
			continue
		}
		if err := k.during(ctx, lost, run); err != nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-lost:
		default:
			return nil
		}
	}
}

// during calls run until lost; what it returns then is of no interest.
func (k *Keeper) during(ctx context.Context, lost <-chan struct{}, run func(context.Context) error) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-lost:
			cancel()
		case <-ended:
		}
	}()
	err := run(inner)
	if inner.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return err
}

// nextBeat waits until this server has heard another of its own beats: sooner
// nothing it knows of others' death can change.
func (k *Keeper) nextBeat(ctx context.Context) error {
	k.mu.Lock()
	beaten := k.beaten
	k.mu.Unlock()
	select {
	case <-beaten:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// contact waits until Run listens.
func (k *Keeper) contact(ctx context.Context) error {
	for {
		k.mu.Lock()
		there := k.sight != nil && k.sight.beats > 0
		k.mu.Unlock()
		if there {
			return nil
		}
		if err := k.nextBeat(ctx); err != nil {
			return err
		}
	}
}

func (k *Keeper) take(ctx context.Context, resource string, contest bool) (lost <-chan struct{}, err error) {
	k.mu.Lock()
	lost, ok := k.held[resource]
	k.mu.Unlock()
	if ok {
		return lost, nil
	}
	if err := k.contact(ctx); err != nil {
		return nil, fmt.Errorf("lease %q: %w", resource, err)
	}
	for {
		lost, err := k.tryTake(ctx, resource, contest)
		if !errors.Is(err, eventlog.ErrConflict) {
			return lost, err
		}
	}
}

// tryTake looks who has the lease and takes it if that may be. ErrConflict:
// another server was faster.
func (k *Keeper) tryTake(ctx context.Context, resource string, contest bool) (lost <-chan struct{}, err error) {
	last, at, err := k.last(ctx, resource)
	if err != nil {
		return nil, err
	}
	if at != eventlog.NoStream {
		if last.Holder == k.cfg.Holder {
			return k.hold(resource, at.Next()-1)
		}
		if k.respects(last, at.Next()-1, last.position, contest) {
			return nil, &HeldError{resource, last.Holder}
		}
	}
	e, err := k.event(Taken{Resource: resource, Holder: k.cfg.Holder, From: last.Holder}, resource, fmt.Sprint(at.Next()))
	if err != nil {
		return nil, err
	}
	a, err := k.log.Append(ctx, Stream(resource), at, e)
	if err != nil {
		return nil, fmt.Errorf("lease %q: %w", resource, err)
	}
	return k.hold(resource, a.Revision)
}

// lastTaken is the newest event of a lease.
type lastTaken struct {
	Taken
	position eventlog.Position
}

func (k *Keeper) last(ctx context.Context, resource string) (last lastTaken, at eventlog.Expected, err error) {
	for r, err := range k.log.Read(ctx, Stream(resource), eventlog.LastRevision, eventlog.Backwards) {
		if err != nil {
			return last, at, fmt.Errorf("lease %q: %w", resource, err)
		}
		ev, err := eventlog.DecodeJSON[Taken](r.Data)
		if err != nil {
			return last, at, fmt.Errorf("%s@%d: %w", r.Stream, r.Revision, err)
		}
		return lastTaken{ev.(Taken), r.Position}, eventlog.At(r.Revision), nil
	}
	return last, eventlog.NoStream, nil
}

// respects reports whether the lease has to be left to its holder.
func (k *Keeper) respects(last lastTaken, rev eventlog.Revision, at eventlog.Position, contest bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sight.alive(last.Holder) && (!contest || k.sight.fresh(last.Resource, rev, at))
}

// hold notes a lease that this server took at a revision, unless another has
// been heard to take it since.
func (k *Keeper) hold(resource string, rev eventlog.Revision) (<-chan struct{}, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if t, ok := k.sight.taken[resource]; ok && t.revision > rev {
		return nil, fmt.Errorf("lease %q at revision %d: %w", resource, rev, eventlog.ErrConflict)
	}
	lost, ok := k.held[resource]
	if !ok {
		lost = make(chan struct{})
		k.held[resource] = lost
	}
	return lost, nil
}
