package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/ingest"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/test/budget"
)

// troubled is a log that fails as logs do: before or after it took effect, or
// because another writer was there first.
type troubled struct {
	*memlog.Log

	// mu guards all below.
	mu     sync.Mutex
	rng    *rand.Rand
	rate   float64
	rivals int
	most   int // events that it takes at once
}

var errDisk = errors.New("disk trouble")

func (l *troubled) Append(ctx context.Context, id eventlog.StreamID, at eventlog.Expected, events ...eventlog.NewEvent) (eventlog.Appended, error) {
	if len(events) > l.most {
		return eventlog.Appended{}, fmt.Errorf("append: %w", eventlog.ErrTooLarge)
	}
	l.mu.Lock()
	trouble, kind := l.rng.Float64() < l.rate, l.rng.IntN(4)
	l.mu.Unlock()
	if !trouble {
		return l.Log.Append(ctx, id, at, events...)
	}
	switch kind {
	case 0:
		return eventlog.Appended{}, fmt.Errorf("append: %w", eventlog.ErrStorageFull)
	case 1:
		return eventlog.Appended{}, errDisk // it had no effect
	case 2:
		if _, err := l.Log.Append(ctx, id, at, events...); err != nil {
			return eventlog.Appended{}, err
		}
		return eventlog.Appended{}, errDisk // it had
	default: // a rival took the place with a part of the same messages, as it would
		if _, known := telemetry.DeriveID(l.Origin(), id, events[0].Type, events[0].Data); known && len(events) > 1 {
			if _, err := l.Log.Append(ctx, id, at, events[0]); err == nil {
				l.mu.Lock()
				l.rivals++
				l.mu.Unlock()
			}
		}
		return l.Log.Append(ctx, id, at, events...)
	}
}

// async answers troubled's appends on another goroutine, as a log that can.
type async struct{ *troubled }

func (l async) AppendAsync(id eventlog.StreamID, at eventlog.Expected, events []eventlog.NewEvent, done func(eventlog.Appended, error)) {
	go func() { done(l.Append(context.Background(), id, at, events...)) }()
}

// TestOracle plays random days: outboxes that repeat from any point, lose
// connections, drop ranges, are replaced and copied; devices that publish by
// themselves, twice, out of order; a log in trouble; a server that restarts.
// The oracle is the list of all deliveries: whatever was acknowledged is in the
// log once, in order, and nothing else is.
func TestOracle(t *testing.T) {
	seed, end := budget.Seed(t), time.Now().Add(budget.For(t))
	days := 0
	for ; time.Now().Before(end); days++ {
		playDay(t, rand.New(rand.NewPCG(seed, uint64(days))))
		if t.Failed() {
			t.Fatalf("day %d", days)
		}
	}
	t.Logf("%d days", days)
}

// outbox is a gateway's outbox as it should be, or a copy of one.
type outbox struct {
	inc   string
	all   []delivery // by seq - 1; a loss fills all its numbers
	acked int        // messages answered
}

func (o *outbox) add(rng *rand.Rand) {
	seq := len(o.all) + 1
	switch {
	case seq == 1:
		o.all = append(o.all, started(o.inc, ""))
	case rng.IntN(20) == 0:
		n := rng.IntN(5)
		for range n + 1 {
			o.all = append(o.all, lost(o.inc, seq, seq+n))
		}
	case rng.IntN(20) == 0:
		o.all = append(o.all, broken(o.inc, seq))
	default:
		o.all = append(o.all, sample(o.inc, seq, rng.IntN(1000)))
	}
}

func playDay(t *testing.T, rng *rand.Rand) {
	p := &plant{tb: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), cfg: ingest.Config{Retry: 50 * time.Microsecond}}
	p.whole, p.shallow = 100_000, 8+rng.IntN(200)
	log := &troubled{Log: memlog.New("plant", p.clock), rng: rand.New(rand.NewPCG(rng.Uint64(), 0)), rate: rng.Float64() * 0.3, most: 4 + rng.IntN(100)}
	p.log = log
	if rng.IntN(2) == 0 {
		p.log = async{log}
	}
	p.start()
	defer func() { p.g.Close() }()
	box := &outbox{inc: fmt.Sprintf("%016x", rng.Uint64())}
	boxes := []*outbox{box}
	device := newDevice(rng)
	for range 5 + rng.IntN(30) {
		switch rng.IntN(12) {
		case 0:
			p.restart()
		case 1: // a new card
			box = &outbox{inc: fmt.Sprintf("%016x", rng.Uint64())}
			boxes = append(boxes, box)
		case 2:
			p.wait(time.Hour)
		}
		for range rng.IntN(30) {
			box.add(rng)
		}
		playSession(t, p, rng, box)
		device.play(t, p, rng)
		p.wait(time.Duration(rng.IntN(5000)) * time.Millisecond)
	}
	for _, b := range boxes {
		checkOutbox(t, p, b)
	}
	device.check(t, p)
}

// playSession sends what has no answer yet, or more, sometimes with holes,
// until the link breaks.
func playSession(t *testing.T, p *plant, rng *rand.Rand, b *outbox) {
	from := b.acked
	if rng.IntN(3) == 0 {
		from = rng.IntN(b.acked + 1) // it forgot its place
	}
	var batch []delivery
	var seqs []int
	for seq := from; seq < len(b.all); seq++ {
		if seq > 0 && b.all[seq] == b.all[seq-1] && seq > from {
			continue // the loss has been sent for this number too
		}
		if rng.IntN(50) == 0 && seq > from {
			continue // a hole, which no connection makes
		}
		batch, seqs = append(batch, b.all[seq]), append(seqs, seq)
		if rng.IntN(40) == 0 {
			batch, seqs = append(batch, b.all[seq]), append(seqs, seq)
		}
	}
	if rng.IntN(10) == 0 && b.acked > 1 {
		// A copied box says something else under a number that is taken.
		d := sample(b.inc, 1+rng.IntN(b.acked), 5000+rng.IntN(9))
		if o := p.send(d)[0]; o.Ack {
			t.Errorf("a clone was acknowledged: %s", d.payload)
		}
	}
	expected := 0
	for i, o := range p.send(batch...) {
		seq := seqs[i]
		for o.Ack && seq+1 < len(b.all) && b.all[seq+1] == b.all[seq] {
			seq++
		}
		switch {
		case o.Ack && seqs[i] > b.acked:
			t.Errorf("%s: message %d was acknowledged and %d was not", b.inc, seqs[i]+1, b.acked+1)
		case o.Ack:
			b.acked = max(b.acked, seq+1)
		case o.Expected == 0:
			t.Errorf("%s: message %d: %v", b.inc, seqs[i]+1, o.Err)
		default:
			expected = int(o.Expected)
			if expected != b.acked+1 {
				t.Errorf("%s: expected %d, acknowledged were %d", b.inc, expected, b.acked)
			}
		}
	}
}

// checkOutbox compares an incarnation's stream with its messages.
func checkOutbox(t *testing.T, p *plant, b *outbox) {
	t.Helper()
	var want []string
	for seq := 1; seq <= b.acked; seq++ {
		d := b.all[seq-1]
		switch {
		case strings.Contains(d.payload, "source.started"):
			want = append(want, "source.started seq=1")
		case strings.Contains(d.payload, "telemetry.lost"):
			to := seq
			for to < len(b.all) && b.all[to] == d {
				to++
			}
			want = append(want, fmt.Sprintf("lost from=%d to=%d", seq, to))
			seq = to
		case strings.Contains(d.payload, `"x":[]`):
			want = append(want, fmt.Sprintf("refused seq=%d", seq))
		default:
			_, value, _ := strings.Cut(d.payload, `"x":`)
			value, _, _ = strings.Cut(value, "}")
			want = append(want, fmt.Sprintf("row %d derived x=%s", seq, value))
		}
	}
	var got []string
	for _, e := range p.stream(telemetry.Stream("gw-1", b.inc)) {
		if !strings.HasPrefix(e, "gap ") && !strings.HasPrefix(e, "source.cloned") {
			got = append(got, strings.TrimSuffix(e, " previous="))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: stream\n%v, want\n%v", b.inc, got, want)
	}
}

// device publishes by itself.
type device struct {
	clock int // 0: none, 1: good, 2: slow and jumping
	sent  []delivery
	seq   int
	first []int // in the order in which they came for the first time
	seen  map[int]bool
	bare  int // messages without msg_id, each sent once
}

func newDevice(rng *rand.Rand) *device { return &device{clock: rng.IntN(3), seen: map[int]bool{}} }

func (d *device) play(t *testing.T, p *plant, rng *rand.Rand) {
	var batch []delivery
	var which []int
	add := func(i int) { batch, which = append(batch, d.sent[i]), append(which, i) }
	for range rng.IntN(40) {
		at := int64(0)
		switch d.clock {
		case 1:
			at = p.clock().UnixMilli() + int64(len(d.sent))
		case 2:
			at = 1710844800000 + rng.Int64N(1e6)
		}
		d.seq += 1 + rng.IntN(2)*rng.IntN(3)
		d.sent = append(d.sent, own(fmt.Sprintf("m%d", len(d.sent)), d.seq, at, rng.IntN(100)))
		if rng.IntN(10) > 0 {
			add(len(d.sent) - 1)
		}
		if len(d.sent) > 1 && rng.IntN(4) == 0 {
			add(rng.IntN(len(d.sent))) // late, or again
		}
	}
	bare := make([]delivery, rng.IntN(3))
	for i := range bare {
		bare[i] = own("", -1, 1000, 1)
	}
	for i, o := range p.send(bare...) {
		if !o.Ack || o.Duplicate {
			t.Errorf("%s: %s", bare[i].payload, answer(o))
		}
		d.bare++
	}
	for i, o := range p.send(batch...) {
		if !o.Ack || o.Refused != nil {
			t.Errorf("%s: %s %v", batch[i].payload, answer(o), o.Err)
		}
		// A log in trouble may have taken it before it said so.
		if d.seen[which[i]] && !o.Duplicate {
			t.Errorf("%s was stored twice", batch[i].payload)
		}
		if !d.seen[which[i]] {
			d.seen[which[i]] = true
			d.first = append(d.first, which[i])
		}
	}
}

func (d *device) check(t *testing.T, p *plant) {
	t.Helper()
	var got, want []string
	for _, e := range p.stream(streamP) {
		if e == "row x=1" {
			d.bare--
		} else if strings.HasPrefix(e, "row") {
			got = append(got, strings.Fields(e)[2])
		}
	}
	for _, i := range d.first {
		want = append(want, fmt.Sprintf("m%d", i))
	}
	if d.bare != 0 {
		t.Errorf("%d messages without msg_id are missing", d.bare)
	}
	if !slices.Equal(got, want) {
		t.Errorf("device stream %v, want %v", got, want)
	}
}

// TestManySources: sources do not mix, whatever runs at once.
func TestManySources(t *testing.T) {
	p := newPlant(t)
	defer func() { p.g.Close() }()
	const sources, messages = 200, 60
	var all sync.WaitGroup
	for s := range sources {
		all.Go(func() {
			topic := fmt.Sprintf("acme/s/a/l/pump/D-%d/telemetry", s)
			var answered sync.WaitGroup
			last := -1
			for m := range messages {
				answered.Add(1)
				d := delivery{topic: topic, payload: fmt.Sprintf(`{"msg_id":"%d","seq":%d,"ts":%d,"d":{"x":%d}}`, m, m, 1000+m, m)}
				p.g.Submit(d.message(p.clock()), func(o ingest.Outcome) {
					if !o.Ack || last != m-1 {
						t.Errorf("D-%d: %d after %d is %s", s, m, last, answer(o))
					}
					last = m
					answered.Done()
				})
			}
			answered.Wait()
		})
	}
	all.Wait()
	for s := range sources {
		if n := len(p.stream(telemetry.Stream(fmt.Sprintf("D-%d", s), telemetry.Unordered))); n != messages {
			t.Errorf("D-%d has %d events", s, n)
		}
	}
	if n := p.g.Counters().Recorded.Load(); n != sources*messages {
		t.Errorf("counted %d", n)
	}
}

// stuck is a log whose appends wait.
type stuck struct {
	*memlog.Log
	gate chan struct{}
}

func (l *stuck) Append(ctx context.Context, id eventlog.StreamID, at eventlog.Expected, events ...eventlog.NewEvent) (eventlog.Appended, error) {
	<-l.gate
	return l.Log.Append(ctx, id, at, events...)
}

// TestBackpressure: Submit does not wait for the log, says when a queue is
// full, and when there is room again.
func TestBackpressure(t *testing.T) {
	p := &plant{tb: t, now: time.Now(), cfg: ingest.Config{QueueMessages: 100}}
	log := &stuck{Log: memlog.New("plant", p.clock), gate: make(chan struct{})}
	p.log = log
	p.start()
	var answered sync.WaitGroup
	var wait <-chan struct{}
	for i := range 5000 {
		answered.Add(1)
		w := p.g.Submit(own(fmt.Sprint(i), i, 1000, i).message(p.clock()), func(ingest.Outcome) { answered.Done() })
		if i < 99 && w != nil {
			t.Fatalf("full after %d", i+1)
		}
		wait = w
	}
	if wait == nil {
		t.Fatal("5,000 messages wait and nobody was told")
	}
	select {
	case <-wait:
		t.Fatal("room while the log is stuck")
	case <-time.After(20 * time.Millisecond):
	}
	close(log.gate)
	<-wait
	answered.Wait()
	p.g.Close()
	if n := len(p.stream(streamP)); n != 5000 {
		t.Errorf("%d events", n)
	}
	out := make(chan ingest.Outcome, 1)
	p.g.Submit(own("late", 1, 1, 1).message(p.clock()), func(o ingest.Outcome) { out <- o })
	if o := <-out; o.Ack || !errors.Is(o.Err, ingest.ErrClosed) {
		t.Errorf("after Close: %+v", o)
	}
}

// TestIdleSources: what is not spoken of is forgotten and found again.
func TestIdleSources(t *testing.T) {
	p := newPlant(t)
	p.g.Close()
	p.cfg.Idle = 5 * time.Millisecond
	p.start()
	defer func() { p.g.Close() }()
	p.send(own("a", 1, 1000, 1), started(incA, ""))
	for end := time.Now().Add(10 * time.Second); p.g.Sources() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d sources still remembered", p.g.Sources())
		}
	}
	p.expect(t, "answers", answers(p.send(own("a", 1, 1000, 1), started(incA, ""), sample(incA, 2, 2))), "duplicate, duplicate, stored")
}
