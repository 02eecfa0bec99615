// Package outbox is the edge's memory while the server can't be reached. What
// Put accepted is in the server's log exactly once, or a telemetry.lost message
// in its place says how many messages and samples are missing and why.
//
// Every message gets the lane's next sequence number, durably and before Put
// returns; callers that come together share one sync. Numbers belong to an
// incarnation, a random id made with the store, so that a replaced store is
// never taken for repeated messages. Messages leave in the order of their
// numbers through a Link, which is a window and not a call: up to 1,024 are
// under way, answers come in their order, and a message is forgotten only after
// its answer (docs/formats/outbox.md).
//
// A full outbox drops its oldest messages that were never sent, or refuses new
// ones if it is told to. It does not choose by importance: lanes do, each with
// an outbox of its own and all under one Budget (Lanes).
package outbox

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// MaxMessageBytes bounds the payloads of one Put, so that a store can take a
// commit in one small transaction. A message of ten samples has about 500 bytes.
const MaxMessageBytes = 256 << 10

// Window is how many messages may be unanswered unless Config says otherwise.
// It is also what the server's broker offers a client.
const Window = 1024

// The errors of an outbox. Each is returned wrapped with the object it concerns.
var (
	// ErrTooLarge: a payload of more than MaxMessageBytes. The message got no number.
	ErrTooLarge = errors.New("message is too large")
	// ErrFull: the store refuses to grow although old messages were dropped.
	ErrFull = errors.New("outbox is full")
	// ErrClosed: the outbox has been closed, or its store failed earlier.
	ErrClosed = errors.New("outbox is closed")
	// ErrDamaged: the store can't give back what it once accepted.
	ErrDamaged = errors.New("outbox is damaged")
	// ErrLinkLost: the link ended; what was not answered must be sent again.
	ErrLinkLost = errors.New("link lost")
)

// A Message is one uplink message in its place in the lane.
type Message struct {
	Seq     uint64    // 1, 2, 3 … in the incarnation
	Last    uint64    // Seq, or for telemetry.lost the last number that it stands for
	Samples int       // in the payload
	Made    time.Time // when Put accepted it; for telemetry.lost the oldest of the lost
	Topic   string
	Payload []byte
	Loss    *Loss // what a telemetry.lost stands for; nil for any other message
}

// Loss is what was dropped: the messages, and what was in them. Which tags had
// how many samples from when to when is in the payload.
type Loss struct {
	Messages uint64
	Samples  uint64
	Bytes    uint64    // of payload
	Until    time.Time // when the newest of them was made
}

// A Content is one sample of a message, as Config.Contents tells it.
type Content struct {
	Device, Signal string
	At             time.Time // source time
}

// size is what a message counts against the budget: its bytes and about what a
// store adds for the key and the fields.
func (m Message) size() int64 { return int64(len(m.Payload)+len(m.Topic)) + 64 }

// Number is a message's name: unique for ever, and known to both ends.
type Number struct {
	Source      string // of the lane: Config.Gateway
	Incarnation string
	Seq         uint64
}

// A Body is what a caller wants delivered: a message without its number.
type Body struct {
	Topic   string
	Samples int // counted if the message has to be dropped
	// Encode makes the payload once the number is known. It is called exactly
	// once, by the goroutine that writes, and must not block.
	Encode func(Number) ([]byte, error)
}

// Head is the state of a lane between two commits.
type Head struct {
	Incarnation string // 16 hex characters; "" in a store that never had a commit
	Created     time.Time
	Next        uint64 // the next message's number
	Acked       uint64 // the server has everything up to here
	Messages    uint64 // held
	Bytes       int64  // held, as counted against the budget
	Lost        uint64 // messages dropped since Created
	LostSamples uint64
	Quarantined uint64 // refused messages that are kept
}

// A Change is what one commit does to a Queue, all or nothing.
type Change struct {
	Drop Range     // messages to forget, before Put
	Put  []Message // messages to keep, in order; a message with the same Seq is replaced
	Head Head      // the new head; messages up to Head.Acked may be forgotten at any time
	// Refused are messages to keep apart, by their number, until Release names
	// them. Release comes after Refused.
	Refused []Refusal
	Release []uint64
}

// Range is a span of numbers, both ends included. The zero Range is empty.
type Range struct{ From, To uint64 }

// A Queue is the port of the durable store behind one outbox (queuetest holds
// what it must keep). Commit is called by one goroutine; Read by others.
type Queue interface {
	// Load returns the head of the last commit. A new store returns the zero
	// Head, and what it knows of a store that it replaces.
	Load(ctx context.Context) (Head, Previous, error)
	// Commit applies a change, all or nothing, and returns when a power cut
	// can't undo it. After ErrFull nothing has changed; after any other error
	// the outcome is unknown and the Queue must not be used any more.
	Commit(ctx context.Context, c Change) error
	// Read returns the messages with Seq in [from, to], in order: at most max,
	// and no more once maxBytes are reached, but at least one if there is one.
	Read(ctx context.Context, from, to uint64, max int, maxBytes int64) ([]Message, error)
	// Refused returns the refused messages that are kept with Seq > after, in
	// order, at most max.
	Refused(ctx context.Context, after uint64, max int) ([]Refusal, error)
}

// Previous is the incarnation that a new one replaces, as far as it is known.
type Previous struct {
	Incarnation string
	LastAcked   uint64
	Reason      string // "" for the first outbox of a gateway
}

// A Link leads to the server.
type Link interface {
	// Connect waits until the server answers and returns a session on which
	// nothing is under way. It is never called while a session is open.
	Connect(ctx context.Context) (Session, error)
}

// A Session is one connection. Send and Answer are called by two goroutines.
type Session interface {
	// Send hands a message over and does not wait for its answer. It may block
	// while the connection is slow.
	Send(ctx context.Context, m Message) error
	// Answer waits for the answer to the oldest unanswered message: answers come
	// in the order of Send. An error, ErrLinkLost or ctx's, ends the session, and
	// what became of the unanswered messages is unknown.
	Answer(ctx context.Context) (Answer, error)
	// Close ends the session and makes Send and Answer return.
	Close()
}

// An Answer says that the server has a message durably.
type Answer struct {
	Seq     uint64
	Refused string // where the server put a message that it could not take: "stream@revision"
}

// Config says what is particular to one lane. Gateway and Topic are needed.
type Config struct {
	Gateway string // the source: gw_id, or gw_id~lane
	Topic   string // of the outbox's own messages: …/gateway/{gw_id}/telemetry
	// Budget is how many bytes may wait; 0 means 1 GiB. Messages that may have
	// been sent, at most three windows of them, are kept even beyond it.
	Budget int64
	// Stop refuses new messages with ErrFull when the budget is reached, instead
	// of dropping the oldest; what was refused is told as lost all the same.
	Stop bool
	// Shared, if not nil, is a budget together with other lanes, in place of
	// Budget and Stop. Of those that hold anything, the lane with the lowest Rank
	// drops first.
	Shared *Budget
	Rank   int
	Window int // messages under way; 0 means 1,024
	// AnswerWithin is how long the oldest message may stay unanswered before the
	// link counts as lost; 0 means 30 s.
	AnswerWithin time.Duration
	// Rate bounds how many messages a second are handed to the link, so that what
	// was kept during an outage leaves room for what is new; 0 means no bound.
	Rate int
	// Idle ends a connection that had nothing to do for so long; the next message
	// makes another. 0 means never.
	Idle time.Duration
	// Contents calls visit for every sample of a payload, so that a loss can say
	// whose samples they were; nil: it can't.
	Contents func(m Message, visit func(Content)) error
	// RetryMin and RetryMax bound the wait between two connections, which
	// doubles and is drawn at random from its upper half; 0 means 1 s and 2 min.
	RetryMin, RetryMax time.Duration
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	if c.Budget <= 0 {
		c.Budget = 1 << 30
	}
	if c.Shared == nil {
		c.Shared = NewBudget(c.Budget, c.Stop)
	}
	if c.Window <= 0 {
		c.Window = Window
	}
	def(&c.AnswerWithin, 30*time.Second)
	def(&c.RetryMin, time.Second)
	def(&c.RetryMax, 2*time.Minute)
	return c
}

// An Outbox is one lane. Put, Stats and Drain may run concurrently; only one
// Drain runs at a time.
type Outbox struct {
	cfg   Config
	queue Queue
	puts  chan *put
	acks  chan struct{} // capacity 1: enough answers for a commit of their own
	first chan struct{} // capacity 1: something waits to be written, but not for long
	room  chan struct{} // capacity 1: another lane needs this one to drop something
	done  chan struct{} // closed by Close
	ended chan struct{} // closed when the committer has ended
	close sync.Once

	mu sync.Mutex // guards all below, briefly; held by the committer, Drain's two goroutines and Stats
	// head is what has been committed.
	head Head
	// taken is the highest number that Drain may have handed to a link: what was
	// handed over is never dropped, since the server may have it.
	taken uint64
	// dropping: a commit that drops messages is under way, so that Drain must
	// not take any.
	dropping bool
	answers  answers
	oldest   time.Time     // Made of the oldest message held; zero if unknown
	failed   error         // ErrClosed, with the reason, once the committer has ended
	broken   error         // the queue's error that ended it, if one did
	news     chan struct{} // closed and replaced when head or dropping changes
	link     linkState

	sent atomic.Uint64 // messages handed to a link

	stop stop // what was refused while the outbox was full; the committer's
}

// answers collects what the server has answered since the last commit.
type answers struct {
	acked    uint64
	messages uint64 // kept by the queue and answered
	bytes    int64
	refused  uint64
	since    time.Time // of the first uncommitted answer
	refusals []refusal // uncommitted
}

// Open returns the outbox on queue. In a new store it makes an incarnation,
// whose first message is source.started.
func Open(ctx context.Context, queue Queue, cfg Config) (*Outbox, error) {
	head, previous, err := queue.Load(ctx)
	if err != nil {
		return nil, fmt.Errorf("outbox %s: %w", cfg.Gateway, err)
	}
	o := &Outbox{
		cfg: cfg.withDefaults(), queue: queue, head: head,
		puts: make(chan *put), acks: make(chan struct{}, 1), room: make(chan struct{}, 1), first: make(chan struct{}, 1), done: make(chan struct{}), ended: make(chan struct{}), news: make(chan struct{}),
	}
	if head.Incarnation == "" {
		if err := o.begin(ctx, previous, time.Now()); err != nil {
			return nil, fmt.Errorf("outbox %s: begin: %w", cfg.Gateway, err)
		}
	}
	o.answers.acked = o.head.Acked
	if err := o.recall(ctx); err != nil {
		return nil, fmt.Errorf("outbox %s: %w", cfg.Gateway, err)
	}
	o.cfg.Shared.join(o)
	go o.commit(context.WithoutCancel(ctx))
	return o, nil
}

// recall finds out what an earlier process may have sent: beyond what it noted
// as answered, a window of answers that were not committed, a window without
// answers, and what it had just taken, at most another window.
func (o *Outbox) recall(ctx context.Context) error {
	o.taken = o.head.Acked
	for left := 3 * o.cfg.Window; left > 0; {
		messages, err := o.queue.Read(ctx, o.taken+1, o.head.Next-1, min(left, readMessages), readBytes)
		if err != nil {
			return err
		}
		if len(messages) == 0 {
			break
		}
		if o.oldest.IsZero() {
			o.oldest = messages[0].Made
		}
		o.taken = messages[len(messages)-1].Last
		left -= len(messages)
	}
	return nil
}

// begin commits a new incarnation with its first message.
func (o *Outbox) begin(ctx context.Context, previous Previous, now time.Time) error {
	head := Head{Incarnation: newIncarnation(), Created: now.UTC(), Next: 1}
	m, err := o.started(Number{o.cfg.Gateway, head.Incarnation, head.Next}, previous, now)
	if err != nil {
		return err
	}
	head.Next++
	head.Messages, head.Bytes = 1, m.size()
	if err := o.queue.Commit(ctx, Change{Put: []Message{m}, Head: head}); err != nil {
		return err
	}
	o.head = head
	return nil
}

// newIncarnation returns 64 random bits: two gateways that ever share a name
// meet in one incarnation less than once in 10^10 replacements.
func newIncarnation() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// Incarnation returns the id of this life of the lane.
func (o *Outbox) Incarnation() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.head.Incarnation
}

// Stats is what an operator wants to see of a lane.
type Stats struct {
	Incarnation string
	Accepted    uint64 // numbers given, the outbox's own messages among them
	Acked       uint64 // the server has everything up to here
	Depth       uint64 // messages waiting or under way
	Bytes       int64  // of these
	Age         time.Duration
	Lost        uint64 // messages dropped for the budget, in this incarnation
	LostSamples uint64
	Refused     uint64 // messages that the server kept as refused, since Open
	Quarantined uint64 // refused messages that are kept here
	Sent        uint64 // messages handed to the link, resent ones again, since Open
	Links       uint64 // connections made since Open
	Linked      bool
	LastError   string // why the last link ended, "" if none did
}

// Stats returns the lane's counters. Age is that of the oldest message.
func (o *Outbox) Stats() Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := Stats{
		Incarnation: o.head.Incarnation, Accepted: o.head.Next - 1, Acked: o.answers.acked,
		Depth: o.head.Messages - o.answers.messages, Bytes: o.head.Bytes - o.answers.bytes,
		Lost: o.head.Lost, LostSamples: o.head.LostSamples, Refused: o.answers.refused, Quarantined: o.head.Quarantined,
		Sent: o.sent.Load(), Links: o.link.count, Linked: o.link.up,
	}
	if o.link.err != nil {
		s.LastError = o.link.err.Error()
	}
	if s.Depth > 0 && !o.oldest.IsZero() {
		s.Age = max(time.Since(o.oldest), 0)
	}
	return s
}

// Close ends the committer; a Put under way fails with ErrClosed. The queue is
// the caller's to close afterwards.
func (o *Outbox) Close() error {
	o.close.Do(func() { close(o.done) })
	<-o.ended
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.broken
}

// changed wakes Drain. The caller holds o.mu.
func (o *Outbox) changed() {
	close(o.news)
	o.news = make(chan struct{})
}
