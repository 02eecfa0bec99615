package kurrentlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// link holds a client that works, or finds one.
//
// The client's first call looks for the server while all others wait on a
// channel that nobody serves any more when that fails; from then on it answers
// "connection closed" for good. So a new client is tried by one probe, alone,
// and after a failure that says that the connection has gone it is thrown away.
type link struct {
	cfg      esdb.Configuration
	patience time.Duration

	// mu guards the rest; it is not held while anything waits.
	mu      sync.Mutex
	current *attempt
	closed  chan struct{}
	once    sync.Once
}

// attempt is one client, and what the probe said of it.
type attempt struct {
	client *esdb.Client
	ready  chan struct{} // closed when the probe has ended
	err    error         // of the probe; read it after ready
}

const (
	firstPause = 20 * time.Millisecond
	maxPause   = time.Second
)

func newLink(cfg *esdb.Configuration, patience time.Duration) *link {
	// The client gives up for good after its attempts; ours do not end.
	cfg.MaxDiscoverAttempts, cfg.DiscoveryInterval = 1, 1
	cfg.Logger = func(esdb.LogLevel, string, ...any) {} // it writes to the process's log; every error comes back, too
	return &link{cfg: *cfg, patience: patience, closed: make(chan struct{})}
}

func (k *link) close() error {
	k.once.Do(func() {
		close(k.closed)
		k.mu.Lock()
		a := k.current
		k.current = nil
		k.mu.Unlock()
		if a != nil {
			a.discard()
		}
	})
	return nil
}

// get returns the client when its probe has succeeded.
func (k *link) get(ctx context.Context) (*attempt, error) {
	select {
	case <-k.closed:
		return nil, eventlog.ErrClosed
	default:
	}
	k.mu.Lock()
	a := k.current
	if a == nil {
		cfg := k.cfg
		client, err := esdb.NewClient(&cfg)
		if err != nil {
			k.mu.Unlock()
			return nil, err
		}
		a = &attempt{client: client, ready: make(chan struct{})}
		k.current = a
		go a.probe()
	}
	k.mu.Unlock()
	select {
	case <-a.ready:
		if a.err != nil {
			k.drop(a)
		}
		return a, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-k.closed:
		return nil, eventlog.ErrClosed
	}
}

// probe makes the client's first call, which connects.
func (a *attempt) probe() {
	defer close(a.ready)
	defer func() {
		if r := recover(); r != nil {
			a.err = fmt.Errorf("client: %v: %w", r, errGone)
		}
	}()
	if _, err := a.client.GetServerVersion(); err != nil {
		a.err = fmt.Errorf("%w: %w", errGone, err)
	}
}

// drop forgets a client, so that the next call makes a new one.
func (k *link) drop(a *attempt) {
	k.mu.Lock()
	if k.current == a {
		k.current = nil
	}
	k.mu.Unlock()
	a.discard()
}

// discard closes a client. What still waits on its channels panics there and
// is caught (guarded), so nothing is left behind.
func (a *attempt) discard() {
	go func() {
		defer func() { _ = recover() }()
		<-a.ready
		_ = a.client.Close()
	}()
}

// errGone marks failures after which another connection may do better.
var errGone = errors.New("no connection to the log's server")

// gone reports whether an error says that the connection, not the request, is
// at fault.
func gone(err error) bool {
	if err == nil || errors.Is(err, eventlog.ErrClosed) {
		return false
	}
	if errors.Is(err, errGone) {
		return true
	}
	if e, ok := errors.AsType[*esdb.Error](err); ok {
		switch e.Code() {
		case esdb.ErrorCodeConnectionClosed, esdb.ErrorUnavailable, esdb.ErrorCodeNotLeader:
			return true
		case esdb.ErrorCodeUnknown:
		default:
			return false
		}
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if st, ok := status.FromError(e); ok && st.Code() != codes.OK {
			// Canceled: another call has thrown the shared connection away.
			return st.Code() == codes.Unavailable || st.Code() == codes.Canceled
		}
	}
	return false
}

// guarded makes one call of the client in a goroutine of its own: the client
// may block whatever the context says, and panic.
func guarded[T any](ctx context.Context, call func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("client: %v: %w", p, errGone)
			}
			done <- r
		}()
		r.v, r.err = call()
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

// toLeader asks for the leader: the client means to and puts the header where
// it is never sent.
func toLeader(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "requires-leader", "true")
}

// do makes a call, again on a new connection while only that is at fault, and
// says how often.
func do[T any](ctx context.Context, k *link, call func(context.Context, *esdb.Client) (T, error)) (v T, tries int, err error) {
	until := time.Now().Add(k.patience)
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		tries++
		v, err = once(ctx, k, call)
		if err == nil || !gone(err) || ctx.Err() != nil || time.Now().After(until) {
			return v, tries, notAfter(ctx, err)
		}
		if err := k.sleep(ctx, pause); err != nil {
			return v, tries, err
		}
	}
}

// notAfter says that the context ended, where that is why.
func notAfter(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

func once[T any](ctx context.Context, k *link, call func(context.Context, *esdb.Client) (T, error)) (T, error) {
	var zero T
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	a, err := k.get(ctx)
	if err != nil {
		return zero, err
	}
	v, err := guarded(ctx, func() (T, error) { return call(toLeader(ctx), a.client) })
	if gone(err) && ctx.Err() == nil && !notLeader(err) {
		k.drop(a)
	}
	return v, err
}

// notLeader: the client is on its way to the leader by itself.
func notLeader(err error) bool {
	e, ok := errors.AsType[*esdb.Error](err)
	return ok && e.Code() == esdb.ErrorCodeNotLeader
}

func (k *link) sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-k.closed:
		return eventlog.ErrClosed
	}
}
