package eventlog

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Event is a fact of the domain: a plain struct whose name on disk is a literal
// with its version ("alarm.raised.v1").
type Event interface{ EventType() string }

// NewJSONEvent returns ev ready to be appended, as RFC 8785 JSON.
func NewJSONEvent(id EventID, ev Event, env Envelope) (NewEvent, error) {
	data, err := CanonicalJSON(ev)
	if err != nil {
		return NewEvent{}, fmt.Errorf("event %s: %w", ev.EventType(), err)
	}
	return NewEvent{ID: id, Type: ev.EventType(), Data: data, Envelope: env}, nil
}

// maxTypeBytes bounds event types and content types: one byte holds a length.
const maxTypeBytes = 255

// Check returns ErrBadEvent, with the reason, for an event that no Log takes.
func (e NewEvent) Check() error {
	switch {
	case e.ID == EventID{}:
		return fmt.Errorf("event %q without id: %w", e.Type, ErrBadEvent)
	case e.Type == "":
		return fmt.Errorf("event %s without type: %w", e.ID, ErrBadEvent)
	case len(e.Type) > maxTypeBytes || !utf8.ValidString(e.Type):
		return fmt.Errorf("event type of %d bytes, expected UTF-8 up to %d: %w", len(e.Type), maxTypeBytes, ErrBadEvent)
	case len(e.ContentType) > maxTypeBytes || !utf8.ValidString(e.ContentType):
		return fmt.Errorf("event %s: content type of %d bytes, expected UTF-8 up to %d: %w",
			e.ID, len(e.ContentType), maxTypeBytes, ErrBadEvent)
	}
	if len(e.RawEnvelope) > 0 {
		if _, err := ParseEnvelope(e.RawEnvelope); err != nil {
			return fmt.Errorf("event %s: %w: %w", e.ID, ErrBadEvent, err)
		}
		return nil
	}
	if err := e.Envelope.Check(); err != nil {
		return fmt.Errorf("event %s: %w", e.ID, err)
	}
	return nil
}

// Passes reports whether a record of this stream and type is wanted.
func (f Filter) Passes(stream StreamID, typ string) bool {
	if f.NoTelemetry && typ == TelemetryRecorded {
		return false
	}
	return (len(f.Types) == 0 || slices.Contains(f.Types, typ)) &&
		(len(f.Categories) == 0 || slices.Contains(f.Categories, stream.Category()))
}

// WantsTelemetry reports whether any telemetry.recorded.v1 can pass.
func (f Filter) WantsTelemetry() bool {
	return !f.NoTelemetry && (len(f.Types) == 0 || slices.Contains(f.Types, TelemetryRecorded)) &&
		(len(f.Categories) == 0 || slices.Contains(f.Categories, TelemetryCategory))
}

// WantsOther reports whether anything but telemetry.recorded.v1 can pass.
func (f Filter) WantsOther() bool {
	return len(f.Types) == 0 || slices.ContainsFunc(f.Types, func(t string) bool { return t != TelemetryRecorded })
}

// String returns the id as UUID text (RFC 9562 §4), lower case.
func (id EventID) String() string { return string(id.appendText(make([]byte, 0, 36))) }

func (id EventID) appendText(dst []byte) []byte {
	for i, part := range [][]byte{id[0:4], id[4:6], id[6:8], id[8:10], id[10:16]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst
}

// MarshalText returns the UUID text.
func (id EventID) MarshalText() ([]byte, error) { return id.appendText(nil), nil }

// UnmarshalText is ParseEventID.
func (id *EventID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseEventID(string(text))
	return err
}

// ParseEventID reads UUID text of 36 characters, either case.
func ParseEventID(s string) (EventID, error) {
	var id EventID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, fmt.Errorf("event id %.40q: expected 8-4-4-4-12 hexadecimal digits: %w", s, ErrBadEvent)
	}
	plain := s[0:8] + s[9:13] + s[14:18] + s[19:23] + s[24:36]
	if _, err := hex.Decode(id[:], []byte(plain)); err != nil {
		return EventID{}, fmt.Errorf("event id %q: expected hexadecimal digits: %w", s, ErrBadEvent)
	}
	return id, nil
}

const positionDigits = 20

// String returns the position as 20 decimal digits, so that text sorts as
// positions do.
func (p Position) String() string { return fmt.Sprintf("%0*d", positionDigits, uint64(p)) }

// ParsePosition reads the text form of a position.
func ParsePosition(s string) (Position, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || len(s) != positionDigits || s[0] == '+' {
		return 0, fmt.Errorf("position %.40q: expected 20 decimal digits below 2^63: %w", s, ErrBadPosition)
	}
	return Position(n), nil
}
