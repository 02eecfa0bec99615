// Package kurrent_test runs official clients, unmodified and in processes of
// their own, against a log that is served over their protocol.
package kurrent_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/adapters/eventlog/esdbgrpc"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/test/budget"
	"github.com/twinlog/twinlog/test/peer"
)

// server serves a log on disk, over TLS to one user, and can be restarted at
// its address.
type server struct {
	dir, address string
	cert         tls.Certificate
	ca           string            // file
	sums         map[string]string // of the events that were there before any client: by stream@revision
	stop         func() error
}

// connection is the string that clients are given.
func (s *server) connection() string {
	return "esdb://ada:s3cret@" + s.address + "?tls=true&tlsCAFile=" + s.ca + "&keepAliveInterval=10000"
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
	cfg := esdbgrpc.Config{
		TLS: &tls.Config{Certificates: []tls.Certificate{s.cert}, MinVersion: tls.VersionTLS12},
		Users: func(_ context.Context, user, password string) (esdbgrpc.Rights, bool) {
			return esdbgrpc.Rights{Read: true, Write: true, Admin: true}, user == "ada" && password == "s3cret"
		},
	}
	if s.sums == nil {
		s.sums = fill(t, log)
	}
	go func() { done <- esdbgrpc.New(log, cfg).Serve(ctx, on) }()
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
	sums := map[string]string{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = append(said, lines.Text())
		if f := strings.Fields(lines.Text()); len(f) == 3 && f[0] == "SHA" {
			sums[f[1]] = f[2]
		}
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
	if !maps.Equal(sums, s.sums) {
		t.Errorf("the client reads\n%v\nthe log holds\n%v", sums, s.sums)
	}
	t.Logf("%d events have the same SHA-256 on disk and through the client", len(sums))
}

// fill puts events of all shapes into the log and returns the SHA-256 of each as
// the log itself reads it.
func fill(t *testing.T, log eventlog.Log) map[string]string {
	t.Helper()
	env := eventlog.Envelope{
		Zone: "Europe/Berlin", Actor: eventlog.Actor{Subject: "p-1", Kind: eventlog.Human, Role: "Ingenieur für Pumpen"},
		Reason: &eventlog.Reason{Code: "R1"}, Private: []eventlog.Sealed{{Field: "name", Key: "p-1/hr", Nonce: []byte{1, 2}, Ciphertext: []byte{0, 255}}},
	}
	for i, e := range []eventlog.NewEvent{
		{Type: "asset.renamed.v1", Data: []byte(`{"a":1e-7,"b":-0.5,"name":"Pumpe „7“ \\ \u0001","n":[1,9007199254740991,null,true]}`)},
		{Type: "asset.moved.v1", Data: []byte(`{}`)},
		{Type: eventlog.TelemetryRecorded, ContentType: "application/octet-stream", Data: []byte{0, 1, 254, 255}},
		{Type: eventlog.TelemetryRecorded, ContentType: "application/octet-stream", Data: bytes.Repeat([]byte{0xc3}, 300_000)},
	} {
		e.ID, e.Envelope = eventlog.EventID{7, byte(i)}, env
		stream := eventlog.StreamID("asset-1")
		if e.ContentType != "" {
			stream = "telemetry-gw.1"
		}
		at := eventlog.NoStream
		if i%2 == 1 {
			at = eventlog.At(0)
		}
		if _, err := log.Append(t.Context(), stream, at, e); err != nil {
			t.Fatal(err)
		}
	}
	sums := map[string]string{}
	for r, err := range log.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		sums[fmt.Sprintf("%s@%d", r.Stream, r.Revision)] = fmt.Sprintf("%x", sha256.Sum256(slices.Concat(r.RawEnvelope, r.Data)))
	}
	return sums
}

// idle is how long clients say nothing: a minute, over several keepalives, where
// there is time for it.
func idle(t *testing.T) time.Duration {
	if budget.For(t) >= time.Minute {
		return time.Minute
	}
	return 2 * time.Second
}

func begin(t *testing.T) *server {
	s := &server{dir: t.TempDir()}
	s.certify(t)
	s.start(t)
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
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
			cmd := exec.CommandContext(patient(t), node, "client.mjs", name, s.connection(), fmt.Sprint(idle(t).Milliseconds()))
			cmd.Dir = "node"
			drive(t, cmd, s)
		})
	}
}

func TestGoClients(t *testing.T) {
	goTool := peer.Need(t, "go")
	source, err := os.ReadFile("go/main.go")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("KurrentDB-Client-Go", func(t *testing.T) {
		binary := filepath.Join(t.TempDir(), "client")
		build := exec.CommandContext(patient(t), goTool, "build", "-o", binary, ".")
		build.Dir = "go"
		runGo(t, build, binary)
	})
	t.Run("EventStore-Client-Go", func(t *testing.T) {
		// The same program, by the names that differ.
		old := strings.NewReplacer(
			"github.com/kurrent-io/KurrentDB-Client-Go/kurrentdb", "github.com/EventStore/EventStore-Client-Go/v4/esdb",
			"kurrentdb.StreamState", "esdb.ExpectedRevision", "StreamState:", "ExpectedRevision:", "kurrentdb.", "esdb.",
		).Replace(string(source))
		dir := t.TempDir()
		file, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "client")
		if err := os.WriteFile(file, []byte(old), 0o600); err != nil {
			t.Fatal(err)
		}
		runGo(t, exec.CommandContext(patient(t), goTool, "build", "-o", binary, file), binary)
	})
}

func runGo(t *testing.T, build *exec.Cmd, binary string) {
	t.Helper()
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatal(fmt.Errorf("%w\n%s", err, out))
	}
	s := begin(t)
	drive(t, exec.CommandContext(patient(t), binary, s.connection(), idle(t).String()), s)
}

// certify makes a certificate for the loopback and the authority that clients
// trust: one of them refuses a server that is its own.
func (s *server) certify(t *testing.T) {
	t.Helper()
	sign := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if signer == nil {
			parent, signer = template, key
		}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert, key
	}
	ca, caKey := sign(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	leaf, key := sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "twinlog"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca, caKey)
	s.cert = tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}
	s.ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(s.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
}
