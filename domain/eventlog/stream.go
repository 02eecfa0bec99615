package eventlog

import (
	"fmt"
	"strings"
)

// StreamID names one entity's stream as "category-id": the category is
// 1 to 40 lower-case letters, so the first dash ends it (as EventStoreDB splits),
// and the id is 1 to 200 bytes of [A-Za-z0-9._:~%-] where % starts a
// percent-encoded byte.
type StreamID string

const (
	maxCategory = 40
	maxStreamID = 200
)

// Stream returns the id of an entity's stream, percent-encoding every byte of
// the entity's name that a stream id may not hold.
func Stream(category, entity string) StreamID {
	var b strings.Builder
	b.WriteString(category)
	b.WriteByte('-')
	for i := range len(entity) {
		if c := entity[i]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return StreamID(b.String())
}

// Category returns what stands before the first dash.
func (s StreamID) Category() string {
	category, _, _ := strings.Cut(string(s), "-")
	return category
}

// Entity returns the entity's name, decoded.
func (s StreamID) Entity() string {
	_, id, _ := strings.Cut(string(s), "-")
	if !strings.Contains(id, "%") {
		return id
	}
	var b strings.Builder
	for i := 0; i < len(id); i++ {
		if id[i] == '%' && i+2 < len(id) {
			var c byte
			if _, err := fmt.Sscanf(id[i+1:i+3], "%02X", &c); err == nil {
				b.WriteByte(c)
				i += 2
				continue
			}
		}
		b.WriteByte(id[i])
	}
	return b.String()
}

// Check returns ErrBadEvent, with the reason, for a name that no Log takes.
func (s StreamID) Check() error {
	category, id, ok := strings.Cut(string(s), "-")
	if !ok || category == "" || strings.Trim(category, "abcdefghijklmnopqrstuvwxyz") != "" {
		return fmt.Errorf("stream %q: expected category-id with a category of lower-case letters: %w", s, ErrBadEvent)
	}
	if n := len(category); n > maxCategory {
		return fmt.Errorf("stream %q: category of %d bytes, expected at most %d: %w", s, n, maxCategory, ErrBadEvent)
	}
	if n := len(id); n < 1 || n > maxStreamID {
		return fmt.Errorf("stream %q: id of %d bytes, expected 1 to %d: %w", s, n, maxStreamID, ErrBadEvent)
	}
	for i := range len(id) {
		if c := id[i]; !plain(c) && c != '%' {
			return fmt.Errorf("stream %q: byte %#02x at %d must be percent-encoded: %w", s, c, i, ErrBadEvent)
		}
	}
	return nil
}

func plain(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return c == '.' || c == '_' || c == ':' || c == '~' || c == '-'
}
