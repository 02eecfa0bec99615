package gateway

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twinlog/twinlog/adapters/field/modbus"
	"github.com/twinlog/twinlog/cmd/gateway/conf"
	"github.com/twinlog/twinlog/edge"
	"github.com/twinlog/twinlog/edge/acquire"
)

// Config is what one gateway does. docs/protocols/modbus.md explains the file
// key by key.
type Config struct {
	ID      string // gw_id and MQTT client id
	Place   string // where the gateway stands, and its devices that do not say otherwise: enterprise/site/area/line
	Uplink  Uplink
	Outbox  Outbox
	Sources []Source
}

// Uplink says where the server is.
type Uplink struct {
	URL          string        // mqtt://host:port or mqtts://host:port
	Username     string        // "" for none
	PasswordFile string        // the file that holds the password, so that this one can be shown
	KeepAlive    time.Duration // zero for the link's standard
}

// Outbox bounds what is kept while the server cannot be reached.
type Outbox struct {
	MaxBytes int64 // zero for the outbox's standard
}

// A Source is one connection with its devices and tags.
type Source struct {
	Name    string
	Modbus  modbus.Config
	Retry   acquire.Retry
	Devices []edge.Device
	Items   []modbus.Item // by tag
	Tags    []edge.Tag
}

// Standards of the file.
const (
	standardEvery = time.Second
	shortestEvery = 10 * time.Millisecond // a poll schedule, not a control loop
)

// Parse reads a configuration; name is what faults call the file. The error is
// a *conf.Faults with everything that is wrong.
func Parse(name string, text []byte) (Config, error) {
	file, root := conf.Parse(name, text)
	f := root.Fields("gateway", "place", "uplink", "outbox", "sources")
	c := Config{ID: level(f.At("gateway").Need()), Place: place(f.At("place").Need(), "")}

	up := f.At("uplink").Fields("url", "username", "password_file", "keep_alive")
	c.Uplink = Uplink{
		URL:      url(up.At("url")),
		Username: up.At("username").Text(), PasswordFile: up.At("password_file").Text(),
		KeepAlive: up.At("keep_alive").Duration(0, time.Second),
	}
	c.Outbox.MaxBytes = f.At("outbox").Fields("max_bytes").At("max_bytes").Bytes(0)

	r := reader{place: c.Place, sources: map[string]bool{}, devices: map[string]bool{}}
	for i, n := range f.At("sources").Need().Items() {
		c.Sources = append(c.Sources, r.source(n, i))
	}
	if err := file.Err(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// A reader carries what has to be unique in the whole file.
type reader struct {
	place            string
	sources, devices map[string]bool
}

func (r *reader) source(n conf.Node, i int) Source {
	n = named(n, "source", "name", i)
	f := n.Fields("name", "modbus", "every", "retry", "devices")
	s := Source{Name: f.At("name").Need().Text()}
	unique(f.At("name"), r.sources, s.Name)

	unit := 1
	if m := f.At("modbus").Need(); m.Given() {
		s.Modbus, unit = readModbus(m)
	}
	retry := f.At("retry").Fields("min", "max")
	s.Retry = acquire.Retry{
		Min: retry.At("min").Duration(500*time.Millisecond, time.Millisecond),
		Max: retry.At("max").Duration(30*time.Second, time.Millisecond),
	}
	if s.Retry.Min > s.Retry.Max {
		f.At("retry").Fault("min %v is above max %v", s.Retry.Min, s.Retry.Max)
	}
	every := f.At("every").Duration(standardEvery, shortestEvery)
	for i, d := range f.At("devices").Need().Items() {
		r.device(&s, d, i, unit, every)
	}
	return s
}

// readModbus reads a connection, and the unit of devices that do not say
// otherwise.
func readModbus(n conf.Node) (c modbus.Config, unit int) {
	f := n.Fields("address", "unit_id", "timeout", "tries", "pause", "gap", "max_registers", "relearn")
	c = modbus.Config{
		Address: hostPort(f.At("address").Need()),
		Timeout: f.At("timeout").Duration(time.Second, time.Millisecond),
		Tries:   f.At("tries").Int(3, 1, 100),
		Pause:   f.At("pause").Duration(50*time.Millisecond, time.Microsecond),
		Gap:     f.At("gap").Int(16, 0, 125),
		Most:    f.At("max_registers").Int(125, 4, 125),
		Relearn: f.At("relearn").Duration(10*time.Minute, time.Second),
	}
	if c.Gap == 0 {
		c.Gap = -1 // "none": zero is the adapter's word for its standard
	}
	return c, f.At("unit_id").Int(1, 0, 255)
}

func (r *reader) device(s *Source, n conf.Node, i, unit int, every time.Duration) {
	n = named(n, "device", "id", i)
	f := n.Fields("id", "type", "place", "unit_id", "every", "tags")
	d := edge.Device{ID: level(f.At("id").Need()), Type: level(f.At("type").Need()), Place: place(f.At("place"), r.place)}
	unique(f.At("id"), r.devices, d.ID)
	s.Devices = append(s.Devices, d)
	unit = f.At("unit_id").Int(unit, 0, 255)
	every = f.At("every").Duration(every, shortestEvery)
	names := map[string]bool{}
	for i, t := range f.At("tags").Need().Items() {
		t = named(t, "tag", "name", i)
		item, tag := readTag(t, every, names)
		item.Unit, tag.Device = uint8(unit), len(s.Devices)-1 //nolint:gosec // 0 to 255
		s.Items, s.Tags = append(s.Items, item), append(s.Tags, tag)
	}
}

// named returns n with what it is and how it is called, or its number in the
// list, as what its faults are about.
func named(n conf.Node, what, key string, i int) conf.Node {
	if name := n.Name(key); name != "" {
		return n.In(what + " " + name)
	}
	return n.In(fmt.Sprintf("%s %d", what, i+1))
}

// unique notes a fault if name has been seen.
func unique(n conf.Node, seen map[string]bool, name string) {
	if name != "" && seen[name] {
		n.Fault("%q is there twice", name)
	}
	seen[name] = true
}

// level returns a text that can be one level of a topic.
func level(n conf.Node) string {
	s := n.Text()
	if s == "" {
		if n.Given() {
			n.Fault("is empty, expected a name")
		}
		return ""
	}
	if len(s) > 200 || strings.ContainsAny(s, "/+#\x00") || strings.TrimSpace(s) != s {
		n.Fault("%q, expected at most 200 bytes without / + # and without blanks at its ends", s)
	}
	return s
}

// place returns the four topic levels before the device, or standard for
// nothing.
func place(n conf.Node, standard string) string {
	if !n.Given() {
		return standard
	}
	s := n.Text()
	levels := strings.Split(s, "/")
	if len(levels) != 4 || slices.Contains(levels, "") || strings.ContainsAny(s, "+#\x00") {
		n.Fault("%q, expected enterprise/site/area/line", s)
	}
	return s
}
