package outbox

import (
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
	Tags      []ownTag   `json:"tags,omitempty"`       // telemetry.lost: whose samples they were
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

// ownTag is what a telemetry.lost says of one tag: how many samples of what
// source times, in Unix milliseconds.
type ownTag struct {
	Device  string `json:"device"`
	Signal  string `json:"signal"`
	Samples uint64 `json:"samples"`
	From    int64  `json:"from"`
	To      int64  `json:"to"`
}

// lost fills in l's marker, the message that stands for all numbers from Seq to
// Last.
func (o *Outbox) lost(l *loss, incarnation, reason string, now time.Time) (Message, error) {
	m := l.marker
	return o.own(m, own{
		Event: "telemetry.lost", Meta: ownMeta{Incarnation: incarnation}, TS: now.UnixMilli(),
		From: m.Seq, To: m.Last, Counts: &ownCounts{m.Loss.Messages, m.Loss.Samples, m.Loss.Bytes},
		Oldest: m.Made.UnixMilli(), Newest: m.Loss.Until.UnixMilli(),
		Tags: l.tags.list, Reason: reason,
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
