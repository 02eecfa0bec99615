// Package twins keeps the last reported value of every point.
package twins

import "github.com/twinlog/twinlog/projections"

// Projection is the fold; it implements projections.Fold.
type Projection struct{ projections.Fold }

// New returns an empty fold. The Runner opens it.
func New() *Projection { return &Projection{} }

// View returns the questions that can be asked of it.
func (p *Projection) View() *View { return &View{p} }
