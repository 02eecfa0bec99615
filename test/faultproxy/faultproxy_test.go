package faultproxy_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/twinlog/twinlog/test/faultproxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo returns the address of a server that says everything again.
func echo(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	return l.Addr().String()
}

func TestFaults(t *testing.T) {
	p, err := faultproxy.New(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	dial := func() (net.Conn, *bufio.Reader) {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c, bufio.NewReader(c)
	}
	say := func(c net.Conn, r *bufio.Reader, within time.Duration) error {
		_ = c.SetDeadline(time.Now().Add(within))
		if _, err := io.WriteString(c, "hello\n"); err != nil {
			return err
		}
		_, err := r.ReadString('\n')
		return err
	}
	c, r := dial()
	if err := say(c, r, 5*time.Second); err != nil {
		t.Fatal(err)
	}

	p.Freeze()
	if err := say(c, r, 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("frozen: %v", err)
	}
	p.Heal()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if line, err := r.ReadString('\n'); err != nil || line != "hello\n" {
		t.Fatalf("thawed: %q, %v", line, err)
	}

	p.Slow(50 * time.Millisecond)
	began := time.Now()
	if err := say(c, r, 5*time.Second); err != nil || time.Since(began) < 100*time.Millisecond {
		t.Fatalf("slow: %v after %v", err, time.Since(began))
	}

	p.Cut()
	if err := say(c, r, 5*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("cut: %v", err)
	}
	c, r = dial() // the kernel accepts it
	if err := say(c, r, 5*time.Second); err == nil {
		t.Fatal("a connection passed while cut")
	}
	p.Heal()
	c, r = dial()
	if err := say(c, r, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if n := p.Connections(); n != 2 {
		t.Fatalf("%d connections passed", n)
	}
}
