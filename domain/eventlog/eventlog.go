// Package eventlog is the one door through which facts enter and leave the
// system. It says what an event is, how streams and places in the log are
// named, and what a store must promise (Log); it stores nothing itself.
//
// A stream holds the events of one entity, numbered by Revision from 0, as in
// EventStoreDB. The whole log orders the events of all streams by Position.
// Revisions decide conflicts and are durable names; positions are what readers
// remember, valid for one store only (docs/adr: positions and epochs).
//
// Bytes are sacred: an event's envelope and data are stored exactly as they
// were first written and never marshalled again.
package eventlog

import (
	"context"
	"errors"
	"iter"
	"time"
)

// MaxAppendBytes bounds one Append, envelopes and data together, on every Log,
// so that any log can be copied into any other (EventStoreDB up to 25.0 takes
// 1 MiB).
const MaxAppendBytes = 1_000_000

// The errors of a Log. Each is returned wrapped with the object it concerns.
var (
	// ErrConflict: the stream is not at the expected revision, and the events
	// there are not these.
	ErrConflict = errors.New("stream revision conflict")
	// ErrTooLarge: an Append of more than MaxAppendBytes.
	ErrTooLarge = errors.New("append is larger than 1,000,000 bytes")
	// ErrBadEvent: an event that no Log may take (no id, no type, bad stream name).
	ErrBadEvent = errors.New("invalid event")
	// ErrStorageFull: the space guard refuses appends; reads go on.
	ErrStorageFull = errors.New("storage full")
	// ErrDamaged: the store cannot give back what it once acknowledged.
	ErrDamaged = errors.New("log is damaged")
	// ErrPositionLost: a position of a closed epoch that no map translates, or one beyond the end.
	ErrPositionLost = errors.New("position lost")
	// ErrBadPosition: text that is not a position.
	ErrBadPosition = errors.New("invalid position")
	// ErrClosed: the log or subscription has been closed.
	ErrClosed = errors.New("log is closed")
)

// Revision counts the events of one stream from 0.
type Revision uint64

// LastRevision asks Read to start at the newest event of the stream.
const LastRevision Revision = 1<<64 - 1

// Expected is where a writer believes a stream to be. The zero Expected is
// NoStream. There is no "any": idempotency rests on the exact revision.
type Expected struct{ count uint64 }

// NoStream expects a stream without events.
var NoStream = Expected{}

// At expects a stream whose last event has revision r.
func At(r Revision) Expected { return Expected{uint64(r) + 1} }

// After expects a stream of exactly the revisions before r.
func After(r Revision) Expected { return Expected{uint64(r)} }

// Next is the revision that the first appended event will have.
func (e Expected) Next() Revision { return Revision(e.count) }

// Position orders the events of one log: strictly rising, with gaps, below
// 2^63. The top 15 of its 63 bits are the epoch, which a restore or a copy
// raises; the rest is the store's own order. 0 is before the first event.
type Position uint64

// End is beyond every position: where a backwards ReadAll starts.
const End Position = 1<<63 - 1

const orderBits = 48

// NewPosition puts an epoch (< 2^15) and the store's order (< 2^48) together.
func NewPosition(epoch uint16, order uint64) Position {
	return Position(uint64(epoch&0x7fff)<<orderBits | order&(1<<orderBits-1))
}

// Epoch returns the position's epoch.
func (p Position) Epoch() uint16 { return uint16(p >> orderBits) }

// Order returns the position's place within its epoch.
func (p Position) Order() uint64 { return uint64(p) & (1<<orderBits - 1) }

// EventID is a UUID, in the byte order of RFC 9562.
type EventID [16]byte

// NewEvent is what a caller appends. Data and Envelope are stored byte for byte.
type NewEvent struct {
	ID          EventID // made once per command; retries reuse it
	Type        string  // "alarm.raised.v1"
	ContentType string  // "" means JSON (RFC 8785)
	Data        []byte
	Envelope    Envelope // marshalled once, at Append, when Recorded is known
	// RawEnvelope, if any, is an envelope that another log or a client has
	// stamped already: stored as it is, instead of Envelope. The record's
	// Recorded stays this log's own.
	RawEnvelope []byte
}

// JSON is the content type of events that a person may read.
const JSON = "application/json"

// Record is an event as the log keeps it. Its slices belong to the log: read,
// do not change.
type Record struct {
	Stream      StreamID
	Revision    Revision
	Position    Position
	ID          EventID
	Type        string
	ContentType string
	Recorded    time.Time // when the log accepted it, UTC; the envelope holds it too
	RawEnvelope []byte    // canonical JSON of the Envelope, as first written
	Data        []byte
}

// Envelope decodes the record's envelope.
func (r Record) Envelope() (Envelope, error) { return ParseEnvelope(r.RawEnvelope) }

// Appended says where the events of one Append are.
type Appended struct {
	First, Last Position
	Revision    Revision // of the last event
	Repeated    bool     // these very events were already there; nothing was written
}

// Direction of a read.
type Direction uint8

// The two directions.
const (
	Forwards Direction = iota
	Backwards
)

// Filter chooses records. The zero Filter passes everything.
type Filter struct {
	// Categories, if any, are the stream categories that pass.
	Categories []string
	// Types, if any, are the event types that pass.
	Types []string
	// NoTelemetry leaves out telemetry.recorded.v1, the mass of the log. A
	// reader that sets it, or that names only other types, never opens a
	// telemetry block.
	NoTelemetry bool
}

// TelemetryRecorded is the event type of a telemetry row: the only type that a
// Log stores and indexes by mass (decision: "non-telemetry events have a
// position index per category").
const TelemetryRecorded = "telemetry.recorded.v1"

// A Log keeps events for ever. All methods may be used concurrently.
type Log interface {
	// Origin names this log among all logs; it never changes.
	Origin() string

	// Append adds events to the stream if it is exactly at expected: all or
	// none, and durably before it returns. If the events at those revisions
	// already have these ids, it returns where they are with Repeated set; any
	// other difference is ErrConflict, and nothing is written. After an error
	// that is neither ErrConflict, ErrTooLarge nor ErrBadEvent the outcome is
	// unknown: retry with the same ids and the same expected.
	Append(ctx context.Context, id StreamID, expected Expected, events ...NewEvent) (Appended, error)

	// Read yields a stream's records from revision from (inclusive) in the
	// direction, and ends at what was the stream's end when it started. A
	// stream that does not exist yields nothing; Backwards from beyond the end
	// starts at the newest.
	Read(ctx context.Context, id StreamID, from Revision, dir Direction) iter.Seq2[Record, error]

	// ReadAll yields records with Position > after (Forwards) or < after
	// (Backwards), and ends at what was the end of the log when it started.
	// Forwards from beyond the end is ErrPositionLost.
	ReadAll(ctx context.Context, after Position, dir Direction, f Filter) iter.Seq2[Record, error]

	// Subscribe reads everything after a position, then follows the log: no
	// gap, no repeat. ctx bounds only the call. A position beyond the end is
	// ErrPositionLost.
	Subscribe(ctx context.Context, after Position, f Filter) (Subscription, error)

	// Head returns the position of the last durable event (0 if none) and the
	// largest Recorded so far.
	Head(ctx context.Context) (Position, time.Time, error)

	// KnownAt returns the last position p such that no event at or before p
	// has Recorded > t (KnownAtTime, over the store's sparse index).
	KnownAt(ctx context.Context, t time.Time) (Position, error)
}

// An AsyncAppender is a Log that can append without a goroutine that waits: what
// a thousand writers with one append each cost is mostly their waking.
type AsyncAppender interface {
	// AppendAsync is Append whose answer goes to done: once, from a goroutine of
	// the log's or before AppendAsync returns. done must not block, and events
	// are the log's until then.
	AppendAsync(id StreamID, expected Expected, events []NewEvent, done func(Appended, error))
}

// Batch is what a subscription hands out at once.
type Batch struct {
	Records []Record // may be empty when only Through has moved
	Through Position // every passing record up to here has been handed out
	// CaughtUp: Through was the end of the log when the batch was made.
	CaughtUp bool
}

// A Subscription belongs to one reader. It holds a position and is woken; it
// buffers nothing beyond one batch, so a slow reader costs no memory and slows
// nobody.
type Subscription interface {
	// Next waits for news and returns it. It fails with ctx's error or
	// ErrClosed. The first call returns at once, also when there is nothing.
	Next(ctx context.Context) (Batch, error)
	// Lag is the number of positions between the reader and the log's end.
	Lag() uint64
	Close() error
}
