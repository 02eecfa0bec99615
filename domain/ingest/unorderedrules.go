package ingest

import (
	"context"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/planted"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// What the window promises (docs/formats/uplink.md): a message whose msg_id is
// among the source's last windowEvents events and was recorded in the last
// windowAge is never stored again.
const (
	windowEvents = 100_000
	windowAge    = 24 * time.Hour
	// shallowEvents is what is remembered of a source whose messages come in
	// the order of their own times: those prove by their time that they are not
	// among the older ones.
	shallowEvents = 1024
	// clockSkew is how far a device's clock may be ahead of the server's before
	// its times prove nothing.
	clockSkew = time.Minute
	// deepFor is how long the whole window stays in memory after it was needed.
	deepFor = 10 * time.Minute
	// blockEvents is the grain in which the times of events are kept.
	blockEvents = 64
)

// depth is how many events are remembered of a source; tests make it small.
type depth struct{ whole, shallow int }

// unorderedRules put the rules of unordered and the window of msg_ids around
// their stream.
type unorderedRules struct {
	state   unordered
	win     window
	blocks  []block // of the events in win, by revision / blockEvents
	pending []known // of the events of this batch
	// whole: win reaches back as far as was promised.
	whole     bool
	deepUntil time.Time
	// before is what is known of the events older than win; exact if all of
	// them were seen by this process.
	before block
	exact  bool
	// fast: a message's own time was ahead of the server's clock.
	fast bool
}

// block holds the latest times among some events, Unix milliseconds.
type block struct{ own, recorded int64 }

func (b *block) add(o block) { b.own, b.recorded = max(b.own, o.own), max(b.recorded, o.recorded) }

// known is what a repeat is compared with.
type known struct {
	msgID   string
	content fingerprint
}

func (r *unorderedRules) load(ctx context.Context, s *source) error {
	deepUntil := r.deepUntil
	*r = unorderedRules{exact: true, deepUntil: deepUntil}
	records, err := readBack(ctx, s, eventlog.LastRevision, s.g.depth.shallow, time.Time{})
	if err != nil {
		return err
	}
	if len(records) == 0 {
		r.whole = true
		return nil
	}
	s.at = eventlog.At(records[len(records)-1].revision)
	r.win.reset(records[0].revision)
	r.whole, r.exact = r.win.from == 0, r.win.from == 0
	for i := range records {
		rec := &records[i]
		if rec.gap != nil {
			r.state.gap(rec.gap)
		}
		if rec.hasSeq {
			r.state.took(rec.seq, rec.times.own)
		}
		r.state.newest = max(r.state.newest, rec.times.own)
		r.fast = r.fast || rec.times.own > rec.times.recorded+clockSkew.Milliseconds()
		r.push(s, rec.msgID, rec.times)
	}
	if !r.exact {
		// Nothing older was recorded later than the oldest of these.
		r.before.recorded = records[0].times.recorded
	}
	return nil
}

func (r *unorderedRules) mark(s *source, msgID string) uint32 {
	if msgID == "" {
		return 0
	}
	return mark(maphash.String(s.g.seed, msgID))
}

// push remembers the next event of the stream.
func (r *unorderedRules) push(s *source, msgID string, times block) {
	if len(r.blocks) == 0 || r.win.next%blockEvents == 0 {
		r.blocks = append(r.blocks, block{})
	}
	r.blocks[len(r.blocks)-1].add(times)
	r.win.push(r.mark(s, msgID))
}

func (r *unorderedRules) decide(ctx context.Context, s *source, it *item) (fate, error) {
	if len(s.events) == 0 {
		r.pending = r.pending[:0]
		r.trim(s, it.message.Arrived)
	}
	if err := s.register(ctx, it); err != nil {
		return fate{}, err
	}
	seen := unseen
	if it.msgID != "" {
		var err error
		if seen, err = r.seen(ctx, s, it); err != nil {
			return fate{}, err
		}
	}
	if planted.Bug == planted.DuplicateStored {
		seen = expired
	}
	switch seen {
	case repeated:
		return fate{outcome: Outcome{Ack: true, Duplicate: true}, event: -1, count: countDuplicate}, nil
	case reused:
		return r.reuse(s, it), nil
	default:
		return r.take(s, it, seen == expired)
	}
}

// sighting says where a message's msg_id was seen before.
type sighting uint8

const (
	unseen   sighting = iota
	expired           // longer ago than is promised, or perhaps so
	repeated          // within the window, with the same content
	reused            // within the window, with other content
)

func (r *unorderedRules) seen(ctx context.Context, s *source, it *item) (sighting, error) {
	m := r.mark(s, it.msgID)
	found, err := r.look(ctx, s, it, m)
	if err != nil || found == repeated || found == reused {
		return found, err
	}
	proven := r.proven(it)
	if !proven && !r.whole {
		if err := r.deepen(ctx, s, it.message.Arrived); err != nil {
			return unseen, err
		}
		if found, err = r.look(ctx, s, it, m); err != nil || found == repeated || found == reused {
			return found, err
		}
		proven = r.proven(it)
	}
	if !proven {
		r.deepUntil = it.message.Arrived.Add(deepFor)
		if it.at != 0 && it.at <= r.before.own {
			return expired, nil
		}
	}
	return found, nil
}

// look asks the window, and then the log for each of its hits.
func (r *unorderedRules) look(ctx context.Context, s *source, it *item, m uint32) (found sighting, err error) {
	var hits [8]eventlog.Revision
	n := 0
	r.win.find(m, func(rev eventlog.Revision) bool {
		if n < len(hits) {
			hits[n] = rev
			n++
		}
		return n < len(hits)
	})
	for _, rev := range hits[:n] {
		one, err := r.compare(ctx, s, it, rev)
		if err != nil {
			return unseen, err
		}
		switch {
		case one == repeated:
			return repeated, nil
		case one > found:
			found = one
		}
	}
	return found, nil
}

func (r *unorderedRules) compare(ctx context.Context, s *source, it *item, rev eventlog.Revision) (sighting, error) {
	if i := int(rev) - int(s.at.Next()); i >= 0 {
		if r.pending[i].msgID != it.msgID {
			return unseen, nil
		}
		return r.alike(s, it, r.pending[i].content), nil
	}
	for rec, err := range s.g.log.Read(ctx, s.stream, rev, eventlog.Forwards) {
		if err != nil {
			return unseen, err
		}
		sum, err := summarise(rec)
		if err != nil || sum.msgID != it.msgID {
			return unseen, err
		}
		if rec.Recorded.Before(it.message.Arrived.Add(-windowAge)) {
			return expired, nil
		}
		f, err := s.g.fingerprintOf(rec)
		return r.alike(s, it, f), err
	}
	return unseen, fmt.Errorf("%s@%d is missing: %w", s.stream, rev, eventlog.ErrDamaged)
}

func (r *unorderedRules) alike(s *source, it *item, there fingerprint) sighting {
	if s.g.same(it, there, false) {
		return repeated
	}
	return reused
}

// reuse refuses a message whose msg_id belongs to another one: calling it a
// duplicate would lose what it says.
func (r *unorderedRules) reuse(s *source, it *item) fate {
	ev := telemetry.Refused{
		MsgID: it.msgID, Reason: fmt.Sprintf("msg_id %.80q came before with other content", it.msgID),
		Topic: it.message.Topic, Client: it.message.Client, Payload: it.message.Payload,
	}
	ev.Payload, ev.Bytes, ev.SHA256 = keepPayload(ev.Payload)
	b := mustBody(s.g.arrivals.id(s.g.log.Origin(), it.message), ev)
	content := fingerprint{payload: s.g.payloadHash(it.message.Payload)}
	return fate{outcome: Outcome{Ack: true}, event: r.add(s, it, b, content), refused: true, count: countRefused}
}

// add appends the item's own event and remembers it.
func (r *unorderedRules) add(s *source, it *item, b body, content fingerprint) int {
	r.pending = append(r.pending, known{it.msgID, content})
	r.push(s, it.msgID, block{it.at, it.message.Arrived.UnixMilli()})
	r.fast = r.fast || it.at > it.message.Arrived.Add(clockSkew).UnixMilli()
	return s.add(b)
}

// take appends the message, and what its number tells.
func (r *unorderedRules) take(s *source, it *item, maybe bool) (fate, error) {
	c := counted{maybe: maybe, withoutID: it.msgID == "" && it.kind == Telemetry}
	var after *telemetry.Reordered
	if it.hasSeq {
		before, late, again := r.state.place(it.from, it.at)
		after, c.maybe = late, c.maybe || again && it.msgID == ""
		if before != nil {
			if err := r.side(s, it, *before); err != nil {
				return fate{}, err
			}
			r.state.gap(before)
			c.gap = true
		}
	}
	b := it.event
	if maybe { // the id that follows from its msg_id may be taken
		b.id = s.g.arrivals.id(s.g.log.Origin(), it.message)
	}
	n := r.add(s, it, b, it.content)
	if it.hasSeq {
		r.state.took(it.from, it.at)
	} else {
		r.state.newest = max(r.state.newest, it.at)
	}
	if after != nil {
		if err := r.side(s, it, *after); err != nil {
			return fate{}, err
		}
		c.late = true
	}
	f := fate{outcome: Outcome{Ack: true}, event: n, refused: it.kind == Unknown, count: countStored}
	if c != (counted{}) {
		f.count = c.count
	}
	return f, nil
}

func (r *unorderedRules) side(s *source, it *item, ev eventlog.Event) error {
	b, err := s.side(it, ev)
	if err != nil {
		return err
	}
	r.pending = append(r.pending, known{})
	r.push(s, "", block{})
	s.add(b)
	return nil
}

// counted is what is unusual about a stored message.
type counted struct{ maybe, withoutID, gap, late bool }

func (u counted) count(c *Counters, it *item) {
	countStored(c, it)
	for _, one := range []struct {
		yes bool
		add interface{ Add(uint64) uint64 }
	}{
		{u.maybe, &c.PossibleDuplicates},
		{u.withoutID, &c.WithoutID},
		{u.gap, &c.Gaps},
		{u.late, &c.Reordered},
	} {
		if one.yes {
			one.add.Add(1)
		}
	}
}

func (r *unorderedRules) appended() { r.pending = r.pending[:0] }
