package broker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
)

// pollers share the connections.
type pollers struct {
	all  []*poller
	turn atomic.Uint64
}

// newPollers returns one for each core.
func newPollers() (*pollers, error) {
	ps := &pollers{}
	for range runtime.GOMAXPROCS(0) {
		p, err := newPoller()
		if err != nil {
			ps.close()
			return nil, fmt.Errorf("mqtt: poller: %w", err)
		}
		ps.all = append(ps.all, p)
	}
	return ps, nil
}

func (ps *pollers) next() *poller { return ps.all[ps.turn.Add(1)%uint64(len(ps.all))] }

// run returns after close.
func (ps *pollers) run() {
	var running sync.WaitGroup
	for _, p := range ps.all {
		running.Go(p.run)
	}
	running.Wait()
}

func (ps *pollers) close() {
	for _, p := range ps.all {
		_ = p.file.Close()
	}
}

// edgeTriggered is EPOLLET, which package syscall has with a sign.
const edgeTriggered = 1 << 31

// A poller reads the connections that are lent to it (epoll(7), edge-triggered:
// a connection is read until it has no more, and is not asked again).
type poller struct {
	file *os.File        // the epoll instance, itself waited for by the Go runtime
	raw  syscall.RawConn // of file

	// mu guards conns, and armed and gone of each connection.
	mu    sync.Mutex
	conns map[int32]*conn // the lent ones by file descriptor
}

func newPoller() (*poller, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		_ = syscall.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &poller{file: os.NewFile(uintptr(fd), "epoll"), conns: map[int32]*conn{}}
	if p.raw, err = p.file.SyscallConn(); err != nil {
		_ = p.file.Close()
		return nil, err
	}
	return p, nil
}

const (
	maxEvents = 256
	// readBytes is what is read of one connection at once; it holds any usual
	// client's whole window.
	readBytes = 256 << 10
)

func (p *poller) run() {
	events, buf := make([]syscall.EpollEvent, maxEvents), make([]byte, readBytes)
	ready := make([]*conn, 0, maxEvents)
	for {
		n := 0
		err := p.raw.Read(func(fd uintptr) bool {
			for {
				var err error
				if n, err = syscall.EpollWait(int(fd), events, 0); err != syscall.EINTR { //nolint:errorlint // an errno as it comes
					return n != 0
				}
			}
		})
		if err != nil || n < 0 {
			return // closed
		}
		ready = p.grab(ready[:0], events[:n])
		for i, c := range ready {
			if !c.receive(buf) {
				ready[i] = nil
			}
		}
		p.release(ready)
	}
}

// grab returns the connections of the events, which are the poller's until release.
func (p *poller) grab(ready []*conn, events []syscall.EpollEvent) []*conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range events {
		if c := p.conns[events[i].Fd]; c != nil && c.armed {
			c.armed = false
			// The end may have come with the last bytes, as one edge.
			c.ending = events[i].Events&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0
			ready = append(ready, c)
		}
	}
	return ready
}

// release gives back what grab returned, less those whose loan has ended (nil).
func (p *poller) release(ready []*conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range ready {
		if c != nil && p.conns[c.fd] == c {
			c.armed = true
		}
	}
}

// lend begins to watch a connection.
func (p *poller) lend(c *conn) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.gone {
		return net.ErrClosed
	}
	if err := p.control(c, syscall.EPOLL_CTL_ADD); err != nil {
		return fmt.Errorf("mqtt: epoll: %w", err)
	}
	p.conns[c.fd], c.armed = c, true
	return nil
}

// end ends the watching; the caller has the connection.
func (p *poller) end(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(c)
}

// take ends the watching of a connection that is not being read just now.
func (p *poller) take(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !c.armed {
		return false
	}
	p.drop(c)
	return true
}

// forget is for a connection that is about to be closed.
func (p *poller) forget(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(c)
	c.gone = true
}

func (p *poller) isGone(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return c.gone
}

// drop deregisters the connection while its descriptor is surely its own. p.mu is held.
func (p *poller) drop(c *conn) {
	c.armed = false
	if c.gone || p.conns[c.fd] != c {
		return
	}
	delete(p.conns, c.fd)
	_ = p.control(c, syscall.EPOLL_CTL_DEL) // it fails when the poller is closed
}

// control is epoll_ctl on two descriptors that cannot be closed meanwhile.
func (p *poller) control(c *conn, op int) error {
	var err, inner error
	outer := p.raw.Control(func(epoll uintptr) {
		inner = c.raw.Control(func(fd uintptr) {
			c.fd = int32(fd)
			err = syscall.EpollCtl(int(epoll), op, int(fd), &syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | edgeTriggered, Fd: c.fd})
		})
	})
	return errors.Join(outer, inner, os.NewSyscallError("epoll_ctl", err))
}
