package esdbwire_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/twinlog/twinlog/adapters/eventlog/esdbwire"
	"github.com/twinlog/twinlog/domain/eventlog"
)

func TestAnEnvelopeTravelsAsItIs(t *testing.T) {
	env := []byte(`{"act":{"sub":"p-1"},"rec":"2026-01-02T03:04:05Z"}`)
	for contentType, wire := range map[string]string{
		"": eventlog.JSON, eventlog.JSON: eventlog.JSON, esdbwire.Binary: esdbwire.Binary,
	} {
		custom, got, err := esdbwire.Pack(contentType, env)
		if err != nil || !bytes.Equal(custom, env) || got != wire {
			t.Errorf("%q: %s %s, %v", contentType, custom, got, err)
		}
	}
	custom, wire, err := esdbwire.Pack("application/x-row", env)
	if err != nil || wire != esdbwire.Binary || string(custom) != `{"cty":"application/x-row","act":{"sub":"p-1"},"rec":"2026-01-02T03:04:05Z"}` {
		t.Fatalf("%s %s, %v", custom, wire, err)
	}
	if got, typ := esdbwire.Unpack(custom, wire); !bytes.Equal(got, env) || typ != "application/x-row" {
		t.Errorf("back: %s %s", got, typ)
	}
	if _, _, err := esdbwire.Pack("", []byte(`{"cty":"a"}`)); !errors.Is(err, eventlog.ErrBadEvent) {
		t.Errorf("an envelope like a packed one: %v", err)
	}
}

// FuzzForeignMetadata: whatever a client hands in, it gets back, and it is an envelope meanwhile.
func FuzzForeignMetadata(f *testing.F) {
	for _, s := range []string{
		"", "{}", "{ }", "[]", "null", `{"$correlationId":"x"}`, `{"act":5}`, "\x00\xff", `{"xmd":"aGk="}`, `{"cty":"a/b"}`,
		`{"cty":"a/b","rec":"2026-01-01T00:00:00Z"}`, `{"cty":"a","cty":"b"}`, `{"cty":"application/json"}`, `{"cty":"a","xmd":"aGk="}`,
		`{"cty":"a",}`, `{"cty":"\u0061"}`, `{"xmd":1}`, `{"cty" :"a"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, custom []byte) {
		env, typ := esdbwire.Unpack(custom, eventlog.JSON)
		if _, err := eventlog.ParseEnvelope(env); err != nil {
			t.Fatalf("%q became %q, which is no envelope: %v", custom, env, err)
		}
		got, _, err := esdbwire.Pack(typ, env)
		if err != nil || !bytes.Equal(got, custom) {
			t.Fatalf("%q became %q (%s) and then %q, %v", custom, env, typ, got, err)
		}
	})
}
