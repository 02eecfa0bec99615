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

// broken ends a story.
type broken struct{ error }

func (p *player) must(err error) {
	if err != nil {
		panic(broken{err})
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

// above is an asset that one of that level may lie in.
func (p *player) above(level string) oracle.Registered {
	var fit []oracle.Registered
	for _, a := range p.assets {
		if slices.Index(levels, a.Level) < slices.Index(levels, level) {
			fit = append(fit, a)
		}
	}
	if fit == nil {
		return p.assets[0]
	}
	return rapid.SampledFrom(fit).Draw(p.T, "above")
}

// act lets one thing happen.
func (p *player) act() {
	switch draw(p, "act", "sample", "sample", "sample", "sample", "burst", "burst", "register", "register", "register",
		"move", "move", "rename", "retire", "relate", "relate", "bind", "bind", "bind", "plate", "plate", "class", "settings", "settings", "correct", "correct", "correct", "undo", "again", "gateway", "gateway", "restart", "status", "clock", "clock", "kill", "leap", "leap", "sealed") {
	case "sample":
		device := draw(p, "device", deviceIDs...)
		p.sample("", device, p.sourceOf(device))
	case "burst":
		p.burst(draw(p, "device", deviceIDs...))
	case "register":
		p.registers()
	case "move":
		a, t := p.anAsset("asset"), p.instant()
		to := p.above(a.Level)
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
		p.relates()
	case "bind":
		p.binds()
	case "plate":
		a := p.anAsset("asset")
		for range rapid.IntRange(1, 2).Draw(p.T, "patches") {
			t := p.instant()
			patch := map[string]any{draw(p, "member", "maker", "power"): draw(p, "value", any("x"), any("y"), nil)}
			p.must(p.fact("updateNameplate", map[string]any{"asset": p.world.IDs.Asset(a.Asset), "patch": patch}, t,
				oracle.Plated{Asset: a.Asset, Patch: patch, Effective: t}))
		}
	case "class":
		p.defines()
	case "settings":
		skew, stale := time.Duration(draw(p, "skew", 0, 1, 60, 3600, 7200))*time.Second, draw(p, "stale", 1.0, 2.0, 5.0)
		p.changes(skew, stale)
	case "correct":
		p.corrects()
	case "undo":
		if n := len(p.fixes); n > 0 {
			p.must(p.correct(oracle.Corrected{Action: "UNDO", Supersedes: []int{rapid.IntRange(0, n-1).Draw(p.T, "undone")}}))
		}
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
	case "sealed":
		// A window closes over regular samples, or through them.
		device := draw(p, "device", "d1", "d2")
		for range rapid.IntRange(1, 2).Draw(p.T, "windows") {
			p.dense(device)
			p.must(p.log.leap(0))
			p.burst(device)
		}
	case "leap":
		p.must(p.log.leap(eventlog.Position(draw(p, "behind", 0, 1, 1000))))
	}
	p.now.Add(int64(rapid.SampledFrom([]time.Duration{0, time.Millisecond, time.Minute, 17 * time.Minute}).Draw(p.T, "then")))
}

// sourceOf is a SourceTime for a device: also the one that it sent last.
func (p *player) sourceOf(device string) time.Time {
	if last := p.sender(device).source; !last.IsZero() && p.chance(15, "once more") {
		return last
	}
	return p.source()
}

// source is a SourceTime: now, before, ahead, or one that another sample has.
func (p *player) source() time.Time {
	now := p.clock()
	switch draw(p, "source is", "now", "now", "late", "ahead", "ahead", "again", "quarter") {
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
	m := message{device: device, gateway: gateway, firmware: draw(p, "firmware", "", "2.3.1"), source: source}
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
			if x.Value = draw(p, "text", any("auto"), any("hand"), nil); x.Value == nil {
				x.Code, x.Raw = 0x809B0000, ""
			}
		case n%7 == 6:
			x.Value = int64(n)
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
func (p *player) burst(device string) {
	n := rapid.IntRange(2, 12).Draw(p.T, "samples")
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

// dense fills a quarter of an hour, so that its sum is worth keeping.
func (p *player) dense(device string) {
	at := p.clock().Truncate(15 * time.Minute)
	first := rapid.IntRange(-20, 20).Draw(p.T, "first")
	for i := range 66 {
		p.must(p.publish(message{
			device: device, source: at.Add(time.Duration(i) * 13 * time.Second), id: p.fresh(),
			samples: []oracle.Sample{{Signal: "n1", Value: float64(first+i%5) / 10}, {Signal: "n2", Value: float64(i)}},
		}))
	}
}

// relates begins a relationship, and mostly says when it ends as well.
func (p *player) relates() {
	a, b, typ := p.anAsset("from"), p.anAsset("to"), draw(p, "type", "feeds", "controls")
	for _, on := range draw(p, "on", []bool{true}, []bool{true, false}, []bool{false}) {
		t := p.instant()
		p.must(p.fact("relate", map[string]any{
			"from": p.world.IDs.Asset(a.Asset), "to": p.world.IDs.Asset(b.Asset), "type": typ, "remove": !on,
		}, t, oracle.Related{From: a.Asset, Type: typ, To: b.Asset, On: on, Effective: t}))
	}
}

func (p *player) registers() {
	r := oracle.Registered{Name: draw(p, "name", assetNames...), Level: draw(p, "level", levels...), Effective: p.instant()}
	r.Parent = p.above(r.Level).Asset
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

// corrects declares samples wrong: one that is there, or those of a device in a
// stretch of time.
func (p *player) corrects() {
	var f oracle.Corrected
	switch f.Action = draw(p, "action", "MARK_BAD", "SUBSTITUTE", "CHANGE_QUALITY"); f.Action {
	case "MARK_BAD":
		f.Code = 0x808C0000
	case "CHANGE_QUALITY":
		f.Code = draw(p, "status", uint32(0x40900000), uint32(0x00960000), uint32(0x80310000))
	default:
		if f.Code = 0x00DC0000; p.chance(40, "scale") {
			factor, offset := draw(p, "factor", 2.0, 0.1), draw(p, "offset", 0.0, 0.3)
			f.Factor, f.Offset = &factor, &offset
		} else {
			f.Value = float64(draw(p, "instead", 7, 30, 1)) / draw(p, "of", 1.0, 10.0)
		}
	}
	var rows []oracle.Row
	if p.chance(30, "one sample") {
		p.must(p.lookUp())
		for _, e := range p.world.Entries {
			if r, ok := e.Fact.(oracle.Row); ok {
				rows = append(rows, r)
			}
		}
	}
	if len(rows) > 0 {
		r := rows[rapid.IntRange(0, len(rows)-1).Draw(p.T, "row")]
		i := rapid.IntRange(0, len(r.Samples)-1).Draw(p.T, "index")
		if f.Value != nil && r.Samples[i].Signal == textSignal {
			f.Value = "neither"
		}
		f.Samples = []oracle.Ref{{Stream: r.Stream, Revision: r.Revision, Index: i}}
	} else {
		from := p.source()
		s := oracle.Span{Device: draw(p, "device", deviceIDs...), From: from, To: from.Add(time.Duration(rapid.IntRange(1, 24*60).Draw(p.T, "minutes")) * time.Minute)}
		for _, s.Signal = range draw(p, "signals", []string{"n1"}, []string{"n2"}, numeric) {
			f.Spans = append(f.Spans, s)
		}
		f.IncludingLater = p.chance(30, "including later")
		if p.chance(20, "gateway") {
			f.Gateway = "g1"
		}
		if p.chance(20, "bad firmware") {
			f.Firmware = "2.3.1"
		}
	}
	if n := len(p.fixes); n > 0 && p.chance(20, "instead of another") {
		f.Supersedes = []int{rapid.IntRange(0, n-1).Draw(p.T, "other")}
	}
	p.must(p.correct(f))
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
