package lease

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Config of a Keeper. Holder is required.
type Config struct {
	// Holder names this process among all: a new, random name at each start,
	// so that what a killed one held is never taken for its own.
	Holder string
	// Every is the time between two signs of life; 0: 1 s. A dead server's
	// leases are free after four of them.
	Every time.Duration
}

// Keeper takes leases for one server and hears of the others'. Its methods may
// be used concurrently; they wait until Run has made contact with the log.
type Keeper struct {
	log eventlog.Log
	cfg Config

	// mu guards the rest.
	mu     sync.Mutex
	sight  *sight                   // nil until contact
	held   map[string]chan struct{} // by resource; closed when it is lost
	missed int                      // beats due since the last one was heard
	beaten chan struct{}            // closed, and made anew, when one is heard
}

// New returns a Keeper that holds nothing yet. Run it.
func New(log eventlog.Log, cfg Config) *Keeper {
	if cfg.Every <= 0 {
		cfg.Every = time.Second
	}
	return &Keeper{log: log, cfg: cfg, held: map[string]chan struct{}{}, beaten: make(chan struct{})}
}

// Run beats and listens until ctx ends; then it says that this server has left,
// and returns nil.
func (k *Keeper) Run(ctx context.Context) error {
	head, _, err := k.log.Head(ctx)
	var sub eventlog.Subscription
	if err == nil {
		sub, err = k.log.Subscribe(ctx, head, eventlog.Filter{Categories: []string{Category, ServerCategory}})
	}
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return fmt.Errorf("leases: %w", err)
	}
	defer sub.Close() //nolint:errcheck // it only reads
	k.mu.Lock()
	k.sight = newSight(k.cfg.Holder, head)
	k.mu.Unlock()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var parts sync.WaitGroup
	next := eventlog.NoStream
	parts.Go(func() { next = k.beat(ctx) })
	parts.Go(func() { k.doubt(ctx) })
	err = k.listen(ctx, sub)
	cancel(nil)
	parts.Wait()
	k.loseAll()
	return errors.Join(err, k.leave(ctx, next))
}

// beat says again and again that this server is alive, and returns where its
// stream is then.
func (k *Keeper) beat(ctx context.Context) (next eventlog.Expected) {
	for {
		within, cancel := context.WithTimeout(ctx, deadBeats*k.cfg.Every)
		a, err := k.say(within, next, Alive{})
		cancel()
		if err == nil { // else the same beat again: it may be there
			next = eventlog.At(a.Revision)
		}
		if k.pause(ctx) != nil {
			return next
		}
	}
}

func (k *Keeper) pause(ctx context.Context) error {
	t := time.NewTimer(k.cfg.Every)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave frees everything at once. Whoever did not get that waits until the
// server counts as dead.
func (k *Keeper) leave(ctx context.Context, next eventlog.Expected) error {
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadBeats/2*k.cfg.Every)
	defer cancel()
	_, err := k.say(within, next, Left{})
	if errors.Is(err, eventlog.ErrConflict) { // the last beat was interrupted, and is there
		_, err = k.say(within, eventlog.At(next.Next()), Left{})
	}
	if err != nil && within.Err() == nil {
		return fmt.Errorf("leases: leave: %w", err)
	}
	return nil
}

// say appends to the server's own stream.
func (k *Keeper) say(ctx context.Context, next eventlog.Expected, ev eventlog.Event) (eventlog.Appended, error) {
	e, err := k.event(ev, "server", strconv.FormatUint(uint64(next.Next()), 10))
	if err != nil {
		return eventlog.Appended{}, err
	}
	return k.log.Append(ctx, ServerStream(k.cfg.Holder), next, e)
}

// event makes an event whose id derives from what it is, so that a repeat is one.
func (k *Keeper) event(ev eventlog.Event, of, which string) (eventlog.NewEvent, error) {
	id := eventlog.NewKey(k.log.Origin(), k.cfg.Holder, ev.EventType(), of+" "+which).Event(0)
	return eventlog.NewJSONEvent(id, ev, eventlog.Envelope{
		Actor: eventlog.Actor{Subject: k.cfg.Holder, Kind: eventlog.Service, AuthMethods: []string{"none"}},
	})
}

// listen hears what all servers say.
func (k *Keeper) listen(ctx context.Context, sub eventlog.Subscription) error {
	for {
		b, err := sub.Next(ctx)
		if err != nil {
			return stopped(ctx, err)
		}
		k.hear(b)
	}
}

// stopped is nil where the end of ctx is all that happened.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return fmt.Errorf("leases: %w", err)
}

func (k *Keeper) hear(b eventlog.Batch) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before := k.sight.beats
	for _, r := range b.Records {
		k.lose(k.sight.hear(r))
	}
	if k.sight.beats != before {
		k.missed = 0
		close(k.beaten)
		k.beaten = make(chan struct{})
	}
}

// doubt gives everything up when this server's own beats do not come back: the
// others may take it for dead.
func (k *Keeper) doubt(ctx context.Context) {
	for k.pause(ctx) == nil {
		k.mu.Lock()
		k.missed++
		doubtful := k.missed >= deadBeats
		k.mu.Unlock()
		if doubtful {
			k.loseAll()
		}
	}
}

func (k *Keeper) loseAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for resource := range k.held {
		k.lose(resource)
	}
}

// lose forgets a lease. mu is held.
func (k *Keeper) lose(resource string) {
	if lost, ok := k.held[resource]; ok {
		close(lost)
		delete(k.held, resource)
	}
}
