package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// commitMessages and commitBytes bound one commit, so that a caller never
	// waits behind more than a small transaction. The last put may go beyond
	// commitBytes by its own size, at most MaxMessageBytes and its overhead.
	commitMessages = 1024
	commitBytes    = 128 << 10
	// dropMessages bounds how many messages one commit may drop.
	dropMessages = 4096
	// ackMessages and ackWithin are when answers alone are worth a sync: a crash
	// before it only sends them again.
	ackMessages = 256
	ackWithin   = time.Second
)

// A put is one caller of Put, waiting for the commit that it shares.
type put struct {
	bodies  []Body
	release []uint64 // refused messages that the bodies take the place of
	last    uint64
	err     error
	done    chan struct{}
}

// Put gives the bodies the lane's next numbers, in order, and returns the last
// number once all are durable: all or none. Together they may have at most
// MaxMessageBytes. If ctx ends while the commit is under way, the messages may
// be accepted all the same.
func (o *Outbox) Put(ctx context.Context, bodies ...Body) (uint64, error) {
	return o.put(ctx, &put{bodies: bodies, done: make(chan struct{})})
}

func (o *Outbox) put(ctx context.Context, p *put) (uint64, error) {
	if len(p.bodies) > commitMessages {
		return 0, fmt.Errorf("outbox %s: %d messages at once, expected at most %d: %w", o.cfg.Gateway, len(p.bodies), commitMessages, ErrTooLarge)
	}
	select {
	case o.puts <- p:
	case <-o.ended:
		return 0, o.why()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	select {
	case <-p.done:
		return p.last, p.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// why says what ended the committer.
func (o *Outbox) why() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return fmt.Errorf("outbox %s: %w", o.cfg.Gateway, o.failed)
}

// commit is the one goroutine that changes the queue. It ends when the outbox
// is closed or the queue fails: a failed sync may or may not have happened, so
// nothing can be promised after it.
func (o *Outbox) commit(ctx context.Context) {
	// The timer runs only while something waits for it: a gateway has lanes that
	// are idle for days.
	timer := time.NewTimer(ackWithin)
	defer timer.Stop()
	var err error
	closed := false
	for err == nil && !closed {
		select {
		case p := <-o.puts:
			err = o.write(ctx, o.gather(p))
		case <-o.first:
			timer.Reset(ackWithin)
		case <-timer.C:
			if o.ackDue() || o.stop.due() {
				err = o.write(ctx, nil)
			}
			if o.waits() {
				timer.Reset(ackWithin)
			}
		case <-o.acks:
			err = o.write(ctx, nil)
		case <-o.room:
			err = o.write(ctx, nil)
		case <-o.done:
			o.stop.at = time.Time{} // due now
			err = o.write(ctx, nil) // so that little is sent again
			closed = err == nil
		}
	}
	o.cfg.Shared.leave(o)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed = ErrClosed
	if !closed {
		o.broken = fmt.Errorf("outbox %s: %w", o.cfg.Gateway, err)
		o.failed = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	o.changed()
	close(o.ended)
}

// gather takes the puts that wait right now, up to the bounds of a commit.
func (o *Outbox) gather(first *put) []*put {
	all, n := []*put{first}, len(first.bodies)
	for n < commitMessages {
		select {
		case p := <-o.puts:
			all, n = append(all, p), n+len(p.bodies)
		default:
			return all
		}
	}
	return all
}

// waits reports whether something is to be written later.
func (o *Outbox) waits() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.answers.messages > 0 || len(o.stop.fresh) > 0
}

// later makes the committer look again after ackWithin.
func (o *Outbox) later() {
	select {
	case o.first <- struct{}{}:
	default:
	}
}

// ackDue reports whether answers have waited long enough for a commit.
func (o *Outbox) ackDue() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.answers.messages > 0 && time.Since(o.answers.since) >= ackWithin
}

// A batch is the next commit before the budget has had its say.
type batch struct {
	Change
	seen answers // what Change.Head already counts as answered
}

// write commits the answers so far with the messages of puts, in as many
// commits as their bytes need, and tells the callers.
func (o *Outbox) write(ctx context.Context, puts []*put) error {
	for first := true; first || len(puts) > 0; first = false {
		b, taken, err := o.batch(ctx, puts)
		if err == nil {
			err = o.apply(ctx, b)
		}
		if err != nil && !errors.Is(err, ErrFull) {
			taken = len(puts) // no commit will follow this one
		}
		for _, p := range puts[:taken] {
			if p.err == nil && err != nil {
				p.err = fmt.Errorf("outbox %s: %w", o.cfg.Gateway, err)
			}
			close(p.done)
		}
		puts = puts[taken:]
		if err != nil && !errors.Is(err, ErrFull) {
			return err
		}
	}
	return nil
}

// batch builds the next commit from the first puts that fit, at least one, and
// says how many they are.
func (o *Outbox) batch(ctx context.Context, puts []*put) (b batch, taken int, err error) {
	now := time.Now().UTC()
	o.mu.Lock()
	b.Head, b.seen = o.head, o.answers
	o.mu.Unlock()
	b.Head.Acked = b.seen.acked
	b.Head.Messages -= b.seen.messages
	b.Head.Bytes -= b.seen.bytes
	if err := o.quarantine(ctx, &b, now); err != nil {
		return b, len(puts), err
	}
	var bytes int64
	for _, p := range puts {
		if bytes >= commitBytes {
			break
		}
		taken++
		next := b.Head.Next
		messages, err := encode(p.bodies, Number{o.cfg.Gateway, b.Head.Incarnation, next}, now)
		if err != nil {
			p.err = fmt.Errorf("outbox %s: %w", o.cfg.Gateway, err)
			continue // it used no number
		}
		if o.cfg.Shared.stops(o, b.Head.Bytes+bytes, messages) {
			p.err = fmt.Errorf("outbox %s: its budget of %d bytes is used up: %w", o.cfg.Gateway, o.cfg.Shared.bytes, ErrFull)
			o.refuse(messages)
			o.later()
			continue
		}
		for _, m := range messages {
			bytes += m.size()
		}
		b.Put = append(b.Put, messages...)
		b.Head.Next = next + uint64(len(messages))
		p.last = b.Head.Next - 1
		b.Release = append(b.Release, p.release...)
		b.Head.Quarantined -= uint64(len(p.release))
	}
	b.Head.Messages += uint64(len(b.Put))
	b.Head.Bytes += bytes
	return b, taken, nil
}

// encode numbers the bodies of one put from first on.
func encode(bodies []Body, first Number, now time.Time) ([]Message, error) {
	messages := make([]Message, 0, len(bodies))
	bytes := 0
	for i, b := range bodies {
		seq := first.Seq + uint64(i)
		payload, err := b.Encode(Number{first.Source, first.Incarnation, seq})
		if err != nil {
			return nil, fmt.Errorf("encode for %s: %w", b.Topic, err)
		}
		if bytes += len(payload); bytes > MaxMessageBytes {
			return nil, fmt.Errorf("message for %s: %d bytes, expected at most %d in one put: %w", b.Topic, bytes, MaxMessageBytes, ErrTooLarge)
		}
		messages = append(messages, Message{
			Seq: seq, Last: seq, Samples: b.Samples, Made: now, Topic: b.Topic, Payload: payload,
		})
	}
	return messages, nil
}

// apply commits b after dropping what the budget no longer holds. When the store
// itself is full, twice what b adds is dropped and it is tried once more.
func (o *Outbox) apply(ctx context.Context, b batch) error {
	over := o.cfg.Shared.over(o, b.Head.Bytes)
	err := o.try(ctx, b, over)
	if !errors.Is(err, ErrFull) {
		return err
	}
	if o.cfg.Shared.stop {
		o.refuse(b.Put)
		o.later()
		return err
	}
	var need int64
	for _, m := range b.Put {
		need += m.size()
	}
	return o.try(ctx, b, max(over, 2*need))
}

// try commits b after dropping about over bytes, if above zero.
func (o *Outbox) try(ctx context.Context, b batch, over int64) (err error) {
	told := o.stop.due()
	if len(b.Put) == 0 && len(b.Release) == 0 && b.seen.messages == 0 && over <= 0 && !told {
		return nil // nothing to say
	}
	next := o.stop
	if over > 0 || told {
		after, free := o.fence()
		defer o.unfence()
		if told {
			if next, err = o.tell(&b.Change, after); err != nil {
				return err
			}
		}
		if over > 0 {
			if err := o.drop(ctx, &b.Change, Range{after + 1, free - 1}, over); err != nil {
				return err
			}
		}
	}
	if err := o.queue.Commit(ctx, b.Change); err != nil {
		return err
	}
	o.stop = next
	o.cfg.Shared.holds(o, b.Head.Bytes)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.head.Messages == o.answers.messages && len(b.Put) > 0 {
		o.oldest = b.Put[0].Made // it was empty
	}
	o.head = b.Head
	o.answers.messages -= b.seen.messages
	o.answers.bytes -= b.seen.bytes
	o.answers.refusals = o.answers.refusals[len(b.seen.refusals):]
	o.answers.since = time.Now()
	o.changed()
	return nil
}

// fence keeps Drain from taking messages while some are being dropped. It
// returns the highest number that Drain may have taken and the next free one.
func (o *Outbox) fence() (taken, next uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dropping = true
	return o.taken, o.head.Next
}

func (o *Outbox) unfence() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dropping = false
	o.changed()
}
