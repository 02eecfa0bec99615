package projections

import (
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/planted"
)

// Cut says as of when a question is asked, on both clocks. The zero Cut is the
// newest of everything.
type Cut struct {
	// AsOf is the instant in the plant's time; zero means the newest.
	AsOf time.Time
	// Known: only events up to this position count; 0 means all.
	Known eventlog.Position
	// Corrections: only corrections up to this position count; 0 means Known. It
	// is for a question about samples known earlier that is asked at a later cut.
	Corrections eventlog.Position
	// Nothing: no event counts. A moment before the first event has no position,
	// so Known cannot say it; AsOf is then before everything as well.
	Nothing bool
	// Now is when the question is asked, or when what is at Known was recorded
	// if the question is about what was known then. It counts where AsOf is
	// zero, for facts that have an effective time: one that is dated later is
	// not in force yet. Zero: every fact is in force from when it is known.
	Now time.Time
}

// Effective returns the instant, in nanoseconds since 1970 UTC, at which facts
// with an effective time are asked: AsOf, else Now, else the end of time.
func (c Cut) Effective() int64 {
	switch {
	case !c.AsOf.IsZero():
		return c.AsOf.UnixNano()
	case !c.Now.IsZero():
		return c.Now.UnixNano()
	}
	return 1<<63 - 1
}

// Through returns the last position that counts.
func (c Cut) Through() eventlog.Position {
	if c.Known == 0 && !c.Nothing {
		return eventlog.End
	}
	if planted.Bug == planted.KnownOffByOne {
		return c.Known + 1
	}
	return c.Known
}
