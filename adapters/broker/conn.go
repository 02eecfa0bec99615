package broker

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// A conn is a plain TCP connection that mochi reads from, except while it is
// lent to a poller: then the poller takes the plain PUBLISH packets off the
// socket and hands them to the session, and mochi's reader sleeps in Read. Thus
// a thousand publishers are read by few goroutines with warm stacks instead of a
// thousand with cold ones, and one system call a message.
//
// Whatever else comes (any other packet, one that may be malformed, a full
// window, an error) ends the loan: the reader wakes with these bytes and does
// with them what it always does. A loan begins only between two packets and with
// nothing left to read in mochi's buffer, so the packets keep their order.
type conn struct {
	*net.TCPConn
	raw    syscall.RawConn
	poller *poller

	// Of the reader, or of the poller during a loan.
	session *session // nil before CONNACK
	frames  framing  // of what was read by mochi
	rest    []byte   // beginning of a packet that is not whole yet
	topic   string   // the last one
	inbox   []byte   // for mochi
	wait    <-chan struct{}
	err     error // behind inbox

	back     chan struct{} // the loan has ended; capacity 1
	patience atomic.Int64  // how long mochi waits for a packet, nanoseconds; 0: for ever
	timer    *time.Timer   // ends a loan when patience does
	seen     atomic.Int64  // when the last packet came during a loan, Unix nanoseconds
	fd       int32         // during a loan
	ending   bool          // during a loan: the client has closed its side

	// armed: lent, and not being read at this moment; guarded by poller.mu, as is
	// gone: closed by us.
	armed, gone bool
}

// lendable makes a connection one that can be lent; others are returned as they are.
func (b *Broker) lendable(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok || b.pollers == nil {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	return &conn{TCPConn: tcp, raw: raw, poller: b.pollers.next(), back: make(chan struct{}, 1)}
}

// Read implements net.Conn for mochi's reader.
func (c *conn) Read(p []byte) (int, error) {
	for {
		switch {
		case len(c.inbox) > 0:
			n := copy(p, c.inbox)
			if c.inbox = c.inbox[n:]; len(c.inbox) == 0 {
				c.inbox = nil
			}
			c.frames.pass(p[:n])
			return n, nil
		case c.err != nil:
			return 0, c.err
		case c.session == nil || !c.frames.whole():
			n, err := c.TCPConn.Read(p)
			c.frames.pass(p[:n])
			return n, err
		}
		if err := c.lend(); err != nil {
			return 0, err
		}
	}
}

// lend lends the connection to its poller and returns when it is back.
func (c *conn) lend() error {
	// During a loan it is the timer that watches the reading, and each write has
	// a deadline of its own.
	if err := c.TCPConn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	c.seen.Store(time.Now().UnixNano())
	if err := c.poller.lend(c); err != nil {
		return err
	}
	patience := time.Duration(c.patience.Load())
	if patience > 0 {
		if c.timer == nil {
			c.timer = time.AfterFunc(time.Hour, c.expire)
		}
		c.timer.Reset(patience)
	}
	<-c.back
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.poller.isGone(c) {
		return net.ErrClosed
	}
	if patience > 0 {
		_ = c.TCPConn.SetDeadline(time.Now().Add(patience))
	}
	if c.wait != nil {
		select {
		case <-c.wait:
		case <-c.session.gone:
		}
		c.wait = nil
	}
	return nil
}

// expire ends a loan during which nothing has come for too long.
func (c *conn) expire() {
	silent := time.Since(time.Unix(0, c.seen.Load()))
	if patience := time.Duration(c.patience.Load()); silent < patience {
		c.timer.Reset(patience - silent)
		return
	}
	if c.poller.take(c) {
		c.giveBack(nil, os.ErrDeadlineExceeded)
	}
}

// giveBack gives mochi's reader the connection, which its poller watches no more.
func (c *conn) giveBack(inbox []byte, err error) {
	c.inbox, c.err, c.rest = append([]byte(nil), inbox...), err, nil
	c.wake()
}

func (c *conn) wake() {
	select {
	case c.back <- struct{}{}:
	default:
	}
}

// Close implements net.Conn. It may be called by anybody at any time.
func (c *conn) Close() error {
	c.poller.forget(c)
	err := c.TCPConn.Close()
	c.wake()
	return err
}

// SetDeadline implements net.Conn: mochi says with it how long it waits for the
// next packet.
func (c *conn) SetDeadline(t time.Time) error {
	patience := time.Duration(0)
	if !t.IsZero() {
		patience = time.Until(t)
	}
	c.patience.Store(int64(patience))
	return c.TCPConn.SetDeadline(t)
}

// receive reads all that has come and takes the plain PUBLISH packets of it. It
// reports whether the loan goes on. The poller calls it with memory to read into.
func (c *conn) receive(buf []byte) bool {
	for {
		full, lent := c.receiveOnce(buf)
		if !lent || !full && !c.ending {
			return lent
		}
	}
}

// receiveOnce reads once; full: there may be more.
func (c *conn) receiveOnce(buf []byte) (full, lent bool) {
	n := copy(buf, c.rest)
	m, err := c.read(buf[n:])
	if errors.Is(err, syscall.EAGAIN) {
		return false, true
	}
	if err != nil {
		c.poller.end(c)
		c.giveBack(buf[:n], err)
		return false, false
	}
	now := time.Now()
	data := buf[:n+m]
	full = len(data) == len(buf)
	for len(data) > 0 {
		size := frameSize(data)
		if size == 0 || size > len(data) {
			if size > len(buf)/2 {
				break // too large for this memory
			}
			c.rest = append(c.rest[:0], data...)
			return full, true
		}
		if size < 0 || !c.publish(data[:size], now) {
			break
		}
		c.seen.Store(now.UnixNano()) // MQTT 5 §3.1.2.10 counts packets, not bytes
		if data = data[size:]; c.wait != nil {
			break
		}
	}
	if len(data) == 0 && c.wait == nil {
		c.rest = c.rest[:0]
		return full, true
	}
	c.poller.end(c)
	c.giveBack(data, nil)
	return false, false
}

// read reads once; io.EOF is the end.
func (c *conn) read(p []byte) (n int, err error) {
	if e := c.raw.Read(func(fd uintptr) bool {
		for {
			if n, err = syscall.Read(int(fd), p); err != syscall.EINTR { //nolint:errorlint // an errno as it comes
				return true
			}
		}
	}); e != nil {
		return 0, e
	}
	if n == 0 && err == nil {
		err = io.EOF
	}
	return max(n, 0), err
}
