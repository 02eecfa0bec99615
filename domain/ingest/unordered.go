package ingest

import (
	"slices"

	"github.com/twinlog/twinlog/domain/telemetry"
)

// unordered is what is known of the numbers of a device that publishes by
// itself. They only report; nothing is refused or dropped because of them.
type unordered struct {
	any     bool
	highest uint64
	gaps    []span // missing below highest, oldest first, at most maxGaps
	// newest is the latest time that a message gave itself, Unix milliseconds.
	newest int64
}

type span struct{ from, to uint64 }

// maxGaps bounds the holes that a late message can still be matched with.
const maxGaps = 64

// place says what a message's number tells: what to record before it, what
// after it, and whether it may have been here before. at is the message's own
// time, 0 if it gave none.
func (s *unordered) place(seq uint64, at int64) (before *telemetry.Gap, after *telemetry.Reordered, seen bool) {
	switch {
	case !s.any || seq == s.highest+1:
		return nil, nil, false
	case seq > s.highest:
		return &telemetry.Gap{Reason: telemetry.GapMissing, From: s.highest + 1, To: seq - 1, LastSeq: s.highest}, nil, false
	case s.missing(seq):
		return nil, &telemetry.Reordered{Seq: seq, Highest: s.highest, Closes: true}, false
	case seq == 0 && wraps(s.highest):
		return nil, nil, false // it counted to the end of its integer
	case at > s.newest: // later than all before it: it began to count anew
		return &telemetry.Gap{Reason: telemetry.GapRestarted, LastSeq: s.highest}, nil, false
	default:
		return nil, &telemetry.Reordered{Seq: seq, Highest: s.highest}, true
	}
}

// wraps reports whether a counter of 8, 16, 32 or 64 bits ends here.
func wraps(seq uint64) bool {
	return seq == 1<<8-1 || seq == 1<<16-1 || seq == 1<<32-1 || seq == 1<<64-1
}

func (s *unordered) missing(seq uint64) bool {
	return slices.ContainsFunc(s.gaps, func(g span) bool { return seq >= g.from && seq <= g.to })
}

// gap notes a recorded gap.
func (s *unordered) gap(g *telemetry.Gap) {
	switch g.Reason {
	case telemetry.GapMissing:
		s.gaps = append(s.gaps, span{g.From, g.To})
		if len(s.gaps) > maxGaps {
			s.gaps = slices.Delete(s.gaps, 0, 1)
		}
	case telemetry.GapRestarted:
		s.any, s.highest, s.gaps = false, 0, nil
	}
}

// took notes a stored message's number.
func (s *unordered) took(seq uint64, at int64) {
	s.newest = max(s.newest, at)
	if s.any && seq == 0 && wraps(s.highest) {
		s.highest, s.gaps = 0, nil
		return
	}
	for i, g := range s.gaps {
		if seq < g.from || seq > g.to {
			continue
		}
		left, right := span{g.from, seq - 1}, span{seq + 1, g.to}
		rest := make([]span, 0, 2)
		if left.from <= left.to && seq > 0 {
			rest = append(rest, left)
		}
		if right.from <= right.to {
			rest = append(rest, right)
		}
		s.gaps = slices.Replace(s.gaps, i, i+1, rest...)
		break
	}
	if !s.any || seq > s.highest {
		s.any, s.highest = true, seq
	}
}
