package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twinlog/twinlog/adapters/field/station"
	"github.com/twinlog/twinlog/cmd/server"
	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// commission tells the server about the station: its classes, assets and which
// signal feeds which tag. Every id derives from what is said, so a second start
// finds it said.
func commission(ctx context.Context, srv *server.Server) error {
	log := srv.Log()
	svc := asset.NewService(log)
	now := time.Now().UTC().Truncate(time.Second)
	call := func(mutation, key string) eventlog.Call {
		return eventlog.Call{
			Key:      eventlog.NewKey(log.Origin(), "demo", mutation, key),
			Envelope: eventlog.Envelope{Actor: eventlog.Actor{Subject: "demo", Kind: eventlog.Service, AuthMethods: []string{"none"}}},
		}
	}
	plant := station.Plant()
	for _, c := range plant.Classes {
		c.Effective = now
		if _, err := svc.DefineClass(ctx, call("defineAssetClass", c.Class), c, nil); err != nil {
			return fmt.Errorf("class %s: %w", c.Class, err)
		}
	}
	ids := map[string]string{}
	var items []eventlog.Item[asset.Command]
	for _, a := range plant.Assets {
		c := call("registerAsset", a.Path)
		ids[a.Path] = c.Key.Entity(0)
		items = append(items, eventlog.Item[asset.Command]{Call: c, Command: asset.Register{
			Asset: ids[a.Path], Name: a.Name(), Level: a.Level, Parent: ids[a.Parent()], Class: a.Class, Nameplate: a.Nameplate, Effective: now,
		}})
	}
	for _, b := range plant.Bindings {
		items = append(items, eventlog.Item[asset.Command]{Call: call("bindTag", b.Asset+"/"+b.Tag), Command: asset.BindTag{
			Asset: ids[b.Asset], Tag: b.Tag, Device: b.Device, Signal: b.Signal, Effective: now,
		}})
	}
	results, err := svc.DoAll(ctx, items)
	if err != nil {
		return err
	}
	last := eventlog.Position(0)
	for i, r := range results {
		if r.Err != nil {
			return fmt.Errorf("%T: %w", items[i].Command, r.Err)
		}
		last = max(last, r.Done.Last)
	}
	return srv.Runner().WaitFor(ctx, last)
}
