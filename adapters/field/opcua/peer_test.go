package opcua_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/field/opcua"
	"github.com/twinlog/twinlog/edge/protocol"
	"github.com/twinlog/twinlog/test/peer"
)

// A server is npm node-opcua under the test's command.
type server struct {
	tb          testing.TB
	in          io.WriteCloser
	out         *bufio.Scanner
	cmd         *exec.Cmd
	dir         string
	port        int
	certificate string // a PEM file
	namespace   string
}

// common is the server that most tests share: starting one takes seconds.
var common struct {
	*server
	dir string
}

func TestMain(m *testing.M) {
	code := m.Run()
	if common.server != nil {
		_ = common.in.Close() // it exits at the end of its input
		_ = common.cmd.Wait()
		_ = os.RemoveAll(common.dir)
	}
	os.Exit(code)
}

// shared returns the common server under this test's command.
func shared(tb testing.TB) *server {
	tb.Helper()
	if common.server == nil {
		dir, err := os.MkdirTemp("", "opcua-peer")
		if err != nil {
			tb.Fatal(err)
		}
		s := &server{tb: tb, dir: dir}
		s.start(context.Background(), 0)
		common.server, common.dir = s, dir
	}
	common.tb = tb
	return common.server
}

// startServer starts a server of the test's own. It ends with the test.
func startServer(tb testing.TB, args ...string) *server {
	tb.Helper()
	s := &server{tb: tb, dir: tb.TempDir()}
	s.start(tb.Context(), 0, args...)
	cmd, in := s.cmd, s.in
	tb.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return s
}

func (s *server) start(ctx context.Context, port int, args ...string) {
	s.tb.Helper()
	s.cmd = exec.CommandContext(ctx, "node", append([]string{"opcua-server.mjs", s.dir, fmt.Sprint(port)}, args...)...)
	s.cmd.Dir = peer.Node(s.tb)
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		s.tb.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.tb.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	s.out = bufio.NewScanner(out)
	var first struct {
		Port                   int
		Certificate, Namespace string
	}
	s.answer(&first)
	s.port, s.namespace = first.Port, first.Namespace
	der, err := base64.StdEncoding.DecodeString(first.Certificate)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.certificate = s.write("server.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func (s *server) write(name string, b []byte) string {
	s.tb.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		s.tb.Fatal(err)
	}
	return path
}

func (s *server) answer(into any) {
	s.tb.Helper()
	for s.out.Scan() {
		if len(s.out.Bytes()) == 0 || s.out.Bytes()[0] != '{' {
			continue // what the library says of itself
		}
		if err := json.Unmarshal(s.out.Bytes(), into); err == nil {
			return
		}
	}
	s.tb.Fatalf("the peer ended: %v", s.out.Err())
}

func (s *server) command(c map[string]any) (answer struct {
	Value    any
	Sessions int
	Calls    []float64
},
) {
	s.tb.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		s.tb.Fatal(err)
	}
	if _, err := s.in.Write(append(b, '\n')); err != nil {
		s.tb.Fatal(err)
	}
	s.answer(&answer)
	return answer
}

func (s *server) set(name string, value any, status string, at time.Time) {
	s.tb.Helper()
	s.command(map[string]any{"set": name, "value": value, "status": status, "at": at.UnixMilli()})
}

func (s *server) url() string { return fmt.Sprintf("opc.tcp://127.0.0.1:%d/plant", s.port) }

// settings are those of a source, with the standards that the file would give.
func settings(values map[string]any) protocol.Settings {
	s := protocol.Settings{}.With(opcua.Protocol.Keys)
	for k, v := range values {
		s.Set(k, v)
	}
	return s
}

// open returns the ports of a source at url with quick times.
func open(tb testing.TB, source map[string]any, tags ...map[string]any) protocol.Ports {
	tb.Helper()
	for key, value := range map[string]any{"publishing": 100 * time.Millisecond, "timeout": 2 * time.Second} {
		if _, ok := source[key]; !ok {
			source[key] = value
		}
	}
	c := protocol.Connection{Name: "test", Settings: settings(source), Log: slog.New(slog.DiscardHandler)}
	if err := opcua.Protocol.Check(c.Settings); err != nil {
		tb.Fatal(err)
	}
	for _, tag := range tags {
		t := settings(tag)
		if err := opcua.Protocol.CheckTag(c.Settings, t); err != nil {
			tb.Fatal(err)
		}
		c.Tags = append(c.Tags, t)
	}
	ports, err := opcua.Protocol.Open(c)
	if err != nil {
		tb.Fatal(err)
	}
	return ports
}
