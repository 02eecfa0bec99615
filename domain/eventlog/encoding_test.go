package eventlog

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// wire gives the envelope to encoding/json by way of the reading types, so the
// hand-written marshal is held against an independent one.
func wire(e Envelope) wireEnvelope {
	w := wireEnvelope{
		Actor: wireActor{e.Actor.AuthMethods, e.Actor.OnBehalfOf, e.Actor.Kind, e.Actor.Role, e.Actor.Subject},
		Build: e.Build, Clock: wireClock{e.Clock.OffsetUS, e.Clock.Source, e.Clock.State},
		Device: e.Device, Effective: e.Effective.UTC(), Recorded: e.Recorded.UTC(), Terminal: e.Terminal, Zone: e.Zone,
	}
	if e.Causation != (EventID{}) {
		w.Causation = &e.Causation
	}
	if e.Correlation != (EventID{}) {
		w.Correlation = &e.Correlation
	}
	if e.Policy != nil {
		w.Policy = &wirePolicy{e.Policy.Hash, e.Policy.Rule}
	}
	if e.Reason != nil {
		w.Reason = &wireReason{e.Reason.Code, e.Reason.Prompted}
	}
	for _, s := range e.Private {
		w.Private = append(w.Private, wireSealed{s.Ciphertext, s.Field, s.Key, s.Nonce})
	}
	return w
}

func drawTime(t *rapid.T, name string) time.Time {
	if rapid.Bool().Draw(t, name+" none") {
		return time.Time{}
	}
	return time.Unix(rapid.Int64Range(-6e10, 2e11).Draw(t, name+" s"), rapid.Int64Range(0, 999_999_999).Draw(t, name+" ns")).UTC()
}

func drawEnvelope(t *rapid.T) Envelope {
	text := rapid.OneOf(rapid.Just(""), rapid.String(), rapid.StringN(0, 20, 40))
	id := func(name string) (id EventID) {
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 0, 16).Draw(t, name))
		return id
	}
	s := func(name string) string { return text.Draw(t, name) }
	e := Envelope{
		Effective: drawTime(t, "effective"), Zone: s("zone"), Recorded: drawTime(t, "recorded"),
		Clock:    ClockState{s("state"), rapid.Int64Range(-maxOffsetUS, maxOffsetUS).Draw(t, "offset"), s("source")},
		Actor:    Actor{s("subject"), s("kind"), s("role"), rapid.SliceOfN(text, 0, 3).Draw(t, "auth"), s("for")},
		Terminal: s("terminal"), Device: s("device"), Correlation: id("correlation"), Causation: id("causation"), Build: s("build"),
	}
	if len(e.Actor.AuthMethods) == 0 {
		e.Actor.AuthMethods = nil
	}
	if rapid.Bool().Draw(t, "reason") {
		e.Reason = &Reason{s("code"), rapid.Bool().Draw(t, "prompted")}
	}
	if rapid.Bool().Draw(t, "policy") {
		e.Policy = &PolicyDecision{s("rule"), s("hash")}
	}
	for range rapid.IntRange(0, 2).Draw(t, "private") {
		bytes := rapid.SliceOfN(rapid.Byte(), 1, 20)
		e.Private = append(e.Private, Sealed{s("field"), s("key"), bytes.Draw(t, "nonce"), bytes.Draw(t, "ciphertext")})
	}
	if rapid.IntRange(0, 3).Draw(t, "bare") == 0 { // the telemetry envelope and its neighbours
		e = Envelope{Recorded: e.Recorded, Clock: e.Clock}
	}
	return e
}

func TestEnvelopeBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEnvelope(t)
		if err := e.Check(); err != nil {
			t.Fatal(err)
		}
		want, err := CanonicalJSON(wire(e))
		if err != nil {
			t.Fatal(err)
		}
		got := e.AppendCanonical([]byte("before"))
		if string(got) != "before"+string(want) {
			t.Fatalf("\n got %s\nwant before%s", got, want)
		}
		back, err := ParseEnvelope(want)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, back); diff != "" {
			t.Fatal(diff)
		}
		stencil, stamp := e.Stencil([]byte("x")), NewStamp(e.Recorded, e.Clock)
		if got := stencil.Append([]byte("y"), stamp); string(got) != "y"+string(want) {
			t.Fatalf("stencil %s with %s\n got %s\nwant y%s", stencil.Text, stamp, got, want)
		}
		if n := stencil.Size(stamp); n != len(want) {
			t.Fatalf("stencil %s with %s: size %d, want %d", stencil.Text, stamp, n, len(want))
		}
	})
}

// TestEnvelopeGolden is docs/formats/envelope.md: these bytes never change.
func TestEnvelopeGolden(t *testing.T) {
	at := time.Date(2026, 11, 24, 3, 12, 0, 500_000_000, time.FixedZone("", 3600))
	for _, c := range []struct {
		name, want string
		env        Envelope
	}{
		{"telemetry", `{"rec":"2026-11-24T02:12:00.5Z"}`, Envelope{Recorded: at}},
		{
			"everything", `{"act":{"auth":["none"],"for":"p-2","kind":"HUMAN","role":"operator","sub":"p-1"},"bld":"v1+c0ffee",` +
				`"cau":"0102030405060708090a0b0c0d0e0f10","clk":{"off":-30000000,"src":"ntp:pool","st":"SYNCED"},` +
				`"cor":"0102030405060708090a0b0c0d0e0f10","dev":"d-1","eff":"2026-11-24T02:12:00.5Z","pol":{"hash":"ab","rule":"r1"},` +
				`"prv":[{"ct":"BAUG","f":"reason.text","k":"p-1/audit","n":"AQID"}],"rec":"2026-11-24T02:12:00.5Z",` +
				`"rsn":{"code":"CALIBRATION","prompted":true},"trm":"t-1","zone":"Europe/Berlin"}`,
			Envelope{
				Effective: at, Zone: "Europe/Berlin", Recorded: at, Clock: ClockState{"SYNCED", -30_000_000, "ntp:pool"},
				Actor:  Actor{"p-1", Human, "operator", []string{"none"}, "p-2"},
				Reason: &Reason{"CALIBRATION", true}, Terminal: "t-1", Device: "d-1",
				Correlation: EventID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
				Causation:   EventID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
				Policy:      &PolicyDecision{"r1", "ab"}, Build: "v1+c0ffee",
				Private: []Sealed{{"reason.text", "p-1/audit", []byte{1, 2, 3}, []byte{4, 5, 6}}},
			},
		},
	} {
		want := bytes.ReplaceAll([]byte(c.want), []byte(`"0102030405060708090a0b0c0d0e0f10"`), []byte(`"01020304-0506-0708-090a-0b0c0d0e0f10"`))
		if got := c.env.AppendCanonical(nil); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, want)
		}
	}
}

func TestEnvelopeCheck(t *testing.T) {
	for name, e := range map[string]Envelope{
		"not UTF-8":         {Build: "\xff"},
		"not UTF-8 inside":  {Private: []Sealed{{Field: "\xff"}}},
		"year 10000":        {Effective: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"year 0":            {Effective: time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)},
		"offset not exact":  {Clock: ClockState{OffsetUS: 1<<53 + 1}},
		"auth is not UTF-8": {Actor: Actor{AuthMethods: []string{"\xff"}}},
	} {
		if err := e.Check(); !errors.Is(err, ErrBadEvent) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParseEnvelope: no panic, and what is read has stable canonical bytes.
func FuzzParseEnvelope(f *testing.F) {
	f.Add([]byte(`{"rec":"2026-11-24T02:12:00.5Z"}`))
	f.Add([]byte(`{"act":{"auth":["none"],"kind":"HUMAN"},"cau":"01020304-0506-0708-090a-0b0c0d0e0f10","prv":[{"ct":"BAUG"}],"new":1}`))
	f.Add([]byte(`{"eff":"0000-01-01T00:00:00Z","clk":{"off":-1}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := ParseEnvelope(raw)
		if err != nil || e.Check() != nil {
			return
		}
		once := e.AppendCanonical(nil)
		again, err := ParseEnvelope(once)
		if err != nil || !bytes.Equal(once, again.AppendCanonical(nil)) {
			t.Fatalf("%q became %q and then %q (%v)", raw, once, again.AppendCanonical(nil), err)
		}
	})
}

func BenchmarkAppendCanonical(b *testing.B) {
	e := Envelope{Recorded: time.Now(), Actor: Actor{Subject: "gw-1", Kind: Device}}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = e.AppendCanonical(dst[:0])
	}
}
