package outbox

import (
	"fmt"
	"time"
)

// stop is what an outbox has refused because it is full, and the message that
// tells so. The message is written at the first refusal and again, under the
// same number, while it waits and more is refused: a long outage leaves one.
type stop struct {
	told   loss    // in marker
	marker Message // Seq 0: none yet
	fresh  []loss  // not told yet: each as much as one message can name
	at     time.Time
}

// due reports whether there is something to tell, at most once a second.
func (s *stop) due() bool { return len(s.fresh) > 0 && time.Since(s.at) >= time.Second }

// refuse notes messages that got no number.
func (o *Outbox) refuse(messages []Message) {
	s := &o.stop
	for _, m := range messages {
		if n := len(s.fresh); n == 0 || !s.fresh[n-1].tags.fit(s.fresh[n-1].names(m)) {
			s.fresh = append(s.fresh, loss{contents: o.cfg.Contents})
		}
		l := &s.fresh[len(s.fresh)-1]
		l.tags.add(l.names(m))
		l.sum(m)
	}
}

// tell puts what is fresh into c: the first part in place of the last marker,
// unless a link may have taken that or it can't name more tags. It returns what
// stop will be once c is committed.
func (o *Outbox) tell(c *Change, taken uint64) (stop, error) {
	s := o.stop
	for _, l := range s.fresh {
		c.Head.Lost += l.fresh
		c.Head.LostSamples += l.freshSamples
		if s.marker.Seq > taken && s.told.tags.fit(l.tags.list) {
			c.Head.Bytes -= s.marker.size()
			l = s.told.with(l)
		} else {
			l.marker.Seq = c.Head.Next
			c.Head.Next++
			c.Head.Messages++
		}
		l.marker.Last = l.marker.Seq
		reason := fmt.Sprintf("outbox stopped at its budget of %d bytes", o.cfg.Shared.bytes)
		marker, err := o.lost(&l, c.Head.Incarnation, reason, time.Now())
		if err != nil {
			return s, err
		}
		c.Put = append(c.Put, marker)
		c.Head.Bytes += marker.size()
		s.told, s.marker = l, marker
	}
	s.fresh, s.at = nil, time.Now()
	return s, nil
}

// with returns the sum of two losses, under l's number; both stay as they are.
func (l *loss) with(more loss) loss {
	sum := loss{contents: l.contents, marker: l.marker}
	sum.tags.add(l.tags.list)
	sum.tags.add(more.tags.list)
	both := *l.marker.Loss
	both.Messages += more.marker.Loss.Messages
	both.Samples += more.marker.Loss.Samples
	both.Bytes += more.marker.Loss.Bytes
	both.Until = more.marker.Loss.Until
	sum.marker.Loss = &both
	return sum
}
