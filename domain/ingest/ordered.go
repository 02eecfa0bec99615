package ingest

import (
	"github.com/twinlog/twinlog/domain/telemetry"
)

// ordered is what must be known of an incarnation to decide on its next
// message: its last event's number (decision: the stream's tail is the
// dedupe state).
type ordered struct {
	any  bool // the stream has a message
	last uint64
	// previous is the source's incarnation before this one, "" if it had none.
	previous string
}

// verdict is what becomes of a message.
type verdict uint8

const (
	take      verdict = iota // append it
	takeRest                 // a loss whose beginning is there already: append the rest
	duplicate                // it is there already
	clone                    // its number is there with other content
	stray                    // its number is in a recorded gap: keep it apart
	ahead                    // one before it has not come
)

// stored is what the log has under a number.
type stored uint8

const (
	nothing stored = iota
	same
	other
)

// decide places a message with numbers from..to (one number but for a loss).
// first: it is the first on a new connection. At or below s.last, there says
// what the log has under from. gap is what to record before the message.
func (s *ordered) decide(kind Kind, from, to uint64, first bool, there stored) (v verdict, gap *telemetry.Gap) {
	switch {
	case !s.any:
		return take, s.beginning(kind, from)
	case from == s.last+1:
		return take, nil
	case from > s.last+1:
		if first {
			// A new connection starts at the source's first unanswered message:
			// what is missing was answered once, and this log has lost it since.
			return take, &telemetry.Gap{Reason: telemetry.GapForgotten, From: s.last + 1, To: from - 1, LastSeq: s.last}
		}
		return ahead, nil
	case kind == Loss && to > s.last && there != other:
		return takeRest, nil
	}
	switch there {
	case same:
		return duplicate, nil
	case other:
		return clone, nil
	default:
		return stray, nil
	}
}

// beginning says what is missing when an incarnation's first message comes. An
// outbox that opens properly says so with number 1; one that replaces another
// cannot know what that still held.
func (s *ordered) beginning(kind Kind, from uint64) *telemetry.Gap {
	switch {
	case from > 1:
		return &telemetry.Gap{Reason: telemetry.GapOutboxLost, From: 1, To: from - 1, Previous: s.previous}
	case s.previous != "" || kind != Start:
		return &telemetry.Gap{Reason: telemetry.GapOutboxLost, Previous: s.previous}
	default:
		return nil
	}
}

// took notes that numbers up to to are in the log.
func (s *ordered) took(to uint64) { s.any, s.last = true, to }
