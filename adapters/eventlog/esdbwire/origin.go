package esdbwire

import "github.com/twinlog/twinlog/domain/eventlog"

// ServedOrigin is the name under which a served log says its origin: a read of it
// gives one Named, which is no event of the log.
const ServedOrigin = "$log-origin"

// OriginStream is where a log on a genuine server says its origin, which that
// server cannot know: one Named, written when the log is first used.
const OriginStream eventlog.StreamID = "log-origin"

// Named says the origin of the log that it is read from.
type Named struct {
	Origin string `json:"origin"`
}

// EventType implements eventlog.Event.
func (Named) EventType() string { return "log.named.v1" }
