// Package local knows people by a claimed name, and keeps the keys that their
// personal data is sealed with.
//
// The log says which subjects have a name, sealed; the folder of keys, which
// stands outside the log and its backups, opens it. Nothing else is stored: the
// index from name to subject is made from both at start. Forgetting a person
// destroys their keys; what was sealed with them can't be read by anybody any
// more, in any copy of the log.
//
// It authenticates nobody.
package local

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"

	"github.com/twinlog/twinlog/domain/access"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// People fills graph.Identity. Its methods may be used concurrently.
type People struct {
	log  eventlog.Log
	keys *keyring

	mu     sync.Mutex        // guards byName; held while a new person is registered, so that one name makes one subject
	byName map[string]string // name: subject
}

// Open reads the people of a log with the keys in dir, which is made if need be.
func Open(ctx context.Context, dir string, log eventlog.Log) (*People, error) {
	keys, err := openKeyring(dir)
	if err != nil {
		return nil, err
	}
	p := &People{log: log, keys: keys, byName: map[string]string{}}
	for rec, err := range log.ReadAll(ctx, 0, eventlog.Forwards, eventlog.Filter{Categories: []string{access.Category}, Types: []string{access.Named{}.EventType()}}) {
		if err != nil {
			return nil, fmt.Errorf("people: %w", err)
		}
		env, err := rec.Envelope()
		if err != nil {
			return nil, fmt.Errorf("people: %s@%d: %w", rec.Stream, rec.Revision, err)
		}
		for _, sealed := range env.Private {
			if sealed.Field != access.FieldName {
				continue
			}
			if name, err := p.Reveal(sealed); err == nil { // else forgotten: a name that nobody has any more
				p.byName[name] = rec.Stream.Entity()
			}
		}
	}
	return p, nil
}

// Identify returns the subject of a person by name. A new name is registered,
// as claimed and not proved.
func (p *People) Identify(ctx context.Context, name string) (string, error) {
	name, err := access.CheckName(name)
	if err != nil {
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if subject, ok := p.byName[name]; ok {
		return subject, nil
	}
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	key := eventlog.FreshKey(random)
	subject := key.Entity(0)
	sealed, err := p.Seal(ctx, subject, access.FieldName, name)
	if err != nil {
		return "", err
	}
	event, err := eventlog.NewJSONEvent(key.Event(0), access.Named{Subject: subject}, eventlog.Envelope{
		Actor:   eventlog.Actor{Subject: subject, Kind: eventlog.Human, AuthMethods: []string{"none"}},
		Private: []eventlog.Sealed{sealed},
	})
	if err != nil {
		return "", err
	}
	if _, err := p.log.Append(ctx, access.Stream(subject), eventlog.NoStream, event); err != nil {
		return "", fmt.Errorf("register a person: %w", err)
	}
	p.byName[name] = subject
	return subject, nil
}

// Known returns the subject of a name that is registered already, and registers
// nothing: asking who one is leaves no trace.
func (p *People) Known(name string) (subject string, ok bool) {
	name, err := access.CheckName(name)
	if err != nil {
		return "", false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	subject, ok = p.byName[name]
	return subject, ok
}

// Forget destroys every key of a subject. What was sealed with them is
// unreadable from then on; the events, and all hashes over them, stay.
func (p *People) Forget(subject string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.keys.destroy(subject); err != nil {
		return err
	}
	for name, s := range p.byName {
		if s == subject {
			delete(p.byName, name)
		}
	}
	return nil
}
