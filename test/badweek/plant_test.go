package badweek

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/broker"
	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/adapters/queue/badgerqueue"
	"github.com/twinlog/twinlog/adapters/uplink/mqttlink"
	"github.com/twinlog/twinlog/domain/ingest"
	"github.com/twinlog/twinlog/edge/outbox"
)

// A plant is the product's broker and ingest on real sockets under TLS: what a
// line spoils must break the connection, never a value.
type plant struct {
	t    *testing.T
	log  *memlog.Log
	cert tls.Certificate
	ca   string // a file
	addr string
	halt func()
}

func newPlant(t *testing.T) *plant {
	t.Helper()
	p := &plant{t: t, log: memlog.New("plant", time.Now), ca: filepath.Join(t.TempDir(), "ca.pem"), addr: "127.0.0.1:0"}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	p.cert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	if err := os.WriteFile(p.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	p.start()
	t.Cleanup(func() { p.halt() })
	return p
}

// start begins a life of the server, at the same address as the last one.
func (p *plant) start() {
	p.t.Helper()
	g := ingest.New(p.log, read, ingest.Config{})
	b, err := broker.Listen(context.Background(), broker.Config{
		Addr: p.addr, TLS: &tls.Config{Certificates: []tls.Certificate{p.cert}, MinVersion: tls.VersionTLS13}, Handler: broker.Into(g),
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.addr = b.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	p.halt = sync.OnceFunc(func() {
		stop()
		<-done
		_ = g.Close()
	})
}

func (p *plant) restart() {
	p.halt()
	time.Sleep(100 * time.Millisecond) // it is away for a moment
	p.start()
}

// openBox opens a gateway's lanes on disk, and says how to reach a server.
func openBox(ctx context.Context, id, dir, addr, ca string) (*outbox.Lanes, *badgerqueue.Store, func(string) (outbox.Link, error), error) {
	text, err := os.ReadFile(ca)
	if err != nil {
		return nil, nil, nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	disk, err := badgerqueue.Open(dir, badgerqueue.Config{})
	if err != nil {
		return nil, nil, nil, err
	}
	lanes, err := outbox.OpenLanes(ctx, outbox.LanesConfig{
		LiveDepth: 200, Known: disk.Lanes(),
		Queue: func(lane string) (outbox.Queue, error) { return disk.Lane(lane) },
		Config: outbox.Config{
			Gateway: id, Topic: "e/s/a/l/gateway/" + id + "/telemetry", Contents: contents,
			RetryMin: 20 * time.Millisecond, RetryMax: 200 * time.Millisecond, AnswerWithin: 2 * time.Second,
		},
	})
	link := func(source string) (outbox.Link, error) {
		return mqttlink.New(mqttlink.Config{Endpoint: mqttlink.Endpoint{
			URL: "mqtts://" + addr, ClientID: source, ConnectWithin: 3 * time.Second,
			TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13},
		}})
	}
	return lanes, disk, link, err
}
