// Package lease says which of several servers on one log does what only one may
// do: take a source's messages, listen to an external broker, run timers.
//
// A lease is a stream, lease-<resource>; its last event names the holder. Each
// server also says every second that it is alive, in a stream of its own
// (server-<holder>). The log is the only clock: a server is dead when deadBeats
// of mine stand in the log behind its last sign of life. While the log cannot
// be reached nobody's beats get there, so nobody dies of that.
//
// A lease saves work; it is not what keeps events from being lost or doubled.
// Whoever was slow to hear that another took over still appends at the exact
// revision that it knew, and is refused there: the revision is the fence.
package lease

import (
	"errors"
	"fmt"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Category holds the leases, ServerCategory the servers' signs of life.
const (
	Category       = "lease"
	ServerCategory = "server"
)

// ErrHeld says that another server has the lease.
var ErrHeld = errors.New("another server holds the lease")

// HeldError is ErrHeld with who has what.
type HeldError struct{ Resource, Holder string }

// Error implements error.
func (e *HeldError) Error() string {
	return fmt.Sprintf("lease %q is held by server %s", e.Resource, e.Holder)
}

// Is makes errors.Is find ErrHeld.
func (e *HeldError) Is(target error) bool { return target == ErrHeld }

// Taken records that a server has taken a lease.
type Taken struct {
	Resource string `json:"resource"`
	Holder   string `json:"holder"`
	From     string `json:"from,omitempty"` // the holder before, whose it is no more
}

// EventType is the name on disk.
func (Taken) EventType() string { return "lease.taken.v1" }

// Alive records that a server is alive.
type Alive struct{}

// EventType is the name on disk.
func (Alive) EventType() string { return "server.alive.v1" }

// Left records that a server has stopped: all its leases are free.
type Left struct{}

// EventType is the name on disk.
func (Left) EventType() string { return "server.left.v1" }

// Source is the resource that the ingest of a source is.
func Source(name string) string { return "s:" + name }

// Stream is the stream of a lease. That of every valid source's name is valid.
func Stream(resource string) eventlog.StreamID { return eventlog.Stream(Category, resource) }

// ServerStream is the stream of a server's signs of life.
func ServerStream(holder string) eventlog.StreamID { return eventlog.Stream(ServerCategory, holder) }

// deadBeats is after how many of its own beats a server takes another, of
// which it has heard nothing since, for dead, and for how many a lease that a
// living server has just taken is respected by those who may contest it.
const deadBeats = 4

// sight is what a server has heard of all, in the order of the log.
type sight struct {
	me    string
	start eventlog.Position  // it listens from behind here
	beats uint64             // its own, heard
	heard map[string]uint64  // by holder: beats at its last sign of life; none: 0
	left  map[string]bool    // holders that said they stopped
	taken map[string]takenAt // by resource: the newest taking heard
}

type takenAt struct {
	revision eventlog.Revision
	beats    uint64
}

func newSight(me string, start eventlog.Position) *sight {
	return &sight{me: me, start: start, heard: map[string]uint64{}, left: map[string]bool{}, taken: map[string]takenAt{}}
}

// hear folds one event and returns the resource that another server has taken, if
// it says that. What cannot be read was not written by a server, and says nothing.
func (s *sight) hear(r eventlog.Record) (lost string) {
	switch r.Type {
	case (Alive{}).EventType():
		if h := r.Stream.Entity(); h == s.me {
			s.beats++
		} else {
			s.heard[h] = s.beats
		}
	case (Left{}).EventType():
		s.left[r.Stream.Entity()] = true
	case (Taken{}).EventType():
		ev, err := eventlog.DecodeJSON[Taken](r.Data)
		if err != nil {
			return ""
		}
		t := ev.(Taken)
		s.taken[t.Resource] = takenAt{r.Revision, s.beats}
		if t.Holder != s.me {
			s.heard[t.Holder] = s.beats
			return t.Resource
		}
	}
	return ""
}

// alive reports whether a holder may still be at work. One that was never heard
// of may have spoken last just before this server began to listen.
func (s *sight) alive(holder string) bool {
	return !s.left[holder] && s.beats-s.heard[holder] < deadBeats
}

// fresh reports whether a lease, last taken by the event at this place, was
// taken only just now.
func (s *sight) fresh(resource string, rev eventlog.Revision, at eventlog.Position) bool {
	if t, ok := s.taken[resource]; ok && t.revision >= rev {
		return s.beats-t.beats < deadBeats
	}
	return at > s.start // it has not been heard yet
}
