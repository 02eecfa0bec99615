// Package assets remembers what people have said about the plant: hierarchy,
// classes, nameplates, relationships and bindings, with their whole past on
// both clocks.
package assets

import "github.com/twinlog/twinlog/projections"

// Projection is the fold; it implements projections.Fold.
type Projection struct{ projections.Fold }

// New returns an empty fold. The Runner opens it.
func New() *Projection { return &Projection{} }

// View returns the questions that can be asked of it.
func (p *Projection) View() *View { return &View{p} }
