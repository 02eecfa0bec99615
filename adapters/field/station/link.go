package station

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"time"
)

// A Link is a network between two parties that can be cut: a TCP relay. While
// it is cut, connections are broken and new ones refused.
type Link struct {
	listener net.Listener
	target   string

	// mu guards what follows, and is never held while bytes are carried.
	mu    sync.Mutex
	down  bool
	conns map[net.Conn]bool
}

// NewLink listens on address ("" means a free port of this machine) and leads to
// target, host:port. It carries nothing before Run.
func NewLink(address, target string) (*Link, error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", address) //nolint:noctx // listening waits for nothing
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	return &Link{listener: listener, target: target, conns: map[net.Conn]bool{}}, nil
}

// newBrokerLink returns the link to a broker's URL.
func newBrokerLink(broker string) (*Link, error) {
	u, err := url.Parse(broker)
	if err != nil || u.Scheme != "mqtt" || u.Port() == "" {
		return nil, fmt.Errorf("broker %q, expected mqtt://host:port", broker)
	}
	return NewLink("", u.Host)
}

// Addr is where the link listens, host:port.
func (l *Link) Addr() string { return l.listener.Addr().String() }

// Cut cuts the link, or joins it again.
func (l *Link) Cut(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
	if down {
		l.drop()
	}
}

func (l *Link) drop() {
	for c := range l.conns {
		_ = c.Close()
		delete(l.conns, c)
	}
}

// linger is how long connections may end by themselves once the link is to end:
// what was said last is then still carried.
const linger = 200 * time.Millisecond

// Run carries bytes until ctx ends.
func (l *Link) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = l.listener.Close() })
	defer stop()
	var all sync.WaitGroup
	err := l.accept(ctx, &all)
	idle := make(chan struct{})
	go func() {
		all.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-time.After(linger):
		l.Cut(true)
		<-idle
	}
	return err
}

func (l *Link) accept(ctx context.Context, all *sync.WaitGroup) error {
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // it was closed because ctx ended
			}
			return fmt.Errorf("link: %w", err)
		}
		all.Go(func() { l.carry(ctx, conn) })
	}
}

func (l *Link) carry(ctx context.Context, near net.Conn) {
	if !l.join(near) {
		return
	}
	defer l.leave(near)
	far, err := new(net.Dialer).DialContext(ctx, "tcp", l.target)
	if err != nil || !l.join(far) {
		return
	}
	defer l.leave(far)
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(far, near) // either end may go at any time
		l.leave(far)
	})
	_, _ = io.Copy(near, far)
	l.leave(near)
	back.Wait()
}

// join takes a connection in, or closes it while the link is cut.
func (l *Link) join(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		_ = c.Close()
		return false
	}
	l.conns[c] = true
	return true
}

func (l *Link) leave(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	_ = c.Close()
}
