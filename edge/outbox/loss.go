package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

const (
	// markerRoom is more than a telemetry.lost takes without its tags, and
	// tagRoom about what a tag adds.
	markerRoom = 768
	tagRoom    = 110
	// maxTags is how many tags one telemetry.lost names. What belongs to further
	// ones goes into the next.
	maxTags = 1024
)

// drop takes about over bytes out of c: the oldest messages in span, then the
// oldest of those that c itself puts. One telemetry.lost message takes their
// place and all their numbers; an earlier one among them is merged into it,
// unless it names as many tags as it can.
func (o *Outbox) drop(ctx context.Context, c *Change, span Range, over int64) error {
	span.From = max(span.From, 2) // source.started says who is speaking
	l := loss{need: over + markerRoom, contents: o.cfg.Contents}
	for next := span.From; next <= span.To && !l.enough(); {
		messages, err := o.queue.Read(ctx, next, span.To, readMessages, readBytes)
		if err != nil {
			return fmt.Errorf("read to drop: %w", err)
		}
		if len(messages) == 0 {
			return fmt.Errorf("message %d is missing: %w", next, ErrDamaged)
		}
		for _, m := range messages {
			if !l.add(m) {
				break
			}
			next = m.Last + 1
		}
	}
	if l.dropped > 0 {
		c.Drop = Range{l.marker.Seq, l.marker.Last}
	}
	put := c.Put
	for len(put) > 0 && put[0].Seq > span.To && l.add(put[0]) {
		put = put[1:]
	}
	if l.fresh == 0 {
		c.Drop = Range{}
		return nil // nothing may be dropped
	}
	reason := fmt.Sprintf("outbox over its budget of %d bytes", o.cfg.Shared.bytes)
	marker, err := o.lost(&l, c.Head.Incarnation, reason, time.Now())
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
	tags         tags
	full         bool // the next message's tags find no place
	contents     func(Message, func(Content)) error
}

// enough reports whether to stop. A marker alone frees nothing, so it is never
// the last to go.
func (l *loss) enough() bool {
	return l.full || l.fresh > 0 && (l.bytes >= l.need+int64(len(l.tags.list))*tagRoom || l.dropped >= dropMessages)
}

// add takes m into the loss, if it is not enough yet and there is room for its
// tags. A full marker in front of all others stays as it is.
func (l *loss) add(m Message) bool {
	if l.enough() {
		return false
	}
	names := l.names(m)
	if len(names) >= maxTags && m.Loss != nil && l.dropped == 0 {
		return true
	}
	if l.dropped > 0 && !l.tags.fit(names) {
		l.full = l.fresh > 0
		if l.full {
			return false
		}
		// Two markers that cannot be merged: the second begins the loss.
		*l = loss{need: l.need, contents: l.contents}
	}
	l.tags.add(names)
	l.sum(m)
	return true
}

// sum counts m.
func (l *loss) sum(m Message) {
	if l.marker.Loss == nil {
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

// names says whose samples a message holds, or had lost. What can't be read is
// counted and not named.
func (l *loss) names(m Message) (names []ownTag) {
	if m.Loss != nil {
		var w own
		_ = json.Unmarshal(m.Payload, &w) // it is our own
		return w.Tags
	}
	if l.contents == nil {
		return nil
	}
	_ = l.contents(m, func(c Content) {
		at := c.At.UnixMilli()
		names = append(names, ownTag{c.Device, c.Signal, 1, at, at})
	})
	return names
}

// tags are sums by tag, in the order in which the tags came.
type tags struct {
	list []ownTag
	at   map[[2]string]int
}

// fit reports whether names find room; the first always do.
func (t *tags) fit(names []ownTag) bool {
	n := len(t.list)
	for i := range names {
		if _, ok := t.at[[2]string{names[i].Device, names[i].Signal}]; !ok {
			n++
		}
	}
	return len(t.list) == 0 || n <= maxTags
}

func (t *tags) add(names []ownTag) {
	for _, n := range names {
		key := [2]string{n.Device, n.Signal}
		i, ok := t.at[key]
		if !ok {
			if t.at == nil {
				t.at = map[[2]string]int{}
			}
			t.at[key] = len(t.list)
			t.list = append(t.list, n)
			continue
		}
		t.list[i].Samples += n.Samples
		t.list[i].From = min(t.list[i].From, n.From)
		t.list[i].To = max(t.list[i].To, n.To)
	}
}
