package opcua

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gopcua/opcua/ua"
)

// ErrUntrusted is returned for a server whose certificate is not in the trust
// list, has expired, or does not name the server.
var ErrUntrusted = errors.New("server certificate is not trusted")

func policyName(uri string) string {
	for name, u := range policies {
		if u == uri {
			return name
		}
	}
	return uri
}

func modeName(m ua.MessageSecurityMode) string {
	switch m {
	case ua.MessageSecurityModeSign:
		return "sign"
	case ua.MessageSecurityModeSignAndEncrypt:
		return "sign-encrypt"
	case ua.MessageSecurityModeNone, ua.MessageSecurityModeInvalid:
	}
	return ""
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// readDER returns the bytes of a certificate in PEM or DER.
func readDER(b []byte) []byte {
	if block, _ := pem.Decode(b); block != nil {
		return block.Bytes
	}
	return b
}

func readCertificate(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	der := readDER(b)
	if _, err := x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return der, nil
}

func readKey(path string) (*rsa.PrivateKey, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	der := readDER(b)
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if key, ok := key.(*rsa.PrivateKey); ok {
		return key, nil
	}
	return nil, fmt.Errorf("%s: a key of type %T, expected RSA", path, key)
}

// trust believes a server whose certificate is listed, by file or fingerprint,
// or was issued by a listed authority. The list has files, folders, and
// fingerprints sha256:….
func trust(list []string, der []byte, now time.Time) error {
	if len(der) == 0 {
		return fmt.Errorf("the server has sent no certificate: %w", ErrUntrusted)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("%w: %w", err, ErrUntrusted)
	}
	refuse := func(why string) error {
		return fmt.Errorf("%q, %s: %s: %w", cert.Subject.CommonName, fingerprint(der), why, ErrUntrusted)
	}
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return refuse(fmt.Sprintf("valid from %s to %s", cert.NotBefore.Format(time.DateOnly), cert.NotAfter.Format(time.DateOnly)))
	}
	roots := x509.NewCertPool()
	for _, entry := range list {
		if strings.EqualFold(entry, fingerprint(der)) {
			return nil
		}
		if strings.HasPrefix(entry, "sha256:") {
			continue
		}
		known, err := listed(entry)
		if err != nil {
			return err
		}
		for _, k := range known {
			if bytes.Equal(k.Raw, der) {
				return nil
			}
			if k.IsCA {
				roots.AddCert(k)
			}
		}
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return refuse("neither it nor its authority is in the list")
	}
	return nil
}

// listed reads the certificates of a file or of a folder, whose files that are
// no certificates do not count.
func listed(path string) ([]*x509.Certificate, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	files := []string{path}
	if info.IsDir() {
		if files, err = filepath.Glob(filepath.Join(path, "*")); err != nil {
			return nil, fmt.Errorf("trust: %w", err)
		}
	}
	var all []*x509.Certificate
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			if info.IsDir() {
				continue
			}
			return nil, fmt.Errorf("trust: %w", err)
		}
		cert, err := x509.ParseCertificate(readDER(b))
		if err != nil {
			if info.IsDir() {
				continue
			}
			return nil, fmt.Errorf("trust: %s: %w", f, err)
		}
		all = append(all, cert)
	}
	return all, nil
}

// uriOf returns the application's URI that a certificate names, which a client
// has to call itself by (OPC 10000-6 §6.2.2).
func uriOf(der []byte) string {
	if cert, err := x509.ParseCertificate(der); err == nil && len(cert.URIs) > 0 {
		return cert.URIs[0].String()
	}
	return "urn:twinlog:gateway"
}

// NewCertificate makes a self-signed certificate of an application instance
// (OPC 10000-6 §6.2.2) and its key, both in PEM, valid for ten years. uri is
// what the application calls itself, urn:HOST:twinlog:gateway.
func NewCertificate(uri string, hosts []string, now time.Time) (certificate, key []byte, err error) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme == "" {
		return nil, nil, fmt.Errorf("uri %q, expected such as urn:host:twinlog:gateway", uri)
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	template := x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "twinlog gateway"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0), URIs: []*url.URL{u},
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment | x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}), nil
}
