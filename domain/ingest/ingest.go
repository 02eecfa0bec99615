// Package ingest decides which uplink message becomes which event, exactly
// once: what a source was told is stored is in the log once, whatever was
// delivered twice, out of order, from a replaced or from a copied box.
//
// There are two kinds of source. An ordered one is a gateway's outbox: it
// numbers its messages durably, and the last event of its stream says which
// comes next. An unordered one is any other device: its repeats are found by
// msg_id among its last 100,000 messages and 24 hours (docs/formats/uplink.md
// says exactly what is promised). Nothing that cannot be understood is dropped:
// it is stored with its bytes and its reason.
//
// The rules (ordered, unordered) are pure; the Ingester around them owns
// queues, appends and answers. It does not know MQTT or JSON.
package ingest

import (
	"fmt"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// Message is what a broker received.
type Message struct {
	Topic    string
	Client   string // client id
	Payload  []byte // not to be changed until done has been called
	Retained bool
	Arrived  time.Time
	// Connection numbers the client's connection, differently each time; 0 if
	// the broker does not say. An ordered source sends from its first
	// unanswered message on a new connection.
	Connection uint64
}

// Kind is what an uplink message says.
type Kind uint8

// The kinds.
const (
	Unknown   Kind = iota // none of those below
	Telemetry             // Row
	Start                 // Started: an incarnation begins
	Loss                  // Lost: an outbox dropped a range
	Status                // Online, Reason and At
)

// Uplink is a message as the wire's decoder understood it. Where decoding
// failed, it holds what could be read all the same: a message whose Source is
// known is refused in that source's own stream and uses up its number there;
// any other is a dead letter.
type Uplink struct {
	Kind        Kind
	Source      string // gw_id, or the device's own id; "" if unreadable
	Incarnation string // of an ordered source; telemetry.Unordered for others
	Device      string // as the topic names it
	DeviceType  string // as the topic names it
	Place       string // the topic levels before the device type

	Row     telemetry.Row // Telemetry; Seq, HasSeq and MsgID of every kind
	Started Started
	Lost    telemetry.Lost
	Online  bool
	Reason  string
	At      time.Time // Status: when, by the message or by arrival
	Ignored int       // members of the message that mean nothing here
}

// Reader is the port of the wire's decoder. It fills u, whose slices it may
// reuse, from m; after an error u holds what was readable. The strings in u may
// be parts of m.Payload. The error's text is the reason that is stored.
type Reader func(m *Message, u *Uplink) error

// Outcome is the answer to a message.
type Outcome struct {
	// Ack: the message is durable, as itself, as refused or as a dead letter, or
	// is a duplicate of one that is. Acknowledge it.
	Ack bool
	// Disconnect: do not acknowledge, and close the connection, so that the
	// source resends from what it has no answer for.
	Disconnect bool
	Refused    *Ref // where a message is that could not be taken as itself
	Duplicate  bool
	Expected   uint64 // the next seq that would be taken, for one that is ahead; else 0
	Err        error  // why not, when Ack is false
}

// Ref names an event for ever.
type Ref struct {
	Stream   eventlog.StreamID
	Revision eventlog.Revision
}

// String returns "stream@revision", the value of MQTT's twinlog-refused.
func (r Ref) String() string { return fmt.Sprintf("%s@%d", r.Stream, r.Revision) }
