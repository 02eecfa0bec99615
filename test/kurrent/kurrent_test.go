// Package kurrent_test runs official clients, unmodified and in processes of
// their own, against a log that is served over their protocol.
package kurrent_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/adapters/eventlog/esdbgrpc"
	"github.com/twinlog/twinlog/test/peer"
)

// server serves a log on disk and can be restarted at its address.
type server struct {
	dir, address string
	stop         func() error
}

func (s *server) start(t *testing.T) {
	t.Helper()
	log, err := badgerlog.Open(t.Context(), s.dir, badgerlog.Config{})
	if err != nil {
		t.Fatal(err)
	}
	at := s.address
	if at == "" {
		at = "127.0.0.1:0"
	}
	on, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	s.address = on.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- esdbgrpc.New(log, esdbgrpc.Config{}).Serve(ctx, on) }()
	s.stop = func() error {
		cancel()
		return errors.Join(<-done, log.Close())
	}
}

// drive runs a client and restarts the server where it asks for that.
func drive(t *testing.T, cmd *exec.Cmd, s *server) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var wrong strings.Builder
	cmd.Stderr = &wrong
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = append(said, lines.Text())
		if lines.Text() != "RESTART" {
			continue
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		s.start(t)
		if _, err := io.WriteString(in, "\n"); err != nil {
			t.Error(err)
		}
	}
	if err := cmd.Wait(); err != nil || said[len(said)-1] != "DONE" {
		t.Fatalf("%v: %v\n%s\n%s", cmd.Args, err, strings.Join(said, "\n"), wrong.String())
	}
}

func begin(t *testing.T) *server {
	s := &server{dir: t.TempDir()}
	s.start(t)
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestNodeClients(t *testing.T) {
	node := peer.Need(t, "node")
	for _, name := range []string{"@eventstore/db-client", "@kurrent/kurrentdb-client"} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat(filepath.Join("node", "node_modules", name)); err != nil {
				if os.Getenv("CI") != "" {
					t.Fatal(err)
				}
				t.Skip("the Node clients are not installed; run npm ci in test/kurrent/node")
			}
			s := begin(t)
			cmd := exec.CommandContext(patient(t), node, "client.mjs", name, s.address)
			cmd.Dir = "node"
			drive(t, cmd, s)
		})
	}
}

func TestGoClient(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "client")
	build := exec.CommandContext(patient(t), peer.Need(t, "go"), "build", "-o", binary, ".")
	build.Dir = "go"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatal(fmt.Errorf("%w\n%s", err, out))
	}
	s := begin(t)
	drive(t, exec.CommandContext(patient(t), binary, s.address), s)
}
