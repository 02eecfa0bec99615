package server

import (
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/alarms"
	"github.com/twinlog/twinlog/projections/assets"
	"github.com/twinlog/twinlog/projections/audit"
	"github.com/twinlog/twinlog/projections/devices"
	"github.com/twinlog/twinlog/projections/history"
	"github.com/twinlog/twinlog/projections/twins"
)

// views are the read models of a server.
type views struct {
	assets  *assets.Projection
	devices *devices.Projection
	alarms  *alarms.Projection
	audit   *audit.Projection
	twins   *twins.Projection
	history *history.Projection
}

func newViews(rows projections.Store) views {
	return views{assets: assets.New(), devices: devices.New(rows), alarms: alarms.New(rows), audit: audit.New(rows), twins: twins.New(), history: history.New(rows)}
}

func (v views) folds() []projections.Fold {
	return []projections.Fold{v.assets, v.devices, v.alarms, v.audit, v.twins, v.history}
}
