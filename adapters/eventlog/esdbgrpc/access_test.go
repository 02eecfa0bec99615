package esdbgrpc_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/twinlog/twinlog/adapters/eventlog/esdbgrpc"
	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
)

// certificate makes one for the loopback, and the pool that trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "twinlog"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
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
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestCredentials(t *testing.T) {
	cert, pool := certificate(t)
	users := map[string]esdbgrpc.Rights{"reader": {Read: true}, "writer": {Read: true, Write: true}}
	address := serve(t, memlog.New("served", time.Now), esdbgrpc.Config{
		TLS: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
		Users: func(_ context.Context, user, password string) (esdbgrpc.Rights, bool) {
			r, ok := users[user]
			return r, ok && password == "secret"
		},
	})
	as := func(user string) *esdb.Client {
		return dial(t, "esdb://"+user+address, func(c *esdb.Configuration) { c.RootCAs = pool })
	}
	add(t, as("writer:secret@"), "order-1", esdb.Any{}, event("a"))
	s, err := as("reader:secret@").ReadStream(t.Context(), "order-1", esdb.ReadStreamOptions{}, 10)
	if got := types(recv(t, s, err)); got != "a" {
		t.Errorf("read %s", got)
	}
	for user, want := range map[string]esdb.ErrorCode{
		"reader:secret@": esdb.ErrorCodeAccessDenied, "writer:wrong@": esdb.ErrorCodeUnauthenticated, "": esdb.ErrorCodeUnauthenticated,
	} {
		_, err := as(user).AppendToStream(t.Context(), "order-1", esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, event("b"))
		if code(err) != want {
			t.Errorf("%q: %v", user, err)
		}
	}
}
