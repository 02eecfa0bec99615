package eventlog

import (
	"context"
	"fmt"
)

// An Epoch is a stretch of a log's positions. A restore, a copy or a repair
// ends the old one where its events end and opens a new one, so that numbers
// which the lost future had used are never read as something else. Order counts
// on from epoch to epoch.
type Epoch struct {
	Number uint16
	First  Position // of its first event, or of the one that will be
	Last   Position // of its last event; 0: none yet, or it goes on
}

// EpochOpened is the first event of an epoch: it maps the ones before. All
// numbers are of this log only, and the positions that they speak of keep
// their meaning: an event that is still there is where it was.
type EpochOpened struct {
	Epoch uint16      `json:"epoch"`
	Why   string      `json:"why"` // "restore", "copy" or "repair"
	Kept  []KeptRange `json:"kept"`
	Lost  []LostRange `json:"lost,omitempty"`
	Note  string      `json:"note,omitempty"` // what the operator was told
}

// KeptRange says which orders of an earlier epoch stand in this log.
type KeptRange struct {
	Epoch uint16 `json:"epoch"`
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// LostRange says which acknowledged orders do not stand in this log any more.
// Where Filled is set, events of type log.lost.v1 stand in their places.
type LostRange struct {
	Epoch  uint16 `json:"epoch"`
	First  uint64 `json:"first"`
	Last   uint64 `json:"last"`
	Filled bool   `json:"filled,omitempty"`
}

// EventType implements Event.
func (EpochOpened) EventType() string { return "log.epoch_opened.v1" }

// EventLost stands at a stream's revision whose event was lost and whose loss
// was accepted.
type EventLost struct{}

// EventType implements Event.
func (EventLost) EventType() string { return "log.lost.v1" }

// EpochStream is the stream of an epoch's first event.
func EpochStream(origin string, number uint16) StreamID {
	return Stream("epoch", fmt.Sprintf("%.150s.%d", origin, number))
}

// NextEpoch returns the number of an epoch to follow last. skip (0 to 63, drawn
// at random) is there because a backup may be restored twice: two stores that
// both called their new epoch last + 1 would read each other's positions.
func NextEpoch(last uint16, skip uint8) (uint16, error) {
	n := uint32(last) + 1 + uint32(skip%64)
	if n > 1<<15-1 {
		return 0, fmt.Errorf("epoch %d follows %d, expected at most 32767: %w", n, last, ErrBadPosition)
	}
	return uint16(n), nil
}

// Standing is a Log that knows which positions stand in it, across its epochs.
type Standing interface {
	// Stands returns ErrPositionLost for a position beyond the end or of an
	// epoch whose part of the log was lost.
	Stands(p Position) error
}

// CheckPosition returns ErrPositionLost for a position that is not one of the
// log's: beyond its end, or lost with a closed epoch.
func CheckPosition(ctx context.Context, log Log, p Position) error {
	if s, ok := log.(Standing); ok {
		return s.Stands(p)
	}
	head, _, err := log.Head(ctx)
	if err == nil && p > head {
		err = fmt.Errorf("position %v is beyond the end %v: %w", p, head, ErrPositionLost)
	}
	return err
}

// A Taker is a Log that takes the events of another as they are.
type Taker interface {
	// AppendCopies appends records of another log in their order, each at its
	// stream, revision and position, with its Recorded: durable when it
	// returns. Positions follow the log's end, or begin a later epoch with the
	// next order.
	AppendCopies(ctx context.Context, records []Record) error
}

// Copied returns a record as an event for a Log that is no Taker: the same
// bytes at the same revision, at a position of that log's own.
func Copied(r Record) NewEvent {
	return NewEvent{ID: r.ID, Type: r.Type, ContentType: r.ContentType, Data: r.Data, RawEnvelope: r.RawEnvelope}
}
