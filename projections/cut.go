package projections

import (
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Cut says as of when a question is asked, on both clocks. The zero Cut is the
// newest of everything.
type Cut struct {
	// AsOf is the instant in the plant's time; zero means the newest.
	AsOf time.Time
	// Known: only events up to this position count; 0 means all.
	Known eventlog.Position
}
