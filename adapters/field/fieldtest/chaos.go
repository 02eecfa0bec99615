package fieldtest

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twinlog/twinlog/test/budget"
)

// A Chaos stands between a source and its machine, as networks do. It passes
// bytes on until it is told to do worse.
type Chaos struct {
	listener net.Listener
	machine  string

	// mu guards what follows; it is held by the test that misbehaves and by the
	// goroutines that carry bytes, never while they read or write.
	mu      sync.Mutex
	conns   map[net.Conn]bool
	refuse  bool
	mute    bool
	delay   time.Duration
	garbage *rand.Rand
	dials   int
}

// NewChaos listens on a free port in front of the machine at address. It ends
// with the test.
func NewChaos(tb testing.TB, machine string) *Chaos {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a loopback listener has nothing to wait for
	if err != nil {
		tb.Fatal(err)
	}
	c := &Chaos{listener: listener, machine: machine, conns: map[net.Conn]bool{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { c.carry(conn) })
		}
	})
	tb.Cleanup(func() {
		_ = listener.Close()
		c.Cut()
		all.Wait()
	})
	return c
}

// Address is where the source has to look for its machine.
func (c *Chaos) Address() string { return c.listener.Addr().String() }

// Cut ends every connection and refuses new ones until Heal.
func (c *Chaos) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = true
	c.drop()
}

// Break ends every connection once; the next one works.
func (c *Chaos) Break() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
}

// Mute swallows what the machine says, so that connections stand and nothing
// answers.
func (c *Chaos) Mute() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mute = true
}

// Slow holds back each piece of what the machine says.
func (c *Chaos) Slow(delay time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.delay = delay
}

// Garbage replaces what the machine says by random bytes of the same length.
func (c *Chaos) Garbage(rng *rand.Rand) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.garbage = rng
}

// Heal ends all misbehaviour, and the connections that suffered from it.
func (c *Chaos) Heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse, c.mute, c.delay, c.garbage = false, false, 0, nil
	c.drop()
}

// Dials is how often the source has connected.
func (c *Chaos) Dials() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dials
}

func (c *Chaos) drop() {
	for conn := range c.conns {
		_ = conn.Close()
		delete(c.conns, conn)
	}
}

// join takes a connection in, or closes it where connections are refused.
func (c *Chaos) join(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuse {
		_ = conn.Close()
		return false
	}
	c.conns[conn] = true
	return true
}

func (c *Chaos) leave(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, conn)
	_ = conn.Close()
}

func (c *Chaos) carry(source net.Conn) {
	c.mu.Lock()
	c.dials++
	c.mu.Unlock()
	if !c.join(source) {
		return
	}
	defer c.leave(source)
	machine, err := net.Dial("tcp", c.machine) //nolint:noctx // loopback
	if err != nil || !c.join(machine) {
		return
	}
	defer c.leave(machine)
	go func() {
		_, _ = io.Copy(machine, source)
		c.leave(machine)
	}()
	buf := make([]byte, 4096)
	for {
		n, err := machine.Read(buf)
		if n > 0 && !c.pass(source, bytes.Clone(buf[:n])) {
			return
		}
		if err != nil {
			return
		}
	}
}

// pass hands what the machine said to the source, in the present mood.
func (c *Chaos) pass(source net.Conn, b []byte) bool {
	c.mu.Lock()
	mute, delay := c.mute, c.delay
	if c.garbage != nil {
		for i := range b {
			b[i] = byte(c.garbage.Uint32())
		}
	}
	c.mu.Unlock()
	if mute {
		return true
	}
	time.Sleep(delay)
	_, err := source.Write(b)
	return err == nil
}

// Random is the test's source of garbage; its seed is printed.
func Random(tb testing.TB) *rand.Rand {
	tb.Helper()
	return rand.New(rand.NewPCG(budget.Seed(tb), 0))
}
