package modbus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// errSilence is the end of a wait for an answer on a connection that stands.
var errSilence = errors.New("no answer")

// A client is one connection with one request in flight. It is used by one
// goroutine.
type client struct {
	config      Config
	conn        net.Conn // nil when there is none
	in          *bufio.Reader
	out         []byte
	transaction uint16
	strays      uint64 // replies that answered no request of ours, or answered too late
}

// dial opens the connection; an open one is closed first.
func (c *client) dial(ctx context.Context) error {
	c.close()
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.config.Address)
	if err != nil {
		return fmt.Errorf("modbus %s: %w", c.config.Address, err)
	}
	c.conn, c.in = conn, bufio.NewReaderSize(conn, 2*maxFrameBytes)
	return nil
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close() // nothing is ever left unsent on it
		c.conn = nil
	}
}

// ask makes a request up to tries times, a pause apart, and returns the data of
// its answer. A device may close a connection that was idle, so a broken one is
// opened again for the next try. The error is an Exception if the device
// answered one; otherwise errSilence if it was only silent.
func (c *client) ask(ctx context.Context, r request, tries int) (data []byte, err error) {
	for try := range tries {
		if try > 0 {
			if err := sleep(ctx, c.config.Pause); err != nil {
				return nil, err
			}
		}
		if data, err = c.once(ctx, r); err == nil || ctx.Err() != nil {
			return data, err
		}
		if e, ok := errors.AsType[Exception](err); ok && !e.later() {
			return nil, err
		}
	}
	return nil, fmt.Errorf("modbus %s, unit %d, %d tries: %w", c.config.Address, r.unit, tries, err)
}

// once makes one request. After an error other than an Exception and silence
// the connection is closed.
func (c *client) once(ctx context.Context, r request) ([]byte, error) {
	if c.conn == nil {
		if err := c.dial(ctx); err != nil {
			return nil, err
		}
	}
	data, err := c.exchange(ctx, r)
	_, answered := errors.AsType[Exception](err)
	if err != nil && !answered && !errors.Is(err, errSilence) {
		c.close()
	}
	return data, err
}

// exchange sends r and waits for its answer until the timeout or ctx ends. The
// transaction number tells the answer from a late one to an earlier try, which
// may well be for the same addresses and would put an old value under a new
// time.
func (c *client) exchange(ctx context.Context, r request) ([]byte, error) {
	if err := c.conn.SetDeadline(time.Now().Add(c.config.Timeout)); err != nil {
		return nil, err
	}
	conn := c.conn
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	c.transaction++
	c.out = appendFrame(c.out[:0], c.transaction, r)
	if _, err := c.conn.Write(c.out); err != nil {
		return nil, err
	}
	for {
		f, err := readFrame(c.in)
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("%w within %v", errSilence, c.config.Timeout)
		}
		if err != nil {
			return nil, err
		}
		if f.transaction != c.transaction || f.unit != r.unit {
			c.strays++
			continue
		}
		return r.decodePDU(f.pdu)
	}
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
