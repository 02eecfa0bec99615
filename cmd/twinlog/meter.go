package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/twinlog/twinlog/cmd/importer"
)

// meter shows how far a file has been read: as a bar to a person at a terminal,
// as a line now and then to anything else.
type meter struct {
	name string
	size int64 // bytes of the file
	out  io.Writer
	bar  *progressbar.ProgressBar // nil without a terminal
	last time.Time                // of the last line
}

func newMeter(name string, size int64, out io.Writer) *meter {
	m := &meter{name: name, size: size, out: out, last: time.Now()}
	if tty, ok := out.(*os.File); ok && terminal(tty) && size > 0 {
		m.bar = progressbar.DefaultBytes(size, name)
	}
	return m
}

// lineEvery is often enough for whoever reads a log of a long import, and never
// for a short one.
const lineEvery = 5 * time.Second

func (m *meter) progress(p importer.Progress) {
	if m.bar != nil {
		_ = m.bar.Set64(min(p.Bytes, m.size))
		return
	}
	if time.Since(m.last) >= lineEvery && m.size > 0 {
		m.last = time.Now()
		fmt.Fprintf(m.out, "%s: %d %%, %d rows, %d stored, %d known already, %d refused\n",
			m.name, 100*min(p.Bytes, m.size)/m.size, p.Rows, p.Stored, p.Known, p.Faults)
	}
}

// aside prints a line beside the bar and not into it.
func (m *meter) aside(format string, args ...any) {
	if m.bar != nil {
		_ = m.bar.Clear()
	}
	fmt.Fprintf(m.out, format, args...)
}

func (m *meter) finish() {
	if m.bar != nil {
		_ = m.bar.Clear()
	}
}

func terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
