// Package mqttload publishes D2C JSON at QoS 1 as fast as a broker takes it,
// over sockets of its own (MQTT 3.1.1, OASIS mqtt-v3.1.1 §2-3), so that the
// measuring side costs as little as it can on cores that it shares with the
// server.
package mqttload

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Load is one run.
type Load struct {
	Addr     string
	Clients  int
	InFlight int // messages of one client without acknowledgement, 1 to 65,535
	Samples  int // in each message
	Name     string
}

// Result counts what was acknowledged.
type Result struct {
	Messages, Samples uint64
	Elapsed           time.Duration
}

// PerSecond returns acknowledged messages a second.
func (r Result) PerSecond() float64 { return float64(r.Messages) / r.Elapsed.Seconds() }

// Run publishes until ctx ends and returns what was acknowledged. Connecting
// is not counted.
func (l Load) Run(ctx context.Context) (Result, error) {
	conns := make([]net.Conn, l.Clients)
	for i := range conns {
		c, err := dial(l.Addr, fmt.Sprintf("%s-%d", l.Name, i))
		if err != nil {
			return Result{}, fmt.Errorf("client %d: %w", i, err)
		}
		defer c.Close() //nolint:errcheck // the run is over
		conns[i] = c
	}
	var acked atomic.Uint64
	var wg sync.WaitGroup
	fail := make(chan error, l.Clients)
	began := time.Now()
	for i, c := range conns {
		wg.Go(func() {
			if err := l.publish(ctx, c, i, &acked); err != nil && ctx.Err() == nil {
				fail <- fmt.Errorf("client %d: %w", i, err)
			}
		})
	}
	<-ctx.Done()
	r := Result{Messages: acked.Load(), Elapsed: time.Since(began)}
	r.Samples = r.Messages * uint64(l.Samples)
	for _, c := range conns {
		_ = c.SetDeadline(time.Now())
	}
	wg.Wait()
	select {
	case err := <-fail:
		return r, err
	default:
		return r, nil
	}
}

// publish keeps InFlight messages on the way: as many as were acknowledged are
// sent anew, in one write.
func (l Load) publish(ctx context.Context, c net.Conn, client int, acked *atomic.Uint64) error {
	in := bufio.NewReaderSize(c, 16<<10)
	out := bufio.NewWriterSize(c, 64<<10)
	m := newMessage(fmt.Sprintf("%s-%d", l.Name, client), l.Samples)
	var id uint16
	room := l.InFlight
	for ctx.Err() == nil {
		for ; room > 0; room-- {
			if id++; id == 0 {
				id = 1
			}
			if _, err := out.Write(m.next(id)); err != nil {
				return err
			}
		}
		if err := out.Flush(); err != nil {
			return err
		}
		n, err := acks(in)
		if err != nil {
			return err
		}
		acked.Add(uint64(n))
		room += n
	}
	return nil
}

// acks waits for one PUBACK and takes those that came with it.
func acks(in *bufio.Reader) (int, error) {
	n := 0
	for {
		head, err := in.ReadByte()
		if err != nil {
			return n, err
		}
		size, err := binary.ReadUvarint(in)
		if err != nil {
			return n, err
		}
		if _, err := in.Discard(int(size)); err != nil {
			return n, err
		}
		if head>>4 == 4 {
			n++
		}
		if n > 0 && in.Buffered() < 4 {
			return n, nil
		}
	}
}

var errRefused = errors.New("connection refused by the broker")

func dial(addr, client string) (net.Conn, error) {
	c, err := net.Dial("tcp", addr) //nolint:noctx // bounded by the run
	if err != nil {
		return nil, err
	}
	body := append([]byte{0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0}, 0, byte(len(client)))
	body = append(body, client...)
	if _, err := c.Write(append([]byte{0x10, byte(len(body))}, body...)); err != nil {
		return nil, err
	}
	var ack [4]byte
	if _, err := io.ReadFull(c, ack[:]); err != nil {
		return nil, err
	}
	if ack[0] != 0x20 || ack[3] != 0 {
		return nil, fmt.Errorf("CONNACK % x: %w", ack, errRefused)
	}
	return c, nil
}
