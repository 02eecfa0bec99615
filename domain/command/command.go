// Package command is one command to one device (command-<id> streams): recorded
// before anything is sent, and followed until its effect was seen or somebody
// knows why not. Success means that the value was read back, not that someone
// said yes.
package command

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// A Status is where a command stands.
type Status string

// The statuses. The last six are final.
const (
	Pending      Status = "PENDING"                    // recorded
	Delivered    Status = "DELIVERED"                  // handed to the device's link
	Executing    Status = "EXECUTING"                  // the device checks it or writes
	Completed    Status = "COMPLETED"                  // the effect was read back
	Rejected     Status = "REJECTED"                   // the device did not touch the plant
	Failed       Status = "FAILED"                     // it tried
	NotEffective Status = "ACKNOWLEDGED_NOT_EFFECTIVE" // the machine said yes, and what is read back is not what was asked
	Expired      Status = "EXPIRED"
	Cancelled    Status = "CANCELLED"
)

// Final reports whether nothing follows.
func (s Status) Final() bool {
	switch s {
	case Completed, Rejected, Failed, NotEffective, Expired, Cancelled:
		return true
	default:
		return false
	}
}

// The errors of this package.
var (
	// ErrBadCommand is returned for a command that can't be meant.
	ErrBadCommand = errors.New("invalid command")
	// ErrState is returned for what the command's status does not allow.
	ErrState = errors.New("command is past that")
)

// Constraints are checked by the device before it touches the plant.
type Constraints struct {
	Min       *float64 `json:"min_value,omitempty"`
	Max       *float64 `json:"max_value,omitempty"`
	MaxRate   *float64 `json:"max_rate_of_change_per_min,omitempty"`
	Interlock string   `json:"requires_interlock_clear,omitempty"` // a signal that must be false or 0
}

// Order is what is asked of a device.
type Order struct {
	ID          string      `json:"command_id"`
	Device      string      `json:"device_id"`
	Tag         string      `json:"tag"`   // the signal to write
	Value       any         `json:"value"` // number, string or bool: absolute
	Constraints Constraints `json:"constraints"`
	Priority    string      `json:"priority"` // emergency, high or normal
	Expires     time.Time   `json:"expires_at"`
}

// EmergencyLife is how long an emergency command lives.
const EmergencyLife = time.Minute

// Issued records a command, before anything is sent.
type Issued struct {
	Order
	At time.Time `json:"issued_at"`
}

// Sent records that it is on its way to the device.
type Sent struct {
	At time.Time `json:"at"`
}

// Answered records what the device said: Executing or a final status.
type Answered struct {
	Status   Status    `json:"status"`
	At       time.Time `json:"at"`
	Previous any       `json:"previous_value,omitempty"`
	New      any       `json:"new_value,omitempty"` // read back
	TookMS   int64     `json:"execution_time_ms,omitempty"`
	Message  string    `json:"message,omitempty"` // the reason of a refusal
}

// Lapsed records that its time passed before the device answered.
type Lapsed struct {
	At time.Time `json:"at"`
}

// Withdrawn records that a person took it back before it was sent.
type Withdrawn struct {
	At time.Time `json:"at"`
}

// EventType is the name on disk; so it is of those below.
func (Issued) EventType() string    { return "command.issued.v1" }
func (Sent) EventType() string      { return "command.sent.v1" }
func (Answered) EventType() string  { return "command.answered.v1" }
func (Lapsed) EventType() string    { return "command.expired.v1" }
func (Withdrawn) EventType() string { return "command.cancelled.v1" }

// Stream names a command's stream.
func Stream(id string) eventlog.StreamID { return eventlog.Stream("command", id) }

// State is a command.
type State struct {
	Order    Order     `json:"order"`
	Status   Status    `json:"status"`
	IssuedAt time.Time `json:"issuedAt"`
	At       time.Time `json:"at"` // of the newest event
	Previous any       `json:"previous,omitempty"`
	New      any       `json:"new,omitempty"`
	TookMS   int64     `json:"tookMs,omitempty"`
	Message  string    `json:"message,omitempty"`
}

// Command is one of those below.
type Command interface{ command() }

// Issue records an order.
type Issue struct {
	Order
	At time.Time
}

// Send says that it goes to the device now.
type Send struct{ At time.Time }

// Answer is what the device said.
type Answer struct{ Answered }

// Expire says that it is too late.
type Expire struct{ At time.Time }

// Cancel takes it back.
type Cancel struct{ At time.Time }

func (Issue) command()  {}
func (Send) command()   {}
func (Answer) command() {}
func (Expire) command() {}
func (Cancel) command() {}

// Decider holds the rules of one command.
var Decider = eventlog.Decider[State, Command]{Decode: Decode, Decide: decide, Evolve: Evolve}

// Decode reads an event of a command; nil for any other.
func Decode(typ string, data []byte) (eventlog.Event, error) {
	switch typ {
	case Issued{}.EventType():
		return eventlog.DecodeJSON[Issued](data)
	case Sent{}.EventType():
		return eventlog.DecodeJSON[Sent](data)
	case Answered{}.EventType():
		return eventlog.DecodeJSON[Answered](data)
	case Lapsed{}.EventType():
		return eventlog.DecodeJSON[Lapsed](data)
	case Withdrawn{}.EventType():
		return eventlog.DecodeJSON[Withdrawn](data)
	default:
		return nil, nil
	}
}

func decide(s State, c Command) ([]eventlog.Event, error) {
	if i, ok := c.(Issue); ok {
		if s.Status != "" {
			return nil, fmt.Errorf("command %s is there already: %w", i.ID, ErrState)
		}
		if err := i.check(i.At); err != nil {
			return nil, err
		}
		i.Expires = i.Expires.UTC()
		return []eventlog.Event{Issued{i.Order, i.At.UTC()}}, nil
	}
	if s.Status == "" {
		return nil, fmt.Errorf("command was never issued: %w", ErrState)
	}
	past := fmt.Errorf("command %s is %s: %w", s.Order.ID, s.Status, ErrState)
	switch c := c.(type) {
	case Send:
		if s.Status != Pending {
			return nil, past
		}
		return []eventlog.Event{Sent{c.At.UTC()}}, nil
	case Answer:
		// What the device did counts, also when its word comes after the time.
		if s.Status.Final() && s.Status != Expired || s.Status == c.Status {
			return nil, nil
		}
		c.At = c.At.UTC()
		return []eventlog.Event{c.Answered}, nil
	case Expire:
		if s.Status.Final() {
			return nil, past
		}
		if c.At.Before(s.Order.Expires) {
			return nil, fmt.Errorf("command %s lives until %s: %w", s.Order.ID, s.Order.Expires.Format(time.RFC3339), ErrState)
		}
		return []eventlog.Event{Lapsed{c.At.UTC()}}, nil
	case Cancel:
		if s.Status != Pending {
			return nil, past // it may have reached the plant
		}
		return []eventlog.Event{Withdrawn{c.At.UTC()}}, nil
	default:
		return nil, fmt.Errorf("command %T is unknown: %w", c, ErrBadCommand)
	}
}

// check says everything that is wrong with an order.
func (o Order) check(now time.Time) error {
	var faults []error
	fault := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format+": %w", append(args, ErrBadCommand)...))
		}
	}
	fault(o.Device != "", "no device")
	fault(o.Tag != "", "no tag")
	fault(o.Expires.After(now), "expires at %s, expected after %s", o.Expires.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	fault(o.Priority == "normal" || o.Priority == "high" || o.Priority == "emergency", "priority %q, expected normal, high or emergency", o.Priority)
	fault(o.Priority != "emergency" || o.Expires.Sub(now) <= EmergencyLife, "an emergency lives %v at most", EmergencyLife)
	number, numeric := o.Value.(float64)
	switch o.Value.(type) {
	case float64, string, bool:
	default:
		fault(false, "value %v, expected a number, a text or a boolean", o.Value)
	}
	fault(!numeric || !math.IsNaN(number) && !math.IsInf(number, 0), "value %v is not finite", o.Value)
	k := o.Constraints
	fault(k.Min == nil || k.Max == nil || *k.Min <= *k.Max, "min and max of the constraints are crossed")
	fault(k.MaxRate == nil || *k.MaxRate > 0, "max_rate_of_change_per_min, expected above zero")
	fault(k.Min == nil && k.Max == nil && k.MaxRate == nil || numeric, "constraints on a value that is no number")
	if numeric {
		fault(k.Min == nil || number >= *k.Min, "value %v is below its own min_value", number)
		fault(k.Max == nil || number <= *k.Max, "value %v is above its own max_value", number)
	}
	return errors.Join(faults...)
}

// Evolve applies an event.
func Evolve(s State, e eventlog.Event) State {
	switch e := e.(type) {
	case Issued:
		s.Order, s.Status, s.IssuedAt, s.At = e.Order, Pending, e.At, e.At
	case Sent:
		s.Status, s.At = Delivered, e.At
	case Answered:
		s.Status, s.At, s.Previous, s.New, s.TookMS, s.Message = e.Status, e.At, e.Previous, e.New, e.TookMS, e.Message
	case Lapsed:
		s.Status, s.At = Expired, e.At
	case Withdrawn:
		s.Status, s.At = Cancelled, e.At
	}
	return s
}
