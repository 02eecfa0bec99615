package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A Refusal is a message that the server could not take. The server has its
// bytes, in the event that Where names; it is kept here as well, so that
// somebody at the plant can look at it, mend what was wrong, and send it again.
type Refusal struct {
	Message
	Where string    // stream@revision of telemetry.refused
	At    time.Time // when the answer came
}

// refusal is an answer that waits for its commit.
type refusal struct {
	seq   uint64
	where string
}

// maxQuarantined is how many refused messages are kept. The oldest give way:
// the server has them all.
const maxQuarantined = 1000

// ErrNotQuarantined is returned where no refused message has the number.
var ErrNotQuarantined = errors.New("message is not in the quarantine")

// quarantine moves the messages of the refusals that b counts as answered.
func (o *Outbox) quarantine(ctx context.Context, b *batch, now time.Time) error {
	for _, r := range b.seen.refusals {
		messages, err := o.queue.Read(ctx, r.seq, r.seq, 1, readBytes)
		if err != nil {
			return fmt.Errorf("read refused message %d: %w", r.seq, err)
		}
		if len(messages) == 0 {
			return fmt.Errorf("refused message %d is missing: %w", r.seq, ErrDamaged)
		}
		b.Refused = append(b.Refused, Refusal{messages[0], r.where, now})
		b.Head.Quarantined++
	}
	if b.Head.Quarantined <= maxQuarantined || len(b.Refused) == 0 {
		return nil
	}
	oldest, err := o.queue.Refused(ctx, 0, int(b.Head.Quarantined-maxQuarantined)) //nolint:gosec // a few
	if err != nil {
		return fmt.Errorf("read the quarantine: %w", err)
	}
	for _, r := range oldest {
		b.Release = append(b.Release, r.Seq)
		b.Head.Quarantined--
	}
	return nil
}

// Quarantine returns refused messages with Seq > after, in order, at most limit.
func (o *Outbox) Quarantine(ctx context.Context, after uint64, limit int) ([]Refusal, error) {
	kept, err := o.queue.Refused(ctx, after, limit)
	if err != nil {
		return nil, fmt.Errorf("outbox %s: quarantine: %w", o.cfg.Gateway, err)
	}
	return kept, nil
}

// Retry sends a refused message again: under a new number, and out of the
// quarantine in the same commit. It returns the new number.
func (o *Outbox) Retry(ctx context.Context, seq uint64) (uint64, error) {
	kept, err := o.Quarantine(ctx, seq-1, 1)
	if err != nil {
		return 0, err
	}
	if len(kept) == 0 || kept[0].Seq != seq {
		return 0, fmt.Errorf("outbox %s: message %d: %w", o.cfg.Gateway, seq, ErrNotQuarantined)
	}
	m := kept[0].Message
	body := Body{Topic: m.Topic, Samples: m.Samples, Encode: func(n Number) ([]byte, error) { return renumber(m.Payload, n) }}
	return o.put(ctx, &put{bodies: []Body{body}, release: []uint64{seq}, done: make(chan struct{})})
}

// renumber returns the payload under another number. Its msg_id followed from
// the old one.
func renumber(payload []byte, n Number) ([]byte, error) {
	var message, meta map[string]json.RawMessage
	if err := json.Unmarshal(payload, &message); err != nil {
		return nil, fmt.Errorf("refused payload: %w", err)
	}
	if err := json.Unmarshal(message["meta"], &meta); err != nil {
		return nil, fmt.Errorf("refused payload: meta: %w", err)
	}
	set := func(in map[string]json.RawMessage, key string, value any) {
		in[key], _ = json.Marshal(value) // a number or a string
	}
	delete(message, "msg_id")
	set(message, "seq", n.Seq)
	set(meta, "gw_id", n.Source)
	set(meta, "inc", n.Incarnation)
	set(message, "meta", meta)
	return json.Marshal(message)
}
