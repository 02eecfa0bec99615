// Package commands remembers every command and what became of it.
package commands

import (
	"github.com/twinlog/twinlog/domain/command"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/entities"
)

// Projection is the fold.
type Projection = entities.Projection[command.State]

// Row is a command as known at a cut.
type Row = entities.Row[command.State]

// New returns an empty fold.
func New(rows projections.Store) *Projection {
	return entities.New(rows, entities.Kind[command.State]{
		Name: "commands", Version: 1, Category: "command", Decode: command.Decode, Evolve: command.Evolve,
	})
}
