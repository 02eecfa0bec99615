package ingest

// SetDepth makes the window small, before the first Submit.
func (g *Ingester) SetDepth(whole, shallow int) { g.depth = depth{whole, shallow} }
