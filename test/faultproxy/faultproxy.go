// Package faultproxy is a TCP proxy that can be broken on purpose: cut (all
// connections end and new ones are refused), frozen (connections stay and
// nothing moves, as when a cable is pulled), slowed down, and made to change
// bytes.
package faultproxy

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// A Proxy forwards connections to one address.
type Proxy struct {
	target   string
	listener net.Listener
	stop     chan struct{}
	done     sync.WaitGroup

	mu     sync.Mutex // guards all below
	conns  map[net.Conn]struct{}
	cut    bool
	thaw   chan struct{} // not nil while frozen; closed by Heal
	delay  time.Duration // of each piece of data
	spoil  float64       // chance that a piece of data has one bit changed
	spoilt uint64        // pieces that had
	passed uint64        // connections made
}

// New listens on a free port of 127.0.0.1 and forwards to target (host:port).
func New(target string) (*Proxy, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("fault proxy: %w", err)
	}
	p := &Proxy{target: target, listener: l, stop: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	p.done.Go(p.accept)
	return p, nil
}

// Addr is where clients connect.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Connections is how many connections were passed on so far.
func (p *Proxy) Connections() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.passed
}

// Cut ends all connections and refuses new ones until Heal.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for c := range p.conns {
		_ = c.Close()
	}
}

// Freeze keeps connections open and lets nothing through until Heal.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.thaw == nil {
		p.thaw = make(chan struct{})
	}
}

// Slow holds every piece of data for d.
func (p *Proxy) Slow(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Spoil changes one bit in each piece of data with this chance. TCP's own
// checksum never sees it: what is spoilt must be noticed above.
func (p *Proxy) Spoil(chance float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spoil = chance
}

// Spoilt is how many pieces of data were changed so far.
func (p *Proxy) Spoilt() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.spoilt
}

// change spoils a piece of data if it is due.
func (p *Proxy) change(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.spoil > 0 && rand.Float64() < p.spoil {
		b[rand.IntN(len(b))] ^= 1 << rand.IntN(8)
		p.spoilt++
	}
}

// Heal ends what Cut, Freeze, Slow and Spoil began.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.delay, p.spoil = false, 0, 0
	if p.thaw != nil {
		close(p.thaw)
		p.thaw = nil
	}
}

// Close ends everything and waits for it.
func (p *Proxy) Close() {
	close(p.stop)
	_ = p.listener.Close()
	p.Cut()
	p.done.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.done.Go(func() { p.serve(client) })
	}
}

// serve forwards one connection in both directions until one of them ends.
func (p *Proxy) serve(client net.Conn) {
	defer p.forget(client)
	if !p.remember(client) {
		return
	}
	server, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.target)
	if err != nil {
		return
	}
	defer p.forget(server)
	if !p.remember(server) {
		return
	}
	p.mu.Lock()
	p.passed++
	p.mu.Unlock()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			p.pump(way[0], way[1])
			_, _ = client.Close(), server.Close()
		})
	}
	both.Wait()
}

// remember notes a connection to cut; false if there is a cut now.
func (p *Proxy) remember(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) forget(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *Proxy) pump(from, to net.Conn) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if err != nil || !p.hold() {
			return
		}
		p.change(buf[:n])
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// hold waits as long as the faults of now ask for; false if the proxy closes.
func (p *Proxy) hold() bool {
	p.mu.Lock()
	thaw, delay := p.thaw, p.delay
	p.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-p.stop:
			return false
		}
	}
	if thaw == nil {
		return true
	}
	select {
	case <-thaw:
		return true
	case <-p.stop:
		return false
	}
}
