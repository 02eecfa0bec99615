package ingest

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"github.com/twinlog/twinlog/domain/device"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// The errors of an Outcome.
var (
	// ErrClosed: the Ingester takes no messages any more.
	ErrClosed = errors.New("ingest is closed")
	// ErrAhead: a message of an ordered source before this one has not come.
	ErrAhead = errors.New("sequence is ahead")
	// ErrElsewhere: another server takes this source's messages.
	ErrElsewhere = errors.New("source belongs to another server")
	// ErrCut: a message before this one was not stored, and its connection ends.
	ErrCut = errors.New("connection is being ended")
	// ErrCloned: another message is in the log under this one's number.
	ErrCloned = errors.New("source is cloned")
)

// Config of an Ingester. The zero Config is good.
type Config struct {
	// QueueMessages and QueueBytes are where a source's queue counts as full
	// and Submit asks its caller to wait; 0 means 4,096 and 4 MiB. A caller that
	// does not wait is not refused.
	QueueMessages int
	QueueBytes    int
	// Retry is the pause before an append is tried again that the log could not
	// take (storage full, or an error without known outcome); 0 means 1 s.
	Retry time.Duration
	// Idle is how long a source may be silent before what is remembered of it
	// is dropped, to be read from the log at its next message; 0 means 10 min.
	Idle time.Duration
	// Own, if not nil, is asked before a source's stream is read: whether this
	// server, of several on one log, takes the source's messages. ErrElsewhere:
	// no, the source is to look for another; any other error is passing.
	Own func(ctx context.Context, source string) error
}

// Ingester turns messages into events. Submit may be called concurrently; the
// messages of one source are taken in the order of the calls.
type Ingester struct {
	log      eventlog.Log
	async    eventlog.AsyncAppender // log, if it can
	read     Reader
	cfg      Config
	devices  *eventlog.Handler[device.State, device.Command]
	counters Counters
	seed     maphash.Seed // of hashes that only this process compares
	spaces   sync.Pool    // of *workspace
	items    sync.Pool    // of *item
	batches  sync.Pool    // of *batch
	depth    depth
	arrivals arrivals // tells messages without identity apart

	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	working sync.WaitGroup // sources at work, and the sweeper

	// mu guards sources and closed; held for reading while an item is queued.
	// It is taken before a source's own mu.
	mu      sync.RWMutex
	sources map[key]*source
	closed  bool

	// knownMu guards known: devices that are registered in the log.
	knownMu sync.RWMutex
	known   map[string]struct{}
}

// key names what has a queue of its own: a source's incarnation, a device's
// status, or a dead letter stream.
type key struct {
	kind        keyKind
	source      string
	incarnation string
}

type keyKind uint8

const (
	keyTelemetry keyKind = iota
	keyStatus
	keyDeadLetter
)

// keptDevices is how many devices' states are kept for status messages.
const keptDevices = 4096

// New returns an Ingester that appends to log what read understands. Close it.
func New(log eventlog.Log, read Reader, cfg Config) *Ingester {
	if cfg.QueueMessages <= 0 {
		cfg.QueueMessages = 4096
	}
	if cfg.QueueBytes <= 0 {
		cfg.QueueBytes = 4 << 20
	}
	if cfg.Retry <= 0 {
		cfg.Retry = time.Second
	}
	if cfg.Idle <= 0 {
		cfg.Idle = 10 * time.Minute
	}
	g := &Ingester{
		log: log, read: read, cfg: cfg, seed: maphash.MakeSeed(),
		devices: eventlog.NewHandler(log, device.Decider, keptDevices),
		sources: map[key]*source{}, known: map[string]struct{}{}, depth: depth{windowEvents, shallowEvents},
	}
	g.async, _ = log.(eventlog.AsyncAppender)
	g.ctx, g.stop = context.WithCancel(context.Background())
	g.working.Go(g.sweep)
	return g
}

// Counters returns the live counters.
func (g *Ingester) Counters() *Counters { return &g.counters }

// Sources returns how many sources are remembered right now.
func (g *Ingester) Sources() int {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return len(g.sources)
}

// Submit takes a message. It decodes on the caller's goroutine and does not
// wait for the log: done is called once from another goroutine when the outcome
// is known, in the order of Submit for each source, and must not block. If the
// channel returned is not nil, the source's queue is full: wait for the channel
// to be closed before reading on from this client.
func (g *Ingester) Submit(m Message, done func(Outcome)) (wait <-chan struct{}) {
	g.counters.Messages.Add(1)
	g.counters.Bytes.Add(uint64(len(m.Payload)))
	w, _ := g.spaces.Get().(*workspace)
	if w == nil {
		w = new(workspace)
	}
	defer g.spaces.Put(w)
	w.Reset()
	err := g.read(&m, &w.Uplink)
	it, _ := g.items.Get().(*item)
	if it == nil {
		it = new(item)
	}
	it.message, it.done = m, done
	k := g.understand(it, w, err)
	g.counters.Ignored.Add(uint64(w.Ignored))
	wait, err = g.put(k, it)
	if err != nil {
		done(Outcome{Disconnect: true, Err: err})
	}
	return wait
}

// put queues an item with its source, making that if need be.
func (g *Ingester) put(k key, it *item) (wait <-chan struct{}, err error) {
	g.mu.RLock()
	s, ok := g.sources[k]
	var start bool
	if ok && !g.closed {
		start, wait = s.put(it)
		g.mu.RUnlock()
	} else {
		g.mu.RUnlock()
		if s, start, wait, err = g.putAnew(k, it); err != nil {
			return nil, err
		}
	}
	if start {
		s.start(it)
	}
	return wait, nil
}

func (g *Ingester) putAnew(k key, it *item) (s *source, start bool, wait <-chan struct{}, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, false, nil, ErrClosed
	}
	s, ok := g.sources[k]
	if !ok {
		s = newSource(g, k.clone())
		g.sources[s.key] = s
	}
	start, wait = s.put(it)
	return s, start, wait, nil
}

// sweep forgets sources that were silent for a whole round, until Close.
func (g *Ingester) sweep() {
	tick := time.NewTicker(g.cfg.Idle)
	defer tick.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-tick.C:
			g.forget()
		}
	}
}

func (g *Ingester) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for k, s := range g.sources {
		if s.silent() {
			delete(g.sources, k)
		}
	}
}

// Close stops taking messages, answers those in the queues as not stored
// unless their append is under way, and waits for the workers.
func (g *Ingester) Close() error {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.stop()
	g.working.Wait()
	return nil
}

// registered reports whether the device is known to be in the log.
func (g *Ingester) registered(id string) bool {
	g.knownMu.RLock()
	defer g.knownMu.RUnlock()
	_, ok := g.known[id]
	return ok
}

// register makes sure that a device is in the log.
func (g *Ingester) register(ctx context.Context, see device.See) error {
	call := eventlog.Call{
		Key:      eventlog.NewKey(g.log.Origin(), see.Device, "ingest.register", ""),
		Envelope: eventlog.Envelope{Actor: actor(see.Device)},
	}
	done, err := g.devices.Execute(ctx, device.Stream(see.Device), call, see)
	if err != nil {
		return fmt.Errorf("register device %q: %w", see.Device, err)
	}
	if len(done.IDs) > 0 && !done.Repeated {
		g.counters.Registered.Add(1)
	}
	g.knownMu.Lock()
	defer g.knownMu.Unlock()
	g.known[strings.Clone(see.Device)] = struct{}{} // it may be a part of a payload
	return nil
}

// actor is a device acting for itself. Until identities land, nothing has
// proved who it is.
func actor(subject string) eventlog.Actor {
	return eventlog.Actor{Subject: subject, Kind: eventlog.Device, AuthMethods: []string{"none"}}
}
