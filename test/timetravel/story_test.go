package timetravel

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/graph/plant"
	"github.com/twinlog/twinlog/test/oracle"
)

// epoch is when stories begin.
var epoch = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// typed are the event types that the oracle has facts for.
var typed = []string{
	"asset.registered.v1", "asset.moved.v1", "asset.renamed.v1", "asset.retired.v1", "asset.related.v1", "asset.unrelated.v1",
	"tag.bound.v1", "tag.unbound.v1", "nameplate.updated.v1", "assetclass.defined.v1", "settings.changed.v1",
	"device.registered.v1", "device.online.v1", "device.offline.v1", "telemetry.recorded.v1", "correction.made.v1",
}

// typeOf is the event that a fact is told by.
func typeOf(f oracle.Fact) string {
	switch f := f.(type) {
	case oracle.Registered:
		return "asset.registered.v1"
	case oracle.Moved:
		return "asset.moved.v1"
	case oracle.Renamed:
		return "asset.renamed.v1"
	case oracle.Retired:
		return "asset.retired.v1"
	case oracle.Related:
		if f.On {
			return "asset.related.v1"
		}
		return "asset.unrelated.v1"
	case oracle.Bound:
		if f.Device != "" {
			return "tag.bound.v1"
		}
		return "tag.unbound.v1"
	case oracle.Plated:
		return "nameplate.updated.v1"
	case oracle.ClassDefined:
		return "assetclass.defined.v1"
	case oracle.SettingsChanged:
		return "settings.changed.v1"
	case oracle.Seen:
		return "device.registered.v1"
	case oracle.Status:
		if f.Online {
			return "device.online.v1"
		}
		return "device.offline.v1"
	case oracle.Corrected:
		return "correction.made.v1"
	}
	return "telemetry.recorded.v1"
}

// story is a site with everything that was told to it.
type story struct {
	*site
	world   *oracle.World
	pending []oracle.Fact // told, and not yet looked up in the log

	assets  []oracle.Registered // in the order told
	classes map[string]int      // versions
	devices map[string]*sender
	ids     int      // msg_ids given
	fixes   []string // global ids of the corrections, in the order made
}

// sender is a device or a gateway as the server sees it.
type sender struct {
	online      *bool
	last        *sent
	source      time.Time // SourceTime of the last message
	incarnation int
	seq         int
}

// sent is a message as it was published.
type sent struct {
	topic   string
	payload []byte
}

func newStory() (*story, error) {
	s, err := newSite(epoch)
	if err != nil {
		return nil, err
	}
	return &story{site: s, world: newWorld(), classes: map[string]int{}, devices: map[string]*sender{}}, nil
}

func newWorld() *oracle.World {
	return &oracle.World{IDs: oracle.IDs{
		Asset:  func(id string) string { return plant.GlobalID(plant.AssetID, origin, id) },
		Tag:    func(id, tag string) string { return plant.GlobalID(plant.TagID, origin, asset.TagID(id, tag)) },
		Device: func(id string) string { return plant.GlobalID(plant.DeviceID, origin, id) },
	}}
}

// refusals are the answers of a command that the plant does not allow.
var refusals = []string{"BAD_INPUT", "CONFLICT", "DUPLICATE_NAME", "ILLEGAL_STATE", "NOT_FOUND"}

// tell sends a mutation whose input lacks only the reason. It returns the own
// id of the asset in the answer, or the global one of a correction, and false where it was refused or changed nothing.
func (s *story) tell(name, shows string, input map[string]any, effective time.Time) (id string, ok bool, err error) {
	input["reason"] = map[string]any{"text": "because"}
	if !effective.IsZero() {
		input["effective"] = effective.Format(time.RFC3339Nano)
	}
	typ := strings.ToUpper(name[:1]) + name[1:] + "Input!"
	switch name {
	case "defineAssetClass":
		typ = "AssetClassInput!"
	case "correct":
		typ = "CorrectionInput!"
	}
	data, err := s.ask("mutation($in:"+typ+"){done:"+name+"(input:$in){eventIds "+shows+"}}", map[string]any{"in": input})
	if err != nil {
		if f, isFault := asFault(err); isFault && slices.Contains(refusals, f.Extensions.Code) {
			return "", false, nil
		}
		return "", false, err
	}
	var done struct {
		EventIDs []string `json:"eventIds"`
		Asset    struct{ ID string }

		Correction struct{ ID string }
	}
	if err := json.Unmarshal(data["done"], &done); err != nil {
		return "", false, err
	}
	if id = done.Correction.ID; id == "" {
		_, _, id, _ = plant.ParseGlobalID(done.Asset.ID)
	}
	return id, len(done.EventIDs) > 0, nil
}

// fact tells one, and remembers it if it was taken.
func (s *story) fact(name string, input map[string]any, effective time.Time, f oracle.Fact) error {
	_, ok, err := s.tell(name, "position", input, effective)
	if ok {
		s.pending = append(s.pending, f)
	}
	return err
}

// register begins an asset and returns its own id, "" if it was refused.
func (s *story) register(r oracle.Registered) (string, error) {
	in := map[string]any{"name": r.Name, "level": r.Level}
	if r.Parent != "" {
		in["parent"] = s.world.IDs.Asset(r.Parent)
	}
	if r.Class != "" {
		in["class"] = r.Class
	}
	if r.ClassVersion > 0 {
		in["classVersion"] = r.ClassVersion
	}
	if r.Nameplate != nil {
		in["nameplate"] = r.Nameplate
	}
	id, ok, err := s.tell("registerAsset", "asset{id}", in, r.Effective)
	if err != nil || !ok {
		return "", err
	}
	r.Asset = id
	s.pending, s.assets = append(s.pending, r), append(s.assets, r)
	return id, nil
}

// define adds a version to a class.
func (s *story) define(c oracle.ClassDefined) error {
	var tags []map[string]any
	for _, t := range c.Tags {
		d := map[string]any{"name": t.Name, "dataType": t.DataType}
		if t.Unit != "" {
			d["unit"] = t.Unit
		}
		if t.Expected > 0 {
			d["expectedInterval"] = fmt.Sprintf("PT%dS", int(t.Expected/time.Second))
		}
		tags = append(tags, d)
	}
	_, ok, err := s.tell("defineAssetClass", "position", map[string]any{"name": c.Class, "description": c.Description, "tags": tags}, c.Effective)
	if ok {
		s.classes[c.Class]++
		c.Version = s.classes[c.Class]
		s.pending = append(s.pending, c)
	}
	return err
}

// bind says which signal feeds a tag; none if device is "".
func (s *story) bind(b oracle.Bound) error {
	in := map[string]any{"tag": s.world.IDs.Tag(b.Asset, b.Tag)}
	if b.Device != "" {
		in["device"], in["signal"] = b.Device, b.Signal
	}
	return s.fact("bindTag", in, b.Effective, b)
}

// ground is what every story stands on: one class, one line of assets, and tags
// that are fed.
func (s *story) ground() error {
	start := epoch.Add(-72 * time.Hour)
	err := s.define(oracle.ClassDefined{Class: "pump", Effective: start, Tags: []oracle.TagDef{
		{Name: "flow", Unit: "MQH", DataType: "FLOAT64", Expected: 10 * time.Minute},
		{Name: "temp", Unit: "CEL", DataType: "FLOAT64"},
		{Name: textTag, DataType: "STRING"},
	}})
	parent := ""
	for _, level := range []string{"ENTERPRISE", "SITE", "EQUIPMENT"} {
		r := oracle.Registered{Name: level[:1], Level: level, Parent: parent, Effective: start}
		if level == "EQUIPMENT" {
			r.Class = "pump"
		}
		if err == nil {
			parent, err = s.register(r)
		}
	}
	if err == nil {
		err = s.bind(oracle.Bound{Asset: parent, Tag: "flow", Device: "d1", Signal: "n1", Effective: start})
	}
	if err == nil {
		err = s.bind(oracle.Bound{Asset: parent, Tag: "temp", Device: "d2", Signal: "n2", Effective: start})
	}
	if err == nil && len(s.pending) != 6 {
		err = fmt.Errorf("%d of the 6 facts that a story stands on were taken", len(s.pending))
	}
	return err
}

// correct makes a correction and remembers it.
func (s *story) correct(f oracle.Corrected) error {
	in := map[string]any{"action": f.Action, "includingLater": f.IncludingLater}
	for _, r := range f.Samples {
		list, _ := in["samples"].([]any)
		in["samples"] = append(list, map[string]any{"stream": r.Stream, "revision": fmt.Sprint(r.Revision), "index": r.Index})
	}
	for _, x := range f.Spans { // of one device, with one span
		in["device"], in["from"], in["to"] = x.Device, x.From, x.To
		if x.Signal != "" {
			list, _ := in["signals"].([]any)
			in["signals"] = append(list, x.Signal)
		}
	}
	condition := map[string]any{}
	if f.Gateway != "" {
		condition["gateway"] = f.Gateway
	}
	if f.Firmware != "" {
		condition["firmware"] = f.Firmware
	}
	if len(condition) > 0 {
		in["condition"] = condition
	}
	if f.Value != nil {
		in["value"] = f.Value
	}
	if f.Factor != nil {
		in["scale"] = map[string]any{"factor": *f.Factor, "offset": *f.Offset}
	}
	if f.Action != "UNDO" {
		in["statusCode"] = fmt.Sprintf("0x%08X", f.Code)
	}
	for _, n := range f.Supersedes {
		list, _ := in["supersedes"].([]any)
		in["supersedes"] = append(list, s.fixes[n])
	}
	id, ok, err := s.tell("correct", "correction{id}", in, time.Time{})
	if ok {
		s.pending, s.fixes = append(s.pending, f), append(s.fixes, id)
	}
	return err
}

// message is one telemetry message on its way.
type message struct {
	device, gateway, firmware string
	id                        string // msg_id; "": none
	source, server            time.Time
	samples                   []oracle.Sample
}

// fresh is a msg_id that was never used.
func (s *story) fresh() string {
	s.ids++
	return fmt.Sprintf("m%d", s.ids)
}

const deviceType = "pump"

func topic(device, class string) string {
	return "acme/north/pumping/line-1/" + deviceType + "/" + device + "/" + class
}

// payload writes the message as a device does, or a gateway for it.
func (m message) payload(incarnation, seq int) []byte {
	var d []string
	for _, x := range m.samples {
		v, _ := json.Marshal(x.Value)
		kind := ""
		if _, whole := x.Value.(int64); whole {
			kind = `,"k":"int64"`
		}
		code := fmt.Sprintf(`,"c":%d`, x.Code)
		if x.Raw != "" {
			code = `,"q":` + strings.TrimPrefix(x.Raw, "opc-da:")
		}
		d = append(d, fmt.Sprintf(`%q:{"v":%s%s%s}`, x.Signal, v, code, kind))
	}
	var meta []string
	if m.gateway != "" {
		meta = append(meta, fmt.Sprintf(`"gw_id":%q,"inc":"%016x"`, m.gateway, incarnation))
	}
	if m.firmware != "" {
		meta = append(meta, fmt.Sprintf(`"fw_version":%q`, m.firmware))
	}
	ts := ""
	if !m.server.IsZero() {
		ts = fmt.Sprintf(`"ts":%s,`, millis(m.server))
		meta = append(meta, `"source_ts":`+millis(m.source))
	} else {
		ts = fmt.Sprintf(`"ts":%s,`, millis(m.source))
	}
	if m.id != "" {
		ts += fmt.Sprintf(`"msg_id":%q,`, m.id)
	}
	if m.gateway != "" {
		ts += fmt.Sprintf(`"seq":%d,`, seq)
	}
	return fmt.Appendf(nil, `{"device_id":%q,%s"d":{%s},"meta":{%s}}`, m.device, ts, strings.Join(d, ","), strings.Join(meta, ","))
}

func millis(t time.Time) string {
	return fmt.Sprintf("%d.%06d", t.UnixMilli(), t.UnixNano()-t.UnixMilli()*1e6)
}

// publish sends a message that is new, and remembers what it says.
func (s *story) publish(m message) error {
	who := s.sender(m.device)
	if m.gateway != "" {
		who = s.sender(m.gateway)
		who.seq++
	}
	p := sent{topic(m.device, "telemetry"), m.payload(who.incarnation, who.seq)}
	o, err := s.send(p.topic, p.payload)
	if err != nil {
		return err
	}
	if o.Duplicate || o.Refused != nil {
		return fmt.Errorf("message %s: %+v, must be stored", p.payload, o)
	}
	who.last = &p
	s.see(m.device, m.gateway)
	s.sender(m.device).source = m.source
	server := m.server
	if server.IsZero() {
		server = m.source
	}
	s.pending = append(s.pending, oracle.Row{Device: m.device, Gateway: m.gateway, Firmware: m.firmware, Source: m.source, Server: server, Samples: m.samples})
	return nil
}

// again sends a sender's last message once more.
func (s *story) again(name string) error {
	p := s.sender(name).last
	if p == nil {
		return nil
	}
	o, err := s.send(p.topic, p.payload)
	if err == nil && !o.Duplicate {
		err = fmt.Errorf("message %s: %+v, must be a duplicate", p.payload, o)
	}
	return err
}

// restart gives a gateway a new incarnation.
func (s *story) restart(gateway string) {
	g := s.sender(gateway)
	g.incarnation++
	g.seq, g.last = 0, nil
}

func (s *story) sender(name string) *sender {
	if s.devices[name] == nil {
		s.devices[name] = &sender{incarnation: 1}
	}
	return s.devices[name]
}

// see remembers that a device is registered by its first message.
func (s *story) see(device, gateway string) {
	if d := s.sender("seen " + device); d.seq == 0 {
		d.seq = 1
		s.pending = append(s.pending, oracle.Seen{Device: device, Type: deviceType, Gateway: gateway})
	}
}

// status sends a device's word about its connection.
func (s *story) status(device string, online bool, reason string, at time.Time) error {
	if _, err := s.send(topic(device, "status"), fmt.Appendf(nil, `{"online":%v,"reason":%q,"ts":%s}`, online, reason, millis(at))); err != nil {
		return err
	}
	s.see(device, "")
	d := s.sender(device)
	if d.online == nil || *d.online != online {
		d.online = &online
		s.pending = append(s.pending, oracle.Status{Device: device, Online: online, Reason: reason, At: at})
	}
	return nil
}

// lookUp finds the place of everything that was told, in the log as the API
// shows it. What is in the log must be what was told, in that order.
func (s *story) lookUp() error {
	seen, cursor := 0, ""
	for more := true; more; {
		data, err := s.ask(`{events(first:1000 filter:{telemetry:true} after:"`+cursor+`"){
			edges{cursor node{type position recorded stream revision}} pageInfo{hasNextPage}}}`, nil)
		if err != nil {
			return err
		}
		var page struct {
			Edges []struct {
				Cursor string
				Node   struct {
					Type, Position, Stream, Revision string
					Recorded                         time.Time
				}
			}
			PageInfo struct{ HasNextPage bool }
		}
		if err := json.Unmarshal(data["events"], &page); err != nil {
			return err
		}
		for _, edge := range page.Edges {
			cursor = edge.Cursor
			if seen++; seen <= len(s.world.Entries) {
				continue // looked up before
			}
			e := oracle.Entry{Recorded: edge.Node.Recorded, Type: edge.Node.Type}
			if _, err := fmt.Sscan(strings.TrimLeft(edge.Node.Position, "0"), &e.Position); err != nil {
				return err
			}
			if slices.Contains(typed, e.Type) {
				if len(s.pending) == 0 || typeOf(s.pending[0]) != e.Type {
					return fmt.Errorf("event %s at %s, but told were %T", e.Type, edge.Node.Position, s.pending)
				}
				e.Fact = s.pending[0]
				s.pending = s.pending[1:]
			}
			if row, ok := e.Fact.(oracle.Row); ok {
				row.Stream = edge.Node.Stream
				if _, err := fmt.Sscan(edge.Node.Revision, &row.Revision); err != nil {
					return err
				}
				e.Fact = row
			}
			s.world.Entries = append(s.world.Entries, e)
		}
		more = page.PageInfo.HasNextPage
	}
	if len(s.pending) > 0 {
		return fmt.Errorf("%T was told, and is not in the log", s.pending[0])
	}
	s.world.Now = s.clock()
	return nil
}

// asked is how many questions one document holds.
const asked = 20

// check asks questions, and returns what the first wrong answer is.
func (s *story) check(questions []oracle.Question) error {
	for part := range slices.Chunk(questions, asked) {
		var text strings.Builder
		for i, q := range part {
			fmt.Fprintf(&text, "q%d:%s ", i, q.Text)
		}
		data, err := s.ask("{"+text.String()+"}", nil)
		if err != nil {
			return err
		}
		for i, q := range part {
			if wrong := q.Check(data[fmt.Sprintf("q%d", i)]); wrong != "" {
				return fmt.Errorf("%s: %s", q.Kind, wrong)
			}
		}
	}
	return nil
}

// wait waits until everything that was told can be read.
func (s *story) wait() error {
	if len(s.world.Entries) == 0 {
		return nil
	}
	head := s.world.Entries[len(s.world.Entries)-1].Position
	_, err := s.ask(fmt.Sprintf(`{plant(minPosition:"%020d" waitAtMost:"PT30S"){moment{knownAt}}}`, uint64(head)), nil)
	return err
}

func names[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
