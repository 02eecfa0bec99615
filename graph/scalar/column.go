package scalar

import (
	"io"
	"strconv"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// flushAt bounds the buffer of a column that is being written: large enough
// that the writer behind it is called seldom.
const flushAt = 32 << 10

// array writes n elements as a JSON array, each appended by elem.
func array(w io.Writer, n int, elem func(b []byte, i int) []byte) {
	b := append(make([]byte, 0, min(flushAt+512, 16*n+2)), '[')
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = elem(b, i)
		if len(b) > flushAt {
			_, _ = w.Write(b) // into the response's buffer: it never fails
			b = b[:0]
		}
	}
	_, _ = w.Write(append(b, ']'))
}

// TimeColumn holds instants as nanoseconds since 1970 UTC and is written as
// milliseconds since Start.
type TimeColumn struct {
	Start int64
	Times []int64
	// Missing, if not nil, marks rows that are null.
	Missing []bool
}

// MarshalGQL writes the column.
func (c TimeColumn) MarshalGQL(w io.Writer) {
	array(w, len(c.Times), func(b []byte, i int) []byte {
		if c.Missing != nil && c.Missing[i] {
			return append(b, "null"...)
		}
		return appendMillis(b, c.Times[i]-c.Start)
	})
}

// UnmarshalGQL refuses: columns are output only.
func (TimeColumn) UnmarshalGQL(any) error { return errOutput }

// appendMillis appends nanoseconds as milliseconds, exactly.
func appendMillis(b []byte, ns int64) []byte {
	const milli = 1_000_000
	whole, part := ns/milli, ns%milli
	if part < 0 {
		part = -part
		if whole == 0 {
			b = append(b, '-')
		}
	}
	b = strconv.AppendInt(b, whole, 10)
	if part == 0 {
		return b
	}
	digits := strconv.AppendInt(nil, milli+part, 10) // a leading 1 keeps the zeros
	for digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
	}
	return append(append(b, '.'), digits[1:]...)
}

// ValueColumn holds values.
type ValueColumn interface {
	Len() int
	At(i int) telemetry.Value
}

// Values is a ValueColumn as a slice.
type Values []telemetry.Value

// Len is the number of rows.
func (v Values) Len() int { return len(v) }

// At is row i.
func (v Values) At(i int) telemetry.Value { return v[i] }

// Column is what a ValueColumn of the schema is bound to.
type Column struct{ ValueColumn }

// MarshalGQL writes the column.
func (c Column) MarshalGQL(w io.Writer) {
	array(w, c.Len(), func(b []byte, i int) []byte { return AppendValue(b, c.At(i)) })
}

// UnmarshalGQL refuses: columns are output only.
func (Column) UnmarshalGQL(any) error { return errOutput }

// StatusRuns holds codes as runs. Neighbours may have the same code.
type StatusRuns []StatusRun

// StatusRun is a code that Count rows in a row have.
type StatusRun struct {
	Count int
	Code  quality.Code
}

// Add puts count rows of a code at the end.
func (r *StatusRuns) Add(count int, code quality.Code) {
	if n := len(*r); n > 0 && (*r)[n-1].Code == code {
		(*r)[n-1].Count += count
	} else if count > 0 {
		*r = append(*r, StatusRun{count, code})
	}
}

// MarshalGQL writes the runs.
func (r StatusRuns) MarshalGQL(w io.Writer) {
	array(w, len(r), func(b []byte, i int) []byte {
		b = strconv.AppendInt(append(b, '['), int64(r[i].Count), 10)
		return append(appendCode(append(b, ','), r[i].Code), ']')
	})
}

// UnmarshalGQL refuses: columns are output only.
func (StatusRuns) UnmarshalGQL(any) error { return errOutput }

// StringColumn holds text.
type StringColumn []string

// MarshalGQL writes the column.
func (c StringColumn) MarshalGQL(w io.Writer) {
	array(w, len(c), func(b []byte, i int) []byte { return AppendString(b, c[i]) })
}

// UnmarshalGQL refuses: columns are output only.
func (StringColumn) UnmarshalGQL(any) error { return errOutput }

var errOutput = outputOnly{}

type outputOnly struct{}

func (outputOnly) Error() string { return "columns are output only" }
