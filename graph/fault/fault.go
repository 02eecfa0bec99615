// Package fault holds what can be wrong with a question or a command that the
// graph itself finds; graph/errors.go gives each its code. What the domain
// finds wrong is said in the domain.
package fault

import (
	"errors"
	"fmt"
	"strings"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// The sentinels. Each is returned wrapped with the object it concerns.
var (
	// ErrUnauthenticated: nobody said who asks, where somebody must.
	ErrUnauthenticated = errors.New("nobody said who asks")
	// ErrForbidden: the asker may not.
	ErrForbidden = errors.New("not allowed")
	// ErrNotFound: an id or path that names nothing at this moment.
	ErrNotFound = errors.New("not found")
	// ErrBadInput: an argument that can't be meant; see Input.
	ErrBadInput = errors.New("bad input")
	// ErrReasonRequired: a mutation without a reason in words.
	ErrReasonRequired = errors.New("a reason in words is required")
	// ErrWaitTimeout: the position that was waited for is not folded in yet.
	ErrWaitTimeout = errors.New("not folded in yet")
	// ErrReadLag: it is written, but reading it back lags.
	ErrReadLag = errors.New("written, but not folded in yet")
	// ErrCursorCut: a cursor of a page that was asked at another moment.
	ErrCursorCut = errors.New("cursor belongs to another moment")
	// ErrSlowConsumer: a subscriber who took too long over one frame.
	ErrSlowConsumer = errors.New("reader too slow")
	// ErrTooComplex: a document beyond the limits.
	ErrTooComplex = errors.New("query too complex")
	// ErrTooManyRows: an answer beyond the limits.
	ErrTooManyRows = errors.New("too many rows")
	// ErrRateLimited: too much at once.
	ErrRateLimited = errors.New("too much at once")
	// ErrImpactChanged: a correction would change something else than was shown.
	ErrImpactChanged = errors.New("the impact is not what was shown")
	// ErrUnavailable: a part that is needed does not answer, or is stopping.
	ErrUnavailable = errors.New("unavailable")
)

// Problem is one thing wrong with an input.
type Problem struct {
	Path     []string `json:"path"` // from the argument's name inwards
	Given    any      `json:"given"`
	Expected string   `json:"expected"`
}

// Input is every problem of one input at once. It is ErrBadInput.
type Input struct{ Problems []Problem }

// Add puts a problem on the list; path is dotted.
func (e *Input) Add(path string, given any, expected string) {
	e.Problems = append(e.Problems, Problem{strings.Split(path, "."), given, expected})
}

// Err is nil when there is no problem.
func (e *Input) Err() error {
	if len(e.Problems) == 0 {
		return nil
	}
	return e
}

func (e *Input) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s: given %s, expected %s", strings.Join(p.Path, "."), short(p.Given), p.Expected)
	}
	return b.String()
}

// short keeps a message readable whatever was given.
func short(v any) string {
	s := fmt.Sprint(v)
	if v, ok := v.(string); ok {
		s = fmt.Sprintf("%q", v)
	}
	if v == nil {
		s = "null"
	}
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// Unwrap makes every Input an ErrBadInput.
func (e *Input) Unwrap() error { return ErrBadInput }

// Bad is an Input with one problem.
func Bad(path string, given any, expected string) error {
	var e Input
	e.Add(path, given, expected)
	return &e
}

// Placed is an error with the position that the asker should remember.
type Placed struct {
	Err      error
	Position eventlog.Position
}

func (e *Placed) Error() string { return e.Err.Error() }

// Unwrap returns the error that was placed.
func (e *Placed) Unwrap() error { return e.Err }

// Coded is an error that says its problems beside a code that its sentinel has.
type Coded struct {
	Err      error
	Problems []Problem
}

func (e *Coded) Error() string { return e.Err.Error() }

// Unwrap returns the error that the problems explain.
func (e *Coded) Unwrap() error { return e.Err }
