package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// nodeKind is what a JSON value is.
type nodeKind uint8

const (
	null nodeKind = iota
	boolean
	number
	text
	array
	object
)

// node is a JSON value. A number keeps its text.
type node struct {
	kind    nodeKind
	text    string
	members []namedNode // of an object, or elements of an array, in order
}

type namedNode struct {
	name string
	node
}

// maxDepth bounds the nesting of members that mean nothing here.
const maxDepth = 32

// parse reads any JSON object. It goes on after an error, so that the source of
// the message is known, and returns the first.
func (f *fields) parse(s string) error {
	root, err := parseNode(s)
	if err != nil {
		return err
	}
	if root.kind != object {
		return fmt.Errorf("payload is JSON, expected an object: %w", ErrUnreadable)
	}
	r := reader{fields: f}
	if loneSurrogate(s) {
		r.fail(fmt.Errorf("string with half a surrogate pair: %w", ErrInvalid))
	}
	f.short = root.member("d") == nil && root.member("event") == nil &&
		(root.member("v") != nil || root.member("id") != nil)
	r.unique("message", root.members)
	for i := range root.members {
		m := &root.members[i]
		if f.short {
			r.short(m)
		} else {
			r.full(m)
		}
	}
	return r.err
}

func parseNode(s string) (node, error) {
	if !utf8.ValidString(s) {
		return node{}, fmt.Errorf("payload is not UTF-8: %w", ErrUnreadable)
	}
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	n, err := build(d, 0)
	if err != nil {
		if errors.Is(err, ErrInvalid) {
			return node{}, err
		}
		return node{}, fmt.Errorf("payload at byte %d: %w: %w", d.InputOffset(), err, ErrUnreadable)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return node{}, fmt.Errorf("payload at byte %d: more than one JSON value: %w", d.InputOffset(), ErrUnreadable)
	}
	return n, nil
}

func build(d *json.Decoder, depth int) (node, error) {
	if depth > maxDepth {
		return node{}, fmt.Errorf("nested deeper than %d: %w", maxDepth, ErrInvalid)
	}
	tok, err := d.Token()
	if err != nil {
		return node{}, err
	}
	switch t := tok.(type) {
	case bool:
		return node{kind: boolean, text: strconv.FormatBool(t)}, nil
	case json.Number:
		return node{kind: number, text: string(t)}, nil
	case string:
		return node{kind: text, text: t}, nil
	case json.Delim:
		n := node{kind: array}
		if t == '{' {
			n.kind = object
		}
		for d.More() {
			var m namedNode
			if n.kind == object {
				name, err := d.Token()
				if err != nil {
					return node{}, err
				}
				m.name, _ = name.(string)
			}
			if m.node, err = build(d, depth+1); err != nil {
				return node{}, err
			}
			n.members = append(n.members, m)
		}
		_, err := d.Token()
		return n, err
	default:
		return node{}, nil
	}
}

func (n *node) member(name string) *node {
	for i := range n.members {
		if n.members[i].name == name {
			return &n.members[i].node
		}
	}
	return nil
}

// loneSurrogate reports an escape \uD800..\uDFFF without its partner, which
// encoding/json would replace without a word.
func loneSurrogate(s string) bool {
	for i := 0; i+1 < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		r := escape(s, i)
		switch {
		case r < 0:
			i++ // an escape of one character, perhaps of a backslash
		case r >= 0xD800 && r < 0xDC00 && escape(s, i+6)>>10 == 0xDC00>>10:
			i += 11
		case r >= 0xD800 && r < 0xE000:
			return true
		default:
			i += 5
		}
	}
	return false
}

// escape reads \uXXXX at i, or returns -1.
func escape(s string, i int) int64 {
	if i+6 > len(s) || s[i] != '\\' || s[i+1] != 'u' {
		return -1
	}
	r, err := strconv.ParseUint(s[i+2:i+6], 16, 16)
	if err != nil {
		return -1
	}
	return int64(r)
}

// reader fills fields from nodes and keeps the first error.
type reader struct {
	*fields
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// unique refuses a member twice: nobody knows which of them was meant.
func (r *reader) unique(what string, members []namedNode) {
	seen := make(map[string]bool, len(members))
	for i := range members {
		if seen[members[i].name] {
			r.fail(fmt.Errorf("%.60q twice in %s: %w", members[i].name, what, ErrInvalid))
		}
		seen[members[i].name] = true
	}
}

// text takes a member that must be a string; null is as if it had not come.
func (r *reader) text(m *namedNode, bit member, to *string) { r.take(m, bit, to, text, "a string") }

func (r *reader) number(m *namedNode, bit member, to *string) { r.take(m, bit, to, number, "a number") }

func (r *reader) take(m *namedNode, bit member, to *string, kind nodeKind, expected string) {
	switch {
	case m.kind == null:
		r.ignored++
	case m.kind != kind:
		r.fail(fmt.Errorf("%s is not %s: %w", m.name, expected, ErrInvalid))
	case r.has&bit == 0:
		r.has |= bit
		*to = m.text
	}
}

func (r *reader) short(m *namedNode) {
	switch m.name {
	case "v":
		r.text(m, hasSchema, &r.schema)
	case "id":
		r.text(m, hasDevice, &r.device)
	case "t":
		r.number(m, hasTS, &r.ts)
	default:
		r.sample(m)
	}
}

func (r *reader) full(m *namedNode) {
	switch m.name {
	case "schema_version":
		r.text(m, hasSchema, &r.schema)
	case "msg_id":
		r.text(m, hasMsgID, &r.msgID)
	case "device_id":
		r.text(m, hasDevice, &r.device)
	case "device_type":
		r.text(m, hasDeviceType, &r.deviceType)
	case "ts":
		r.number(m, hasTS, &r.ts)
	case "seq":
		r.number(m, hasSeq, &r.seq)
	case "d":
		r.group(m, hasD, r.sample)
	case "meta":
		r.group(m, hasMeta, r.meta)
	case "event":
		r.text(m, hasEvent, &r.event)
	case "previous":
		r.text(m, hasPrevious, &r.previous)
	case "last_acked":
		r.number(m, hasLastAcked, &r.lastAcked)
	case "reason":
		r.text(m, hasReason, &r.reason)
	case "from":
		r.number(m, hasFrom, &r.from)
	case "to":
		r.number(m, hasTo, &r.to)
	case "counts":
		r.group(m, hasCounts, r.counts)
	case "oldest":
		r.number(m, hasOldest, &r.oldest)
	case "newest":
		r.number(m, hasNewest, &r.newest)
	case "tags":
		r.lostTags(m)
	default:
		r.ignored++
	}
}

// lostTags reads whose samples a telemetry.lost is about.
func (r *reader) lostTags(m *namedNode) {
	if m.kind != array || r.has&hasTags != 0 {
		r.fail(fmt.Errorf("tags is not one list: %w", ErrInvalid))
		return
	}
	r.has |= hasTags
	for i := range m.members {
		t, err := lostTag(&m.members[i].node)
		if err != nil {
			r.fail(fmt.Errorf("tags %d: %w", i, err))
			return
		}
		r.tags = append(r.tags, t)
	}
}

func lostTag(n *node) (t telemetry.LostTag, err error) {
	of := func(name string, kind nodeKind) string {
		m := n.member(name)
		if m == nil || m.kind != kind {
			err = errors.Join(err, fmt.Errorf("%s is missing or not %s: %w", name, map[nodeKind]string{text: "a string", number: "a number"}[kind], ErrInvalid))
			return ""
		}
		return m.text
	}
	t.Device, t.Signal = of("device", text), of("signal", text)
	samples, from, to := of("samples", number), of("from", number), of("to", number)
	if err != nil {
		return t, err
	}
	if t.Samples, err = count("samples", samples); err != nil {
		return t, err
	}
	for _, at := range []struct {
		text string
		to   *time.Time
	}{{from, &t.From}, {to, &t.To}} {
		d, err := nanoseconds(at.text)
		if err != nil {
			return t, fmt.Errorf("time %.40s: %w: %w", at.text, err, ErrInvalid)
		}
		*at.to = time.Unix(0, d).UTC()
	}
	return t, nil
}

// group goes through the members of an object.
func (r *reader) group(m *namedNode, bit member, each func(*namedNode)) {
	if m.kind != object {
		r.fail(fmt.Errorf("%s is not an object: %w", m.name, ErrInvalid))
		return
	}
	if r.has&bit != 0 {
		return // it is there twice, which has been noted
	}
	r.has |= bit
	r.unique(m.name, m.members)
	for i := range m.members {
		each(&m.members[i])
	}
}

func (r *reader) meta(m *namedNode) {
	switch m.name {
	case "fw_version":
		r.text(m, hasFirmware, &r.firmware)
	case "gw_id":
		r.text(m, hasGateway, &r.gateway)
	case "inc":
		r.text(m, hasIncarnation, &r.incarnation)
	case "source_ts":
		r.number(m, hasSourceTS, &r.sourceTS)
	case "edge_latency_ms":
		r.number(m, hasLatency, &r.latency)
	case "q":
		r.text(m, hasScheme, &r.scheme)
	default:
		r.ignored++
	}
}

func (r *reader) counts(m *namedNode) {
	switch m.name {
	case "messages":
		r.number(m, hasMessages, &r.messages)
	case "samples":
		r.number(m, hasLost, &r.lost)
	case "bytes":
		r.number(m, hasBytes, &r.bytes)
	default:
		r.ignored++
	}
}

// sample reads a plain value, or an object with v and, each optional, q (the
// code as it came), qs (its scheme, if not the message's), c (the canonical
// code, if the sender knows better) and k (the kind of v).
func (r *reader) sample(m *namedNode) {
	s := telemetry.Sample{Signal: m.name}
	code := false
	if err := r.sampleOf(m, &s, &code); err != nil {
		r.fail(fmt.Errorf("signal %.100q: %w", m.name, err))
		return
	}
	if code && r.codes == nil {
		r.codes = make([]bool, len(r.samples), len(r.samples)+1)
	}
	r.samples = append(r.samples, s)
	if r.codes != nil {
		r.codes = append(r.codes, code)
	}
}

func (r *reader) sampleOf(m *namedNode, s *telemetry.Sample, code *bool) (err error) {
	if m.kind != object {
		s.Value, err = plainValue(&m.node)
		return err
	}
	r.unique("signal "+m.name, m.members)
	v, kind := m.member("v"), ""
	if v == nil {
		return fmt.Errorf("object without v: %w", ErrInvalid)
	}
	for i := range m.members {
		e := &m.members[i]
		switch e.name {
		case "v":
		case "q":
			if s.Quality.Raw, err = code32(e); err != nil {
				return err
			}
			if s.Quality.Scheme == quality.Assumed {
				s.Quality.Scheme = byMessage
			}
		case "qs":
			scheme, ok := quality.ParseScheme(e.text)
			if !ok || e.kind != text || m.member("q") == nil {
				return fmt.Errorf("qs %.40q without q, or not the name of a scheme: %w", e.text, ErrInvalid)
			}
			s.Quality.Scheme = scheme
		case "c":
			c, err := code32(e)
			if err != nil {
				return err
			}
			s.Quality.Code, *code = quality.Code(c), true
		case "k":
			if kind = e.text; e.kind != text || kind == "" {
				return fmt.Errorf("k is not a string: %w", ErrInvalid)
			}
		default:
			r.ignored++
		}
	}
	if kind != "" {
		s.Value, err = kindValue(v, kind)
	} else {
		s.Value, err = plainValue(v)
	}
	return err
}

func code32(e *namedNode) (uint32, error) {
	n, err := strconv.ParseUint(e.text, 10, 32)
	if err != nil || e.kind != number {
		return 0, fmt.Errorf("%s %.40q, expected an integer of 32 bits: %w", e.name, e.text, ErrInvalid)
	}
	return uint32(n), nil
}
