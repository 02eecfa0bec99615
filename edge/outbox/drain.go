package outbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// readMessages and readBytes bound what Drain holds in memory beyond the
	// window's own messages.
	readMessages = 256
	readBytes    = 1 << 20
)

// linkState is what Stats tells of Drain.
type linkState struct {
	up    bool
	count uint64
	err   error
}

// Drain sends the messages in order over link until ctx ends or the queue
// fails, connecting again whenever the link is lost and then sending from the
// first message without an answer. Only one Drain may run at a time.
func (o *Outbox) Drain(ctx context.Context, link Link) error {
	for failures := 0; ; failures++ {
		if o.cfg.Idle > 0 {
			if err := o.something(ctx); err != nil {
				return fmt.Errorf("drain: %w", err)
			}
		}
		answered, err := o.session(ctx, link)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, ErrClosed) || errors.Is(err, ErrDamaged) {
			return fmt.Errorf("drain: %w", err)
		}
		if answered > 0 {
			failures = 0 // the link works, so the next one may come soon
		}
		if errors.Is(err, errIdle) {
			continue
		}
		if err := sleep(ctx, o.retryAfter(failures)); err != nil {
			return err
		}
	}
}

// errIdle ends a session that had nothing to do.
var errIdle = errors.New("nothing to send")

// something waits until there is a message without an answer.
func (o *Outbox) something(ctx context.Context) error {
	for {
		o.mu.Lock()
		some, failed, news := o.head.Next-1 > o.answers.acked, o.failed, o.news
		o.mu.Unlock()
		switch {
		case failed != nil:
			return failed
		case some:
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// retryAfter returns the wait after so many failures in a row: doubling, and at
// random in its upper half, so that gateways which lost the server together do
// not come back together.
func (o *Outbox) retryAfter(failures int) time.Duration {
	d := o.cfg.RetryMax
	if failures < 30 {
		d = min(o.cfg.RetryMin<<failures, d)
	}
	return d/2 + rand.N(d/2+1)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// flown is what must be known of a message until its answer comes.
type flown struct {
	seq, last uint64
	size      int64
	made      time.Time
}

// session runs one connection until it is lost. It returns how many messages
// were answered and what ended it.
func (o *Outbox) session(ctx context.Context, link Link) (answered int, err error) {
	defer func() {
		if errors.Is(err, errIdle) {
			o.linked(false, nil)
		} else {
			o.linked(false, err)
		}
	}()
	s, err := link.Connect(ctx)
	if err != nil {
		return 0, err
	}
	o.linked(true, nil)

	// The channel is the window: one message more is with the receiver.
	under := make(chan flown, o.cfg.Window-1)
	ctx, cancel := context.WithCancelCause(ctx)
	var sender sync.WaitGroup
	sender.Go(func() { cancel(o.send(ctx, s, under)) })
	answered, err = o.receive(ctx, s, under)
	cancel(err)
	s.Close()
	sender.Wait()
	return answered, context.Cause(ctx)
}

func (o *Outbox) linked(up bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.link.up = up
	if up {
		o.link.count++
	}
	if err != nil {
		o.link.err = err
	}
}

// send takes messages from the queue and hands them to the session, from the
// first that has no answer. It always returns an error.
func (o *Outbox) send(ctx context.Context, s Session, under chan<- flown) error {
	o.mu.Lock()
	next := o.answers.acked + 1
	o.mu.Unlock()
	pace := pace{rate: o.cfg.Rate}
	for {
		to, err := o.take(ctx, next)
		if err != nil {
			return err
		}
		messages, err := o.queue.Read(ctx, next, to, o.chunk(), readBytes)
		if err != nil {
			return fmt.Errorf("read from %d: %w: %w", next, ErrClosed, err)
		}
		if len(messages) == 0 {
			return fmt.Errorf("message %d is missing: %w", next, ErrDamaged)
		}
		o.took(messages[len(messages)-1].Last)
		for _, m := range messages {
			if m.Seq != next || m.Last < m.Seq {
				return fmt.Errorf("message %d to %d where %d is due: %w", m.Seq, m.Last, next, ErrDamaged)
			}
			select {
			case under <- flown{m.Seq, m.Last, m.size(), m.Made}:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := pace.wait(ctx); err != nil {
				return err
			}
			if err := s.Send(ctx, m); err != nil {
				return fmt.Errorf("send %d: %w", m.Seq, err)
			}
			o.sent.Add(1)
			next = m.Last + 1
		}
	}
}

// A pace keeps a rate of messages a second; 0 is no rate.
type pace struct {
	rate int
	next time.Time
}

// paceStep is how far a pace may be ahead before it waits: a timer is not finer.
const paceStep = 10 * time.Millisecond

func (p *pace) wait(ctx context.Context) error {
	if p.rate <= 0 {
		return nil
	}
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	ahead := p.next.Sub(now)
	p.next = p.next.Add(time.Second / time.Duration(p.rate))
	if ahead < paceStep {
		return nil
	}
	return sleep(ctx, ahead)
}

// chunk is how many messages are taken at a time.
func (o *Outbox) chunk() int { return min(readMessages, o.cfg.Window) }

// take waits until the message next is there and returns the last number that
// may be read now. From here on these messages can't be dropped. It also waits
// while a whole window of answers is not committed: recall counts on it.
func (o *Outbox) take(ctx context.Context, next uint64) (to uint64, err error) {
	for {
		o.mu.Lock()
		if o.failed != nil {
			defer o.mu.Unlock()
			return 0, o.failed
		}
		to = min(o.head.Next-1, next+uint64(o.chunk())-1)
		if to >= next && !o.dropping && o.answers.messages < uint64(o.cfg.Window) {
			o.taken = max(o.taken, to)
			o.mu.Unlock()
			return to, nil
		}
		news := o.news
		o.mu.Unlock()
		if err := o.await(ctx, news); err != nil {
			return 0, err
		}
	}
}

// await waits for news, and with Config.Idle not for ever.
func (o *Outbox) await(ctx context.Context, news <-chan struct{}) error {
	var idle <-chan time.Time
	if o.cfg.Idle > 0 {
		t := time.NewTimer(o.cfg.Idle)
		defer t.Stop()
		idle = t.C
	}
	select {
	case <-news:
		return nil
	case <-idle:
		return o.idle()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// idle is errIdle if every message has its answer.
func (o *Outbox) idle() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.head.Next-1 > o.answers.acked {
		return nil
	}
	return errIdle
}

// took extends what take said by the numbers that a telemetry.lost stands for.
func (o *Outbox) took(last uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.taken = max(o.taken, last)
}

// receive takes the answers, in the order of the messages, until the session
// ends or an answer is overdue.
func (o *Outbox) receive(ctx context.Context, s Session, under <-chan flown) (answered int, err error) {
	for {
		var f flown
		select {
		case f = <-under:
		case <-ctx.Done():
			return answered, ctx.Err()
		}
		wait, cancel := context.WithTimeoutCause(ctx, o.cfg.AnswerWithin,
			fmt.Errorf("message %d: no answer within %v: %w", f.seq, o.cfg.AnswerWithin, ErrLinkLost))
		a, err := s.Answer(wait)
		if err != nil && wait.Err() != nil {
			err = context.Cause(wait)
		}
		cancel()
		if err != nil {
			return answered, err
		}
		if a.Seq != f.seq {
			return answered, fmt.Errorf("answer to message %d where %d is due: %w", a.Seq, f.seq, ErrLinkLost)
		}
		answered++
		o.answered(f, a.Refused)
	}
}

// answered notes that the server has a message.
func (o *Outbox) answered(f flown, refused string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.answers.messages == 0 {
		o.answers.since = time.Now()
		o.later()
	}
	o.answers.acked = f.last
	o.answers.messages++
	o.answers.bytes += f.size
	if refused != "" {
		o.answers.refused++
		o.answers.refusals = append(o.answers.refusals, refusal{f.seq, refused})
	}
	o.oldest = f.made // the next one is about as old, or newer
	if o.answers.messages >= uint64(min(ackMessages, (o.cfg.Window+1)/2)) {
		select {
		case o.acks <- struct{}{}:
		default:
		}
	}
}
