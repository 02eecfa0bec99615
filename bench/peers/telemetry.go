package main

import (
	"context"
	"fmt"

	"github.com/twinlog/twinlog/bench/plant"
)

const (
	devices = 1000
	// The peers that are slow get a tenth of the ten minutes.
	allSeconds, fewSeconds = 600, 60
)

// measureTelemetry fills each store with the same plant. What making the rows
// costs is measured with a store that forgets them, and taken off.
func measureTelemetry(ctx context.Context, tmp string) error {
	base := map[[2]int64]float64{} // CPU ns a sample by gateways and seconds
	for _, gateways := range []int{0, 4} {
		for _, seconds := range []int64{fewSeconds, allSeconds} {
			r, err := inDir(ctx, tmp, order{Store: "nothing", Do: "fill", Seconds: seconds, Gateway: gateways})
			if err != nil {
				return err
			}
			base[[2]int64{int64(gateways), seconds}] = perSample(r.CPU.Nanoseconds(), seconds)
		}
	}
	fmt.Printf("%-28s %12s %12s %10s %10s\n", "store", "samples/s", "CPU/sample", "B/sample", "RssAnon")
	cost, size := map[string]float64{}, map[string]float64{}
	for _, c := range []struct {
		store    string
		gateways int
		seconds  int64
	}{
		{"twinlog", 0, allSeconds}, {"twinlog", 4, allSeconds}, {"rows + fdatasync", 4, allSeconds}, {"prometheus", 4, allSeconds},
		{"sqlite", 4, fewSeconds}, {"badger", 4, fewSeconds}, {"jetstream", 4, fewSeconds},
	} {
		r, err := inDir(ctx, tmp, order{Store: c.store, Do: "fill", Seconds: c.seconds, Gateway: c.gateways})
		if err != nil {
			return err
		}
		name := c.store
		if c.store == "twinlog" {
			name = map[int]string{0: "twinlog, self-publishing", 4: "twinlog, 4 gateways"}[c.gateways]
		}
		cost[name] = perSample(r.CPU.Nanoseconds(), c.seconds) - base[[2]int64{int64(c.gateways), c.seconds}]
		size[name] = perSample(r.Disk, c.seconds)
		fmt.Printf("%-28s %12.0f %9.0f ns %10.3f %7.0f MB\n", name, float64(r.Events*plant.Tags)/r.Elapsed.Seconds(), cost[name], size[name],
			float64(r.RssAnon)/1e6)
		if c.store == "twinlog" {
			own := perSample(r.Disk-r.Ids, c.seconds)
			fmt.Printf("%28s sealed %d of %d rows; without foreign msg_ids %.3f B/sample\n", "", r.Sealed, r.Events, own)
			size[name] = own
			goal(name+": RssAnon in MB", float64(r.RssAnon)/1e6, false, 200)
			goal(name+": ReadAll, million events/s, sealed and warm", r.Reads/1e6, true, 1)
			goal(name+": telemetry blocks opened for others", float64(r.Opened), false, 0)
		}
	}
	ours := cost["twinlog, 4 gateways"]
	goal("CPU a sample: naive Badger's, of ours behind gateways", cost["badger"]/ours, true, 25)
	goal("CPU a sample: Prometheus TSDB's, of ours behind gateways", cost["prometheus"]/ours, true, 4)
	goal("CPU a sample: SQLite's, of ours behind gateways", cost["sqlite"]/ours, true, 10)
	self := cost["twinlog, self-publishing"]
	fmt.Printf("   self-publishing: naive Badger %.1f, Prometheus TSDB %.1f, SQLite %.1f\n", cost["badger"]/self, cost["prometheus"]/self, cost["sqlite"]/self)
	goal("B/sample behind gateways", size["twinlog, 4 gateways"], false, 0.6)
	goal("B/sample self-publishing, of that, msg_ids apart", size["twinlog, self-publishing"]/size["twinlog, 4 gateways"], false, 1.3)
	return nil
}

func perSample(n int64, seconds int64) float64 {
	return float64(n) / float64(seconds*devices*plant.Tags)
}
