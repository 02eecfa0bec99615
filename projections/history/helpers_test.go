package history

import (
	"iter"
	"time"

	"github.com/twinlog/twinlog/projections"
)

// nothing is an empty snapshot.
type nothing struct{}

func (nothing) Get([]byte) ([]byte, error) { return nil, nil }
func (nothing) Scan(_, _ []byte, _ bool) iter.Seq2[projections.Write, error] {
	return func(func(projections.Write, error) bool) {}
}
func (nothing) Close() {}

func nowhen(nanos int64) time.Time { return time.Unix(1_700_000_000, nanos).UTC() }
