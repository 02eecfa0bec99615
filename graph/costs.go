package graph

import (
	"time"

	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/graph/gen"
	"github.com/twinlog/twinlog/graph/plant"
)

// costs estimate the fields of the answer before it is made: a list costs what
// one of its rows costs, times the rows that were asked for. gqlgen by itself
// would count the row once. Columns are cheap, and have a budget of rows.
func costs() gen.ComplexityRoot {
	var c gen.ComplexityRoot
	c.Plant.Assets = func(child int, _ *plant.AssetFilter, first *int, _ *string) int { return list(child, first, 50) }
	c.Plant.AssetClasses = func(child int, first *int, _ *string) int { return list(child, first, 50) }
	c.Plant.Tags = func(child int, _ *plant.TagFilter, first *int, _ *string) int { return list(child, first, 100) }
	c.Plant.Devices = func(child int, _ *plant.DeviceFilter, first *int, _ *string) int { return list(child, first, 50) }
	c.Plant.Alarms = func(child int, _ *plant.AlarmFilter, first *int, _ *string) int { return list(child, first, 50) }
	c.Plant.TagValues = func(child int, _ *string, _ *plant.TagFilter, first *int, _ *string) int {
		return child + count(first, 1000)
	}
	c.Plant.Series = func(child int, tags []string, _, _ time.Time, _ *plant.QualityFilter, _ *bool, first *int, _ *string) int {
		return len(tags) * (child + count(first, 100_000)/100)
	}
	c.Plant.Aggregates = func(child int, tags []string, _, _ time.Time, _ time.Duration, functions []plant.Aggregate, _ *plant.AggregateConfiguration, most *int) int {
		return len(tags)*len(functions)*child + count(most, 10_000)/10
	}
	c.Plant.Diff = func(child int, _ plant.Moment, first *int, _ *string) int { return list(child, first, 200) }
	c.Tag.Gaps = func(child int, _, _ time.Time, first *int, _ *string) int { return list(child, first, 100) }
	c.Tag.Versions = func(child int, _ time.Time) int { return 1 + usual*child }
	c.Query.Lineage = func(child int, _ string, _, first *int) int { return list(child, first, 200) }
	c.Asset.Children = func(child int, first *int, _ *string) int { return list(child, first, 50) }
	c.Asset.Descendants = func(child int, _ *asset.Level, first *int, _ *string) int { return list(child, first, 100) }
	c.Asset.Tags = func(child int, first *int, _ *string) int { return list(child, few(first, 100), 100) }
	c.Asset.Devices = func(child int, first *int, _ *string) int { return list(child, few(first, 50), 50) }
	c.Asset.Relationships = func(child int, _ *string, _ *plant.Direction, first *int, _ *string) int {
		return list(child, few(first, 50), 50)
	}
	c.Asset.Ancestors = func(child int) int { return 1 + levels*child }
	c.Twin.Reported = func(child int, _ []string, first *int, _ *string) int { return list(child, few(first, 100), 100) }
	c.Tag.Samples = func(child int, _, _ time.Time, _ *plant.QualityFilter, _ *bool, first *int, _ *string) int {
		return list(child, first, 1000)
	}
	c.Device.Assets = func(child int) int { return 1 + usual*child }
	c.Device.Signals = func(int) int { return usual }
	c.Query.Events = func(child int, _ *plant.EventFilter, _ *eventlog.Position, first *int, _ *string, last *int, _ *string) int {
		return list(child, longer(first, last), 100)
	}
	c.Query.AuditTrail = func(child int, _ *plant.AuditFilter, _ *eventlog.Position, first *int, _ *string, last *int, _ *string) int {
		return list(child, longer(first, last), 100)
	}
	return c
}

const (
	levels = 7  // of the hierarchy
	usual  = 10 // tags of an asset, assets of a device, signals of a device
)

func count(first *int, standard int) int {
	if first == nil {
		return standard
	}
	return max(*first, 0)
}

// most keeps a product of what an asker wrote within int.
const most = 1 << 40

func list(child int, first *int, standard int) int {
	n := min(count(first, standard), most/max(child, 1))
	return 1 + n*child
}

// few is for lists that hang on one asset: an asset has a dozen tags, whatever
// page is asked for.
func few(first *int, standard int) *int {
	n := min(count(first, standard), usual)
	return &n
}

func longer(first, last *int) *int {
	if first == nil {
		return last
	}
	if last == nil || *first > *last {
		return first
	}
	return last
}
