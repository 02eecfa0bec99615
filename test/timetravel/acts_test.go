package timetravel

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/test/oracle"
)

func asFault(err error) (fault, bool) {
	var f fault
	return f, errors.As(err, &f)
}

// player draws what happens in a story.
type player struct {
	*story
	*rapid.T
	restarts int
}

func draw[V any](p *player, name string, from ...V) V { return rapid.SampledFrom(from).Draw(p.T, name) }

func (p *player) chance(percent int, name string) bool {
	return rapid.IntRange(0, 99).Draw(p.T, name) >= 100-percent // shrinks to no
}

func (p *player) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatalf("%v", err)
	}
}

// instant is a time to tell about: mostly near now or one that was told before,
// so that facts meet.
func (p *player) instant() time.Time {
	now := p.clock().Truncate(time.Second)
	switch draw(p, "effective is", "now", "before", "after", "again", "noon") {
	case "before":
		return now.Add(-time.Duration(rapid.IntRange(1, 48*60).Draw(p.T, "effective")) * time.Minute)
	case "after":
		return now.Add(time.Duration(rapid.IntRange(1, 48*60).Draw(p.T, "effective")) * time.Minute)
	case "again":
		if len(p.assets) > 0 {
			return p.assets[rapid.IntRange(0, len(p.assets)-1).Draw(p.T, "effective")].Effective
		}
	case "noon":
		return epoch.Add(12 * time.Hour)
	}
	return now
}

var (
	assetNames = []string{"a", "b", "a b", "b-2"}
	levels     = []string{"SITE", "AREA", "LINE", "WORK_CELL", "EQUIPMENT", "COMPONENT"}
	deviceIDs  = []string{"d1", "d2", "d3"}
	numeric    = []string{"n1", "n2"}
	classNames = []string{"pump", "motor"}
)

// textTag is the one tag that is no number; only signal "mode" feeds it.
const textTag, textSignal = "mode", "mode"

func (p *player) anAsset(name string) oracle.Registered {
	return p.assets[rapid.IntRange(0, len(p.assets)-1).Draw(p.T, name)]
}

// act lets one thing happen.
func (p *player) act() {
	switch draw(p, "act", "sample", "sample", "sample", "sample", "burst", "burst", "register", "register", "move", "rename", "retire", "relate",
		"bind", "bind", "bind", "plate", "class", "settings", "again", "gateway", "gateway", "restart", "status", "clock", "clock", "kill", "leap") {
	case "sample":
		p.sample("", draw(p, "device", deviceIDs...), p.source())
	case "burst":
		p.burst()
	case "register":
		p.registers()
	case "move":
		a, to, t := p.anAsset("asset"), p.anAsset("to"), p.instant()
		p.must(p.fact("moveAsset", map[string]any{"asset": p.world.IDs.Asset(a.Asset), "to": p.world.IDs.Asset(to.Asset)}, t,
			oracle.Moved{Asset: a.Asset, Parent: to.Asset, Effective: t}))
	case "rename":
		a, name, t := p.anAsset("asset"), draw(p, "name", assetNames...), p.instant()
		p.must(p.fact("renameAsset", map[string]any{"asset": p.world.IDs.Asset(a.Asset), "name": name}, t,
			oracle.Renamed{Asset: a.Asset, Name: name, Effective: t}))
	case "retire":
		a, t := p.anAsset("asset"), p.instant()
		p.must(p.fact("retireAsset", map[string]any{"asset": p.world.IDs.Asset(a.Asset)}, t, oracle.Retired{Asset: a.Asset, Effective: t}))
	case "relate":
		a, b, typ, on, t := p.anAsset("from"), p.anAsset("to"), draw(p, "type", "feeds", "controls"), !p.chance(40, "remove"), p.instant()
		p.must(p.fact("relate", map[string]any{
			"from": p.world.IDs.Asset(a.Asset), "to": p.world.IDs.Asset(b.Asset), "type": typ, "remove": !on,
		}, t, oracle.Related{From: a.Asset, Type: typ, To: b.Asset, On: on, Effective: t}))
	case "bind":
		p.binds()
	case "plate":
		a, t := p.anAsset("asset"), p.instant()
		patch := map[string]any{draw(p, "member", "maker", "power"): draw(p, "value", any("x"), any("y"), nil)}
		p.must(p.fact("updateNameplate", map[string]any{"asset": p.world.IDs.Asset(a.Asset), "patch": patch}, t,
			oracle.Plated{Asset: a.Asset, Patch: patch, Effective: t}))
	case "class":
		p.defines()
	case "settings":
		skew, stale := time.Duration(draw(p, "skew", 0, 1, 60, 3600, 7200))*time.Second, draw(p, "stale", 1.0, 2.0, 5.0)
		p.changes(skew, stale)
	case "again":
		p.must(p.again(draw(p, "sender", append(slices.Clone(deviceIDs), "g1")...)))
	case "gateway":
		// After an outage its messages come in the order of their times, late.
		at := p.clock().Add(-time.Duration(rapid.IntRange(0, 36*60).Draw(p.T, "outage")) * time.Minute)
		device := draw(p, "device", deviceIDs...)
		for i := range rapid.IntRange(1, 4).Draw(p.T, "messages") {
			p.sample("g1", device, at.Add(time.Duration(i)*time.Minute))
		}
	case "restart":
		p.restart("g1")
	case "status":
		p.must(p.status(draw(p, "device", deviceIDs...), draw(p, "online", true, false), draw(p, "reason", "", "conn_lost"), p.clock().Truncate(time.Second)))
	case "clock":
		d := time.Duration(rapid.IntRange(-30, 6*3600).Draw(p.T, "seconds")) * time.Second
		p.now.Add(int64(d))
	case "kill":
		p.dies()
	case "leap":
		p.must(p.log.leap(eventlog.Position(draw(p, "behind", 0, 1, 1000))))
	}
	p.now.Add(int64(rapid.SampledFrom([]time.Duration{0, time.Millisecond, time.Minute, 17 * time.Minute}).Draw(p.T, "then")))
}

// source is a SourceTime: now, before, ahead, or one that another sample has.
func (p *player) source() time.Time {
	now := p.clock()
	switch draw(p, "source is", "now", "now", "late", "ahead", "again", "quarter") {
	case "late":
		return now.Add(-time.Duration(rapid.IntRange(1, 60*60).Draw(p.T, "late")) * time.Minute)
	case "ahead":
		return now.Add(time.Duration(rapid.IntRange(1, 3*3600).Draw(p.T, "ahead")) * time.Second)
	case "again":
		return epoch.Add(time.Duration(rapid.IntRange(-3, 3).Draw(p.T, "again")) * 20 * time.Minute)
	case "quarter":
		return now.Truncate(15 * time.Minute)
	}
	return now
}

func (p *player) quality() (code uint32, raw string) {
	switch draw(p, "quality", "good", "good", "good", "raw", "uncertain", "bad", "limited") {
	case "raw":
		return 0, "opc-da:192"
	case "uncertain":
		return 0x40900000, ""
	case "bad":
		return draw(p, "code", uint32(0x808C0000), uint32(0x80310000)), ""
	case "limited":
		return 0x00000600, ""
	}
	return 0, ""
}

func (p *player) sample(gateway, device string, source time.Time) {
	m := message{device: device, gateway: gateway, source: source}
	if gateway == "" {
		m.id = p.fresh()
	}
	if p.chance(50, "server time") {
		m.server = p.clock().Truncate(time.Millisecond)
	}
	for _, signal := range append(slices.Clone(numeric), textSignal) {
		if !p.chance(60, signal) {
			continue
		}
		x := oracle.Sample{Signal: signal}
		x.Code, x.Raw = p.quality()
		switch n := rapid.IntRange(-50, 50).Draw(p.T, "value"); {
		case signal == textSignal:
			x.Value = draw(p, "text", "auto", "hand")
		case n%7 == 6:
			x.Value = int64(n)
		case x.Code>>30 == 2 && n%2 == 0:
			x.Value = nil
		default:
			x.Value = float64(n) / 10
		}
		m.samples = append(m.samples, x)
	}
	if len(m.samples) == 0 {
		m.samples = []oracle.Sample{{Signal: "n1", Value: 1.5}}
	}
	p.must(p.publish(m))
}

// burst is a device that measures regularly for a while, so that there is
// something to sum up.
func (p *player) burst() {
	device, n := draw(p, "device", deviceIDs...), rapid.IntRange(2, 12).Draw(p.T, "samples")
	every := time.Duration(draw(p, "every", 60, 300, 7)) * time.Second
	at := p.clock().Truncate(time.Minute).Add(-time.Duration(rapid.IntRange(0, 4).Draw(p.T, "ago")) * 30 * time.Minute)
	first := rapid.IntRange(-20, 20).Draw(p.T, "first")
	for i := range n {
		m := message{device: device, source: at.Add(time.Duration(i) * every), id: p.fresh()}
		for _, signal := range numeric {
			m.samples = append(m.samples, oracle.Sample{Signal: signal, Value: float64(first+i*i%7) / 10})
		}
		p.must(p.publish(m))
	}
}

func (p *player) registers() {
	r := oracle.Registered{
		Name: draw(p, "name", assetNames...), Level: draw(p, "level", levels...), Parent: p.anAsset("parent").Asset, Effective: p.instant(),
	}
	if p.chance(60, "class") {
		r.Class = draw(p, "class name", names(p.classes)...)
		if p.chance(30, "pinned") {
			r.ClassVersion = rapid.IntRange(1, p.classes[r.Class]).Draw(p.T, "version")
		}
	}
	if p.chance(30, "nameplate") {
		r.Nameplate = map[string]any{"maker": "acme"}
	}
	_, err := p.register(r)
	p.must(err)
}

func (p *player) binds() {
	b := oracle.Bound{Asset: p.anAsset("asset").Asset, Tag: draw(p, "tag", "flow", "temp", "flow", "temp", textTag), Effective: p.instant()}
	if !p.chance(20, "unbind") {
		b.Device, b.Signal = draw(p, "device", deviceIDs...), draw(p, "signal", numeric...)
		if b.Tag == textTag {
			b.Signal = textSignal
		}
	}
	p.must(p.bind(b))
}

func (p *player) defines() {
	c := oracle.ClassDefined{Class: draw(p, "class", classNames...), Description: draw(p, "description", "", "better"), Effective: p.instant()}
	for _, name := range []string{"temp", "flow", textTag} {
		if !p.chance(70, name) {
			continue
		}
		d := oracle.TagDef{Name: name, DataType: "FLOAT64", Unit: draw(p, "unit", "CEL", "")}
		if name == textTag {
			d.DataType = "STRING"
		}
		d.Expected = time.Duration(draw(p, "expected", 0, 60, 3600)) * time.Second
		c.Tags = append(c.Tags, d)
	}
	if c.Tags == nil {
		c.Tags = []oracle.TagDef{{Name: "flow", DataType: "FLOAT64"}}
	}
	p.must(p.define(c))
}

// changes sets the site's settings.
func (p *player) changes(skew time.Duration, stale float64) {
	_, ok, err := p.tell("changeSettings", "position", map[string]any{
		"allowedSkew": fmt.Sprintf("PT%dS", int(skew/time.Second)), "staleMultiple": stale,
	}, time.Time{})
	p.must(err)
	if ok {
		p.pending = append(p.pending, oracle.SettingsChanged{AllowedSkew: &skew, StaleMultiple: &stale})
	}
}

// dies kills the server and starts it again, now and then without its views.
func (p *player) dies() {
	if p.restarts++; p.restarts > 3 {
		return
	}
	p.kill()
	if p.chance(40, "rebuild") {
		p.store = newRows()
	}
	p.must(p.start())
}
