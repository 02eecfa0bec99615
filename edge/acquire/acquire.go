// Package acquire asks machines for values, or listens to them, and keeps at it
// for as long as the gateway runs.
//
// Its promise: every item of a source is accounted for at every scan. What was
// read comes with the time at which it was read; what was not read comes as
// Bad with no value, and is never an old value under a new time.
//
// A source is reached through one of two ports. Polled is for protocols that
// answer when asked (Modbus, HART, S7, SNMP). Reporting is for those that speak
// by themselves: subscriptions (OPC UA, BACnet COV) and spontaneous messages
// (IEC 60870-5-104, Sparkplug). Both give a Reading its native quality and its
// native time where the protocol has them. Writer and Browser are ports that the
// same adapter may fill beside them: nothing here asks a source what else it can
// do. A protocol's alarms and events are readings too: of items whose values are
// texts in JSON, each under the event's own time.
package acquire

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// A Cause says why a source speaks of an item.
type Cause uint8

// The causes.
const (
	// Current is the item's value at its time: what was asked for, or what
	// changed.
	Current Cause = iota
	// Snapshot is the state found when a session was opened (a general
	// interrogation, a birth, a retained message): nothing happened just now.
	Snapshot
	// Historic is what happened while nobody listened. It goes into the record
	// under its own SourceTime, which it has to have, and is not what the item
	// is now.
	Historic
)

// String returns current, snapshot or historic.
func (c Cause) String() string {
	return [...]string{"current", "snapshot", "historic"}[min(c, Historic)]
}

// A Reading is what a source found at one of its items.
type Reading struct {
	Item       int             // index in the source's own list of items
	Value      telemetry.Value // as decoded and not yet scaled; Null if it was not read
	Quality    quality.Quality // the protocol's own; Scheme Assumed where it has none
	Cause      Cause
	SourceTime time.Time // the device's own time, UTC; zero where the protocol has none
	ServerTime time.Time // the time of the protocol's server in between, UTC; zero if there is none
	At         time.Time // when the answer reached the gateway, UTC
}

// A Scan is what one visit to a source brought.
type Scan struct {
	At       time.Time // when the visit ended, UTC
	Readings []Reading
}

// A Polled source answers when it is asked. Its methods are called by one
// goroutine, never two at a time.
type Polled interface {
	// Connect opens a session, at most for as long as ctx allows. A source that
	// is already connected reconnects.
	Connect(ctx context.Context) error

	// Read asks for items and returns exactly one Reading for each, in the
	// order of items, whatever happens: an item that could not be read is Bad
	// and Null, with the sub-code that tells why. The error says that the
	// session is lost and that Connect has to be called before the next Read.
	Read(ctx context.Context, items []int) ([]Reading, error)

	// Close ends the session. Closing twice is no error.
	Close() error
}

// A Reporting source speaks by itself. Its methods are called by one goroutine.
type Reporting interface {
	// Report opens a session, hands on what arrives in the order it arrived,
	// and returns when the session or ctx ends, always with an error. An empty
	// list says that the session stands. hear returns when the gateway has kept
	// the readings, or when ctx has ended; so what the protocol wants to be
	// acknowledged is acknowledged after it, if ctx has not ended. It is called
	// by one goroutine at a time.
	Report(ctx context.Context, hear func([]Reading)) error
}

// A Group is a set of items that are read together.
type Group struct {
	Every time.Duration // from the start of one read to the start of the next; above zero
	Items []int
}

// Retry says how long to wait before a lost session is opened again. The wait
// doubles with each failure and is shortened by up to half at random, so that
// a hundred gateways do not return in the same instant.
type Retry struct {
	Min time.Duration // the first wait; zero means 500 ms
	Max time.Duration // the longest wait; zero means 30 s
}

// Wait returns the wait before attempt n (0, 1, 2 ...), in [d/2, d) for
// d = min(Min·2ⁿ, Max).
func (r Retry) Wait(n int) time.Duration {
	low, high := r.Min, r.Max
	if low <= 0 {
		low = 500 * time.Millisecond
	}
	if high <= 0 {
		high = 30 * time.Second
	}
	d := low
	for range n {
		if d >= high {
			break
		}
		d *= 2
	}
	d = min(d, high)
	return d/2 + rand.N(d/2+1)
}
