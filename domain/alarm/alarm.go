// Package alarm is one alarm's behaviour after ISA-18.2-2016: raised and cleared
// by what the plant does, acknowledged, shelved and taken out of service by
// people (alarm-<device>/<name> streams).
//
// It lives in event time. A gateway that was away brings what happened
// meanwhile: an observation that is older than the newest is never an error; it
// is recorded and decides its own place in the line, and what the alarm is now
// follows from the whole line.
package alarm

import (
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// A Condition is where an alarm stands, as ISA-18.2 §5.4 (figure 3) names it.
type Condition string

// The conditions.
const (
	Normal       Condition = "normal"                            // A
	Unacked      Condition = "unacknowledged"                    // B: active, and nobody has said that he knows
	Acked        Condition = "acknowledged"                      // C: active and known
	Returned     Condition = "returned-to-normal unacknowledged" // D
	Shelved      Condition = "shelved"                           // G: hidden until a time, by a person
	Suppressed   Condition = "suppressed by design"              // H: hidden by a flood
	OutOfService Condition = "out of service"                    // I: until a person says otherwise
)

// A Priority follows from the severity.
type Priority string

// The priorities.
const (
	Critical Priority = "critical"
	High     Priority = "high"
	Medium   Priority = "medium"
	Low      Priority = "low"
)

// PriorityOf returns the priority of a severity from 1 to 1000.
func PriorityOf(severity int) Priority {
	switch {
	case severity >= 750:
		return Critical
	case severity >= 500:
		return High
	case severity >= 250:
		return Medium
	default:
		return Low
	}
}

// A Source names the sample that an observation came with, for ever.
type Source struct {
	Stream   eventlog.StreamID `json:"stream"`
	Revision eventlog.Revision `json:"revision"`
}

// What is said of an alarm by whoever raises it.
type What struct {
	Device   string `json:"device"`
	Name     string `json:"name"`              // of the alarm, at its device
	Kind     string `json:"kind"`              // process, device or comms
	Severity int    `json:"severity"`          // 1 to 1000
	Message  string `json:"message,omitempty"` // for a person
	Tag      string `json:"tag,omitempty"`     // the signal that it is about
}

// Raised records that the condition became true.
type Raised struct {
	What
	At   time.Time `json:"at"` // when, by the plant's clock, UTC
	From *Source   `json:"from,omitempty"`
	// Flood: more than ten alarms of its device were raised in ten minutes, so
	// that this one is recorded and not shown.
	Flood bool `json:"flood,omitempty"`
}

// Cleared records that the condition became false.
type Cleared struct {
	At   time.Time `json:"at"`
	From *Source   `json:"from,omitempty"`
}

// Acknowledged records that a person has seen what was raised up to At.
type Acknowledged struct {
	At time.Time `json:"at"`
}

// Shelving records that a person hides the alarm until a time.
type Shelving struct {
	At    time.Time `json:"at"`
	Until time.Time `json:"until"`
}

// Unshelved records that a person ended it before its time.
type Unshelved struct {
	At time.Time `json:"at"`
}

// TakenOut records that the alarm is out of service.
type TakenOut struct {
	At time.Time `json:"at"`
}

// PutBack records that it is in service again.
type PutBack struct {
	At time.Time `json:"at"`
}

// EventType is the name on disk; so it is of those below.
func (Raised) EventType() string       { return "alarm.raised.v1" }
func (Cleared) EventType() string      { return "alarm.cleared.v1" }
func (Acknowledged) EventType() string { return "alarm.acknowledged.v1" }
func (Shelving) EventType() string     { return "alarm.shelved.v1" }
func (Unshelved) EventType() string    { return "alarm.unshelved.v1" }
func (TakenOut) EventType() string     { return "alarm.outofservice.v1" }
func (PutBack) EventType() string      { return "alarm.inservice.v1" }

// EffectiveTime is when it was true.
func (e Raised) EffectiveTime() time.Time       { return e.At }
func (e Cleared) EffectiveTime() time.Time      { return e.At }
func (e Acknowledged) EffectiveTime() time.Time { return e.At }
func (e Shelving) EffectiveTime() time.Time     { return e.At }
func (e Unshelved) EffectiveTime() time.Time    { return e.At }
func (e TakenOut) EffectiveTime() time.Time     { return e.At }
func (e PutBack) EffectiveTime() time.Time      { return e.At }

// ID is an alarm's own id: its device and its name there.
func ID(device, name string) string { return device + "/" + name }

// Stream names an alarm's stream.
func Stream(id string) eventlog.StreamID { return eventlog.Stream("alarm", id) }

// Decode reads an event of an alarm; nil for any other.
func Decode(typ string, data []byte) (eventlog.Event, error) {
	switch typ {
	case Raised{}.EventType():
		return eventlog.DecodeJSON[Raised](data)
	case Cleared{}.EventType():
		return eventlog.DecodeJSON[Cleared](data)
	case Acknowledged{}.EventType():
		return eventlog.DecodeJSON[Acknowledged](data)
	case Shelving{}.EventType():
		return eventlog.DecodeJSON[Shelving](data)
	case Unshelved{}.EventType():
		return eventlog.DecodeJSON[Unshelved](data)
	case TakenOut{}.EventType():
		return eventlog.DecodeJSON[TakenOut](data)
	case PutBack{}.EventType():
		return eventlog.DecodeJSON[PutBack](data)
	default:
		return nil, nil
	}
}
