package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// source is one queue with the worker that empties it and what that knows of
// the stream. Everything but the queue belongs to the worker, of which there is
// at most one at a time.
type source struct {
	g      *Ingester
	key    key
	stream eventlog.StreamID
	env    eventlog.Envelope
	rules  rules

	device string // the last one that was found registered
	loaded bool   // rules and at are those of the stream
	cut    uint64 // the connection that was told to end: what still comes of it comes again
	at     eventlog.Expected
	spare  []*item // the memory of the last queue
	asked  []*item // those whose append has been asked for and not answered
	*batch         // while a worker runs

	// mu guards the queue, its counts and the flags below; it is held for
	// moments only. Ingester.mu may be held when it is taken, not the reverse.
	mu      sync.Mutex
	queue   []*item
	bytes   int
	running bool
	touched bool          // something came since the last sweep
	room    chan struct{} // closed when the queue has room again; nil while it has
}

// rules decide on the items of one kind of stream.
type rules interface {
	// load reads what must be known of the stream.
	load(ctx context.Context, s *source) error
	// decide appends the item's events to s.events, as if those before them
	// were in the log, and says what becomes of it.
	decide(ctx context.Context, s *source, it *item) (fate, error)
	// appended tells that what was decided is in the log.
	appended()
}

// batch is what a worker decided on and has not appended. Workers share the
// memory, which is large, because most sources are idle most of the time.
type batch struct {
	events []eventlog.NewEvent
	fates  []fate
}

// fate is what becomes of one item once the batch's events are in the log.
type fate struct {
	outcome Outcome
	event   int // index of its own event in the batch; -1 if it has none
	refused bool
	count   func(*Counters, *item)
}

const (
	// maxBatch bounds the answers that wait for one append, as a client's window does.
	maxBatch = 1024
	// maxSpare bounds the memory that a source keeps between two messages.
	maxSpare = 64
	// appendBytes is where a batch is cut; the rest to MaxAppendBytes is for
	// events beside the messages' own.
	appendBytes = eventlog.MaxAppendBytes * 9 / 10
	// envelopeBytes is what the log adds to one event's data, its actor aside.
	envelopeBytes = 256
)

func (k key) clone() key {
	return key{k.kind, strings.Clone(k.source), strings.Clone(k.incarnation)}
}

// put queues an item. If no worker ran, the caller is the worker now and has to
// start it. Ingester.mu is held.
func (s *source) put(it *item) (start bool, wait <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, it)
	s.bytes += len(it.message.Payload)
	s.touched = true
	if start = !s.running; start {
		s.running = true
		s.g.working.Add(1)
	}
	if s.room == nil && (len(s.queue) >= s.g.cfg.QueueMessages || s.bytes >= s.g.cfg.QueueBytes) {
		s.room = make(chan struct{})
	}
	return start, s.room
}

// start begins the work on the queue: on this goroutine, if that takes no
// append of its own and the log answers by itself, or else on another.
func (s *source) start(it *item) {
	if s.g.async == nil || !s.loaded || s.isCut(it) || s.key.kind != keyTelemetry || !s.isRegistered(it.device.Device) {
		go s.work()
		return
	}
	s.open()
	items, _ := s.take() // the caller's is among them
	n, err := s.decide(items)
	switch {
	case err != nil || n < len(items):
		s.loaded = false // what was decided is decided again
		go s.workOn(items)
	case len(s.events) == 0:
		s.answer(items)
		s.goOn(items)
	default:
		s.asked = items
		s.g.async.AppendAsync(s.stream, s.at, s.events, s.appended)
	}
}

// appended is the log's answer to what start has asked.
func (s *source) appended(app eventlog.Appended, err error) {
	items := s.asked
	s.asked = nil
	if err != nil {
		go s.recover(items, err)
		return
	}
	s.took(app)
	s.answer(items)
	s.goOn(items)
}

// recover goes on after an append that start has asked for and that failed.
func (s *source) recover(items []*item, err error) {
	if err = s.insist(context.WithoutCancel(s.g.ctx), err); err == nil {
		s.answer(items)
		s.goOn(items)
		return
	}
	s.loaded = false
	s.workOn(items)
}

// goOn ends the work, or has a goroutine go on with what has come meanwhile.
func (s *source) goOn(items []*item) {
	s.keep(items)
	if items, more := s.take(); more {
		go s.workOn(items)
	}
}

func (s *source) open() {
	if s.batch, _ = s.g.batches.Get().(*batch); s.batch == nil {
		s.batch = new(batch)
	}
}

// take gives the worker what is queued; false ends the worker.
func (s *source) take() ([]*item, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
	if len(s.queue) == 0 {
		s.g.batches.Put(s.batch)
		s.batch = nil
		s.running = false
		s.g.working.Done()
		return nil, false
	}
	items := s.queue
	s.queue, s.bytes = s.spare[:0], 0
	s.spare = nil
	return items, true
}

// silent reports whether nothing came since the last call.
func (s *source) silent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	silent := !s.touched && !s.running
	s.touched = false
	return silent
}

// work empties the queue.
func (s *source) work() {
	s.open()
	s.workOn(nil)
}

// workOn settles the items and empties the queue.
func (s *source) workOn(items []*item) {
	for more := true; more; items, more = s.take() {
		for rest := items; len(rest) > 0; {
			rest = rest[s.settle(rest):]
		}
		s.keep(items)
	}
}

// keep keeps the memory of a queue that has been settled, but not a burst's.
func (s *source) keep(items []*item) {
	clear(items)
	if cap(items) <= maxSpare {
		s.spare = items[:0]
	}
}

// settle settles some of the items, at least one, and returns how many.
func (s *source) settle(items []*item) int {
	if n := s.refuseCut(items); n > 0 {
		return n
	}
	limit := min(len(items), maxBatch)
	if i := slices.IndexFunc(items[:limit], s.isCut); i > 0 {
		limit = i
	}
	for {
		n, err := s.try(items[:limit])
		switch {
		case err == nil:
			return n
		case errors.Is(err, eventlog.ErrConflict):
			s.g.counters.Conflicts.Add(1)
			s.loaded = false
		case errors.Is(err, eventlog.ErrTooLarge) && limit > 1:
			s.loaded = false
			limit /= 2
		case s.g.ctx.Err() != nil, !passing(err):
			s.loaded = false
			s.cut = items[limit-1].message.Connection
			s.fail(items[:limit], err)
			return limit
		default:
			s.loaded = false // a read failed, or a device could not be registered
			s.g.counters.Retries.Add(1)
			s.pause()
		}
	}
}

// isCut reports whether an item came behind one that was not stored, on a
// connection that is being ended for it. Its turn comes after that one's, on the
// next connection: taken now it would look as if the source had lost the first.
func (s *source) isCut(it *item) bool {
	return s.cut != 0 && it.message.Connection == s.cut
}

// refuseCut fails the first items of a cut connection and returns how many.
func (s *source) refuseCut(items []*item) int {
	n := 0
	for n < len(items) && s.isCut(items[n]) {
		n++
	}
	if n > 0 {
		s.fail(items[:n], ErrCut)
	}
	return n
}

// passing reports whether trying again may help.
func passing(err error) bool {
	for _, never := range []error{ErrElsewhere, eventlog.ErrClosed, eventlog.ErrDamaged, eventlog.ErrBadEvent, eventlog.ErrTooLarge} {
		if errors.Is(err, never) {
			return false
		}
	}
	return true
}

func (s *source) pause() {
	t := time.NewTimer(s.g.cfg.Retry)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.g.ctx.Done():
	}
}

// try decides on the items, appends their events at once and answers. It
// returns how many items it settled. After an error none is.
func (s *source) try(items []*item) (int, error) {
	n, err := s.decide(items)
	if err != nil {
		return 0, err
	}
	if err := s.append(context.WithoutCancel(s.g.ctx)); err != nil {
		return 0, err
	}
	s.answer(items)
	return n, nil
}

// decide decides on the items, or on as many as one append can hold, and
// returns how many that were.
func (s *source) decide(items []*item) (int, error) {
	// An append that is under way when Close is called is seen through.
	ctx := context.WithoutCancel(s.g.ctx)
	if s.g.ctx.Err() != nil {
		return 0, ErrClosed
	}
	if !s.loaded {
		if own := s.g.cfg.Own; own != nil && s.key.kind == keyTelemetry {
			if err := own(s.g.ctx, s.key.source); err != nil {
				return 0, fmt.Errorf("source %q: %w", s.key.source, err)
			}
		}
		s.at = eventlog.NoStream
		if err := s.rules.load(ctx, s); err != nil {
			return 0, err
		}
		s.loaded = true
	}
	s.events, s.fates = s.events[:0], s.fates[:0]
	size := 0
	for i := range items {
		it := items[i]
		from := len(s.events)
		if from > 0 && size+len(it.event.data)+s.overhead() > appendBytes {
			break
		}
		f, err := s.rules.decide(ctx, s, it)
		if err != nil {
			return 0, err
		}
		s.fates = append(s.fates, f)
		for _, e := range s.events[from:] {
			size += len(e.Data) + s.overhead()
		}
	}
	return len(s.fates), nil
}

// overhead is what one event adds to an append besides its data.
func (s *source) overhead() int { return envelopeBytes + 2*len(s.env.Actor.Subject) }

// add appends an event to the batch and returns its index.
func (s *source) add(b body) int {
	n := len(s.events)
	if n == cap(s.events) {
		s.events = append(s.events, eventlog.NewEvent{})
	} else {
		s.events = s.events[:n+1]
	}
	e := &s.events[n]
	if e.Envelope.Actor.Subject != s.env.Actor.Subject { // else it has it from an earlier batch
		e.Envelope = s.env
	}
	e.ID, e.Type, e.ContentType, e.Data = b.id, b.typ, b.contentType, b.data
	return n
}

// side makes an event that a message causes beside its own.
func (s *source) side(it *item, ev eventlog.Event) (body, error) {
	b, err := jsonBody(telemetry.SideID(it.event.id, ev.EventType()), ev)
	if err != nil {
		return b, fmt.Errorf("stream %s: %w", s.stream, err)
	}
	return b, nil
}

// append makes the batch durable.
func (s *source) append(ctx context.Context) error {
	if len(s.events) == 0 {
		return nil
	}
	app, err := s.g.log.Append(ctx, s.stream, s.at, s.events...)
	if err != nil {
		return s.insist(ctx, err)
	}
	s.took(app)
	return nil
}

// insist goes on after an append that failed. What the log could not take, or
// may have taken, is tried again with the same ids at the same place, so that it
// is there once; only a log that says no for good, or Close, ends that.
func (s *source) insist(ctx context.Context, err error) error {
	for {
		if errors.Is(err, eventlog.ErrConflict) || !passing(err) || s.g.ctx.Err() != nil {
			return err
		}
		s.g.counters.Retries.Add(1)
		s.pause()
		var app eventlog.Appended
		if app, err = s.g.log.Append(ctx, s.stream, s.at, s.events...); err == nil {
			s.took(app)
			return nil
		}
	}
}

// took notes that the batch is in the log.
func (s *source) took(app eventlog.Appended) {
	s.at = eventlog.At(app.Revision)
	s.rules.appended()
}

// answer tells every item's sender, in order.
func (s *source) answer(items []*item) {
	first := s.at.Next() - eventlog.Revision(len(s.events))
	for i := range s.fates {
		f, it := &s.fates[i], items[i]
		if f.count != nil {
			f.count(&s.g.counters, it)
		}
		if f.refused {
			f.outcome.Refused = &Ref{s.stream, first + eventlog.Revision(f.event)}
		}
		it.done(f.outcome)
		s.recycle(it)
	}
	for i := range s.events {
		s.events[i].Data = nil
	}
}

// recycle gives an answered item's memory back.
func (s *source) recycle(it *item) {
	*it = item{}
	s.g.items.Put(it)
}

func (s *source) fail(items []*item, err error) {
	for i := range items {
		items[i].done(Outcome{Disconnect: true, Err: err})
		s.recycle(items[i])
	}
}
