package server

import (
	"runtime/debug"
	"time"

	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/graph"
	"github.com/twinlog/twinlog/graph/plant"
)

func (s *Server) newGraph() (*graph.Handler, error) {
	return graph.NewHandler(graph.Config{
		Resolver: &graph.Resolver{
			Read: &plant.Reader{
				Log: s.log, Runner: s.runner, Now: time.Now, Build: build(),
				Assets: s.views.assets.View(), Devices: s.views.devices.View(s.views.assets.View()), Audit: s.views.audit.View(), Alarms: s.views.alarms,
				Twins: s.views.twins.View(), History: s.views.history.View(),
			},
			Commands: asset.NewService(s.log),
			Identity: s.people,
		},
		Operator: s.config.Operator,
		Log:      s.config.Logger,
	})
}

// build names this software: its version, and the commit it was built from.
func build() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return info.Main.Version + " " + s.Value[:min(12, len(s.Value))]
		}
	}
	return info.Main.Version
}
