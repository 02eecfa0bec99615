package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// child is a server under test in a process of its own.
type child struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended, with err
	err  error
}

// start runs a program and waits until addr takes connections.
func start(ctx context.Context, addr, program string, args ...string) (*child, error) {
	c := &child{cmd: exec.CommandContext(ctx, program, args...), done: make(chan struct{})}
	c.cmd.Stderr = os.Stderr
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.done)
	}()
	for deadline := time.Now().Add(20 * time.Second); ; {
		if conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr); err == nil {
			return c, conn.Close()
		}
		select {
		case <-c.done:
			return nil, fmt.Errorf("%s ended before it listened on %s: %w", filepath.Base(program), addr, errors.Join(c.err, errEnded))
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			c.stop()
			return nil, fmt.Errorf("%s did not listen on %s within 20 s: %w", filepath.Base(program), addr, errEnded)
		}
	}
}

var errEnded = errors.New("no server to measure")

func (c *child) pid() int { return c.cmd.Process.Pid }

// stop asks the process to end and waits; after 20 s it is killed.
func (c *child) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(20 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

// freePort returns a loopback address that nobody listened on a moment ago.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	if err != nil {
		return "", err
	}
	defer l.Close() //nolint:errcheck // nothing was accepted
	return l.Addr().String(), nil
}

// build compiles the twinlog binary into dir.
func build(ctx context.Context, dir string) (string, error) {
	bin := filepath.Join(dir, "twinlog")
	out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", bin, "./cmd/twinlog").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build ./cmd/twinlog: %w\n%s", err, out)
	}
	return bin, nil
}

// diskUse returns the bytes that the files below dir occupy.
func diskUse(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			sum += st.Blocks * 512
		}
		return nil
	})
	return sum, err
}
