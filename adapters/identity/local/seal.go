package local

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/twinlog/twinlog/domain/access"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// ErrForgotten is returned for sealed data whose key has been destroyed, or was never here.
var ErrForgotten = errors.New("the key is not here: forgotten, or another server's")

// Retention classes: what is kept for different times has different keys.
const (
	classIdentity = "identity" // who somebody is
	classActivity = "activity" // what they said while working
)

func classOf(field string) string {
	if field == access.FieldName {
		return classIdentity
	}
	return classActivity
}

// Seal encrypts text (AES-256-GCM) under the subject's key for the field's
// retention class, which is made at first use. The key id and the field are
// authenticated, so that a sealed text can't be passed off as another's.
func (p *People) Seal(_ context.Context, subject, field, text string) (eventlog.Sealed, error) {
	id := subject + "/" + classOf(field)
	key, err := p.keys.need(id)
	if err != nil {
		return eventlog.Sealed{}, err
	}
	aead, err := newAEAD(key)
	if err != nil {
		return eventlog.Sealed{}, err
	}
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails (crypto/rand)
	return eventlog.Sealed{Field: field, Key: id, Nonce: nonce, Ciphertext: aead.Seal(nil, nonce, []byte(text), additional(id, field))}, nil
}

// Reveal decrypts what Seal encrypted. ErrForgotten if the key is gone.
func (p *People) Reveal(s eventlog.Sealed) (string, error) {
	key, err := p.keys.find(s.Key)
	if err != nil {
		return "", err
	}
	aead, err := newAEAD(key)
	if err != nil {
		return "", err
	}
	if len(s.Nonce) != aead.NonceSize() {
		return "", fmt.Errorf("%s under %s: nonce of %d bytes, expected %d", s.Field, s.Key, len(s.Nonce), aead.NonceSize())
	}
	text, err := aead.Open(nil, s.Nonce, s.Ciphertext, additional(s.Key, s.Field))
	if err != nil {
		return "", fmt.Errorf("%s under %s: %w", s.Field, s.Key, err)
	}
	return string(text), nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func additional(id, field string) []byte { return []byte(strings.Join([]string{id, field}, "\x00")) }
