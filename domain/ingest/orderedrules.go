package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/twinlog/twinlog/domain/device"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// orderedRules put the rules of ordered around their stream.
type orderedRules struct {
	state  ordered
	recent [recentNumbers]recent
	past   map[uint64]fingerprint // older numbers, as read for the last repeats
	clones [][sha256.Size]byte    // payloads already recorded as cloned, newest last
	opened bool                   // source-<source> lists this incarnation
	// connection of the last item, also across a reload.
	connection uint64
}

// recent is what the log has under a number, for repeats that need no read.
type recent struct {
	seq     uint64
	content fingerprint
}

const (
	// recentNumbers covers a client's window, which is what a reconnecting
	// gateway sends again.
	recentNumbers = 1024
	// maxClones bounds the clones that are known by heart: a copied box tries
	// the same message again and again.
	maxClones = 16
	// readAhead is how many events are read at once for older repeats.
	readAhead = 256
)

func (r *orderedRules) load(ctx context.Context, s *source) error {
	*r = orderedRules{connection: r.connection, opened: r.opened}
	for rec, err := range s.g.log.Read(ctx, s.stream, eventlog.LastRevision, eventlog.Backwards) {
		if err != nil {
			return err
		}
		if s.at == eventlog.NoStream {
			s.at = eventlog.At(rec.Revision)
		}
		if rec.Type == (Cloned{}).EventType() {
			var c Cloned
			if err := json.Unmarshal(rec.Data, &c); err != nil {
				return fmt.Errorf("%s@%d: %w", rec.Stream, rec.Revision, err)
			}
			r.knowClone(c.Payload)
		}
		_, to, ok, err := numbers(rec)
		if err != nil {
			return err
		}
		if ok {
			r.state.took(to)
			break
		}
	}
	if r.state.any {
		return nil
	}
	return r.loadSource(ctx, s)
}

// loadSource finds out whether the source had another incarnation.
func (r *orderedRules) loadSource(ctx context.Context, s *source) error {
	at, err := r.eachOpened(ctx, s)
	if err != nil || r.opened {
		return err
	}
	ev, err := eventlog.NewJSONEvent(telemetry.SideID(telemetry.OrderedID(s.g.log.Origin(), s.key.incarnation, 0), Opened{}.EventType()),
		Opened{s.key.incarnation}, s.env)
	if err != nil {
		return err
	}
	if _, err := s.g.log.Append(ctx, sourceStream(s.key.source), at, ev); err != nil {
		return err
	}
	r.opened = true
	return nil
}

func sourceStream(source string) eventlog.StreamID { return eventlog.Stream("source", source) }

func (r *orderedRules) eachOpened(ctx context.Context, s *source) (at eventlog.Expected, err error) {
	for rec, err := range s.g.log.Read(ctx, sourceStream(s.key.source), 0, eventlog.Forwards) {
		if err != nil {
			return at, err
		}
		at = eventlog.At(rec.Revision)
		var o Opened
		if rec.Type != o.EventType() {
			continue
		}
		if err := json.Unmarshal(rec.Data, &o); err != nil {
			return at, fmt.Errorf("%s@%d: %w", rec.Stream, rec.Revision, err)
		}
		if o.Incarnation == s.key.incarnation {
			r.opened = true
		} else {
			r.state.previous = o.Incarnation
		}
	}
	return at, nil
}

func (r *orderedRules) decide(ctx context.Context, s *source, it *item) (fate, error) {
	first := it.message.Connection != 0 && it.message.Connection != r.connection
	r.connection = it.message.Connection
	there, err := r.there(ctx, s, it)
	if err != nil {
		return fate{}, err
	}
	v, gap := r.state.decide(it.kind, it.from, it.to, first, there)
	if v <= takeRest {
		if err := s.register(ctx, it); err != nil {
			return fate{}, err
		}
	}
	if gap != nil {
		b, err := s.side(it, *gap)
		if err != nil {
			return fate{}, err
		}
		s.add(b)
	}
	switch v {
	case take:
		return r.take(s, it, gap), nil
	case takeRest:
		return r.takeRest(s, it)
	case duplicate:
		return fate{outcome: Outcome{Ack: true, Duplicate: true}, event: -1, count: countDuplicate}, nil
	case clone:
		return r.clone(s, it), nil
	case stray:
		return r.stray(ctx, s, it)
	default:
		expected := r.state.last + 1
		return fate{
			outcome: Outcome{
				Disconnect: true, Expected: expected,
				Err: fmt.Errorf("seq %d of %s, expected %d: %w", it.from, s.stream, expected, ErrAhead),
			},
			event: -1, count: countAhead,
		}, nil
	}
}

// take appends the message itself. Its opening gap, if there is one, stands
// before it, unless it is the source's own start.
func (r *orderedRules) take(s *source, it *item, gap *telemetry.Gap) fate {
	n := s.add(it.event)
	if gap != nil && it.kind == Start {
		s.events[n-1], s.events[n] = s.events[n], s.events[n-1]
		n--
	}
	r.state.took(it.to)
	r.remember(it.from, it.content)
	f := fate{outcome: Outcome{Ack: true}, event: n, refused: it.kind == Unknown, count: countStored}
	if gap != nil {
		f.count = countStoredAfterGap
	}
	return f
}

// takeRest appends the part of a loss that is not in the log yet.
func (r *orderedRules) takeRest(s *source, it *item) (fate, error) {
	var l telemetry.Lost
	if err := json.Unmarshal(it.event.data, &l); err != nil {
		return fate{}, fmt.Errorf("loss in %s: %w", s.stream, err)
	}
	l.From = r.state.last + 1
	ev, err := jsonBody(telemetry.OrderedID(s.g.log.Origin(), s.key.incarnation, l.From), l)
	if err != nil {
		return fate{}, err
	}
	r.state.took(it.to)
	return fate{outcome: Outcome{Ack: true}, event: s.add(ev), count: countStored}, nil
}

// clone records the message's bytes once and never acknowledges it.
func (r *orderedRules) clone(s *source, it *item) fate {
	f := fate{
		outcome: Outcome{Disconnect: true, Err: fmt.Errorf("seq %d of %s: %w", it.from, s.stream, ErrCloned)},
		event:   -1, count: countCloned,
	}
	payload, _, _ := keepPayload(it.message.Payload)
	if !r.knowClone(payload) {
		ev := Cloned{Seq: it.from, Topic: it.message.Topic, Client: it.message.Client, Payload: payload}
		s.add(mustBody(s.g.arrivals.id(s.g.log.Origin(), it.message), ev))
	}
	return f
}

// knowClone remembers a payload and reports whether it was known.
func (r *orderedRules) knowClone(payload []byte) bool {
	sum := sha256.Sum256(payload)
	if slices.Contains(r.clones, sum) {
		return true
	}
	if len(r.clones) == maxClones {
		r.clones = slices.Delete(r.clones, 0, 1)
	}
	r.clones = append(r.clones, sum)
	return false
}

// stray keeps a message whose number was given up for lost, in the source's
// dead letter stream: in its own it would break the order of numbers, and
// throwing it away is not for us.
func (r *orderedRules) stray(ctx context.Context, s *source, it *item) (fate, error) {
	ev := DeadLettered{
		Topic: it.message.Topic, Client: it.message.Client, Payload: it.message.Payload,
		Reason: fmt.Sprintf("seq %d of incarnation %s comes after a gap was recorded in its place", it.from, s.key.incarnation),
	}
	ev.Payload, ev.Bytes, ev.SHA256 = keepPayload(ev.Payload)
	b := mustBody(telemetry.SideID(it.event.id, ev.EventType()), ev)
	ref, err := appendOnce(ctx, s.g.log, eventlog.Stream("deadletter", s.key.source),
		eventlog.NewEvent{ID: b.id, Type: b.typ, Data: b.data, Envelope: s.env})
	if err != nil {
		return fate{}, err
	}
	return fate{outcome: Outcome{Ack: true, Refused: &ref}, event: -1, count: countDeadLetter}, nil
}

// appendOnce appends one event at the end of a stream that others may append
// to as well, unless it is among its newest already.
func appendOnce(ctx context.Context, log eventlog.Log, id eventlog.StreamID, e eventlog.NewEvent) (Ref, error) {
	at, n := eventlog.NoStream, 0
	for rec, err := range log.Read(ctx, id, eventlog.LastRevision, eventlog.Backwards) {
		if err != nil {
			return Ref{}, err
		}
		if rec.ID == e.ID {
			return Ref{id, rec.Revision}, nil
		}
		if n == 0 {
			at = eventlog.At(rec.Revision)
		}
		if n++; n == readAhead {
			break
		}
	}
	app, err := log.Append(ctx, id, at, e)
	return Ref{id, app.Revision}, err
}

func (r *orderedRules) appended() {}

func (r *orderedRules) remember(seq uint64, f fingerprint) {
	r.recent[seq%recentNumbers] = recent{seq, f}
}

// there says what the log has under the item's first number.
func (r *orderedRules) there(ctx context.Context, s *source, it *item) (stored, error) {
	if !r.state.any || it.from > r.state.last {
		return nothing, nil
	}
	if c := r.recent[it.from%recentNumbers]; c.seq == it.from {
		return s.compare(it, c.content), nil
	}
	if f, ok := r.past[it.from]; ok {
		return s.compare(it, f), nil
	}
	// The events of this batch, at most a client's window, are all in recent.
	rev, ok, err := s.find(ctx, it.from)
	if err != nil || !ok {
		return nothing, err
	}
	if err := r.readPast(ctx, s, rev); err != nil {
		return nothing, err
	}
	if f, ok := r.past[it.from]; ok {
		return s.compare(it, f), nil
	}
	return other, nil // inside the range of a loss
}

// readPast fills past with the events from revision rev on: a source that
// repeats an old message goes on with the next.
func (r *orderedRules) readPast(ctx context.Context, s *source, rev eventlog.Revision) error {
	if r.past == nil {
		r.past = make(map[uint64]fingerprint, readAhead)
	}
	clear(r.past)
	n := 0
	for rec, err := range s.g.log.Read(ctx, s.stream, rev, eventlog.Forwards) {
		if err != nil {
			return err
		}
		from, _, ok, err := numbers(rec)
		if err != nil {
			return err
		}
		if ok {
			if r.past[from], err = s.g.fingerprintOf(rec); err != nil {
				return err
			}
		}
		if n++; n == readAhead {
			break
		}
	}
	return nil
}

func (s *source) compare(it *item, there fingerprint) stored {
	if s.g.same(it, there, true) {
		return same
	}
	return other
}

// find returns the revision of the event that has seq among its numbers. The
// numbers of a stream rise with its revisions.
func (s *source) find(ctx context.Context, seq uint64) (eventlog.Revision, bool, error) {
	low, high := eventlog.Revision(0), s.at.Next()-eventlog.Revision(0)
	for low < high {
		middle := low + (high-low)/2
		rev, from, to, ok, err := s.numbered(ctx, middle, high)
		switch {
		case err != nil:
			return 0, false, err
		case !ok || seq < from:
			high = middle
		case seq > to:
			low = rev + 1
		default:
			return rev, true, nil
		}
	}
	return 0, false, nil
}

// numbered returns the first event from revision rev on, and before end, that
// uses numbers.
func (s *source) numbered(ctx context.Context, rev, end eventlog.Revision) (at eventlog.Revision, from, to uint64, ok bool, err error) {
	for rec, err := range s.g.log.Read(ctx, s.stream, rev, eventlog.Forwards) {
		if err != nil || rec.Revision >= end {
			return 0, 0, 0, false, err
		}
		if from, to, ok, err := numbers(rec); ok || err != nil {
			return rec.Revision, from, to, ok, err
		}
	}
	return 0, 0, 0, false, nil
}

// numbers returns the sequence numbers that an event of an ordered stream uses.
func numbers(rec eventlog.Record) (from, to uint64, ok bool, err error) {
	var n struct {
		Seq  uint64 `json:"seq"`
		From uint64 `json:"from"`
		To   uint64 `json:"to"`
	}
	switch rec.Type {
	case eventlog.TelemetryRecorded:
		var v telemetry.View
		if err := v.Reset(rec.Data); err != nil {
			return 0, 0, false, fmt.Errorf("%s@%d: %w", rec.Stream, rec.Revision, err)
		}
		return v.Seq, v.Seq, v.HasSeq, nil
	case Started{}.EventType(), telemetry.Refused{}.EventType(), telemetry.Lost{}.EventType():
		if err := json.Unmarshal(rec.Data, &n); err != nil {
			return 0, 0, false, fmt.Errorf("%s@%d: %w", rec.Stream, rec.Revision, err)
		}
		if rec.Type == (telemetry.Lost{}).EventType() {
			return n.From, n.To, true, nil
		}
		return n.Seq, n.Seq, n.Seq != 0, nil
	default:
		return 0, 0, false, nil
	}
}

func deviceStream(it *item) eventlog.StreamID { return device.Stream(it.device.Device) }
