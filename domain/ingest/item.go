package ingest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"

	"github.com/twinlog/twinlog/domain/device"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// item is a message on its way through its source's queue.
type item struct {
	message Message
	done    func(Outcome)

	kind    Kind // Unknown: refused or a dead letter
	reason  string
	from    uint64 // the numbers that the message uses; valid if numbered
	to      uint64
	hasSeq  bool
	msgID   string
	at      int64 // the message's own time, Unix milliseconds; 0 if it gave none
	samples int
	lost    uint64
	assumed int
	device  device.See
	status  *device.Report

	event   body // the message's own event
	content fingerprint
}

// body is an event without its envelope, which is the same for a whole source.
type body struct {
	id               eventlog.EventID
	typ, contentType string
	data             []byte
}

// fingerprint tells whether two deliveries are of one message.
type fingerprint struct {
	row     uint64 // hash of what a telemetry row says as it came
	payload uint64 // hash of a refused message's payload
	event   uint64 // hash of any other event's data
}

// MaxPayloadBytes bounds a message that is stored as itself; a larger one is
// refused, and only its beginning is kept. It is also the outbox's bound.
const MaxPayloadBytes = 768 << 10

// maxPayloadBytes is how much of a payload an event can keep: base64 makes it
// four thirds, and an append takes 1,000,000 bytes.
const maxPayloadBytes = 640 << 10

// workspace is the memory in which one message is read and written.
type workspace struct {
	Uplink
	row []byte
}

// Reset makes u empty, keeping the memory of its samples.
func (u *Uplink) Reset() {
	samples := u.Row.Samples
	clear(samples)
	*u = Uplink{}
	u.Row.Samples = samples[:0]
	u.Row.EdgeLatency = telemetry.NoLatency
}

// understand fills in it and says whose queue it belongs to. readErr is why
// the decoder could not take the message.
func (g *Ingester) understand(it *item, w *workspace, readErr error) key {
	u := &w.Uplink
	it.kind, it.msgID = u.Kind, u.Row.MsgID
	it.from, it.to, it.hasSeq = u.Row.Seq, u.Row.Seq, u.Row.HasSeq
	it.device = device.See{Device: u.Device, Type: u.DeviceType, Place: u.Place, Gateway: gatewayOf(u.Row.Gateway), How: device.FirstSeen}
	if n := len(it.message.Payload); n > MaxPayloadBytes && readErr == nil {
		readErr = fmt.Errorf("payload of %d bytes, expected at most %d: %w", n, MaxPayloadBytes, eventlog.ErrTooLarge)
	}
	if readErr == nil {
		readErr = checkSource(u)
	}
	if readErr == nil {
		readErr = g.encode(it, w)
	}
	if readErr == nil && u.Kind == Status {
		return key{keyStatus, u.Device, ""}
	}
	ordered := u.Incarnation != telemetry.Unordered
	if readErr == nil {
		return key{keyTelemetry, u.Source, u.Incarnation}
	}
	it.kind, it.reason = Unknown, utf8(readErr.Error())
	if u.Source != "" && checkSource(u) == nil && (it.hasSeq || !ordered) && u.Kind != Status {
		g.refuse(it, u)
		return key{keyTelemetry, u.Source, u.Incarnation}
	}
	g.deadLetter(it)
	owner := u.Device
	if owner == "" {
		owner = it.message.Client
	}
	if !validName(owner) {
		owner = "unknown"
	}
	return key{keyDeadLetter, owner, ""}
}

// gatewayOf takes the lane off a gateway's source: gw~backlog is a part of gw.
func gatewayOf(source string) string {
	gateway, _, _ := strings.Cut(source, "~")
	return gateway
}

// maxSeq is the largest sequence number that JSON keeps exactly: events beside
// the rows name them.
const maxSeq = 1 << 53

// checkSource returns why a source cannot have a stream.
func checkSource(u *Uplink) error {
	switch {
	case u.Kind == Status:
		return checkName(u.Device, maxNameBytes)
	case u.Source == "" || u.Incarnation == "":
		return fmt.Errorf("message names no source: %w", eventlog.ErrBadEvent)
	case u.Incarnation != telemetry.Unordered && !telemetry.ValidIncarnation(u.Incarnation):
		return fmt.Errorf("incarnation %.40q, expected 16 hexadecimal digits: %w", u.Incarnation, eventlog.ErrBadEvent)
	case u.Incarnation != telemetry.Unordered && (!u.Row.HasSeq || u.Row.Seq == 0):
		return fmt.Errorf("message of %q without seq, expected 1 or more: %w", u.Source, eventlog.ErrBadEvent)
	case u.Row.Seq > maxSeq:
		return fmt.Errorf("seq %d of %q, expected at most 2^53: %w", u.Row.Seq, u.Source, eventlog.ErrBadEvent)
	}
	return checkName(u.Source, maxNameBytes-1-len(u.Incarnation))
}

// maxNameBytes is how long the id of a stream may be.
const maxNameBytes = 200

func validName(name string) bool { return checkName(name, maxNameBytes) == nil }

// checkName returns why an entity's name cannot be that of a stream with at most
// most bytes, without making the stream's.
func checkName(name string, most int) error {
	n := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == ':', c == '~', c == '-':
			n++
		default: // percent-encoded
			n += 3
		}
	}
	if n < 1 || n > most {
		return fmt.Errorf("name %.100q takes %d bytes, expected 1 to %d: %w", name, n, most, eventlog.ErrBadEvent)
	}
	return nil
}

// encode makes the message's own event.
func (g *Ingester) encode(it *item, w *workspace) error {
	switch u := &w.Uplink; u.Kind {
	case Telemetry:
		return g.encodeRow(it, w)
	case Start:
		u.Started.Seq = it.from
		return g.encodeJSON(it, u, u.Started)
	case Loss:
		it.from, it.to, it.lost = u.Lost.From, u.Lost.To, u.Lost.Counts.Messages
		if u.Lost.From != u.Row.Seq || u.Lost.To < u.Lost.From || u.Lost.To > maxSeq {
			return fmt.Errorf("loss of %d to %d under seq %d: %w", u.Lost.From, u.Lost.To, u.Row.Seq, eventlog.ErrBadEvent)
		}
		return g.encodeJSON(it, u, u.Lost)
	case Status:
		it.status = &device.Report{See: it.device, Online: u.Online, At: u.At, Reason: u.Reason}
		return nil
	default:
		return fmt.Errorf("message means nothing here: %w", eventlog.ErrBadEvent)
	}
}

func (g *Ingester) encodeRow(it *item, w *workspace) error {
	u := &w.Uplink
	r := &u.Row
	if u.Incarnation != telemetry.Unordered && telemetry.IsMsgID(r.MsgID, u.Incarnation, r.Seq) {
		r.MsgID, r.MsgIDDerived = "", true
	}
	if err := r.Check(); err != nil {
		return err
	}
	if err := checkName(r.Device, maxNameBytes); err != nil {
		return err
	}
	it.device.Device = r.Device
	if r.Basis != telemetry.FromArrival {
		it.at = r.SourceTime.UnixMilli()
	}
	it.samples = len(r.Samples)
	for i := range r.Samples {
		if r.Samples[i].Quality.Scheme == quality.Assumed {
			it.assumed++
		}
	}
	w.row = r.AppendBinary(w.row[:0])
	data := bytes.Clone(w.row) // it may be kept for long, so not a byte more
	it.event = body{g.id(it, u), eventlog.TelemetryRecorded, telemetry.ContentType, data}
	var err error
	it.content, err = g.rowFingerprint(data)
	return err
}

func (g *Ingester) encodeJSON(it *item, u *Uplink, ev eventlog.Event) error {
	var err error
	it.event, err = jsonBody(g.id(it, u), ev)
	it.content = fingerprint{event: maphash.Bytes(g.seed, it.event.data)}
	return err
}

// refuse makes the event of a message that names its place and nothing more.
func (g *Ingester) refuse(it *item, u *Uplink) {
	it.to = it.from
	ev := telemetry.Refused{
		Seq: it.from, MsgID: it.msgID, Reason: it.reason,
		Topic: it.message.Topic, Client: it.message.Client, Payload: it.message.Payload,
	}
	ev.Payload, ev.Bytes, ev.SHA256 = keepPayload(ev.Payload)
	it.event = mustBody(g.id(it, u), ev)
	it.content = fingerprint{payload: g.payloadHash(it.message.Payload)}
}

func (g *Ingester) deadLetter(it *item) {
	ev := DeadLettered{Topic: it.message.Topic, Client: it.message.Client, Reason: it.reason, Payload: it.message.Payload}
	ev.Payload, ev.Bytes, ev.SHA256 = keepPayload(ev.Payload)
	it.event = mustBody(g.arrivals.id(g.log.Origin(), it.message), ev)
}

// keepPayload cuts what no event can hold and says what it was.
func keepPayload(payload []byte) (kept []byte, size int, sum []byte) {
	if len(payload) <= maxPayloadBytes {
		return payload, 0, nil
	}
	h := sha256.Sum256(payload)
	return payload[:maxPayloadBytes], len(payload), h[:]
}

func jsonBody(id eventlog.EventID, ev eventlog.Event) (body, error) {
	e, err := eventlog.NewJSONEvent(id, ev, eventlog.Envelope{})
	return body{e.ID, e.Type, e.ContentType, e.Data}, err
}

// mustBody marshals an event made of strings and bytes, which cannot fail once
// the strings are UTF-8.
func mustBody(id eventlog.EventID, ev eventlog.Event) body {
	switch e := ev.(type) {
	case telemetry.Refused:
		e.Topic, e.Client, e.MsgID = utf8(e.Topic), utf8(e.Client), utf8(e.MsgID)
		ev = e
	case DeadLettered:
		e.Topic, e.Client = utf8(e.Topic), utf8(e.Client)
		ev = e
	case Cloned:
		e.Topic, e.Client = utf8(e.Topic), utf8(e.Client)
		ev = e
	}
	out, err := jsonBody(id, ev)
	if err != nil {
		panic(fmt.Sprintf("event %s of text and bytes: %v", ev.EventType(), err))
	}
	return out
}

// maxTextBytes bounds what an event tells of topic, client and reason.
const maxTextBytes = 1024

func utf8(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxTextBytes)], "\uFFFD") }

// id names the message's own event: by (incarnation, seq), by (device, msg_id),
// or, where a message has neither, by its arrival.
func (g *Ingester) id(it *item, u *Uplink) eventlog.EventID {
	switch {
	case u.Incarnation != telemetry.Unordered:
		return telemetry.OrderedID(g.log.Origin(), u.Incarnation, u.Row.Seq)
	case it.msgID != "":
		return telemetry.UnorderedID(g.log.Origin(), u.Source, it.msgID)
	default:
		return g.arrivals.id(g.log.Origin(), it.message)
	}
}

func (g *Ingester) rowFingerprint(data []byte) (fingerprint, error) {
	flags, rest, err := telemetry.Sent(data)
	if err != nil {
		return fingerprint{}, err
	}
	// Zero stands for "no row", which a hash is once in 2^64.
	return fingerprint{row: maphash.Bytes(g.seed, rest) ^ uint64(flags)<<48}, nil
}

// fingerprintOf is that of a stored event.
func (g *Ingester) fingerprintOf(rec eventlog.Record) (fingerprint, error) {
	switch rec.Type {
	case eventlog.TelemetryRecorded:
		return g.rowFingerprint(rec.Data)
	case telemetry.Refused{}.EventType():
		var r telemetry.Refused
		if err := json.Unmarshal(rec.Data, &r); err != nil {
			return fingerprint{}, fmt.Errorf("%s@%d: %w", rec.Stream, rec.Revision, err)
		}
		return fingerprint{payload: g.payloadHash(r.Payload)}, nil
	default:
		return fingerprint{event: maphash.Bytes(g.seed, rec.Data)}, nil
	}
}

// payloadHash is of what an event keeps of a payload.
func (g *Ingester) payloadHash(payload []byte) uint64 {
	return maphash.Bytes(g.seed, payload[:min(len(payload), maxPayloadBytes)])
}

// same compares a delivery with what is stored. A message that was refused once
// is compared by its bytes, because a later version may well read it. One that
// cannot be read now has no other content to compare; unread decides.
func (g *Ingester) same(it *item, there fingerprint, unread bool) bool {
	switch {
	case there.payload != 0:
		return g.payloadHash(it.message.Payload) == there.payload
	case it.kind == Unknown:
		return unread
	default:
		return it.content == there
	}
}

// arrivals gives ids to messages that bring none.
type arrivals struct {
	// mu guards n.
	mu sync.Mutex
	n  uint64
}

func (a *arrivals) id(origin string, m Message) eventlog.EventID {
	a.mu.Lock()
	a.n++
	n := a.n
	a.mu.Unlock()
	return telemetry.ArrivalID(origin, m.Client, m.Topic, m.Arrived, n, m.Payload)
}
