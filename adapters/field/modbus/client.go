package modbus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// errSilence is the end of a wait for an answer on a connection that stands.
var errSilence = errors.New("no answer")

// errUnsent marks a request of which the device has seen nothing.
var errUnsent = errors.New("not sent")

// A wire carries bytes: a TCP connection or a serial line.
type wire interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
}

// A client is one connection with one request in flight, whoever makes it.
type client struct {
	config Config

	mu          sync.Mutex // held while a request is under way; guards what follows
	conn        wire       // nil when there is none
	in          *bufio.Reader
	out         []byte
	transaction uint16
	strays      uint64    // replies that answered no request of ours, or answered too late
	quiet       time.Time // when the line was last busy
	owed        bool      // the last request was not answered, and on a serial line may still be
}

// name is what errors call the device.
func (c Config) name() string {
	if c.Serial != "" {
		return c.Serial
	}
	return c.Address
}

// open opens the connection; an open one is closed first.
func (c *client) open(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dial(ctx)
}

func (c *client) dial(ctx context.Context) error {
	c.drop()
	if c.config.Serial != "" {
		p, err := openSerial(c.config.Serial, c.config.Line)
		if err != nil {
			return err
		}
		c.conn, c.in = p, bufio.NewReaderSize(p, 2*maxFrameBytes)
		return nil
	}
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
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
}

func (c *client) drop() {
	if c.conn != nil {
		_ = c.conn.Close() // nothing is ever left unsent on it
		c.conn, c.owed = nil, false
	}
}

// ask makes a request up to tries times, a pause apart, and returns the data of
// its answer. A device may close a connection that was idle, so a broken one is
// opened again for the next try. The error is an Exception if the device
// answered one; otherwise errSilence if it was only silent.
func (c *client) ask(ctx context.Context, q question, tries int) (data []byte, err error) {
	for try := range tries {
		if try > 0 {
			if err := sleep(ctx, c.config.Pause); err != nil {
				return nil, err
			}
		}
		if data, err = c.once(ctx, q); err == nil || ctx.Err() != nil {
			return data, err
		}
		if e, ok := errors.AsType[Exception](err); ok && !e.later() {
			return nil, err
		}
	}
	return nil, fmt.Errorf("modbus %s, unit %d, %d tries: %w", c.config.name(), q.to(), tries, err)
}

// once makes one request. After an error other than an Exception and silence
// the connection is closed; after silence too, if answers do not say to which
// request they belong and closing is what keeps a late one away.
func (c *client) once(ctx context.Context, q question) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		if err := c.dial(ctx); err != nil {
			return nil, fmt.Errorf("%w, %w", err, errUnsent)
		}
	}
	if c.config.Serial != "" {
		if err := c.calm(ctx); err != nil {
			c.drop()
			return nil, fmt.Errorf("%w, %w", err, errUnsent)
		}
	}
	data, err := c.exchange(ctx, q)
	c.quiet = time.Now()
	_, answered := errors.AsType[Exception](err)
	switch silent := errors.Is(err, errSilence); {
	case err == nil || answered:
	case c.config.Serial != "" && (silent || errors.Is(err, ErrFrame) || errors.Is(err, ErrReply) || ctx.Err() != nil):
		c.owed = true // the line stands, but what comes next on it may be anything
	case !silent || c.config.RTU:
		c.drop()
	}
	return data, err
}

// calm waits until a serial line has been silent between two frames, and throws
// away what came unasked. An answer that is owed may come as late as the timeout
// once more, and would then answer the next request.
func (c *client) calm(ctx context.Context) error {
	silence := c.config.Line.silence()
	until := c.quiet.Add(silence)
	if c.owed {
		until = time.Now().Add(c.config.Timeout)
		silence += slice // what other masters and slow adapters put between two bytes
	}
	c.owed = false
	if err := sleep(ctx, min(time.Until(c.quiet.Add(silence)), silence)); err != nil {
		return err
	}
	var rest [maxRTUBytes]byte
	for came := false; ; {
		_, _ = c.in.Discard(c.in.Buffered())
		wait := until
		if came {
			wait = time.Now().Add(silence)
		}
		if !time.Now().Before(wait) {
			return c.flush(ctx)
		}
		if err := c.conn.SetDeadline(wait); err != nil {
			return err
		}
		n, err := c.conn.Read(rest[:])
		if n > 0 {
			came = true
			c.strays++
			continue
		}
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			return c.flush(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// flush throws away what the operating system has kept of an idle line.
func (c *client) flush(ctx context.Context) error {
	if p, ok := c.conn.(*port); ok {
		if err := p.ResetInputBuffer(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// exchange sends q and waits for its answer until the timeout or ctx ends. The
// transaction number tells the answer from a late one to an earlier try, which
// may well be for the same addresses and would put an old value under a new
// time. RTU has no such number; once and calm see to it that nothing late comes.
func (c *client) exchange(ctx context.Context, q question) ([]byte, error) {
	conn := c.conn
	if err := conn.SetDeadline(time.Now().Add(c.config.Timeout)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	c.transaction++
	next := readFrame
	if c.config.RTU {
		c.out, next = appendRTU(c.out[:0], q), readRTU
	} else {
		c.out = appendFrame(c.out[:0], c.transaction, q)
	}
	if _, err := conn.Write(c.out); err != nil {
		return nil, err
	}
	for {
		f, err := next(c.in)
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("%w within %v", errSilence, c.config.Timeout)
		}
		if err != nil {
			return nil, err
		}
		if f.unit != q.to() || (!c.config.RTU && f.transaction != c.transaction) {
			c.strays++
			continue
		}
		return q.decodePDU(f.pdu)
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
