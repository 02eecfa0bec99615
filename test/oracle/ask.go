package oracle

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

const valueFields = "{value number quality{status statusCode raw} sourceTime serverTime recorded position stale corrected}"

var statusNames = []string{"GOOD", "UNCERTAIN", "BAD"}

func (c cut) showValue(t tag) any {
	m, ok := c.value(t)
	if !ok {
		return nil
	}
	o := object{
		"value": value(m.Value), "number": number(m.Value), "quality": showQuality(m), "sourceTime": instant(m.source),
		"serverTime": nil, "recorded": instant(m.recorded), "position": m.at.text(), "stale": c.stale(t, m), "corrected": m.corrected,
	}
	if !m.server.IsZero() {
		o["serverTime"] = instant(m.server)
	}
	return o
}

func showQuality(m measured) object {
	return object{"status": statusNames[severity(m.Code)], "statusCode": codeText(m.Code), "raw": orNull(m.Raw)}
}

// Tag asks for one tag's value, by its id.
func (w *World) Tag(m Moment, assetID, name string) Question {
	c := w.cut(m)
	field := "tag(id:" + quote(w.IDs.Tag(assetID, name)) + "){path value" + valueFields + "}"
	t, ok := c.tag(assetID, name)
	if !ok {
		return w.at("tag", m, field, "tag", nil)
	}
	return w.at("tag", m, field, "tag", object{"path": t.path(), "value": c.showValue(t)})
}

// State asks for the twin of one asset.
func (w *World) State(m Moment, assetID string) Question {
	c := w.cut(m)
	field := "asset(id:" + quote(w.IDs.Asset(assetID)) + "){twin{reported{tag{path} value quality{statusCode} sourceTime position}}}"
	a := c.asset(assetID)
	if a == nil {
		return w.at("state", m, field, "asset", nil)
	}
	reported := []any{}
	for _, t := range c.tags(a) {
		if v, ok := c.value(t); ok {
			reported = append(reported, object{
				"tag": object{"path": t.path()}, "value": value(v.Value), "quality": object{"statusCode": codeText(v.Code)},
				"sourceTime": instant(v.source), "position": v.at.text(),
			})
		}
	}
	return w.at("state", m, field, "asset", object{"twin": object{"reported": reported}})
}

// TagValues asks for the current values under an asset, of all tags or of those
// with a name.
func (w *World) TagValues(m Moment, under, name string) Question {
	c := w.cut(m)
	args := "under:" + quote(w.IDs.Asset(under))
	if name != "" {
		args += " filter:{names:[" + quote(name) + "]}"
	}
	var tags []tag
	if c.asset(under) != nil {
		for _, t := range c.tagsUnder(under) {
			if name == "" || t.Name == name {
				tags = append(tags, t)
			}
		}
	}
	start := time.Time{}
	for _, t := range tags {
		if v, ok := c.value(t); ok && (start.IsZero() || v.source.Before(start)) {
			start = v.source
		}
	}
	if start.IsZero() {
		start = time.Unix(0, 0)
	}
	ids, paths, values, times := []any{}, []any{}, []any{}, []any{}
	var codes []uint32
	for _, t := range tags {
		ids, paths = append(ids, w.IDs.Tag(t.asset.id, t.Name)), append(paths, t.path())
		v, ok := c.value(t)
		if !ok {
			values, times, codes = append(values, nil), append(times, nil), append(codes, badWaiting)
			continue
		}
		values, codes = append(values, value(v.Value)), append(codes, v.Code)
		times = append(times, millis(v.source.Sub(start).Nanoseconds()))
	}
	return w.at("tagValues", m, "tagValues("+args+"){tags paths values status start times}", "tagValues", object{
		"tags": ids, "paths": paths, "values": values, "status": runs(codes), "start": instant(start), "times": times,
	})
}

// runs are codes as [count, code] pairs.
func runs(codes []uint32) []any {
	list := []any{}
	for i := 0; i < len(codes); {
		n := 1
		for i+n < len(codes) && codes[i+n] == codes[i] {
			n++
		}
		list = append(list, []any{n, codeText(codes[i])})
		i += n
	}
	return list
}

// Range is a stretch of SourceTime as samples and series take it.
type Range struct {
	From, To time.Time
	Quality  string // ANY, GOOD, GOOD_OR_UNCERTAIN or BAD
	Bounds   bool
}

func (r Range) args() string {
	return fmt.Sprintf("from:%q to:%q quality:%s bounds:%v", instant(r.From), instant(r.To), r.Quality, r.Bounds)
}

// Samples asks for samples one by one, the first few of them.
func (w *World) Samples(m Moment, assetID, name string, r Range, first int) Question {
	c := w.cut(m)
	field := "tag(id:" + quote(w.IDs.Tag(assetID, name)) + "){samples(" + r.args() + fmt.Sprintf(" first:%d", first) +
		"){nodes{sourceTime value number quality{status statusCode raw} ref{stream revision index} corrected} pageInfo{hasNextPage}}}"
	t, ok := c.tag(assetID, name)
	if !ok {
		return w.at("samples", m, field, "tag", nil)
	}
	nodes := []any{}
	list := c.samples(t, r.From, r.To, r.Quality, r.Bounds)
	for _, s := range list[:min(first, len(list))] {
		nodes = append(nodes, object{
			"sourceTime": instant(s.source), "value": value(s.Value), "number": number(s.Value), "quality": showQuality(s),
			"ref": object{"stream": s.stream, "revision": text(s.revision), "index": s.index}, "corrected": s.corrected,
		})
	}
	return w.at("samples", m, field, "tag", object{"samples": object{
		"nodes": nodes, "pageInfo": object{"hasNextPage": len(list) > first},
	}})
}

// Series asks for samples as columns. The tag must be there at the moment.
func (w *World) Series(m Moment, assetID, name string, r Range) (Question, bool) {
	c := w.cut(m)
	t, ok := c.tag(assetID, name)
	times, values, list := []any{}, []any{}, []measured(nil)
	if ok {
		list = c.samples(t, r.From, r.To, r.Quality, r.Bounds)
	}
	corrected := []int{}
	var codes []uint32
	for i, s := range list {
		if s.corrected {
			corrected = append(corrected, i)
		}
		times, values = append(times, millis(s.source.Sub(r.From).Nanoseconds())), append(values, value(s.Value))
		codes = append(codes, s.Code)
	}
	field := "series(tags:[" + quote(w.IDs.Tag(assetID, name)) + "] " + r.args() + "){start times values status count corrected endCursor}"
	return w.at("series", m, field, "series", []any{object{
		"start": instant(r.From), "times": times, "values": values, "status": runs(codes), "count": len(list), "corrected": corrected, "endCursor": nil,
	}}), ok
}

// Functions are all that the API knows.
var Functions = []string{
	"INTERPOLATIVE", "AVERAGE", "TIME_AVERAGE", "MINIMUM", "MAXIMUM", "RANGE", "COUNT", "TOTAL", "START", "END", "DELTA",
	"STANDARD_DEVIATION_SAMPLE", "STANDARD_DEVIATION_POPULATION", "PERCENT_GOOD", "PERCENT_BAD", "WORST_QUALITY",
	"DURATION_GOOD", "DURATION_BAD",
}

// Aggregates asks for functions over intervals of whole seconds. The tag must be
// there at the moment and have numbers only.
func (w *World) Aggregates(m Moment, assetID, name string, from, to time.Time, interval time.Duration, fns []string, cfg Config) (Question, bool) {
	c := w.cut(m)
	t, ok := c.tag(assetID, name)
	list := []any{}
	for _, fn := range fns {
		if !ok {
			break
		}
		values := []any{}
		var codes []uint32
		for _, r := range c.aggregate(t, from, to, interval, fn, cfg) {
			values, codes = append(values, value(r.value)), append(codes, r.code)
		}
		list = append(list, object{"function": fn, "values": values, "status": runs(codes)})
	}
	field := fmt.Sprintf("aggregates(tags:[%q] from:%q to:%q interval:\"PT%dS\" functions:[%s] configuration:{treatUncertainAsBad:%v percentDataBad:%d percentDataGood:%d useSlopedExtrapolation:%v}){function values status}",
		w.IDs.Tag(assetID, name), instant(from), instant(to), int(interval/time.Second), strings.Join(fns, " "),
		cfg.TreatUncertainAsBad, cfg.PercentBad, cfg.PercentGood, cfg.Sloped)
	return w.at("aggregates", m, field, "aggregates", list), ok
}

// device is what is known of a device.
type device struct {
	Seen
	firstSeen time.Time
	status    *Status
	signals   []string // in the order of first appearance
}

func (c cut) device(id string) *device {
	var d *device
	for _, e := range c.entries() {
		switch f := e.Fact.(type) {
		case Seen:
			if f.Device == id {
				d = &device{Seen: f, firstSeen: e.Recorded}
			}
		case Status:
			if f.Device == id && d != nil {
				d.status = &f
			}
		case Row:
			for _, s := range f.Samples {
				if f.Device == id && d != nil && !slices.Contains(d.signals, s.Signal) {
					d.signals = append(d.signals, s.Signal)
				}
			}
		}
	}
	return d
}

// devicesOf are the devices that feed a tag of an asset.
func (c cut) devicesOf(a *asset) []string {
	var list []string
	for _, t := range c.tags(a) {
		f, ok := holds(facts[Bound](c), c.instant, func(f Bound) bool { return f.Asset == a.id && f.Tag == t.Name })
		if ok && f.fact.Device != "" && c.lives(a.id, c.instant) {
			list = append(list, f.fact.Device)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Devices asks for all devices.
func (w *World) Devices(m Moment) Question {
	c := w.cut(m)
	var ids []string
	for _, f := range facts[Seen](c) {
		ids = append(ids, f.fact.Device)
	}
	slices.Sort(ids)
	nodes := []any{}
	for _, id := range ids {
		d := c.device(id)
		o := object{
			"id": w.IDs.Device(id), "name": id, "type": orNull(d.Type), "gateway": orNull(d.Gateway), "online": nil, "statusReason": nil,
			"statusAt": nil, "firstSeen": instant(d.firstSeen), "registered": false, "signals": d.signals, "assets": []any{},
		}
		if d.signals == nil {
			o["signals"] = []any{}
		}
		if s := d.status; s != nil {
			o["online"], o["statusReason"], o["statusAt"] = s.Online, orNull(s.Reason), instant(s.At)
		}
		served := []*asset{}
		for _, a := range c.assets() {
			if slices.Contains(c.devicesOf(a), id) {
				served = append(served, a)
			}
		}
		slices.SortFunc(served, func(a, b *asset) int { return cmp.Compare(a.id, b.id) })
		all := []any{}
		for _, a := range served {
			all = append(all, object{"id": w.IDs.Asset(a.id)})
		}
		o["assets"] = all
		nodes = append(nodes, o)
	}
	return w.at("devices", m, "devices(first:1000){nodes{id name type gateway online statusReason statusAt firstSeen registered signals assets{id}}}",
		"devices", object{"nodes": nodes})
}

// Events asks for the events of some types up to a position, oldest first, or
// only the last few of them.
func (w *World) Events(upTo Position, types []string, last int) Question {
	var found []Entry
	for _, e := range w.Entries {
		if e.Position <= upTo && slices.Contains(types, e.Type) {
			found = append(found, e)
		}
	}
	args := "first:1000"
	if last > 0 {
		args = fmt.Sprintf("last:%d", last)
		found = found[max(0, len(found)-last):]
	}
	nodes := []any{}
	for _, e := range found {
		o := object{"type": e.Type, "position": e.Position.text(), "recorded": instant(e.Recorded), "samples": nil}
		if r, ok := e.Fact.(Row); ok {
			samples := []any{}
			for _, s := range r.Samples {
				samples = append(samples, object{
					"device": r.Device, "signal": s.Signal, "value": value(s.Value), "statusCode": codeText(s.Code), "sourceTime": instant(r.Source),
				})
			}
			o["samples"] = samples
		}
		nodes = append(nodes, o)
	}
	named, _ := json.Marshal(types)
	return Question{"events", fmt.Sprintf("events(upTo:%q %s filter:{types:%s}){nodes{type position recorded samples{device signal value statusCode sourceTime}}}",
		upTo.text(), args, named), object{"nodes": nodes}}
}
