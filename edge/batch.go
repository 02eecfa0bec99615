package edge

import (
	"time"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge/outbox"
)

// A piece is one sample on its way into a message.
type piece struct {
	tag      int
	rank     outbox.Priority
	value    telemetry.Value
	code     quality.Code
	at       time.Time
	native   bool // at is the device's own time
	historic bool // it is not what the tag is now
}

// A part becomes one message: pieces of one device and priority under one source time.
type part struct {
	device int
	rank   outbox.Priority
	at     time.Time
	native bool
	pieces []piece
}

// A batch collects the pieces of one scan into parts, in the order in which
// they came.
type batch struct{ parts []part }

// add puts a piece into the part of its device. A message has one source time,
// so measurements that a device timed itself share a part only if they have the
// same time. What the gateway timed shares one part per scan under the earliest
// of its times: a value may be younger than its message says, never older.
func (b *batch) add(device int, p piece) {
	for i := len(b.parts) - 1; i >= 0; i-- {
		part := &b.parts[i]
		if part.device != device || part.rank != p.rank || part.native != p.native || (p.native && !part.at.Equal(p.at)) || part.has(p.tag) {
			continue
		}
		if p.at.Before(part.at) {
			part.at = p.at
		}
		part.pieces = append(part.pieces, p)
		return
	}
	b.parts = append(b.parts, part{device: device, rank: p.rank, at: p.at, native: p.native, pieces: []piece{p}})
}

// has guards the rule that no message has a signal twice.
func (p *part) has(tag int) bool {
	for _, piece := range p.pieces {
		if piece.tag == tag {
			return true
		}
	}
	return false
}
