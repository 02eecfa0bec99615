package mqttlink_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/broker"
	"github.com/twinlog/twinlog/adapters/uplink/mqttlink"
	"github.com/twinlog/twinlog/edge/outbox"
)

// certificate makes one for 127.0.0.1, and the pool that trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

func TestTLS(t *testing.T) {
	cert, pool := certificate(t)
	b, err := broker.Listen(t.Context(), broker.Config{
		Addr: "127.0.0.1:0", TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13},
		Access: broker.Access{Connect: func(c broker.Client) bool { return c.TLS != nil && c.User == "gw" && string(c.Password) == "secret" }},
		Handler: func(_ broker.Publish, ack func(broker.Ack)) <-chan struct{} {
			ack(broker.Ack{})
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	defer func() { stop(); <-done }()

	endpoint := mqttlink.Endpoint{URL: "mqtts://" + b.Addr().String(), ClientID: "gw-7", User: "gw", Password: []byte("secret"), TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}}
	connect := func(e mqttlink.Endpoint) (outbox.Session, error) {
		link, err := mqttlink.New(mqttlink.Config{Endpoint: e})
		if err != nil {
			t.Fatal(err)
		}
		return link.Connect(t.Context())
	}
	s, err := connect(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for seq := uint64(1); seq <= 200; seq++ {
		if err := s.Send(t.Context(), outbox.Message{Seq: seq, Last: seq, Topic: "t", Payload: make([]byte, 3000)}); err != nil {
			t.Fatal(err)
		}
	}
	for seq := uint64(1); seq <= 200; seq++ {
		if a, err := s.Answer(t.Context()); err != nil || a.Seq != seq {
			t.Fatalf("%+v, %v", a, err)
		}
	}

	stranger := endpoint
	stranger.TLS = nil // the system's roots
	if _, err := connect(stranger); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server with an unknown certificate: %v", err)
	}
	wrong := endpoint
	wrong.Password = []byte("guess")
	if _, err := connect(wrong); err == nil {
		t.Error("a wrong password is accepted")
	}
}
