// Package importer brings files into the log: samples from CSV and NDJSON,
// assets from CSV and JSON.
//
// Its promise: what is in the log already is not stored again, whatever the
// file is called, however it overlaps another one, and wherever an earlier
// import stopped. A row's identity is its content (device, SourceTime, signals,
// values, qualities), and what is known is read from the log itself, so there
// is no bookkeeping that could be lost. Two rows of the same content are one
// fact.
//
// What cannot be read is reported with its line and column, and the rest is
// imported.
package importer

import (
	"errors"
	"fmt"
	"time"
)

// ErrBadOptions is returned for options that no file can be imported with.
var ErrBadOptions = errors.New("invalid import options")

// Options say how a file is to be read.
type Options struct {
	Name         string            `json:"name"`   // of the file, for messages only
	Format       string            `json:"format"` // "csv", "json" or "ndjson"
	Device       string            `json:"device,omitempty"`
	DeviceType   string            `json:"deviceType,omitempty"`
	Time         string            `json:"time,omitempty"`         // the column of times; "" to find it
	TimeFormat   string            `json:"timeFormat,omitempty"`   // Go's layout; "" for the usual forms
	Zone         string            `json:"zone,omitempty"`         // IANA zone of times without one; "" is UTC
	DecimalComma bool              `json:"decimalComma,omitempty"` // 1,5 is one and a half
	Map          map[string]string `json:"map,omitempty"`          // column: signal
	Skip         []string          `json:"skip,omitempty"`         // columns to leave out
	DryRun       bool              `json:"dryRun,omitempty"`       // read and report, store nothing
	NoBind       bool              `json:"noBind,omitempty"`       // do not make assets whose tags show the signals
	Operator     string            `json:"operator,omitempty"`
}

// Fault is one place of a file that could not be used.
type Fault struct {
	Line     int    `json:"line"`
	Column   string `json:"column,omitempty"`
	Given    string `json:"given"`
	Expected string `json:"expected"`
}

// Error returns the fault as a sentence.
func (f Fault) Error() string {
	where := "the file"
	if f.Line > 0 {
		where = fmt.Sprintf("line %d", f.Line)
	}
	if f.Column != "" {
		where += ", " + f.Column
	}
	return fmt.Sprintf("%s: %q, expected %s", where, f.Given, f.Expected)
}

// Progress is how far an import is.
type Progress struct {
	Bytes  int64 `json:"bytes"`  // of the file
	Rows   int   `json:"rows"`   // read
	Stored int   `json:"stored"` // new in the log
	Known  int   `json:"known"`  // in the log already
	Faults int   `json:"faults"`
}

// Hooks tell the caller what happens; nil ones are not called.
type Hooks struct {
	Progress func(Progress) // several times a second at most
	Fault    func(Fault)    // each
}

// progressEvery is how often somebody who watches wants to hear.
const progressEvery = 200 * time.Millisecond

// teller calls hooks at a bearable rate.
type teller struct {
	hooks Hooks
	now   Progress
	last  time.Time
}

func (t *teller) fault(f Fault) {
	t.now.Faults++
	if t.hooks.Fault != nil {
		t.hooks.Fault(f)
	}
}

func (t *teller) tell(always bool) {
	if t.hooks.Progress == nil || (!always && time.Since(t.last) < progressEvery) {
		return
	}
	t.last = time.Now()
	t.hooks.Progress(t.now)
}
