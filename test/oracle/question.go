package oracle

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Question is one field of a GraphQL query, and what it must answer.
type Question struct {
	Kind string
	Text string // below Query, without an alias
	Want any    // as JSON
}

// Check compares an answer, the JSON of the field, with what it must be. It
// returns "" if they are the same, numbers bit by bit.
func (q Question) Check(answer json.RawMessage) string {
	want, err := json.Marshal(q.Want)
	if err != nil {
		return err.Error()
	}
	var a, b any
	if err := json.Unmarshal(answer, &a); err != nil {
		return err.Error()
	}
	if err := json.Unmarshal(want, &b); err != nil {
		return err.Error()
	}
	if reflect.DeepEqual(a, b) {
		return ""
	}
	return fmt.Sprintf("%s\n  answers %s\n  must be %s\n  differs %s", q.Text, answer, want, where(a, b, ""))
}

// where names the first place at which two JSON values differ.
func where(a, b any, path string) string {
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			for name := range x {
				if !reflect.DeepEqual(x[name], y[name]) {
					return where(x[name], y[name], path+"."+name)
				}
			}
		}
	case []any:
		if y, ok := b.([]any); ok && len(x) == len(y) {
			for i := range x {
				if !reflect.DeepEqual(x[i], y[i]) {
					return where(x[i], y[i], path+"."+strconv.Itoa(i))
				}
			}
		}
	}
	return fmt.Sprintf("at %s: %v, must be %v", path, a, b)
}

type object = map[string]any

// text writes a moment as the API takes it.
func (m Moment) text() string {
	var parts []string
	if m.AsOf != nil {
		parts = append(parts, "asOf:"+quote(instant(*m.AsOf)))
	}
	switch {
	case m.Known != nil:
		parts = append(parts, "known:{at:"+quote(m.Known.text())+"}")
	case m.KnownTime != nil:
		parts = append(parts, "known:{time:"+quote(instant(*m.KnownTime))+"}")
	}
	if parts == nil {
		return "plant"
	}
	return "plant(at:{" + strings.Join(parts, " ") + "})"
}

func (p Position) text() string { return fmt.Sprintf("%020d", uint64(p)) }

func text(n uint64) string { return strconv.FormatUint(n, 10) }

func quote(s string) string { return strconv.Quote(s) }

func instant(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// orNull is nil for the zero value.
func orNull[T comparable](v T) any {
	var zero T
	if v == zero {
		return nil
	}
	return v
}

func codeText(c uint32) string { return fmt.Sprintf("0x%08X", c) }

// millis are nanoseconds as a JSON number of milliseconds.
func millis(nanos int64) json.Number {
	sign := ""
	if nanos < 0 {
		sign, nanos = "-", -nanos
	}
	return json.Number(fmt.Sprintf("%s%d.%06d", sign, nanos/1e6, nanos%1e6))
}

// value is a measured value as the scalar Value writes it.
func value(v any) any {
	if n, ok := v.(int64); ok && (n > 1<<53-1 || n < -(1<<53-1)) {
		return strconv.FormatInt(n, 10)
	}
	return v
}

func number(v any) any {
	switch n := v.(type) {
	case int64:
		return float64(n)
	case float64:
		return n
	}
	return nil
}

// at asks for something of the plant at a moment.
func (w *World) at(kind string, m Moment, field, name string, want any) Question {
	return Question{kind, m.text() + "{" + field + "}", object{name: want}}
}

// Moment asks which cut a moment is.
func (w *World) Moment(m Moment) Question {
	c := w.cut(m)
	want := object{"asOf": nil, "knownAt": c.through.text(), "recorded": instant(c.recorded())}
	if m.AsOf != nil {
		want["asOf"] = instant(*m.AsOf)
	}
	return w.at("moment", m, "moment{asOf knownAt recorded}", "moment", want)
}

// Settings asks what is set.
func (w *World) Settings(m Moment) Question {
	skew, stale, changes := w.settingsBefore(w.cut(m).through + 1)
	want := object{"allowedSkew": duration(skew), "staleMultiple": stale, "revision": nil}
	if changes > 0 {
		want["revision"] = strconv.Itoa(changes - 1)
	}
	return w.at("settings", m, "settings{allowedSkew staleMultiple revision}", "settings", want)
}

// duration is ISO 8601 of whole milliseconds below a day.
func duration(d time.Duration) string {
	if d == 0 {
		return "PT0S"
	}
	s := "PT"
	if h := d / time.Hour; h > 0 {
		s += fmt.Sprintf("%dH", h)
	}
	if m := d % time.Hour / time.Minute; m > 0 {
		s += fmt.Sprintf("%dM", m)
	}
	if r := d % time.Minute; r > 0 {
		s += strconv.FormatFloat(r.Seconds(), 'f', -1, 64) + "S"
	}
	return s
}

const assetFields = "{id name path level class{name version} classVersion nameplate revision validFrom retired parent{id}}"

func (c cut) show(a *asset) any {
	if a == nil {
		return nil
	}
	o := object{
		"id": c.w.IDs.Asset(a.id), "name": a.name, "path": a.path, "level": a.level, "class": nil, "classVersion": orNull(a.version),
		"nameplate": nil, "revision": strconv.Itoa(a.revision), "validFrom": instant(a.validFrom), "retired": a.retired, "parent": nil,
	}
	if a.version > 0 {
		o["class"] = object{"name": a.class, "version": a.version}
	}
	if a.nameplate != nil {
		o["nameplate"] = a.nameplate
	}
	if up := c.asset(a.parent); up != nil {
		o["parent"] = object{"id": c.w.IDs.Asset(up.id)}
	}
	return o
}

func (c cut) showAll(list []*asset) []any {
	all := []any{}
	for _, a := range list {
		all = append(all, c.show(a))
	}
	return all
}

// AssetFilter is the API's; what is zero is left out.
type AssetFilter struct {
	Under, Level, Class, Part string
	Retired                   bool
}

// Assets asks for the assets that pass a filter.
func (w *World) Assets(m Moment, f AssetFilter) Question {
	c := w.cut(m)
	var list []*asset
	for _, a := range c.assets() {
		if (f.Retired || !a.retired) && (f.Level == "" || a.level == f.Level) && (f.Class == "" || a.class == f.Class) &&
			strings.Contains(a.name, f.Part) && (f.Under == "" || c.below(a, f.Under)) {
			list = append(list, a)
		}
	}
	args := fmt.Sprintf("retired:%v nameContains:%q", f.Retired, f.Part)
	if f.Under != "" {
		args += " under:" + quote(w.IDs.Asset(f.Under))
	}
	if f.Level != "" {
		args += " level:" + f.Level
	}
	if f.Class != "" {
		args += " class:" + quote(f.Class)
	}
	return w.at("assets", m, "assets(first:1000 filter:{"+args+"}){nodes"+assetFields+"}", "assets", object{"nodes": c.showAll(list)})
}

// AssetByPath asks for the asset at a path.
func (w *World) AssetByPath(m Moment, path string) Question {
	c := w.cut(m)
	return w.at("asset", m, "asset(path:"+quote(path)+")"+assetFields, "asset", c.show(c.byPath(path)))
}

// Family asks for an asset and everything around it.
func (w *World) Family(m Moment, id string) Question {
	c := w.cut(m)
	a := c.asset(id)
	field := "asset(id:" + quote(w.IDs.Asset(id)) + "){id children{nodes" + assetFields + "} ancestors" + assetFields +
		" out:relationships{nodes{type since from{id} to{id}}} in:relationships(direction:IN){nodes{type since from{id} to{id}}}" +
		" tags{nodes{id name path unit{code} dataType bindings{device signal from to}}} devices{nodes{name}}}"
	if a == nil {
		return w.at("family", m, field, "asset", nil)
	}
	related := func(in bool) object {
		nodes := []any{}
		for _, r := range c.relationships(id, in) {
			nodes = append(nodes, object{
				"type": r.typ, "since": instant(r.since), "from": object{"id": w.IDs.Asset(r.from)}, "to": object{"id": w.IDs.Asset(r.to)},
			})
		}
		return object{"nodes": nodes}
	}
	tags := []any{}
	for _, t := range c.tags(a) {
		spans := []any{}
		for _, s := range c.bindings(t) {
			o := object{"device": s.device, "signal": s.signal, "from": instant(s.from), "to": nil}
			if !s.to.IsZero() {
				o["to"] = instant(s.to)
			}
			spans = append(spans, o)
		}
		o := object{"id": w.IDs.Tag(id, t.Name), "name": t.Name, "path": t.path(), "unit": nil, "dataType": t.DataType, "bindings": spans}
		if t.Unit != "" {
			o["unit"] = object{"code": t.Unit}
		}
		tags = append(tags, o)
	}
	named := []any{}
	for _, d := range c.devicesOf(a) {
		if c.device(d) != nil {
			named = append(named, object{"name": d})
		}
	}
	return w.at("family", m, field, "asset", object{
		"id": w.IDs.Asset(id), "children": object{"nodes": c.showAll(c.children(id))}, "ancestors": c.showAll(c.ancestors(a)),
		"out": related(false), "in": related(true), "tags": object{"nodes": tags}, "devices": object{"nodes": named},
	})
}

// Class asks for a version of a class; 0 is the one in force.
func (w *World) Class(m Moment, name string, version int) Question {
	c := w.cut(m)
	args := "name:" + quote(name)
	if version > 0 {
		args += fmt.Sprintf(" version:%d", version)
	}
	field := "assetClass(" + args + "){name version revision validFrom description tags{name unit{code} dataType}}"
	v, since, ok := c.classVersion(name, version)
	if !ok || version == 0 && since.IsZero() {
		return w.at("class", m, field, "assetClass", nil)
	}
	known := 0
	for _, f := range facts[ClassDefined](c) {
		if f.fact.Class == name {
			known++
		}
	}
	tags := []any{}
	for _, d := range v.Tags {
		o := object{"name": d.Name, "unit": nil, "dataType": d.DataType}
		if d.Unit != "" {
			o["unit"] = object{"code": d.Unit}
		}
		tags = append(tags, o)
	}
	return w.at("class", m, field, "assetClass", object{
		"name": name, "version": v.Version, "revision": strconv.Itoa(known - 1), "validFrom": instant(v.Effective),
		"description": orNull(v.Description), "tags": tags,
	})
}
