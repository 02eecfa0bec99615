// Package gateway puts an edge gateway together from its configuration: sources
// from adapters/field, the pipelines of edge, the outbox with its durable queue,
// and the link to the server. twinlog-edge runs it, and twinlog demo runs the
// very same code beside the server, with its own data directory and session.
package gateway

import (
	"fmt"

	"github.com/twinlog/twinlog/adapters/field/modbus"
	"github.com/twinlog/twinlog/edge"
)

// Pipelines returns the pipeline of each source. Nothing is connected yet.
func (c Config) Pipelines() ([]edge.Pipeline, error) {
	var all []edge.Pipeline
	for _, s := range c.Sources {
		src, err := modbus.New(s.Modbus, s.Items)
		if err != nil {
			return nil, fmt.Errorf("source %q: %w", s.Name, err)
		}
		all = append(all, edge.Pipeline{Name: s.Name, Polled: src, Retry: s.Retry, Devices: s.Devices, Tags: s.Tags})
	}
	return all, nil
}
