package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"twinlog": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		if err := run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr}); err != nil {
			fmt.Fprintln(os.Stderr, "twinlog:", err)
			os.Exit(1)
		}
	}})
}

// TestScripts runs the binary as people do.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", RequireExplicitExec: false, Cmds: map[string]func(*testscript.TestScript, bool, []string){
		"address": address, "taken": taken, "ready": ready,
	}})
}

func listen(ts *testscript.TestScript) net.Listener {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	ts.Check(err)
	return l
}

// address VAR… sets each to an address that nobody listens on.
func address(ts *testscript.TestScript, _ bool, names []string) {
	for _, name := range names {
		l := listen(ts)
		defer l.Close()
		ts.Setenv(name, l.Addr().String())
	}
}

// taken VAR sets it to an address that somebody listens on.
func taken(ts *testscript.TestScript, _ bool, names []string) {
	l := listen(ts)
	ts.Defer(func() { _ = l.Close() })
	ts.Setenv(names[0], l.Addr().String())
}

// ready ADDR waits until a server says that it is.
func ready(ts *testscript.TestScript, _ bool, args []string) {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + args[0] + "/readyz")
		if err != nil {
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
	}
	ts.Fatalf("no server is ready at %s within 20 s", args[0])
}
