package gateway

import (
	neturl "net/url"
	"strings"
	"time"

	"github.com/twinlog/twinlog/cmd/conf"
	"github.com/twinlog/twinlog/edge"
	"github.com/twinlog/twinlog/edge/deadband"
	"github.com/twinlog/twinlog/edge/normalize"
	"github.com/twinlog/twinlog/edge/outbox"
	"github.com/twinlog/twinlog/edge/protocol"
	"github.com/twinlog/twinlog/edge/quality"
)

// readTag reads what becomes of one tag's value. Where it is, is the protocol's
// to read.
func readTag(n conf.Node, p protocol.Protocol, every time.Duration, seen map[string]bool) (edge.Tag, conf.Fields) {
	f := n.Fields(append(names(tagKeys), keyNames(p.Keys, protocol.Tag)...)...)
	tag := edge.Tag{Signal: f.At("name").Need().Text(), Every: f.At("every").Duration(every, shortestEvery)}
	if f.At("name").Given() && tag.Signal == "" {
		f.At("name").Fault("is empty, expected a name")
	}
	unique(f.At("name"), seen, tag.Signal)
	tag.Scale = readScale(n, f)
	tag.Priority = readPriority(f.At("priority"))
	tag.Limits = quality.Limits{
		EURange: readRange(f.At("range")),
		Frozen:  f.At("frozen").Duration(0, time.Millisecond),
		Stale:   f.At("stale").Duration(0, time.Millisecond),
		MaxRate: f.At("max_rate").Number(0),
	}
	f.At("max_rate").Check(quality.Limits{MaxRate: tag.Limits.MaxRate}.Check())
	tag.Deadband = readDeadband(f.At("deadband"), tag.Limits.EURange)
	return tag, f
}

// readPriority reads how long a tag's samples are kept when not all can be.
func readPriority(n conf.Node) outbox.Priority {
	switch text := n.Text(); text {
	case "", "normal":
		return outbox.Normal
	case "high":
		return outbox.High
	case "low":
		return outbox.Low
	default:
		n.Fault("%q, expected low, normal or high", text)
		return outbox.Normal
	}
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
	f := n.Fields(names(deadbandKeys)...)
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

func url(n conf.Node) string {
	s := n.Text()
	if s == "" {
		return ""
	}
	scheme, hosts, _ := strings.Cut(s, "://")
	for host := range strings.SplitSeq(hosts, ",") {
		u, err := neturl.Parse(scheme + "://" + host)
		if err != nil || (u.Scheme != "mqtt" && u.Scheme != "mqtts") || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.User != nil {
			n.Fault("%q, expected mqtt://host:port or mqtts://host:port, and the user apart", s)
			break
		}
	}
	return s
}
