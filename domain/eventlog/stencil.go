package eventlog

import (
	"fmt"
	"time"
)

// A Stencil is an envelope's canonical JSON without the two members that only
// the log knows, and the places where they belong. A log can prepare it before
// its turn comes, and keep one for many events.
type Stencil struct {
	Text []byte // the canonical JSON without "clk" and "rec"
	Clk  int    // where "clk" goes
	Rec  int    // where "rec" goes, at or behind Clk
}

// Fixed returns the stencil of an envelope that is whole already: it takes no stamp.
func Fixed(raw []byte) Stencil { return Stencil{raw, len(raw) + 1, len(raw) + 1} }

// Fixed reports whether the text is whole already.
func (s Stencil) Fixed() bool { return s.Clk > len(s.Text) }

// A Stamp holds the two members as JSON text ("name":value). All events of a
// group commit share one.
type Stamp struct{ Clk, Rec []byte }

// Stencil appends the envelope's canonical JSON without Clock and Recorded to
// dst and returns it. Check the envelope first.
func (e Envelope) Stencil(dst []byte) Stencil {
	base := len(dst)
	w := writer{append(dst, '{'), true}
	w.before(e)
	clk := len(w.b) - base
	w.between(e)
	rec := len(w.b) - base
	w.after(e)
	w.b = append(w.b, '}')
	return Stencil{w.b[base:len(w.b):len(w.b)], clk, rec}
}

// NewStamp returns the members for one Recorded and Clock; an empty clock has none.
func NewStamp(recorded time.Time, clock ClockState) Stamp {
	var s Stamp
	if clock != (ClockState{}) {
		w := writer{first: true}
		w.name("clk")
		w.clock(clock)
		s.Clk = w.b
	}
	w := writer{first: true}
	w.time("rec", recorded)
	s.Rec = w.b
	return s
}

// Append appends the envelope's canonical JSON with the stamp in its place.
func (s Stencil) Append(dst []byte, stamp Stamp) []byte {
	if s.Fixed() {
		return append(dst, s.Text...)
	}
	base := len(dst)
	dst = append(dst, s.Text[:s.Clk]...)
	dst = appendMember(dst, base, stamp.Clk)
	dst = appendRest(dst, base, s.Text[s.Clk:s.Rec])
	dst = appendMember(dst, base, stamp.Rec)
	return appendRest(dst, base, s.Text[s.Rec:])
}

// Size returns the length of what Append appends with this stamp.
func (s Stencil) Size(stamp Stamp) int {
	if s.Fixed() {
		return len(s.Text)
	}
	n := len(s.Text) + len(stamp.Clk) + len(stamp.Rec)
	members := 0
	for _, m := range [][]byte{stamp.Clk, stamp.Rec} {
		if len(m) > 0 {
			members++
		}
	}
	if len(s.Text) == len("{}") && members > 0 {
		members-- // n members have n-1 commas between them
	}
	return n + members
}

func appendMember(dst []byte, base int, member []byte) []byte {
	if len(member) == 0 {
		return dst
	}
	if len(dst)-base > 1 {
		dst = append(dst, ',')
	}
	return append(dst, member...)
}

// appendRest continues the stencil's text, which starts with a member's name
// where nothing stood before the gap.
func appendRest(dst []byte, base int, text []byte) []byte {
	if len(text) > 0 && text[0] == '"' && len(dst)-base > 1 {
		dst = append(dst, ',')
	}
	return append(dst, text...)
}

// TelemetryCategory is the only category whose streams may hold
// telemetry.recorded.v1, so that every other category's readers never have to
// look among telemetry.
const TelemetryCategory = "telemetry"

// CheckAppend returns ErrBadEvent, with the reason, for an Append that no Log
// takes: a bad stream name, no events, a bad event, telemetry elsewhere.
func CheckAppend(id StreamID, events []NewEvent) error {
	if err := id.Check(); err != nil {
		return err
	}
	if len(events) == 0 {
		return fmt.Errorf("append of no events to %s: %w", id, ErrBadEvent)
	}
	telemetry := id.Category() == TelemetryCategory
	for i := range events {
		if err := events[i].Check(); err != nil {
			return fmt.Errorf("append to %s: %w", id, err)
		}
		if events[i].Type == TelemetryRecorded && !telemetry {
			return fmt.Errorf("append of %s to %s, expected a stream of category %s: %w",
				TelemetryRecorded, id, TelemetryCategory, ErrBadEvent)
		}
	}
	return nil
}
