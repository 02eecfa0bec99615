package gateway

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twinlog/twinlog/cmd/conf"
	"github.com/twinlog/twinlog/edge"
	"github.com/twinlog/twinlog/edge/acquire"
	"github.com/twinlog/twinlog/edge/protocol"
)

// Config is what one gateway does. docs/protocols explains the file key by key.
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
	MaxBytes    int64 // all lanes together; zero for 1 GiB
	Stop        bool  // refuse what is new when it is full, instead of dropping the oldest of the lowest priority
	BacklogRate int   // messages a second that leave the backlog; zero for the outbox's standard
}

// A Source is one connection with its devices and tags.
type Source struct {
	Name       string
	Protocol   protocol.Protocol
	Connection protocol.Settings
	Retry      acquire.Retry
	Devices    []edge.Device
	Items      []protocol.Settings // by tag: where its value is
	Tags       []edge.Tag
}

// Where is the address of the source, as the configuration writes it.
func (s Source) Where() string {
	for _, key := range []string{"address", "url", "serial"} {
		if s.Connection.Given(key) {
			return s.Connection.Text(key)
		}
	}
	return ""
}

// Standards of the file.
const (
	standardEvery = time.Second
	shortestEvery = 10 * time.Millisecond // a poll schedule, not a control loop
)

// Parse reads a configuration that may speak every protocol of this product;
// name is what faults call the file. The error is a *conf.Faults with everything
// that is wrong.
func Parse(name string, text []byte) (Config, error) { return Standard.Parse(name, text) }

// Parse reads a configuration that may speak the protocols of p.
func (p Protocols) Parse(name string, text []byte) (Config, error) {
	file, root := conf.Parse(name, text)
	f := root.Fields(names(topKeys)...)
	c := Config{ID: level(f.At("gateway").Need()), Place: place(f.At("place").Need(), "")}

	up := f.At("uplink").Fields(names(uplinkKeys)...)
	c.Uplink = Uplink{
		URL:      url(up.At("url")),
		Username: up.At("username").Text(), PasswordFile: up.At("password_file").Text(),
		KeepAlive: up.At("keep_alive").Duration(0, time.Second),
	}
	c.Outbox = readOutbox(f.At("outbox"))

	r := reader{protocols: p, place: c.Place, sources: map[string]bool{}, devices: map[string]bool{}}
	for i, n := range f.At("sources").Need().Items() {
		c.Sources = append(c.Sources, r.source(n, i))
	}
	if err := file.Err(); err != nil {
		return Config{}, err
	}
	return c, nil
}

func readOutbox(n conf.Node) Outbox {
	f := n.Fields(names(outboxKeys)...)
	o := Outbox{MaxBytes: f.At("max_bytes").Bytes(0), BacklogRate: f.At("backlog_rate").Int(0, 1, 1_000_000)}
	switch full := f.At("when_full"); {
	case !full.Given():
	case full.Text() == "stop":
		o.Stop = true
	case full.Text() != "drop oldest":
		full.Fault("%q, expected \"drop oldest\" or stop", full.Text())
	}
	return o
}

// A reader carries what has to be unique in the whole file.
type reader struct {
	protocols        Protocols
	place            string
	sources, devices map[string]bool
}

func (r *reader) source(n conf.Node, i int) Source {
	n = named(n, "source", "name", i)
	f := n.Fields(append(names(sourceKeys), r.protocols.names()...)...)
	s := Source{Name: f.At("name").Need().Text()}
	unique(f.At("name"), r.sources, s.Name)

	r.protocol(&s, n, f)
	retry := f.At("retry").Fields(names(retryKeys)...)
	s.Retry = acquire.Retry{
		Min: retry.At("min").Duration(500*time.Millisecond, time.Millisecond),
		Max: retry.At("max").Duration(30*time.Second, time.Millisecond),
	}
	if s.Retry.Min > s.Retry.Max {
		f.At("retry").Fault("min %v is above max %v", s.Retry.Min, s.Retry.Max)
	}
	every := f.At("every").Duration(standardEvery, shortestEvery)
	for i, d := range f.At("devices").Need().Items() {
		r.device(&s, d, i, every)
	}
	return s
}

// protocol reads which protocol the source speaks, and how it is reached.
func (r *reader) protocol(s *Source, n conf.Node, f conf.Fields) {
	var spoken []string
	for _, p := range r.protocols {
		if f.At(p.Name).Given() {
			spoken = append(spoken, p.Name)
			s.Protocol = p
		}
	}
	if len(spoken) != 1 {
		s.Protocol = protocol.Protocol{}
		switch {
		case len(spoken) > 1:
			n.Fault("speaks %s, expected one of them", strings.Join(spoken, " and "))
		default:
			n.Fault("has no protocol, expected one of %s", strings.Join(r.protocols.names(), ", "))
		}
		return
	}
	at := f.At(spoken[0])
	fields := at.Fields(keyNames(s.Protocol.Keys, protocol.Source)...)
	s.Connection = protocol.Settings{}.With(inScope(s.Protocol.Keys, protocol.Source))
	s.Connection.Over(readKeys(fields, s.Protocol.Keys, protocol.Source))
	for _, k := range s.Protocol.Keys {
		if k.Need && k.In == protocol.Source {
			fields.At(k.Name).Need()
		}
	}
	if s.Protocol.Check != nil {
		blame(at, fields, s.Protocol.Check(s.Connection))
	}
}

func (r *reader) device(s *Source, n conf.Node, i int, every time.Duration) {
	n = named(n, "device", "id", i)
	f := n.Fields(append(names(deviceKeys), keyNames(s.Protocol.Keys, protocol.Device)...)...)
	d := edge.Device{ID: level(f.At("id").Need()), Type: level(f.At("type").Need()), Place: place(f.At("place"), r.place)}
	unique(f.At("id"), r.devices, d.ID)
	s.Devices = append(s.Devices, d)
	settings := inherit(s.Connection, s.Protocol.Keys, protocol.Source, protocol.Device)
	settings.Over(readKeys(f, s.Protocol.Keys, protocol.Device))
	every = f.At("every").Duration(every, shortestEvery)
	seen := map[string]bool{}
	for i, t := range f.At("tags").Need().Items() {
		t = named(t, "tag", "name", i)
		tag, f := readTag(t, s.Protocol, every, seen)
		tag.Device = len(s.Devices) - 1
		item := protocol.Settings{}.With(inScope(s.Protocol.Keys, protocol.Tag))
		item.Over(inherit(s.Connection, s.Protocol.Keys, protocol.Source, protocol.Tag))
		item.Over(inherit(settings, s.Protocol.Keys, protocol.Device, protocol.Tag))
		item.Over(readKeys(f, s.Protocol.Keys, protocol.Tag))
		for _, k := range s.Protocol.Keys {
			if k.Need && k.In&protocol.Tag != 0 && !item.Given(k.Name) {
				f.At(k.Name).Need()
			}
		}
		if s.Protocol.CheckTag != nil {
			blame(t, f, s.Protocol.CheckTag(s.Connection, item))
		}
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
