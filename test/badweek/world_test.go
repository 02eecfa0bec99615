package badweek

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/adapters/uplink/wire"
	"github.com/twinlog/twinlog/domain/ingest"
	"github.com/twinlog/twinlog/edge/outbox"
)

// contents is what the product uses: a payload read by the wire's own reader.
func contents(m outbox.Message, visit func(outbox.Content)) error {
	var u ingest.Uplink
	u.Reset()
	if err := read(&ingest.Message{Topic: m.Topic, Payload: m.Payload, Arrived: m.Made}, &u); err != nil {
		return err
	}
	for _, s := range u.Row.Samples {
		visit(outbox.Content{Device: u.Row.Device, Signal: s.Signal, At: u.Row.SourceTime})
	}
	return nil
}

var read = wire.NewReader(wire.Config{})

// A server is the product's ingest on a log that survives its restarts. Its
// clock is set now and then.
type server struct {
	log *memlog.Log
	rng *rand.Rand

	mu       sync.Mutex // guards all below
	g        *ingest.Ingester
	down     chan struct{} // closed when this life of the server ends; nil while it is down
	step     time.Duration
	restarts int
	repeats  int
	conns    uint64
}

func newServer(rng *rand.Rand) *server {
	s := &server{rng: rng}
	s.log = memlog.New("plant", s.now)
	s.mend()
	return s
}

func (s *server) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.step)
}

// fail restarts the server now and then.
func (s *server) fail(ctx context.Context) {
	for {
		up := time.Duration(s.rng.Int64N(int64(24 * time.Hour)))
		away := time.Duration(s.rng.Int64N(int64(20 * time.Minute)))
		if !sleep(ctx, up) {
			return
		}
		s.stop()
		s.mu.Lock()
		s.step = time.Duration(s.rng.Int64N(int64(10*time.Minute))) - 5*time.Minute
		s.restarts++
		s.mu.Unlock()
		if !sleep(ctx, away) {
			return
		}
		s.mend()
	}
}

// stop ends this life of the server: what it has not answered is nobody's.
func (s *server) stop() {
	s.mu.Lock()
	g, down := s.g, s.down
	s.g, s.down = nil, nil
	s.mu.Unlock()
	if g == nil {
		return
	}
	close(down)
	_ = g.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repeats += int(g.Counters().Duplicates.Load())
}

// mend starts the server if it is down.
func (s *server) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.g == nil {
		s.g, s.down = ingest.New(s.log, read, ingest.Config{Idle: 24 * time.Hour}), make(chan struct{})
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// A way is a gateway's link to the server, and the weather on it.
type way struct {
	server *server

	mu      sync.Mutex // guards all below
	rng     *rand.Rand
	bad     float64 // chance that a message breaks the connection
	out     bool
	open    map[*session]bool
	outages int
	longest time.Duration
}

var errAway = errors.New("no route")

func newWay(s *server, rng *rand.Rand) *way {
	return &way{server: s, rng: rng, bad: 0.002 * rng.Float64(), open: map[*session]bool{}}
}

// weather makes outages: most are short, some last for up to 72 hours.
func (w *way) weather(ctx context.Context) {
	for {
		w.mu.Lock()
		calm := time.Duration(w.rng.Int64N(int64(48 * time.Hour)))
		lasts := time.Duration(w.rng.Int64N(int64(10 * time.Minute)))
		if w.rng.IntN(3) == 0 {
			lasts = time.Duration(w.rng.Int64N(int64(72 * time.Hour)))
		}
		w.mu.Unlock()
		if !sleep(ctx, calm) {
			return
		}
		w.mu.Lock()
		w.out = true
		w.outages++
		began := time.Now()
		for s := range w.open {
			s.drop()
		}
		w.mu.Unlock()
		ok := sleep(ctx, lasts)
		w.mu.Lock()
		w.longest = max(w.longest, time.Since(began))
		w.out = false
		w.mu.Unlock()
		if !ok {
			return
		}
	}
}

// mend ends all trouble.
func (w *way) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out, w.bad = false, 0
}

func (w *way) breaks() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.Float64() < w.bad
}

// Connect implements outbox.Link.
func (w *way) Connect(context.Context) (outbox.Session, error) {
	w.server.mu.Lock()
	g, down := w.server.g, w.server.down
	w.server.conns++
	conn := w.server.conns
	w.server.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.out || g == nil {
		return nil, errAway
	}
	s := &session{way: w, g: g, down: down, conn: conn, answers: make(chan outbox.Answer, 4096), gone: make(chan struct{})}
	w.open[s] = true
	return s, nil
}

// A session is one connection.
type session struct {
	way     *way
	g       *ingest.Ingester
	down    chan struct{}
	conn    uint64
	answers chan outbox.Answer
	gone    chan struct{}
	once    sync.Once
}

func (s *session) drop() { s.once.Do(func() { close(s.gone) }) }

func (s *session) lost() bool {
	select {
	case <-s.gone:
		return true
	case <-s.down:
		return true
	default:
		return false
	}
}

// Send implements outbox.Session. A message may be lost with the connection,
// arrive twice, or arrive while its answer is lost, with the connection or in
// silence.
func (s *session) Send(_ context.Context, m outbox.Message) error {
	if s.lost() {
		return outbox.ErrLinkLost
	}
	if s.way.breaks() {
		s.drop()
		return outbox.ErrLinkLost
	}
	deliver := func(answer func(ingest.Outcome)) {
		in := ingest.Message{Topic: m.Topic, Client: "gw", Payload: m.Payload, Arrived: time.Now(), Connection: s.conn}
		if wait := s.g.Submit(in, answer); wait != nil {
			select {
			case <-wait:
			case <-s.down:
			}
		}
	}
	deliver(func(o ingest.Outcome) {
		switch {
		case !o.Ack, s.way.breaks():
			s.drop()
		case s.way.breaks(): // in silence
		default:
			a := outbox.Answer{Seq: m.Seq}
			if o.Refused != nil {
				a.Refused = o.Refused.String()
			}
			s.answers <- a
		}
	})
	if s.way.breaks() {
		deliver(func(ingest.Outcome) {}) // the broker's retransmission
	}
	return nil
}

// Answer implements outbox.Session.
func (s *session) Answer(ctx context.Context) (outbox.Answer, error) {
	select {
	case a := <-s.answers:
		return a, nil
	case <-s.gone:
		return outbox.Answer{}, outbox.ErrLinkLost
	case <-s.down:
		return outbox.Answer{}, outbox.ErrLinkLost
	case <-ctx.Done():
		return outbox.Answer{}, ctx.Err()
	}
}

// Close implements outbox.Session.
func (s *session) Close() {
	s.drop()
	s.way.mu.Lock()
	defer s.way.mu.Unlock()
	delete(s.way.open, s)
}
