// Package access says who acts: people and services as opaque subjects.
//
// A person's name never stands in clear in the log. The event that gives a
// subject its name carries it sealed (eventlog.Sealed), so that forgetting the
// key erases the person while every hash stays valid (GDPR art. 17 beside
// 21 CFR Part 11 §11.10(e)). Who is allowed what is not decided here yet.
package access

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// ErrBadName is returned for a name that no person can be registered under.
var ErrBadName = errors.New("invalid name")

// maxNameBytes bounds a person's name: room for any real one.
const maxNameBytes = 200

// FieldName is the Sealed.Field of a person's name.
const FieldName = "name"

// FieldReason is the Sealed.Field of the free text of a reason.
const FieldReason = "reason.text"

// Named records that a subject has a name, which stands sealed in the envelope.
type Named struct {
	Subject string `json:"subject"` // random, UUID text
	// Proved is false while the name is only claimed: nobody has checked it.
	Proved bool `json:"proved"`
}

// EventType is the name on disk.
func (Named) EventType() string { return "person.named.v1" }

// Category is the stream category of people.
const Category = "person"

// Stream is the stream of one person.
func Stream(subject string) eventlog.StreamID { return eventlog.Stream(Category, subject) }

// CheckName returns the name without surrounding space, or ErrBadName with the
// reason.
func CheckName(name string) (string, error) {
	trimmed := strings.TrimSpace(name)
	switch {
	case trimmed == "":
		return "", fmt.Errorf("%q is empty, expected the name of a person: %w", name, ErrBadName)
	case len(trimmed) > maxNameBytes:
		return "", fmt.Errorf("name of %d bytes, expected at most %d: %w", len(trimmed), maxNameBytes, ErrBadName)
	case !utf8.ValidString(trimmed) || strings.ContainsFunc(trimmed, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", fmt.Errorf("%q has bytes that are no text, expected UTF-8 without control characters: %w", trimmed, ErrBadName)
	}
	return trimmed, nil
}
