// Package history remembers every sample of every point.
package history

import "github.com/twinlog/twinlog/projections"

// Projection is the fold; it implements projections.Fold.
type Projection struct{ projections.Fold }

// New returns the fold whose rows are in the store. The Runner opens it.
func New(store projections.Store) *Projection { return &Projection{} }

// View returns the questions that can be asked of it.
func (p *Projection) View() *View { return &View{p} }
