package eventlog

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrMoved says that the entity has changed since the revision that the caller
// named. A MovedError carries which one it is at.
var ErrMoved = errors.New("it has changed since that revision")

// MovedError says where an entity really is; it is an ErrMoved.
type MovedError struct {
	What          string
	Given, Actual Revision
}

// Error implements error.
func (e *MovedError) Error() string {
	return fmt.Sprintf("%s is at revision %d, expected %d: %v", e.What, e.Actual, e.Given, ErrMoved)
}

// Unwrap makes errors.Is(err, ErrMoved) true.
func (e *MovedError) Unwrap() error { return ErrMoved }

// Dated is an Event that is true from another time than the one at which it was
// recorded. Its envelope gets that time as Effective.
type Dated interface {
	Event
	EffectiveTime() time.Time
}

// DecodeJSON reads the data of an event of type E.
func DecodeJSON[E Event](data []byte) (Event, error) {
	var e E
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, fmt.Errorf("event %s of %d bytes: %w", e.EventType(), len(data), err)
	}
	return e, nil
}

// Key makes every id that one command needs, entities and events alike, before
// the first attempt, so that whatever is tried again is the same again.
type Key struct {
	seed    [32]byte
	version byte
}

// NewKey returns the ids of a command that was sent with an idempotency key:
// the same command from the same subject under the same key, sent twice, makes
// the same ids. They are UUIDv8 (RFC 9562 §5.8) from SHA-256 over origin,
// subject, mutation, key and a number.
func NewKey(origin, subject, mutation, key string) Key {
	var b []byte
	for _, s := range []string{origin, subject, mutation, key} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return Key{sha256.Sum256(b), 8}
}

// FreshKey returns the ids of a command without an idempotency key, from 16
// random bytes that the caller drew. They are UUIDv4.
func FreshKey(random [16]byte) Key { return Key{sha256.Sum256(random[:]), 4} }

// Event returns the id of the command's n-th event, from 0.
func (k Key) Event(n int) EventID { return k.id('e', n) }

// Entity returns the id of the n-th entity that the command makes, as UUID text.
func (k Key) Entity(n int) string { return k.id('n', n).String() }

func (k Key) id(kind byte, n int) EventID {
	b := append(k.seed[:len(k.seed):len(k.seed)], kind)
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(b, uint64(n)))
	var id EventID
	copy(id[:], sum[:])
	id[6] = id[6]&0x0f | k.version<<4
	id[8] = id[8]&0x3f | 0x80
	return id
}

// keyed reports whether the id may come again: only NewKey makes UUIDv8 here.
func (id EventID) keyed() bool { return id[6]>>4 == 8 }

// A Decider is the behaviour of one kind of stream. The zero S is the beginning.
type Decider[S, C any] struct {
	// Decode reads an event; nil without an error for one that does not matter here.
	Decode func(typ string, data []byte) (Event, error)
	// Decide holds every rule and changes nothing. No events and no error:
	// there is nothing to change.
	Decide func(S, C) ([]Event, error)
	// Evolve holds no rule and never refuses. It may change the S that it is
	// given and return it: a state has one owner.
	Evolve func(S, Event) S
}

// Call is what a command comes with: who and why, and its ids.
type Call struct {
	Key      Key
	Envelope Envelope // Effective is overwritten for events that are Dated
}

// Done says what became of a command.
type Done struct {
	// Appended is where the command's events are. When nothing had to change,
	// First is 0 and Last is the stream's newest event, on which that rests.
	// Of commands that shared an append, First and Last are the append's.
	Appended
	IDs []EventID // of the command's events; none when nothing had to change
}

// Item is one of many commands for one stream.
type Item[C any] struct {
	Call    Call
	Command C
}

// Result is what became of an Item: Done, or why it was refused.
type Result struct {
	Done Done
	Err  error
}

// Handler executes commands. It keeps the newest states in memory, so that a
// command on a long stream reads only what is newer. Its methods may be used
// concurrently; commands on one stream go one after the other.
type Handler[S, C any] struct {
	log     Log
	decider Decider[S, C]
	keep    int

	// mu guards the two below: the states that are kept, newest use first.
	mu      sync.Mutex
	entries map[StreamID]*list.Element
	order   *list.List
}

// NewHandler returns a Handler that keeps the states of at most keep streams.
func NewHandler[S, C any](log Log, d Decider[S, C], keep int) *Handler[S, C] {
	return &Handler[S, C]{log: log, decider: d, keep: max(keep, 1), entries: map[StreamID]*list.Element{}, order: list.New()}
}

// Execute decides a command against the newest state and appends what it
// decides. When another writer gets in between it decides again, up to
// maxAttempts times in all. A command whose ids are in the stream already is
// not decided again: Done says where its events are, with Repeated set, however
// much has happened since.
func (h *Handler[S, C]) Execute(ctx context.Context, id StreamID, call Call, cmd C) (Done, error) {
	results, err := h.ExecuteAll(ctx, id, []Item[C]{{call, cmd}})
	if err != nil {
		return Done{}, err
	}
	return results[0].Done, results[0].Err
}

// Execute decides one command without keeping anything, and returns the state
// that it led to.
func (d Decider[S, C]) Execute(ctx context.Context, log Log, id StreamID, call Call, cmd C) (S, Done, error) {
	var s S
	h := NewHandler(log, d, 1)
	done, err := h.Execute(ctx, id, call, cmd)
	if err != nil {
		return s, Done{}, err
	}
	err = h.Look(ctx, id, func(now S, _ Expected) { s = now })
	return s, done, err
}
