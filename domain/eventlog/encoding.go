package eventlog

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// timeLayout is RFC 3339 in UTC with as many digits of a second as are needed.
const timeLayout = "2006-01-02T15:04:05.999999999Z"

// AppendCanonical appends the envelope as RFC 8785 JSON: the members of
// docs/formats/envelope.md in order, those without content left out. Check
// first: it cannot fail, so what has no JSON form would come out wrong.
func (e Envelope) AppendCanonical(dst []byte) []byte {
	w := writer{append(dst, '{'), true}
	w.before(e)
	if e.Clock != (ClockState{}) {
		w.name("clk")
		w.clock(e.Clock)
	}
	w.between(e)
	w.time("rec", e.Recorded)
	w.after(e)
	return append(w.b, '}')
}

// before, between and after write what stands before "clk", between "clk" and
// "rec", and after "rec".
func (w *writer) before(e Envelope) {
	if !e.Actor.empty() {
		w.name("act")
		w.actor(e.Actor)
	}
	w.text("bld", e.Build)
	w.id("cau", e.Causation)
}

func (w *writer) between(e Envelope) {
	w.id("cor", e.Correlation)
	w.text("dev", e.Device)
	w.time("eff", e.Effective)
	if e.Policy != nil {
		w.name("pol")
		w.open('{')
		w.text("hash", e.Policy.Hash)
		w.text("rule", e.Policy.Rule)
		w.close('}')
	}
	if len(e.Private) > 0 {
		w.name("prv")
		w.private(e.Private)
	}
}

func (w *writer) after(e Envelope) {
	if e.Reason != nil {
		w.name("rsn")
		w.open('{')
		w.text("code", e.Reason.Code)
		if e.Reason.Prompted {
			w.name("prompted")
			w.b = append(w.b, "true"...)
		}
		w.close('}')
	}
	w.text("trm", e.Terminal)
	w.text("zone", e.Zone)
}

func (a Actor) empty() bool {
	return a.Subject == "" && a.Kind == "" && a.Role == "" && a.OnBehalfOf == "" && len(a.AuthMethods) == 0
}

// writer appends JSON members; first is true right after an opening bracket.
type writer struct {
	b     []byte
	first bool
}

func (w *writer) comma() {
	if !w.first {
		w.b = append(w.b, ',')
	}
	w.first = false
}

// name writes a member's name; names here need no escapes.
func (w *writer) name(n string) {
	w.comma()
	w.b = append(append(append(w.b, '"'), n...), '"', ':')
}

func (w *writer) open(c byte) { w.b, w.first = append(w.b, c), true }

func (w *writer) close(c byte) { w.b, w.first = append(w.b, c), false }

func (w *writer) text(name, s string) {
	if s != "" {
		w.name(name)
		w.b = appendString(w.b, s)
	}
}

func (w *writer) id(name string, id EventID) {
	if id != (EventID{}) {
		w.name(name)
		w.b = append(id.appendText(append(w.b, '"')), '"')
	}
}

func (w *writer) time(name string, t time.Time) {
	if !t.IsZero() {
		w.name(name)
		w.b = append(t.UTC().AppendFormat(append(w.b, '"'), timeLayout), '"')
	}
}

func (w *writer) bytes(name string, b []byte) {
	if len(b) > 0 {
		w.name(name)
		w.b = append(base64.StdEncoding.AppendEncode(append(w.b, '"'), b), '"')
	}
}

func (w *writer) actor(a Actor) {
	w.open('{')
	if len(a.AuthMethods) > 0 {
		w.name("auth")
		w.open('[')
		for _, m := range a.AuthMethods {
			w.comma()
			w.b = appendString(w.b, m)
		}
		w.close(']')
	}
	w.text("for", a.OnBehalfOf)
	w.text("kind", a.Kind)
	w.text("role", a.Role)
	w.text("sub", a.Subject)
	w.close('}')
}

func (w *writer) clock(c ClockState) {
	w.open('{')
	if c.OffsetUS != 0 {
		w.name("off")
		w.b = strconv.AppendInt(w.b, c.OffsetUS, 10)
	}
	w.text("src", c.Source)
	w.text("st", c.State)
	w.close('}')
}

func (w *writer) private(list []Sealed) {
	w.open('[')
	for _, s := range list {
		w.comma()
		w.open('{')
		w.bytes("ct", s.Ciphertext)
		w.text("f", s.Field)
		w.text("k", s.Key)
		w.bytes("n", s.Nonce)
		w.close('}')
	}
	w.close(']')
}

// maxOffsetUS is the largest integer that every JSON reader keeps exactly.
const maxOffsetUS = 1 << 53

// Check returns ErrBadEvent, with the member, for an envelope without an exact
// JSON form: strings that are not UTF-8, years outside 1 to 9999.
func (e Envelope) Check() error {
	for _, t := range []struct {
		name string
		t    time.Time
	}{{"effective", e.Effective}, {"recorded", e.Recorded}} {
		if y := t.t.UTC().Year(); y < 1 || y > 9999 {
			return fmt.Errorf("envelope: %s in year %d, expected 1 to 9999: %w", t.name, y, ErrBadEvent)
		}
	}
	if o := e.Clock.OffsetUS; o > maxOffsetUS || o < -maxOffsetUS {
		return fmt.Errorf("envelope: clock offset of %d us, expected at most 2^53: %w", o, ErrBadEvent)
	}
	for _, s := range e.strings(make([]string, 0, 16)) {
		if !utf8.ValidString(s) {
			return fmt.Errorf("envelope: %q is not UTF-8: %w", s, ErrBadEvent)
		}
	}
	return nil
}

func (e Envelope) strings(all []string) []string {
	a := e.Actor
	all = append(all, e.Zone, e.Clock.State, e.Clock.Source, a.Subject, a.Kind, a.Role, a.OnBehalfOf,
		e.Terminal, e.Device, e.Build)
	all = append(all, a.AuthMethods...)
	if e.Reason != nil {
		all = append(all, e.Reason.Code)
	}
	if e.Policy != nil {
		all = append(all, e.Policy.Rule, e.Policy.Hash)
	}
	for _, s := range e.Private {
		all = append(all, s.Field, s.Key)
	}
	return all
}

// The wire types mirror docs/formats/envelope.md; only reading uses them.
type wireEnvelope struct {
	Actor       wireActor    `json:"act,omitzero"`
	Build       string       `json:"bld,omitempty"`
	Causation   *EventID     `json:"cau,omitempty"`
	Clock       wireClock    `json:"clk,omitzero"`
	Correlation *EventID     `json:"cor,omitempty"`
	Device      string       `json:"dev,omitempty"`
	Effective   time.Time    `json:"eff,omitzero"`
	Policy      *wirePolicy  `json:"pol,omitempty"`
	Private     []wireSealed `json:"prv,omitempty"`
	Recorded    time.Time    `json:"rec,omitzero"`
	Reason      *wireReason  `json:"rsn,omitempty"`
	Terminal    string       `json:"trm,omitempty"`
	Zone        string       `json:"zone,omitempty"`
}

type wireActor struct {
	AuthMethods []string `json:"auth,omitempty"`
	OnBehalfOf  string   `json:"for,omitempty"`
	Kind        string   `json:"kind,omitempty"`
	Role        string   `json:"role,omitempty"`
	Subject     string   `json:"sub,omitempty"`
}

// IsZero makes omitzero leave an actor out that says nothing.
func (a wireActor) IsZero() bool { return wireToActor(a).empty() }

type wireClock struct {
	OffsetUS int64  `json:"off,omitempty"`
	Source   string `json:"src,omitempty"`
	State    string `json:"st,omitempty"`
}

type wirePolicy struct {
	Hash string `json:"hash,omitempty"`
	Rule string `json:"rule,omitempty"`
}

type wireSealed struct {
	Ciphertext []byte `json:"ct,omitempty"`
	Field      string `json:"f,omitempty"`
	Key        string `json:"k,omitempty"`
	Nonce      []byte `json:"n,omitempty"`
}

type wireReason struct {
	Code     string `json:"code,omitempty"`
	Prompted bool   `json:"prompted,omitempty"`
}

// ParseEnvelope reads an envelope. Members that a later version may add are
// skipped, because their bytes stay in the record all the same.
func ParseEnvelope(raw []byte) (Envelope, error) {
	var w wireEnvelope
	if err := json.Unmarshal(raw, &w); err != nil {
		return Envelope{}, fmt.Errorf("envelope of %d bytes: %w", len(raw), err)
	}
	e := Envelope{
		Effective: w.Effective.UTC(), Zone: w.Zone, Recorded: w.Recorded.UTC(),
		Clock:    ClockState{State: w.Clock.State, OffsetUS: w.Clock.OffsetUS, Source: w.Clock.Source},
		Actor:    wireToActor(w.Actor),
		Terminal: w.Terminal, Device: w.Device, Build: w.Build,
	}
	if w.Causation != nil {
		e.Causation = *w.Causation
	}
	if w.Correlation != nil {
		e.Correlation = *w.Correlation
	}
	if w.Reason != nil {
		e.Reason = &Reason{Code: w.Reason.Code, Prompted: w.Reason.Prompted}
	}
	if w.Policy != nil {
		e.Policy = &PolicyDecision{Rule: w.Policy.Rule, Hash: w.Policy.Hash}
	}
	for _, s := range w.Private {
		e.Private = append(e.Private, Sealed{Field: s.Field, Key: s.Key, Nonce: s.Nonce, Ciphertext: s.Ciphertext})
	}
	return e, nil
}

func wireToActor(a wireActor) Actor {
	return Actor{Subject: a.Subject, Kind: a.Kind, Role: a.Role, AuthMethods: a.AuthMethods, OnBehalfOf: a.OnBehalfOf}
}
