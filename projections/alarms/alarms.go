// Package alarms remembers every alarm that was ever raised and where it stands.
package alarms

import (
	"github.com/twinlog/twinlog/domain/alarm"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/entities"
)

// Projection is the fold.
type Projection = entities.Projection[alarm.State]

// Row is an alarm as known at a cut.
type Row = entities.Row[alarm.State]

// New returns an empty fold.
func New(rows projections.Store) *Projection {
	return entities.New(rows, entities.Kind[alarm.State]{
		Name: "alarms", Version: 1, Category: "alarm", Decode: alarm.Decode, Evolve: alarm.Evolve,
	})
}
