package acquire

import (
	"context"
	"errors"
	"fmt"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// A Writer changes items of a source. It is used by other goroutines than the
// one that reads the source, and waits for its turn on the line by itself.
type Writer interface {
	// Write gives an item a value, unscaled as Read returns it, and returns when
	// the device has confirmed that it took it. Whether the plant did it is only
	// seen by ReadBack. The error is a *WriteError.
	Write(ctx context.Context, item int, v telemetry.Value) error

	// ReadBack asks the device for an item now; it never answers from memory.
	// A protocol that cannot ask returns ErrNoReadBack: what the device says by
	// itself after the write has to do.
	ReadBack(ctx context.Context, item int) (Reading, error)
}

// ErrNoReadBack is returned by a Writer whose protocol cannot be asked.
var ErrNoReadBack = errors.New("the protocol has no way to ask for a value")

// A WriteError says why a write was not confirmed.
type WriteError struct {
	Code    quality.Code // BadNotWritable, BadTypeMismatch, BadOutOfRange, BadUserAccessDenied, BadTimeout ...
	Unknown bool         // the request may have been carried out: nothing came back after it was sent
	Err     error        // in the protocol's own words
}

// Error says whether the plant may have been changed, and why it is not known
// to be.
func (e *WriteError) Error() string {
	if e.Unknown {
		return fmt.Sprintf("write not answered, it may have been carried out (%v): %v", e.Code, e.Err)
	}
	return fmt.Sprintf("write refused (%v): %v", e.Code, e.Err)
}

// Unwrap returns the protocol's own error.
func (e *WriteError) Unwrap() error { return e.Err }

// A Browser shows what a connected device offers.
type Browser interface {
	// Browse opens a session of its own, hands on what lies at and below the
	// node from ("" for the top), parents before their children, and ends with
	// found's error, if there is one.
	Browse(ctx context.Context, from string, found func(Node) error) error
}

// A Node is one thing that a device offers: a folder or machine, or a value
// that a tag could read.
type Node struct {
	ID, Parent string // as the protocol writes them; Parent "" at the top
	Name       string
	Value      bool   // a tag could read it
	Type       string // data type of a value, in the protocol's words; "" if unknown
	Unit       string // engineering unit, "" if unknown
	Low, High  float64
	Ranged     bool // Low and High are the EURange
	Writable   bool
	// Tag holds the keys by which the configuration reads the value.
	Tag map[string]string
}
