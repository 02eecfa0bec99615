// Package opcua listens to OPC UA servers (OPC 10000-4) as a client: data
// changes and events by subscription, writes, method calls, browsing and
// discovery, over every security policy that its library has.
//
// It promises that a StatusCode is kept whole, that source and server time stay
// apart, and that a lost session leaves no gap that could have been closed: the
// subscription is transferred to the new session and what the server kept for it
// is asked for again; where the server has forgotten it, a new one is made and
// the values since the last one heard are read from the server's history. A
// notification is acknowledged after the gateway has kept it. What nobody kept
// remains a gap, and is marked by Bad samples at its beginning.
package opcua

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gopcua/opcua"
	"github.com/gopcua/opcua/ua"

	"github.com/twinlog/twinlog/edge/protocol"
)

// Protocol is OPC UA for the gateway.
var Protocol = protocol.Protocol{
	Name: "opcua", Title: "OPC UA", Reports: true, Keys: keys,
	Check: checkSource, CheckTag: checkTag, Open: open, Discover: discover,
}

var keys = []protocol.Key{
	{Name: "url", In: protocol.Source, Need: true, Help: "The server's endpoint, opc.tcp://host:port/path."},
	{Name: "security", In: protocol.Source, Kind: protocol.Word, Words: []string{"none", "basic256sha256", "aes128sha256", "aes256sha256", "basic256", "basic128rsa15"}, Help: "The security policy; the last two are deprecated."},
	{Name: "mode", In: protocol.Source, Kind: protocol.Word, Words: []string{"sign-encrypt", "sign"}, Help: "What a policy other than none does with messages."},
	{Name: "certificate", In: protocol.Source, Help: "The file of the gateway's own certificate, PEM or DER; twinlog-edge certificate makes one."},
	{Name: "key", In: protocol.Source, Help: "The file of its private key, PEM."},
	{Name: "trust", In: protocol.Source, Kind: protocol.Texts, Help: "Which servers to believe: files or folders of certificates (the server's, or an authority's), or sha256:FINGERPRINT."},
	{Name: "user", In: protocol.Source, Help: "The user to log in as."},
	{Name: "password_file", In: protocol.Source, Help: "The file that holds the password."},
	{Name: "user_certificate", In: protocol.Source, Help: "The file of a certificate to log in with."},
	{Name: "user_key", In: protocol.Source, Help: "The file of its private key, PEM."},
	{Name: "publishing", In: protocol.Source, Kind: protocol.Duration, Low: int64(10 * time.Millisecond), Standard: time.Second, Help: "How often the server tells what has changed."},
	{Name: "timeout", In: protocol.Source, Kind: protocol.Duration, Low: int64(100 * time.Millisecond), Standard: 5 * time.Second, Help: "How long one answer may take; a server that is silent for so long beyond its keep-alive is lost."},
	{Name: "history", In: protocol.Source, Kind: protocol.Word, Words: []string{"auto", "off"}, Help: "Whether what was missed is read from the server's history."},

	{Name: "node_id", In: protocol.Tag, Need: true, Help: "The variable, ns=2;s=Pump.Flow, or nsu=http://example.org/;s=Pump.Flow with the namespace's own name; of events, the notifier (i=2253 is the server)."},
	{Name: "sampling", In: protocol.Source | protocol.Device | protocol.Tag, Kind: protocol.Duration, Low: 0, Help: "How often the server looks at the variable; without it as often as it publishes."},
	{Name: "queue", In: protocol.Source | protocol.Device | protocol.Tag, Kind: protocol.Int, Low: 1, High: 1_000_000, Standard: 100, Help: "How many changes the server keeps for the tag between two publishings."},
	{Name: "server_deadband", In: protocol.Tag, Help: "What the server need not tell: 0.5 in the variable's unit, or 2% of its EURange."},
	{Name: "element", In: protocol.Tag, Kind: protocol.Int, Low: 0, High: 1_000_000, Help: "The element of an array, from 0; without it an array is a text in JSON."},
	{Name: "events", In: protocol.Tag, Kind: protocol.Bool, Help: "The tag is the notifier's alarms and events, each a text in JSON."},
	{Name: "method", In: protocol.Tag, Help: "Writing the tag calls this method of the object node_id; the tag is not read."},
}

// policies are the security policies by their name in the configuration.
var policies = map[string]string{
	"none":           ua.SecurityPolicyURINone,
	"basic128rsa15":  ua.SecurityPolicyURIBasic128Rsa15,
	"basic256":       ua.SecurityPolicyURIBasic256,
	"basic256sha256": ua.SecurityPolicyURIBasic256Sha256,
	"aes128sha256":   ua.SecurityPolicyURIAes128Sha256RsaOaep,
	"aes256sha256":   ua.SecurityPolicyURIAes256Sha256RsaPss,
}

func checkSource(s protocol.Settings) error {
	var errs []error
	if url := s.Text("url"); s.Given("url") && !strings.HasPrefix(url, "opc.tcp://") {
		errs = append(errs, protocol.Wrong("url", "%q, expected opc.tcp://host:port/path", url))
	}
	if s.Text("security") != "none" {
		for _, key := range []string{"certificate", "key", "trust"} {
			if !s.Given(key) {
				errs = append(errs, protocol.Wrong(key, "is missing, and security %s needs it", s.Text("security")))
			}
		}
	}
	for _, pair := range [][2]string{{"user", "password_file"}, {"user_certificate", "user_key"}} {
		if s.Given(pair[0]) != s.Given(pair[1]) {
			errs = append(errs, protocol.Wrong(pair[0], "is given without %s, or the other way round", pair[1]))
		}
	}
	if s.Given("user") && s.Given("user_certificate") {
		errs = append(errs, protocol.Wrong("user_certificate", "is given beside user, expected one way to log in"))
	}
	return errors.Join(errs...)
}

func checkTag(source, tag protocol.Settings) error {
	_, err := readItem(source, tag)
	return err
}

// An item is one monitored variable or notifier.
type item struct {
	node     nodeRef
	sampling time.Duration // -1 for the publishing interval
	queue    uint32
	filter   *ua.DataChangeFilter // nil for every change
	element  int                  // -1 for the value as a whole
	events   bool
	method   *nodeRef
}

// A nodeRef is a node as it is configured: its namespace may be known by its
// name only, whose number is the server's to say.
type nodeRef struct {
	uri string // "" if id has its number
	id  string
}

func parseNode(s string) (nodeRef, error) {
	if rest, ok := strings.CutPrefix(s, "nsu="); ok {
		uri, id, ok := strings.Cut(rest, ";")
		if _, err := ua.ParseNodeID(id); !ok || uri == "" || err != nil {
			return nodeRef{}, fmt.Errorf("%q, expected nsu=URI;s=NAME, or i=, g= or b= in place of s=", s)
		}
		return nodeRef{uri, id}, nil
	}
	if _, err := ua.ParseNodeID(s); err != nil || s == "" {
		return nodeRef{}, fmt.Errorf("%q, expected a node such as ns=2;s=Pump.Flow or i=2253", s)
	}
	return nodeRef{id: s}, nil
}

// resolve returns the node in the numbers of a server's namespaces.
func (n nodeRef) resolve(namespaces []string) (*ua.NodeID, error) {
	if n.uri == "" {
		return ua.ParseNodeID(n.id)
	}
	for i, uri := range namespaces {
		if uri == n.uri {
			return ua.ParseNodeID("ns=" + strconv.Itoa(i) + ";" + n.id)
		}
	}
	return nil, fmt.Errorf("the server has no namespace %q", n.uri)
}

func readItem(source, tag protocol.Settings) (item, error) {
	var it item
	var errs []error
	var err error
	if it.node, err = parseNode(tag.Text("node_id")); err != nil && tag.Given("node_id") {
		errs = append(errs, protocol.Wraps("node_id", err))
	}
	it.sampling = -1
	if tag.Given("sampling") {
		it.sampling = tag.Duration("sampling")
		if publishing := source.Duration("publishing"); it.sampling > publishing {
			errs = append(errs, protocol.Wrong("sampling", "%v is longer than publishing, %v", it.sampling, publishing))
		}
	}
	it.queue = uint32(tag.Int("queue")) //nolint:gosec // 1 to 1,000,000
	it.element = -1
	if tag.Given("element") {
		it.element = tag.Int("element")
	}
	it.events = tag.Bool("events")
	if tag.Given("server_deadband") {
		if it.filter, err = parseDeadband(tag.Text("server_deadband")); err != nil {
			errs = append(errs, protocol.Wraps("server_deadband", err))
		}
	}
	if tag.Given("method") {
		m, err := parseNode(tag.Text("method"))
		if err != nil {
			errs = append(errs, protocol.Wraps("method", err))
		}
		it.method = &m
	}
	if it.events && (it.method != nil || it.filter != nil || it.element >= 0) {
		errs = append(errs, protocol.Wrong("events", "is given beside method, element or server_deadband, which events do not have"))
	}
	return it, errors.Join(errs...)
}

// parseDeadband reads "0.5" or "2%". Changes of status pass any deadband
// (OPC 10000-4 §7.22.2).
func parseDeadband(s string) (*ua.DataChangeFilter, error) {
	number, percent := strings.CutSuffix(s, "%")
	x, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(x >= 0 && x <= 1e300) || percent && x > 100 {
		return nil, fmt.Errorf("%q, expected a number from 0 such as 0.5, or 0%% to 100%%", s)
	}
	f := &ua.DataChangeFilter{Trigger: ua.DataChangeTriggerStatusValue, DeadbandType: uint32(ua.DeadbandTypeAbsolute), DeadbandValue: x}
	if percent {
		f.DeadbandType = uint32(ua.DeadbandTypePercent)
	}
	return f, nil
}

func open(c protocol.Connection) (protocol.Ports, error) {
	s := &Source{name: c.Name, settings: c.Settings, log: c.Log}
	for i, tag := range c.Tags {
		it, err := readItem(c.Settings, tag)
		if err != nil {
			return protocol.Ports{}, fmt.Errorf("tag %d: %w", i, err)
		}
		s.items = append(s.items, it)
	}
	s.forget()
	return protocol.Ports{Reporting: s, Writer: s, Browser: s}, nil
}

// discover asks a server for the servers that it knows and for its endpoints.
func discover(ctx context.Context, source protocol.Settings, found func(protocol.Found) error) error {
	url := source.Text("url")
	servers, err := opcua.FindServers(ctx, url)
	if err != nil {
		return fmt.Errorf("opcua %s: %w", url, err)
	}
	for _, server := range servers {
		for _, u := range server.DiscoveryURLs {
			if err := found(protocol.Found{Name: server.ApplicationName.Text, Settings: map[string]string{"url": u}, Note: server.ApplicationURI}); err != nil {
				return err
			}
		}
	}
	endpoints, err := opcua.GetEndpoints(ctx, url)
	if err != nil {
		return fmt.Errorf("opcua %s: %w", url, err)
	}
	for _, e := range endpoints {
		f := protocol.Found{Settings: map[string]string{"url": e.EndpointURL, "security": policyName(e.SecurityPolicyURI), "mode": modeName(e.SecurityMode)}}
		if len(e.ServerCertificate) > 0 {
			f.Note = "certificate " + fingerprint(e.ServerCertificate)
		}
		if err := found(f); err != nil {
			return err
		}
	}
	return nil
}
