package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// own is the wire form of the outbox's own messages (docs/formats/outbox.md):
// the standard D2C form without samples.
type own struct {
	SchemaVersion string   `json:"schema_version"`
	Event         string   `json:"event"`
	Seq           uint64   `json:"seq"`
	TS            int64    `json:"ts"` // Unix milliseconds
	D             struct{} `json:"d"`
	Meta          ownMeta  `json:"meta"`

	Previous  *string    `json:"previous,omitempty"`   // source.started
	LastAcked *uint64    `json:"last_acked,omitempty"` // source.started
	From      uint64     `json:"from,omitempty"`       // telemetry.lost
	To        uint64     `json:"to,omitempty"`         // telemetry.lost
	Counts    *ownCounts `json:"counts,omitempty"`     // telemetry.lost
	Oldest    int64      `json:"oldest,omitempty"`     // telemetry.lost: when the first of them was made
	Newest    int64      `json:"newest,omitempty"`     // telemetry.lost: when the last of them was made
	Reason    string     `json:"reason"`
}

type ownMeta struct {
	Gateway     string `json:"gw_id"`
	Incarnation string `json:"inc"`
}

type ownCounts struct {
	Messages uint64 `json:"messages"`
	Samples  uint64 `json:"samples"`
	Bytes    uint64 `json:"bytes"`
}

// started returns the first message of an incarnation.
func (o *Outbox) started(n Number, p Previous, now time.Time) (Message, error) {
	reason := p.Reason
	if reason == "" {
		reason = "new outbox"
	}
	return o.own(Message{Seq: n.Seq, Last: n.Seq, Made: now.UTC()}, own{
		Event: "source.started", Meta: ownMeta{Incarnation: n.Incarnation}, TS: now.UnixMilli(),
		Previous: &p.Incarnation, LastAcked: &p.LastAcked, Reason: reason,
	})
}

// lost fills in m, the message that stands for all numbers from m.Seq to m.Last.
func (o *Outbox) lost(m Message, incarnation string, now time.Time) (Message, error) {
	return o.own(m, own{
		Event: "telemetry.lost", Meta: ownMeta{Incarnation: incarnation}, TS: now.UnixMilli(),
		From: m.Seq, To: m.Last, Counts: &ownCounts{m.Loss.Messages, m.Loss.Samples, m.Loss.Bytes},
		Oldest: m.Made.UnixMilli(), Newest: m.Loss.Until.UnixMilli(),
		Reason: fmt.Sprintf("outbox over its budget of %d bytes", o.cfg.Budget),
	})
}

func (o *Outbox) own(m Message, w own) (Message, error) {
	w.SchemaVersion, w.Seq, w.Meta.Gateway = "2.1", m.Seq, o.cfg.Gateway
	payload, err := json.Marshal(w)
	if err != nil {
		return Message{}, fmt.Errorf("%s: %w", w.Event, err)
	}
	m.Topic, m.Payload = o.cfg.Topic, payload
	return m, nil
}

// markerRoom is more than a telemetry.lost takes.
const markerRoom = 768

// drop takes about over bytes out of c: the oldest messages in span, then the
// oldest of those that c itself puts. One telemetry.lost message takes their
// place and all their numbers; an earlier one among them is merged into it.
func (o *Outbox) drop(ctx context.Context, c *Change, span Range, over int64) error {
	span.From = max(span.From, 2) // source.started says who is speaking
	l := loss{need: over + markerRoom}
	for next := span.From; next <= span.To && !l.enough(); {
		messages, err := o.queue.Read(ctx, next, span.To, readMessages, readBytes)
		if err != nil {
			return fmt.Errorf("read to drop: %w", err)
		}
		if len(messages) == 0 {
			return fmt.Errorf("message %d is missing: %w", next, ErrDamaged)
		}
		for _, m := range messages {
			if l.enough() {
				break
			}
			l.add(m)
			next = m.Last + 1
		}
	}
	if l.dropped > 0 {
		c.Drop = Range{l.marker.Seq, l.marker.Last}
	}
	put := c.Put
	for len(put) > 0 && !l.enough() {
		l.add(put[0])
		put = put[1:]
	}
	if l.fresh == 0 {
		return nil // nothing may be dropped
	}
	marker, err := o.lost(l.marker, c.Head.Incarnation, time.Now())
	if err != nil {
		return err
	}
	c.Put = append([]Message{marker}, put...)
	c.Head.Messages -= l.dropped - 1
	c.Head.Bytes -= l.bytes - marker.size()
	c.Head.Lost += l.fresh
	c.Head.LostSamples += l.freshSamples
	return nil
}

// A loss adds up what is dropped.
type loss struct {
	need         int64 // bytes to drop
	bytes        int64
	dropped      uint64  // messages
	fresh        uint64  // of these, ones that were not lost before
	freshSamples uint64  // in these
	marker       Message // what will stand for them
}

// enough reports whether to stop. A marker alone frees nothing, so it is never
// the last to go.
func (l *loss) enough() bool {
	return l.fresh > 0 && (l.bytes >= l.need || l.dropped >= dropMessages)
}

func (l *loss) add(m Message) {
	if l.dropped == 0 {
		l.marker = Message{Seq: m.Seq, Made: m.Made, Loss: &Loss{}}
	}
	l.dropped++
	l.bytes += m.size()
	l.marker.Last = m.Last
	sum := l.marker.Loss
	if m.Loss != nil {
		sum.Messages += m.Loss.Messages
		sum.Samples += m.Loss.Samples
		sum.Bytes += m.Loss.Bytes
		sum.Until = m.Loss.Until
		return
	}
	sum.Messages++
	sum.Samples += uint64(m.Samples)
	sum.Bytes += uint64(len(m.Payload))
	sum.Until = m.Made
	l.fresh++
	l.freshSamples += uint64(m.Samples)
}
