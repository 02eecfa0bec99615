package gateway

import (
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/twinlog/twinlog/adapters/field/modbus"
	"github.com/twinlog/twinlog/adapters/field/opcua"
	"github.com/twinlog/twinlog/cmd/conf"
	"github.com/twinlog/twinlog/edge/protocol"
)

// Protocols are those that a configuration may speak.
type Protocols []protocol.Protocol

// Standard are the protocols of this product, one line each.
var Standard = Protocols{
	modbus.Protocol,
	opcua.Protocol,
}

func (p Protocols) names() []string {
	out := make([]string, len(p))
	for i := range p {
		out[i] = p[i].Name
	}
	return out
}

// inScope returns the keys that may stand at a place.
func inScope(keys []protocol.Key, at protocol.Scope) []protocol.Key {
	var out []protocol.Key
	for _, k := range keys {
		if k.In&at != 0 {
			out = append(out, k)
		}
	}
	return out
}

func keyNames(keys []protocol.Key, at protocol.Scope) []string { return names(inScope(keys, at)) }

func names(keys []protocol.Key) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = k.Name
	}
	return out
}

// inherit returns what settings at an outer place say to an inner one.
func inherit(outer protocol.Settings, keys []protocol.Key, from, to protocol.Scope) protocol.Settings {
	var out protocol.Settings
	for _, k := range keys {
		if k.In&from != 0 && k.In&to != 0 && outer.Given(k.Name) {
			out.Set(k.Name, outer.Value(k.Name))
		}
	}
	return out
}

// readKeys reads what the file gives to the keys of a place.
func readKeys(f conf.Fields, keys []protocol.Key, at protocol.Scope) protocol.Settings {
	var s protocol.Settings
	for _, k := range inScope(keys, at) {
		if n := f.At(k.Name); n.Given() {
			s.Set(k.Name, readValue(n, k))
		}
	}
	return s
}

func readValue(n conf.Node, k protocol.Key) any {
	switch k.Kind {
	case protocol.Text:
		return n.Text()
	case protocol.Word:
		return n.OneOf(k.Words...)
	case protocol.Int:
		standard, _ := k.Standard.(int)
		return n.Int(standard, int(k.Low), int(k.High))
	case protocol.Number:
		return n.Number(0)
	case protocol.Duration:
		standard, _ := k.Standard.(time.Duration)
		return n.Duration(standard, time.Duration(k.Low))
	case protocol.Bool:
		return n.Bool(false)
	case protocol.HostPort:
		return hostPort(n)
	case protocol.Texts:
		var all []string
		for _, item := range n.Items() {
			all = append(all, item.Text())
		}
		return all
	}
	return nil
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

// blame notes what an adapter found wrong, at the key that it names or else at
// the place as a whole.
func blame(at conf.Node, f conf.Fields, err error) {
	if err == nil {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // only what is joined at the top
		for _, e := range joined.Unwrap() {
			blame(at, f, e)
		}
		return
	}
	if of, ok := errors.AsType[*protocol.KeyError](err); ok {
		f.At(of.Key).Check(of.Err)
		return
	}
	at.Check(err)
}
