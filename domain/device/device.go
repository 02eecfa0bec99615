// Package device says what a device is to the log: that it exists, who brings
// its messages, and whether it is there (device-<id> streams). A device is a
// thing; the equipment whose role it fills is an asset (ISA-95), and which one
// that is, the bindings of tags to points say.
//
// A device is never refused for being unknown: the first message of one
// registers it as unassigned.
package device

import (
	"fmt"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// How a device came to be registered.
const (
	FirstSeen = "first seen" // it sent something
	Known     = "known"      // somebody entered it
)

// Registered records that a device exists. It is assigned to no asset.
type Registered struct {
	Device  string `json:"device"`            // device_id
	Type    string `json:"type,omitempty"`    // device_type
	Place   string `json:"place,omitempty"`   // the topic levels before the type: "enterprise/site/area/line"
	Gateway string `json:"gateway,omitempty"` // gw_id that brought its first message
	How     string `json:"how"`               // FirstSeen or Known
}

// EventType is the name on disk.
func (Registered) EventType() string { return "device.registered.v1" }

// Online records that a device said it is there, having been away or unheard of.
type Online struct {
	At     time.Time `json:"at"`               // its own time if it gave one, else arrival, UTC
	Reason string    `json:"reason,omitempty"` // as sent
}

// EventType is the name on disk.
func (Online) EventType() string { return "device.online.v1" }

// Offline records that a device left, by its own word or by its last will.
type Offline struct {
	At     time.Time `json:"at"`               // its own time if it gave one, else arrival, UTC
	Reason string    `json:"reason,omitempty"` // as sent; "conn_lost" is a last will
}

// EventType is the name on disk.
func (Offline) EventType() string { return "device.offline.v1" }

// Stream names a device's stream.
func Stream(device string) eventlog.StreamID { return eventlog.Stream("device", device) }

// Presence is what is known of a device's connection.
type Presence uint8

// The presences.
const (
	Unheard Presence = iota // it never said
	Present
	Absent
)

// State is one device.
type State struct {
	Registered bool
	Presence   Presence
}

// Command is See or Report.
type Command interface{ command() }

// See says that a device exists. It registers one that is new.
type See struct{ Device, Type, Place, Gateway, How string }

// Report is a status message: retained, or a last will. A device that is new is
// registered by it.
type Report struct {
	See
	Online bool
	At     time.Time
	Reason string
}

func (See) command()    {}
func (Report) command() {}

// Decider holds the rules of one device.
var Decider = eventlog.Decider[State, Command]{Decode: decode, Decide: decide, Evolve: evolve}

func decode(typ string, data []byte) (eventlog.Event, error) {
	switch typ {
	case Registered{}.EventType():
		return eventlog.DecodeJSON[Registered](data)
	case Online{}.EventType():
		return eventlog.DecodeJSON[Online](data)
	case Offline{}.EventType():
		return eventlog.DecodeJSON[Offline](data)
	default:
		return nil, nil
	}
}

func decide(s State, c Command) ([]eventlog.Event, error) {
	switch c := c.(type) {
	case See:
		return see(s, c), nil
	case Report:
		events := see(s, c.See)
		switch {
		case c.Online && s.Presence != Present:
			events = append(events, Online{At: c.At.UTC(), Reason: c.Reason})
		case !c.Online && s.Presence != Absent:
			events = append(events, Offline{At: c.At.UTC(), Reason: c.Reason})
		}
		return events, nil
	default:
		return nil, fmt.Errorf("device command %T: expected See or Report", c)
	}
}

func see(s State, c See) []eventlog.Event {
	if s.Registered {
		return nil
	}
	return []eventlog.Event{Registered{Device: c.Device, Type: c.Type, Place: c.Place, Gateway: c.Gateway, How: c.How}}
}

func evolve(s State, e eventlog.Event) State {
	switch e.(type) {
	case Registered:
		s.Registered = true
	case Online:
		s.Presence = Present
	case Offline:
		s.Presence = Absent
	}
	return s
}
