// Package protocol is what a field protocol has to bring so that a gateway can
// speak it: its name, the keys of its configuration, and a way to open a
// connection. An adapter exports one Protocol; the gateway's list of them is the
// only place that names the adapter.
//
// Keys are data and not code. What the file may say, what is a fault in it, the
// JSON Schema that editors complete from and the table in the help all come from
// the same list, so that they cannot contradict each other.
package protocol

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twinlog/twinlog/edge/acquire"
)

// A Scope is where in the file a key may stand. A key that may stand in several
// places counts for all that is below, unless it stands there again.
type Scope uint8

// The scopes; they are combined with |.
const (
	Source Scope = 1 << iota // in the mapping that bears the protocol's name
	Device
	Tag
)

// A Kind is what a key's value looks like.
type Kind uint8

// The kinds, and the Go type of their values.
const (
	Text     Kind = iota // string
	Word                 // string, one of Words; the first is the standard
	Int                  // int, from Low to High
	Number               // float64
	Duration             // time.Duration, at least Low nanoseconds
	Bool                 // bool
	HostPort             // string, host:port
	Texts                // []string
)

// A Key is one setting.
type Key struct {
	Name      string
	In        Scope
	Kind      Kind
	Need      bool     // in one of its places
	Words     []string // of a Word
	Low, High int64    // of an Int; Low of a Duration
	Standard  any      // of the kind's Go type; nil for its zero value
	Help      string   // one sentence, for people who know the plant and not this code
}

// Settings are the values of keys by name: the standards where the file says
// nothing.
type Settings struct {
	values map[string]any
	given  map[string]bool
}

// Set notes the value that the file gives to a key.
func (s *Settings) Set(name string, value any) {
	s.put(name, value)
	if s.given == nil {
		s.given = map[string]bool{}
	}
	s.given[name] = true
}

func (s *Settings) put(name string, value any) {
	if s.values == nil {
		s.values = map[string]any{}
	}
	s.values[name] = value
}

// With returns settings with the standards of keys where s says nothing.
func (s Settings) With(keys []Key) Settings {
	out := Settings{}
	for _, k := range keys {
		if k.Standard != nil {
			out.put(k.Name, k.Standard)
		} else if k.Kind == Word {
			out.put(k.Name, k.Words[0])
		}
	}
	out.Over(s)
	return out
}

// Over takes over what inner says: it stands nearer to the tag.
func (s *Settings) Over(inner Settings) {
	for name, value := range inner.values {
		switch {
		case inner.given[name]:
			s.Set(name, value)
		case !s.given[name]:
			s.put(name, value)
		}
	}
}

// Given reports whether the file says anything of a key.
func (s Settings) Given(name string) bool { return s.given[name] }

// Value returns the value of a key, whatever its kind.
func (s Settings) Value(name string) any { return s.values[name] }

// Text returns the value of a Text, Word or HostPort.
func (s Settings) Text(name string) string { return value[string](s, name) }

// Int returns the value of an Int.
func (s Settings) Int(name string) int { return value[int](s, name) }

// Number returns the value of a Number.
func (s Settings) Number(name string) float64 { return value[float64](s, name) }

// Duration returns the value of a Duration.
func (s Settings) Duration(name string) time.Duration { return value[time.Duration](s, name) }

// Bool returns the value of a Bool.
func (s Settings) Bool(name string) bool { return value[bool](s, name) }

// Texts returns the value of a Texts.
func (s Settings) Texts(name string) []string { return value[[]string](s, name) }

func value[T any](s Settings, name string) T {
	v, _ := s.values[name].(T)
	return v
}

// A KeyError is a fault in the value of a key.
type KeyError struct {
	Key string
	Err error
}

// Error returns what is wrong, with the key.
func (e *KeyError) Error() string { return e.Key + ": " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *KeyError) Unwrap() error { return e.Err }

// Wrong returns a KeyError with a text of its own.
func Wrong(key, format string, args ...any) error {
	return &KeyError{Key: key, Err: fmt.Errorf(format, args...)}
}

// Wraps returns err as a fault of a key; nil for nil.
func Wraps(key string, err error) error {
	if err == nil {
		return nil
	}
	return &KeyError{Key: key, Err: err}
}

// A Protocol is what an adapter brings. The functions may be called by several
// goroutines at a time.
type Protocol struct {
	Name  string // the key of its mapping in a source: "modbus"
	Title string // as its users write it: "Modbus"
	Keys  []Key
	// Reports says that its sources speak by themselves, so that their tags have
	// no period.
	Reports bool

	// Check returns what is wrong with a connection, CheckTag what is wrong with
	// a tag of it, each as KeyErrors joined, beyond what the keys' kinds tell.
	// Nothing is connected. Either may be nil. Open accepts what they accept.
	Check    func(source Settings) error
	CheckTag func(source, tag Settings) error

	// Open returns the ports of a connection that has been checked. Nothing is
	// connected yet.
	Open func(Connection) (Ports, error)

	// Discover looks for devices that a source could be made of, until ctx ends
	// or it has looked everywhere. It is nil where the protocol has no way.
	Discover func(ctx context.Context, source Settings, found func(Found) error) error
}

// A Connection is a source as it is configured.
type Connection struct {
	Name     string // the source's, unique in the gateway
	Settings Settings
	Tags     []Settings // by item; each with what its device and source say
	Log      *slog.Logger
}

// Ports are the ports that an adapter fills for one connection. Exactly one of
// Polled and Reporting is set; Writer and Browser may be nil.
type Ports struct {
	Polled    acquire.Polled
	Reporting acquire.Reporting
	Writer    acquire.Writer
	Browser   acquire.Browser
}

// Found is a device that was discovered.
type Found struct {
	Name     string            // as it calls itself
	Settings map[string]string // the keys of a source that reaches it
	Note     string            // what else it says of itself
}

// ErrCannot says that a protocol has no way to do what was asked.
var ErrCannot = errors.New("the protocol cannot do that")
