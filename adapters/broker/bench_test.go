package broker_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/twinlog/twinlog/adapters/broker"
)

// BenchmarkPublish measures QoS 1 messages per second with 4 pipelined
// publishers (256 in flight) and with 1,000 clients that have one in flight:
//
//	bare      mochi with a hook that stores nothing, which acknowledges at once
//	at once   this broker, the handler answering at once
//	durable   this broker, the handler answering after a shared fdatasync
func BenchmarkPublish(b *testing.B) {
	for _, load := range []struct{ clients, window int }{{4, 256}, {1000, 1}} {
		name := fmt.Sprintf("%dx%d", load.clients, load.window)
		b.Run(name+"/bare", func(b *testing.B) { pump(b, bare(b), load.clients, load.window) })
		b.Run(name+"/at once", func(b *testing.B) {
			pump(b, start(b, broker.Config{Handler: atOnce}).Addr().String(), load.clients, load.window)
		})
		b.Run(name+"/durable", func(b *testing.B) {
			pump(b, start(b, broker.Config{Handler: committer(b)}).Addr().String(), load.clients, load.window)
		})
	}
}

type nothing struct{ mqtt.HookBase }

func (nothing) Provides(b byte) bool {
	return b == mqtt.OnPublish || b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck
}
func (nothing) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }
func (nothing) OnACLCheck(*mqtt.Client, string, bool) bool              { return true }
func (nothing) OnPublish(_ *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	return pk, nil
}

func bare(b *testing.B) string {
	s := mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
	_ = s.AddHook(new(nothing), nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	if err := s.AddListener(listeners.NewNet("t", l)); err != nil {
		b.Fatal(err)
	}
	go func() { _ = s.Serve() }()
	b.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}

// committer writes payloads to a file and answers after one fdatasync for all
// that came meanwhile, as a log does.
func committer(b *testing.B) broker.Handler {
	f, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	var mu sync.Mutex
	var bytes []byte
	var acks []func(broker.Ack)
	news, stop := make(chan struct{}, 1), make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		for {
			select {
			case <-news:
			case <-stop:
				_ = f.Close()
				return
			}
			mu.Lock()
			data, all := bytes, acks
			bytes, acks = nil, nil
			mu.Unlock()
			_, _ = f.Write(data)
			_ = syscall.Fdatasync(int(f.Fd()))
			for _, ack := range all {
				ack(broker.Ack{})
			}
		}
	})
	b.Cleanup(func() { close(stop); done.Wait() })
	return func(p broker.Publish, ack func(broker.Ack)) <-chan struct{} {
		mu.Lock()
		bytes, acks = append(bytes, p.Payload...), append(acks, ack)
		mu.Unlock()
		select {
		case news <- struct{}{}:
		default:
		}
		return nil
	}
}

// pump publishes b.N messages of 304 bytes.
func pump(b *testing.B, addr string, clients, window int) {
	payload := []byte(strings.Repeat("x", 304))
	conns := make([]*raw, clients)
	for i := range conns {
		conns[i] = dial(b, addr, hello{id: fmt.Sprint("c", i), version: 4, clean: true})
	}
	b.ResetTimer()
	var all sync.WaitGroup
	for i, c := range conns {
		n := b.N / clients
		if i < b.N%clients {
			n++
		}
		all.Go(func() { pipeline(b, c, n, window, payload) })
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// pipeline keeps window messages in flight until n are acknowledged.
func pipeline(b *testing.B, c *raw, n, window int, payload []byte) {
	var buf []byte
	sent, acked := 0, 0
	ack := make([]byte, 4)
	for acked < n {
		buf = buf[:0]
		for sent < n && sent-acked < window {
			buf = appendPublish(buf, 4, 1, uint16(sent%window+1), false, telemetry, payload)
			sent++
		}
		if len(buf) > 0 {
			c.send(buf)
		}
		for {
			if _, err := io.ReadFull(c.r, ack); err != nil {
				b.Error(err)
				return
			}
			if id := binary.BigEndian.Uint16(ack[2:]); int(id) != acked%window+1 {
				b.Errorf("PUBACK %d", id)
				return
			}
			acked++
			if acked == sent || c.r.Buffered() < 4 {
				break
			}
		}
	}
}
