package eventlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// maxAttempts is how often a command is decided before ErrConflict is given
// back: five writers on one entity at once is already unusual.
const maxAttempts = 5

// appendBytes is where a batch of commands is cut into the next append. The
// margin to MaxAppendBytes is for what the log stamps into each envelope.
const (
	appendBytes = MaxAppendBytes * 6 / 10
	stampBytes  = 150
)

// entry is one stream's newest known state.
type entry[S any] struct {
	id StreamID

	// mu is held while a command on this stream is decided and appended; it
	// guards everything below.
	mu    sync.Mutex
	state S
	at    Expected
	last  Position             // of the event at "at"
	seen  map[EventID]Revision // of every event with a keyed id
	dirty bool                 // state holds events that are not in the log
}

// Look calls f with the newest state of a stream. f must not keep a state that
// Evolve changes in place.
func (h *Handler[S, C]) Look(ctx context.Context, id StreamID, f func(S, Expected)) error {
	e := h.entry(id)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := h.catchUp(ctx, e); err != nil {
		return err
	}
	f(e.state, e.at)
	return nil
}

// Find returns the revision of the first event of a command that was executed
// with this key before, if it was.
func (h *Handler[S, C]) Find(ctx context.Context, id StreamID, key Key) (Revision, bool, error) {
	e := h.entry(id)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := h.catchUp(ctx, e); err != nil {
		return 0, false, err
	}
	rev, ok := e.seen[key.Event(0)]
	return rev, ok, nil
}

// ExecuteAll executes many commands on one stream in order, each decided after
// the ones before it, with as few appends as MaxAppendBytes allows. One that is
// refused does not hold up the others. An error means that the rest was not
// tried; what was appended before it stays, and is recognised when it is sent
// again with the same keys.
func (h *Handler[S, C]) ExecuteAll(ctx context.Context, id StreamID, items []Item[C]) ([]Result, error) {
	e := h.entry(id)
	e.mu.Lock()
	defer e.mu.Unlock()
	r := run[S, C]{h: h, e: e, items: items, results: make([]Result, len(items))}
	for attempt := 1; ; attempt++ {
		err := h.catchUp(ctx, e)
		if err == nil {
			err = r.decide(ctx)
		}
		switch {
		case err == nil:
			return r.results, nil
		case !errors.Is(err, ErrConflict) || attempt == maxAttempts:
			if e.dirty { // it was evolved ahead of the log, so it is worth nothing
				h.forget(e)
			}
			return r.results[:r.settled], fmt.Errorf("execute on %s: %w", id, err)
		}
	}
}

// entry returns the stream's entry, making room for a new one. An entry that is
// thrown out while somebody works with it costs a conflict, not correctness.
func (h *Handler[S, C]) entry(id StreamID) *entry[S] {
	h.mu.Lock()
	defer h.mu.Unlock()
	if el, ok := h.entries[id]; ok {
		h.order.MoveToFront(el)
		return el.Value.(*entry[S])
	}
	e := &entry[S]{id: id, seen: map[EventID]Revision{}}
	h.entries[id] = h.order.PushFront(e)
	if h.order.Len() > h.keep {
		oldest := h.order.Back()
		delete(h.entries, oldest.Value.(*entry[S]).id)
		h.order.Remove(oldest)
	}
	return e
}

func (h *Handler[S, C]) forget(e *entry[S]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if el, ok := h.entries[e.id]; ok && el.Value == any(e) {
		delete(h.entries, e.id)
		h.order.Remove(el)
	}
	e.reset()
}

func (e *entry[S]) reset() {
	var zero S
	e.state, e.at, e.last, e.dirty = zero, NoStream, 0, false
	clear(e.seen)
}

// catchUp reads what the stream holds beyond the entry.
func (h *Handler[S, C]) catchUp(ctx context.Context, e *entry[S]) error {
	if e.dirty {
		e.reset()
	}
	for rec, err := range h.log.Read(ctx, e.id, e.at.Next(), Forwards) {
		if err != nil {
			return fmt.Errorf("read %s from %d: %w", e.id, e.at.Next(), err)
		}
		event, err := h.decider.Decode(rec.Type, rec.Data)
		if err != nil {
			return fmt.Errorf("stream %s revision %d: %w", e.id, rec.Revision, err)
		}
		if event != nil {
			e.state = h.decider.Evolve(e.state, event)
		}
		e.at, e.last = At(rec.Revision), rec.Position
		if rec.ID.keyed() { // others are never sent a second time

			e.seen[rec.ID] = rec.Revision
		}
	}
	return nil
}

// run is one ExecuteAll under way.
type run[S, C any] struct {
	h       *Handler[S, C]
	e       *entry[S]
	items   []Item[C]
	results []Result
	settled int // items before this one have their result

	events  []NewEvent // decided and not appended
	facts   []Event    // the same, as the domain knows them
	evolved int        // facts before this one are in e.state
	spans   []span
	bytes   int
}

// span says which of the pending events are an item's.
type span struct{ item, from, to int }

// decide goes through the unsettled items once. On an error the pending events
// are gone and will be decided again.
func (r *run[S, C]) decide(ctx context.Context) error {
	r.drop()
	for i := r.settled; i < len(r.items); i++ {
		if err := r.one(ctx, i); err != nil {
			return err
		}
	}
	return r.flush(ctx)
}

func (r *run[S, C]) drop() {
	r.events, r.facts, r.spans, r.evolved, r.bytes = nil, nil, nil, 0, 0
}

func (r *run[S, C]) one(ctx context.Context, i int) error {
	call := r.items[i].Call
	for _, s := range r.spans { // the same key twice in one batch
		if call.Key == r.items[s.item].Call.Key {
			if err := r.flush(ctx); err != nil {
				return err
			}
			break
		}
	}
	if rev, ok := r.e.seen[call.Key.Event(0)]; ok {
		done, err := r.h.repeated(ctx, r.e.id, call.Key, rev)
		if err != nil {
			return err
		}
		r.result(i, Result{Done: done})
		return nil
	}
	r.evolve()
	facts, err := r.h.decider.Decide(r.e.state, r.items[i].Command)
	if err != nil {
		r.result(i, Result{Err: err})
		return nil //nolint:nilerr // one item's refusal holds up none of the others
	}
	if len(facts) == 0 {
		r.result(i, Result{Done: Done{Appended: Appended{Last: r.e.last, Revision: r.e.at.Next() - 1}}})
		return nil
	}
	events, size, err := r.prepare(call, facts)
	if err != nil {
		r.result(i, Result{Err: err})
		return nil //nolint:nilerr // one item's refusal holds up none of the others
	}
	if r.bytes+size > appendBytes && len(r.events) > 0 {
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
	r.spans = append(r.spans, span{i, len(r.events), len(r.events) + len(events)})
	r.events, r.facts, r.bytes = append(r.events, events...), append(r.facts, facts...), r.bytes+size
	if r.bytes > appendBytes {
		return r.flush(ctx) // alone, so that "too large" is the refusal of this item
	}
	return nil
}

// result settles an item, unless earlier ones are still pending: those may have
// to be decided again, and this one after them.
func (r *run[S, C]) result(i int, res Result) {
	r.results[i] = res
	if len(r.spans) == 0 {
		r.settled = i + 1
	}
}

func (r *run[S, C]) prepare(call Call, facts []Event) ([]NewEvent, int, error) {
	events, size := make([]NewEvent, len(facts)), 0
	stamped := len(call.Envelope.AppendCanonical(nil)) + stampBytes
	for n, fact := range facts {
		env := call.Envelope
		if d, ok := fact.(Dated); ok {
			env.Effective = d.EffectiveTime()
		}
		var err error
		if events[n], err = NewJSONEvent(call.Key.Event(n), fact, env); err != nil {
			return nil, 0, err
		}
		size += len(events[n].Data) + stamped
	}
	return events, size, nil
}

// evolve brings the pending facts into the state, on which the next command is
// decided. Should they not reach the log, the state is built again.
func (r *run[S, C]) evolve() {
	for ; r.evolved < len(r.facts); r.evolved++ {
		r.e.dirty = true
		r.e.state = r.h.decider.Evolve(r.e.state, r.facts[r.evolved])
	}
}

func (r *run[S, C]) flush(ctx context.Context) error {
	if len(r.events) == 0 {
		return nil
	}
	first := r.e.at.Next()
	app, err := r.h.log.Append(ctx, r.e.id, r.e.at, r.events...)
	if errors.Is(err, ErrTooLarge) && len(r.spans) == 1 && !r.e.dirty {
		i := r.spans[0].item
		r.drop()
		r.result(i, Result{Err: err})
		return nil
	}
	if err != nil {
		return err
	}
	r.evolve()
	r.e.dirty = false
	r.e.at, r.e.last = At(app.Revision), app.Last
	for n, ev := range r.events {
		if ev.ID.keyed() {
			r.e.seen[ev.ID] = first + Revision(n)
		}
	}
	for _, s := range r.spans {
		done := Done{Appended: app}
		done.Revision = first + Revision(s.to) - 1
		for _, ev := range r.events[s.from:s.to] {
			done.IDs = append(done.IDs, ev.ID)
		}
		r.results[s.item] = Result{Done: done}
		r.settled = s.item + 1
	}
	r.drop()
	return nil
}

// repeated finds the events of a command whose first event is at rev.
func (h *Handler[S, C]) repeated(ctx context.Context, id StreamID, key Key, rev Revision) (Done, error) {
	done := Done{Appended: Appended{Repeated: true}}
	for rec, err := range h.log.Read(ctx, id, rev, Forwards) {
		if err != nil {
			return Done{}, fmt.Errorf("read %s from %d: %w", id, rev, err)
		}
		if rec.ID != key.Event(len(done.IDs)) {
			break
		}
		if len(done.IDs) == 0 {
			done.First = rec.Position
		}
		done.Last, done.Revision = rec.Position, rec.Revision
		done.IDs = append(done.IDs, rec.ID)
	}
	return done, nil
}
