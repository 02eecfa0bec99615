package devices

import (
	"context"
	"fmt"
	"slices"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/planted"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/assets"
)

// View answers from the devices. Its methods may be used concurrently.
type View struct {
	p      *Projection
	assets *assets.View
}

// ByIDs returns the devices in the order of ids; nil where none was known. What
// is newest comes from memory; what was known earlier costs one store read, or
// one for each device that has changed since if these are few.
func (v *View) ByIDs(ctx context.Context, ids []string, c projections.Cut) ([]*Device, error) {
	found, err := v.known(ctx, ids, c.Through())
	if err != nil {
		return nil, err
	}
	return v.serving(ctx, found, c)
}

// List returns devices by id, the first after the given id ("": from the
// start), and whether there are more.
func (v *View) List(ctx context.Context, f Filter, c projections.Cut, after string, first int) ([]*Device, bool, error) {
	v.p.mu.RLock()
	i, found := slices.BinarySearch(v.p.ids, after)
	if found {
		i++
	}
	ids := slices.Clone(v.p.ids[i:])
	v.p.mu.RUnlock()
	known, err := v.known(ctx, ids, c.Through())
	if err != nil {
		return nil, false, err
	}
	known = slices.DeleteFunc(known, func(d *Device) bool { return d == nil || !f.passes(d) })
	if f.Assigned == nil && len(known) > first {
		page, err := v.serving(ctx, known[:first], c)
		return page, true, err
	}
	page, err := v.serving(ctx, known, c)
	if err != nil {
		return nil, false, err
	}
	if f.Assigned != nil {
		page = slices.DeleteFunc(page, func(d *Device) bool { return len(d.Assets) > 0 != *f.Assigned })
	}
	if len(page) > first {
		return page[:first], true, nil
	}
	return page, false, nil
}

func (f Filter) passes(d *Device) bool {
	return (f.Type == "" || d.Type == f.Type) && (f.Gateway == "" || d.Gateway == f.Gateway) &&
		(f.Online == nil || d.Online != nil && *d.Online == *f.Online) &&
		(f.Registered == nil || d.Registered == *f.Registered)
}

// fewSeeks is up to how many devices are sought one by one; more are read in
// one scan over all versions of all devices.
const fewSeeks = 8

// known returns the devices as they were known at a position.
func (v *View) known(ctx context.Context, ids []string, at eventlog.Position) ([]*Device, error) {
	list := make([]*Device, len(ids))
	var changed []int
	v.p.mu.RLock()
	for i, id := range ids {
		switch d := v.p.devices[id]; {
		case d == nil:
		case d.Position <= at || planted.Bug == planted.DeviceNow:
			list[i] = d
		default:
			changed = append(changed, i)
		}
	}
	v.p.mu.RUnlock()
	if len(changed) == 0 {
		return list, nil
	}
	s, err := v.p.rows.Snapshot(ctx, name)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if len(changed) <= fewSeeks {
		for _, i := range changed {
			v.p.reads.Add(1)
			value, _, err := projections.VersionAt(s, rowKey(ids[i]), at)
			if err == nil && value != nil {
				list[i], err = decode(value)
			}
			if err != nil {
				return nil, fmt.Errorf("device %s at %v: %w", ids[i], at, err)
			}
		}
		return list, nil
	}
	v.p.reads.Add(1)
	then := map[string]*Device{}
	for row, err := range projections.VersionsAt(s, nil, nil, at) {
		if err != nil {
			return nil, err
		}
		d, err := decode(row.Value)
		if err != nil {
			return nil, fmt.Errorf("row %x: %w", row.Row, err)
		}
		then[d.ID] = d
	}
	for _, i := range changed {
		list[i] = then[ids[i]]
	}
	return list, nil
}

// serving returns the rows with the assets that they serve.
func (v *View) serving(ctx context.Context, list []*Device, c projections.Cut) ([]*Device, error) {
	if v.assets == nil {
		return list, nil
	}
	ids := make([]string, len(list))
	for i, d := range list {
		if d != nil {
			ids[i] = d.ID
		}
	}
	served, err := v.assets.ByDevice(ctx, ids, c)
	if err != nil {
		return nil, err
	}
	out := make([]*Device, len(list))
	for i, d := range list {
		if d == nil {
			continue
		}
		row := *d
		for _, a := range served[i] {
			row.Assets = append(row.Assets, a.ID)
		}
		out[i] = &row
	}
	return out, nil
}

// Reads counts the store reads made for queries so far.
func (v *View) Reads() uint64 { return v.p.reads.Load() }
