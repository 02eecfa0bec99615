package plant

import (
	"context"
	"time"

	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/devices"
)

// Device is a thing that speaks.
type Device struct {
	*devices.Device
	fam *family[*Device]
	i   int // its place in fam
}

// IsNode marks what has a global id.
func (d *Device) IsNode() {}

// ID is the global id.
func (d *Device) ID() string { return d.fam.scope.r.global(DeviceID, d.Device.ID) }

// Name is what the device calls itself.
func (d *Device) Name() string { return d.Device.ID }

// Type is nil where nobody said.
func (d *Device) Type() *string { return optional(d.Device.Type) }

// Gateway is nil for a device that publishes by itself.
func (d *Device) Gateway() *string { return optional(d.Device.Gateway) }

// Firmware is nil where nobody said.
func (d *Device) Firmware() *string { return optional(d.Device.Firmware) }

// StatusReason is nil where none was given.
func (d *Device) StatusReason() *string { return optional(d.Device.StatusReason) }

// StatusAt is nil where no status was heard.
func (d *Device) StatusAt() *time.Time { return optional(d.Device.StatusAt) }

// FirstSeen is nil for a device that was registered and never spoke.
func (d *Device) FirstSeen() *time.Time { return optional(d.Device.FirstSeen) }

// Assets are the assets that it serves.
func (d *Device) Assets(ctx context.Context) ([]*Asset, error) {
	s := d.fam.scope
	return together(d.fam, d.i, "assets", func(members []*Device) ([][]*Asset, error) {
		var ids []string
		for _, m := range members {
			ids = append(ids, m.Device.Assets...)
		}
		read, err := s.assetsOnce(ctx, ids)
		if err != nil {
			return nil, err
		}
		groups := make([][]*Asset, len(members))
		for i, m := range members {
			groups[i] = known(read[:len(m.Device.Assets)])
			read = read[len(m.Device.Assets):]
		}
		return groups, nil
	})
}

// known leaves out what is nil.
func known[T any](found []*T) []*T {
	kept := make([]*T, 0, len(found))
	for _, one := range found {
		if one != nil {
			kept = append(kept, one)
		}
	}
	return kept
}

// Signals are the names under which it has reported, as known at the cut.
func (d *Device) Signals(ctx context.Context) ([]string, error) {
	s := d.fam.scope
	points, err := s.r.History.Points(ctx, d.Device.ID)
	if err != nil {
		return nil, err
	}
	last, err := s.r.History.LatestAt(ctx, points, projections.Cut{Known: s.cut.Known})
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(points))
	for i, p := range points {
		if last[i] != nil { // else its first sample came later
			names = append(names, p.Signal)
		}
	}
	return names, nil
}

// Device finds one device, by global id or by its own.
func (p *Plant) Device(ctx context.Context, id string) (*Device, error) {
	own, err := p.scope.r.DeviceID("id", id)
	if err != nil {
		return nil, err
	}
	found, err := p.scope.devices(ctx, []string{own})
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

// DeviceID reads a global id, or what a device calls itself.
func (r *Reader) DeviceID(path, s string) (string, error) {
	if kind, _, _, ok := ParseGlobalID(s); ok && kind == DeviceID {
		return r.ID(DeviceID, path, s)
	}
	return s, nil
}

// devices reads devices; nil where none is known.
func (s *scope) devices(ctx context.Context, ids []string) ([]*Device, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := s.r.Devices.ByIDs(ctx, ids, s.cut)
	if err != nil {
		return nil, err
	}
	return s.deviceFamily(rows), nil
}

func (s *scope) deviceFamily(rows []*devices.Device) []*Device {
	fam, found := newFamily[*Device](s, len(rows)), make([]*Device, len(rows))
	for i, row := range rows {
		if row != nil {
			found[i] = &Device{row, fam, len(fam.members)}
			fam.members = append(fam.members, found[i])
		}
	}
	return found
}

// Devices lists devices.
func (p *Plant) Devices(ctx context.Context, filter *DeviceFilter, first *int, after *string) (*DeviceConnection, error) {
	var f devices.Filter
	if filter != nil {
		f = devices.Filter{
			Type: value(filter.Type), Gateway: value(filter.Gateway),
			Online: filter.Online, Registered: filter.Registered, Assigned: filter.Assigned,
		}
	}
	pg, err := p.scope.page(first, after, maxPage, "devices", f.Type, f.Gateway, f.Online, f.Registered, f.Assigned)
	if err != nil {
		return nil, err
	}
	rows, more, err := p.scope.r.Devices.List(ctx, f, pg.scope.cut, pg.after, pg.first)
	if err != nil {
		return nil, err
	}
	return pg.devices(pg.scope.deviceFamily(rows), more), nil
}

// DeviceConnection is a page of devices.
type DeviceConnection struct {
	Edges    []DeviceEdge
	PageInfo *PageInfo
}

// DeviceEdge is a device and where it stands.
type DeviceEdge struct {
	Cursor string
	Node   *Device
}

// Nodes are the page's devices.
func (c *DeviceConnection) Nodes() []*Device {
	nodes := make([]*Device, len(c.Edges))
	for i, e := range c.Edges {
		nodes[i] = e.Node
	}
	return nodes
}

func (p page) devices(found []*Device, more bool) *DeviceConnection {
	c, cursors := &DeviceConnection{}, make([]string, len(found))
	for i, d := range found {
		cursors[i] = p.cursor(d.Device.ID)
		c.Edges = append(c.Edges, DeviceEdge{cursors[i], d})
	}
	c.PageInfo = p.info(cursors, more)
	return c
}
