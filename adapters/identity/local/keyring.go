package local

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

const keyBytes = 32 // AES-256

// keyring is a folder with a file for each key: <subject>.<class>.key, 32
// bytes, readable by its owner only. One process uses it: the one that has the
// log open.
type keyring struct {
	dir string
	mu  sync.Mutex // guards the making of keys, so that one id has one key
}

func openKeyring(dir string) (*keyring, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return &keyring{dir: dir}, nil
}

// file is where a key of id "subject/class" lies.
func (k *keyring) file(id string) (string, error) {
	subject, class, ok := strings.Cut(id, "/")
	if !ok || !safe(subject) || !safe(class) {
		return "", fmt.Errorf("key id %q, expected subject/class of letters, digits and dashes", id)
	}
	return filepath.Join(k.dir, subject+"."+class+".key"), nil
}

// safe keeps ids from naming other files.
func safe(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

func (k *keyring) find(id string) ([]byte, error) {
	name, err := k.file(id)
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", id, ErrForgotten)
	case err != nil:
		return nil, fmt.Errorf("key %s: %w", id, err)
	case len(key) != keyBytes:
		return nil, fmt.Errorf("key %s has %d bytes, expected %d: restore the folder of keys", id, len(key), keyBytes)
	}
	return key, nil
}

// need returns a key, making it at first use. It is on the disk before
// anything is sealed with it: a lost key would be an erasure nobody asked for.
func (k *keyring) need(id string) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, err := k.find(id)
	if !errors.Is(err, ErrForgotten) {
		return key, err
	}
	name, err := k.file(id)
	if err != nil {
		return nil, err
	}
	key = make([]byte, keyBytes)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	if err := writeSynced(name, key); err != nil {
		return nil, fmt.Errorf("key %s: %w", id, err)
	}
	return key, k.sync()
}

// destroy removes every key of a subject.
func (k *keyring) destroy(subject string) error {
	if !safe(subject) {
		return fmt.Errorf("subject %q, expected letters, digits and dashes", subject)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	names, err := filepath.Glob(filepath.Join(k.dir, subject+".*.key"))
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			return fmt.Errorf("forget %s: %w", subject, err)
		}
	}
	return k.sync()
}

func (k *keyring) sync() error {
	dir, err := os.Open(k.dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// writeSynced writes a new file under a temporary name, syncs it and renames it.
func writeSynced(name string, data []byte) error {
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
