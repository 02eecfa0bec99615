package outbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/twinlog/twinlog/edge/outbox"
)

// A plain message as the tests' plant makes it: n is the plant's own count, so
// that the server can tell what it got without trusting sequence numbers.
type payload struct {
	Event    string `json:"event"`
	N        int    `json:"n"`
	Seq      uint64 `json:"seq"`
	Meta     meta   `json:"meta"`
	Previous string `json:"previous"`
	Acked    uint64 `json:"last_acked"`
	Reason   string `json:"reason"`
	From     uint64 `json:"from"`
	To       uint64 `json:"to"`
	Counts   struct {
		Messages uint64 `json:"messages"`
		Samples  uint64 `json:"samples"`
		Bytes    uint64 `json:"bytes"`
	} `json:"counts"`
}

type meta struct {
	Gateway     string `json:"gw_id"`
	Incarnation string `json:"inc"`
}

func body(n, size int) outbox.Body {
	return outbox.Body{Topic: "e/s/a/l/pump/P-1/telemetry", Samples: 10, Encode: func(no outbox.Number) ([]byte, error) {
		return fmt.Appendf(nil, `{"n":%d,"seq":%d,"meta":{"gw_id":"gw","inc":%q},"pad":%q}`, n, no.Seq, no.Incarnation, strings.Repeat("x", size)), nil
	}}
}

// A server keeps what docs/formats/outbox.md asks of the other end: by
// incarnation, the next number only; a repeat is acknowledged if its bytes are
// the same; anything ahead ends the connection.
type server struct {
	mu       sync.Mutex // guards all below
	streams  map[string]*stream
	order    []string // incarnations as they began
	repeats  int
	clones   int
	ahead    int
	firsts   map[int]int // plant's n → how often stored
	lost     uint64
	losses   int
	refuseIf func(n int) bool
}

type stream struct {
	last   uint64
	bytes  map[uint64]string // by the first number of each message
	starts int
}

func newServer() *server {
	return &server{streams: map[string]*stream{}, firsts: map[int]int{}, refuseIf: func(int) bool { return false }}
}

// take returns the answer to a message, or false if the connection must end.
func (s *server) take(m outbox.Message) (outbox.Answer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var p payload
	if err := json.Unmarshal(m.Payload, &p); err != nil {
		panic(fmt.Sprintf("%v: %s", err, m.Payload))
	}
	st := s.streams[p.Meta.Incarnation]
	if st == nil {
		st = &stream{bytes: map[uint64]string{}}
		s.streams[p.Meta.Incarnation] = st
		s.order = append(s.order, p.Meta.Incarnation)
	}
	switch {
	case p.Seq <= st.last:
		if st.bytes[p.Seq] != string(m.Payload) {
			s.clones++
			return outbox.Answer{}, false
		}
		s.repeats++
		return outbox.Answer{Seq: m.Seq}, true
	case p.Seq > st.last+1:
		s.ahead++
		return outbox.Answer{}, false
	}
	st.bytes[p.Seq] = string(m.Payload)
	st.last = p.Seq
	a := outbox.Answer{Seq: m.Seq}
	switch p.Event {
	case "source.started":
		st.starts++
	case "telemetry.lost":
		if p.From != p.Seq || p.To < p.From || p.Counts.Messages != p.To-p.From+1 && !strings.Contains(p.Reason, "stopped") || p.Counts.Samples%p.Counts.Messages != 0 {
			panic(fmt.Sprintf("loss that does not add up: %s", m.Payload))
		}
		st.last = p.To
		s.lost += p.Counts.Messages
		s.losses++
	default:
		s.firsts[p.N]++
		if s.refuseIf(p.N) {
			a.Refused = fmt.Sprintf("telemetry-gw.%s@%d", p.Meta.Incarnation, p.Seq)
		}
	}
	return a, true
}

// A net is the way to the server on a bad day: it loses messages and answers,
// delays and repeats, and is down for a while now and then. It is an
// outbox.Link; all its chances come from one seed.
type net struct {
	server *server

	mu       sync.Mutex // guards all below
	rng      *rand.Rand
	bad      float64 // chance that a message or an answer breaks the connection
	downTill time.Time
	window   int // the most that was ever under way
}

var errDown = errors.New("no route")

func (n *net) chance(p float64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rng.Float64() < p
}

// breaks draws whether something goes wrong now.
func (n *net) breaks(factor float64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rng.Float64() < factor*n.bad
}

func (n *net) between(lo, hi time.Duration) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return lo + time.Duration(n.rng.Int64N(int64(hi-lo)))
}

func (n *net) Connect(ctx context.Context) (outbox.Session, error) {
	select {
	case <-time.After(20 * time.Millisecond):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	n.mu.Lock()
	down := time.Now().Before(n.downTill)
	n.mu.Unlock()
	if down {
		return nil, errDown
	}
	w := &wire{net: n, out: make(chan outbox.Message, 4096), in: make(chan outbox.Answer, 4096), gone: make(chan struct{})}
	w.done.Go(w.carry)
	return w, nil
}

// A wire is one connection.
type wire struct {
	net  *net
	out  chan outbox.Message
	in   chan outbox.Answer
	gone chan struct{}
	once sync.Once
	done sync.WaitGroup
}

func (w *wire) drop() { w.once.Do(func() { close(w.gone) }) }

// carry is what happens between the two ends.
func (w *wire) carry() {
	defer w.drop()
	for {
		select {
		case m := <-w.out:
			if w.net.breaks(0.1) { // an outage of up to an hour
				w.net.mu.Lock()
				w.net.downTill = time.Now().Add(time.Duration(w.net.rng.Int64N(int64(time.Hour))))
				w.net.mu.Unlock()
				return
			}
			if w.net.breaks(1) { // the message is lost, and the connection with it
				return
			}
			if w.net.chance(0.02) {
				time.Sleep(w.net.between(time.Millisecond, 200*time.Millisecond))
			}
			a, ok := w.net.server.take(m)
			if !ok {
				return
			}
			if w.net.breaks(1) { // the answer is lost
				return
			}
			if w.net.breaks(0.1) { // it is lost and nobody notices: silence
				<-w.gone
				return
			}
			w.in <- a
		case <-w.gone:
			return
		}
	}
}

func (w *wire) Send(ctx context.Context, m outbox.Message) error {
	select {
	case <-w.gone:
		return outbox.ErrLinkLost
	default:
	}
	select {
	case w.out <- m:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.gone:
		return outbox.ErrLinkLost
	}
	w.net.mu.Lock()
	defer w.net.mu.Unlock()
	w.net.window = max(w.net.window, len(w.out))
	return nil
}

func (w *wire) Answer(ctx context.Context) (outbox.Answer, error) {
	select {
	case a := <-w.in:
		return a, nil
	case <-w.gone:
		return outbox.Answer{}, outbox.ErrLinkLost
	case <-ctx.Done():
		return outbox.Answer{}, ctx.Err()
	}
}

func (w *wire) Close() {
	w.drop()
	w.done.Wait()
}

// calm is the way to the server on a good day.
func calm(s *server) *net { return &net{server: s, rng: rand.New(rand.NewPCG(1, 1))} }
