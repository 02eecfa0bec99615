// Package settings says what may be set for a whole site and changes what folds
// compute. It is an event, not configuration: a fold has no other source, so
// that yesterday's answers stay what they were.
package settings

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
)

// Changed records new settings. What is left out stays as it was.
type Changed struct {
	// AllowedSkewMS is how far a SourceTime may be ahead of Recorded, in
	// milliseconds: beyond it a sample is Uncertain and not yet current.
	AllowedSkewMS *int64 `json:"allowedSkewMs,omitempty"`
	// StaleMultiple: a value older than so many expected intervals is stale.
	StaleMultiple *float64 `json:"staleMultiple,omitempty"`
}

// ChangedType is the name on disk.
const ChangedType = "settings.changed.v1"

// EventType returns the name on disk.
func (Changed) EventType() string { return ChangedType }

// Stream returns the stream of an origin's settings.
func Stream(origin string) eventlog.StreamID { return eventlog.Stream("settings", origin) }

// Settings is what holds at one place in the log.
type Settings struct {
	AllowedSkew   time.Duration `json:"allowedSkew"` // nanoseconds
	StaleMultiple float64       `json:"staleMultiple"`
}

// Standard returns what holds before the first Changed.
func Standard() Settings { return Settings{AllowedSkew: time.Minute, StaleMultiple: 5} }

// Evolve returns the settings after an event of type ChangedType.
func (s Settings) Evolve(data []byte) (Settings, error) {
	var c Changed
	if err := json.Unmarshal(data, &c); err != nil {
		return s, fmt.Errorf("%s: %w", ChangedType, err)
	}
	return s.with(c), nil
}

func (s Settings) with(c Changed) Settings {
	if c.AllowedSkewMS != nil {
		s.AllowedSkew = time.Duration(*c.AllowedSkewMS) * time.Millisecond
	}
	if c.StaleMultiple != nil {
		s.StaleMultiple = *c.StaleMultiple
	}
	return s
}

// Ahead reports whether a sample with this SourceTime, recorded then, is ahead
// of its time.
func (s Settings) Ahead(source, recorded time.Time) bool {
	return source.Sub(recorded) > s.AllowedSkew
}

// Doubted returns the quality of a sample that is ahead of its time: a Good one
// becomes Uncertain, and what it came with stays beside it.
func Doubted(q quality.Quality) quality.Quality {
	if q.Code.Status() == quality.IsGood {
		q.Code = quality.UncertainSubNormal.WithLimit(q.Code.Limit())
	}
	return q
}
