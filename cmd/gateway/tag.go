package gateway

import (
	"net"
	neturl "net/url"
	"strconv"
	"strings"
	"time"

	"github.com/twinlog/twinlog/adapters/field/modbus"
	"github.com/twinlog/twinlog/cmd/gateway/conf"
	"github.com/twinlog/twinlog/edge"
	"github.com/twinlog/twinlog/edge/deadband"
	"github.com/twinlog/twinlog/edge/normalize"
	"github.com/twinlog/twinlog/edge/quality"
)

var tagKeys = []string{
	"name", "register", "table", "address", "type", "order", "bit", "every",
	"scale", "offset", "loop", "decimals", "range", "frozen", "stale", "max_rate", "deadband",
}

// readTag reads one tag.
func readTag(n conf.Node, every time.Duration, names map[string]bool) (modbus.Item, edge.Tag) {
	f := n.Fields(tagKeys...)
	tag := edge.Tag{Signal: f.At("name").Need().Text(), Every: f.At("every").Duration(every, shortestEvery)}
	if f.At("name").Given() && tag.Signal == "" {
		f.At("name").Fault("is empty, expected a name")
	}
	unique(f.At("name"), names, tag.Signal)
	item := readItem(n, f)
	tag.Scale = readScale(n, f)
	tag.Limits = quality.Limits{
		EURange: readRange(f.At("range")),
		Frozen:  f.At("frozen").Duration(0, time.Millisecond),
		Stale:   f.At("stale").Duration(0, time.Millisecond),
		MaxRate: f.At("max_rate").Number(0),
	}
	f.At("max_rate").Check(quality.Limits{MaxRate: tag.Limits.MaxRate}.Check())
	tag.Deadband = readDeadband(f.At("deadband"), tag.Limits.EURange)
	return item, tag
}

// readItem reads where a value is. A register in the reference notation names
// its table; table and address are as on the wire.
func readItem(n conf.Node, f conf.Fields) modbus.Item {
	var item modbus.Item
	var err error
	switch register, table, address := f.At("register"), f.At("table"), f.At("address"); {
	case register.Given() && (table.Given() || address.Given()):
		register.Fault("is given beside table or address, expected one or the other")
		return item
	case register.Given():
		item.Table, item.Address, err = modbus.ParseReference(register.Text())
		if err != nil {
			register.Check(err)
			return item
		}
	case table.Given() && address.Given():
		item.Table, err = modbus.ParseTable(table.Text())
		item.Address = uint16(address.Int(0, 0, 65535)) //nolint:gosec // in range
		if err != nil {
			table.Check(err)
			return item
		}
	default:
		n.Fault("has no address, expected register (40001) or table and address (holding, 0)")
		return item
	}
	standard := "uint16"
	if item.Table == modbus.Coils || item.Table == modbus.DiscreteInputs {
		standard = "bool"
	}
	if f.At("bit").Given() {
		standard = "bit"
	}
	typ := standard
	if f.At("type").Given() {
		typ = f.At("type").Text()
	}
	if item.Type, err = modbus.ParseType(typ); err != nil {
		f.At("type").Check(err)
		return item
	}
	if item.Order, err = modbus.ParseOrder(f.At("order").Text()); err != nil {
		f.At("order").Check(err)
		return item
	}
	item.Bit = uint8(f.At("bit").Int(0, 0, 15)) //nolint:gosec // in range
	if err := item.Check(); err != nil {
		if f.At("type").Given() {
			n = f.At("type")
		}
		n.Check(err)
	}
	return item
}

// readScale reads scale and offset, which lead to the engineering value or,
// with a loop, to the current in mA.
func readScale(n conf.Node, f conf.Fields) normalize.Scale {
	factor, offset := f.At("scale").Number(1), f.At("offset").Number(0)
	var scale normalize.Scale
	var err error
	if loop := f.At("loop"); loop.Given() {
		low, high, ok := pair(loop)
		if !ok {
			return scale
		}
		scale, err = normalize.Current(factor, offset, low, high)
	} else {
		scale, err = normalize.Linear(factor, offset)
	}
	if err != nil {
		n.Check(err)
		return scale
	}
	if d := f.At("decimals"); d.Given() {
		scale, err = scale.Rounded(d.Int(0, 0, 12))
		n.Check(err)
	}
	return scale
}

func readRange(n conf.Node) *quality.Range {
	if !n.Given() {
		return nil
	}
	low, high, ok := pair(n)
	if !ok {
		return nil
	}
	r := &quality.Range{Low: low, High: high}
	if err := (quality.Limits{EURange: r}).Check(); err != nil {
		n.Check(err)
		return nil
	}
	return r
}

// readDeadband reads the rule; percent is of the tag's EURange.
func readDeadband(n conf.Node, eu *quality.Range) deadband.Rule {
	f := n.Fields("absolute", "percent", "longest")
	rule := deadband.Rule{Longest: f.At("longest").Duration(0, time.Millisecond)}
	absolute, percent := f.At("absolute"), f.At("percent")
	var err error
	switch {
	case absolute.Given() && percent.Given():
		n.Fault("has absolute and percent, expected one or neither")
	case absolute.Given():
		rule.Filter, err = deadband.Absolute(absolute.Number(0))
		absolute.Check(err)
	case percent.Given() && eu == nil:
		percent.Fault("is of the tag's range, which is missing")
	case percent.Given():
		rule.Filter, err = deadband.Percent(percent.Number(0), eu.Low, eu.High)
		percent.Check(err)
	}
	return rule
}

// pair reads a list of two numbers.
func pair(n conf.Node) (low, high float64, ok bool) {
	items := n.Items()
	if len(items) != 2 {
		n.Fault("has %d numbers, expected two: [low, high]", len(items))
		return 0, 0, false
	}
	return items[0].Number(0), items[1].Number(0), true
}

func hostPort(n conf.Node) string {
	s := n.Text()
	if s == "" {
		return ""
	}
	host, port, err := net.SplitHostPort(s)
	if p, e := strconv.Atoi(port); err != nil || host == "" || e != nil || p < 1 || p > 65535 {
		n.Fault("%q, expected host:port such as 192.168.10.5:502", s)
	}
	return s
}

func url(n conf.Node) string {
	s := n.Text()
	if s == "" {
		return ""
	}
	u, err := neturl.Parse(s)
	if err != nil || (u.Scheme != "mqtt" && u.Scheme != "mqtts") || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.User != nil {
		n.Fault("%q, expected mqtt://host:port or mqtts://host:port, and the user apart", s)
	}
	return s
}
