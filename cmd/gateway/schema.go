package gateway

import (
	"encoding/json"

	"github.com/twinlog/twinlog/edge/protocol"
)

// Schema returns the JSON Schema (2020-12) of a configuration, from the same
// keys by which it is read: editors complete and check with it.
func (p Protocols) Schema() []byte {
	var sources []any
	for _, speaks := range p {
		sources = append(sources, source(speaks))
	}
	top := object(topKeys, map[string]any{
		"uplink": object(uplinkKeys, nil), "outbox": object(outboxKeys, nil),
		"sources": list(map[string]any{"anyOf": sources}),
	})
	top["$schema"], top["title"] = "https://json-schema.org/draft/2020-12/schema", "twinlog-edge"
	b, err := json.MarshalIndent(top, "", "  ")
	if err != nil {
		panic(err) // it is made of maps, texts and numbers
	}
	return append(b, '\n')
}

func source(p protocol.Protocol) map[string]any {
	tag := object(append(append([]protocol.Key{}, tagKeys...), optional(p.Keys, protocol.Tag)...), map[string]any{
		"loop": pairOf(), "range": pairOf(), "deadband": object(deadbandKeys, nil),
	})
	device := object(append(append([]protocol.Key{}, deviceKeys...), optional(p.Keys, protocol.Device)...), map[string]any{"tags": list(tag)})
	connection := protocol.Key{Name: p.Name, Need: true, Help: p.Title + ": how the source is reached."}
	return object(append(append([]protocol.Key{}, sourceKeys...), connection), map[string]any{
		"retry": object(retryKeys, nil), "devices": list(device), p.Name: object(inScope(p.Keys, protocol.Source), nil),
	})
}

// optional are a protocol's keys at a place. One that may stand at an outer
// place is not needed here.
func optional(keys []protocol.Key, at protocol.Scope) []protocol.Key {
	out := inScope(keys, at)
	for i := range out {
		out[i].Need = out[i].Need && out[i].In == at
	}
	return out
}

// object is a mapping with keys; those in nested have schemas of their own.
func object(keys []protocol.Key, nested map[string]any) map[string]any {
	properties, need := map[string]any{}, []string{}
	for _, k := range keys {
		property, ok := nested[k.Name].(map[string]any)
		if !ok {
			property = scalarOf(k)
		}
		property["description"] = k.Help
		properties[k.Name] = property
		if k.Need {
			need = append(need, k.Name)
		}
	}
	return map[string]any{"type": "object", "properties": properties, "required": need, "additionalProperties": false}
}

func list(of map[string]any) map[string]any { return map[string]any{"type": "array", "items": of} }

func pairOf() map[string]any {
	return map[string]any{"type": "array", "items": map[string]any{"type": "number"}, "minItems": 2, "maxItems": 2}
}

func scalarOf(k protocol.Key) map[string]any {
	switch k.Kind {
	case protocol.Word:
		return map[string]any{"enum": k.Words}
	case protocol.Int:
		return map[string]any{"type": "integer", "minimum": k.Low, "maximum": k.High}
	case protocol.Number:
		return map[string]any{"type": "number"}
	case protocol.Duration:
		return map[string]any{"type": "string", "pattern": `^([0-9.]+(ns|us|µs|ms|s|m|h))+$|^0$`}
	case protocol.Bool:
		return map[string]any{"type": "boolean"}
	case protocol.HostPort:
		return map[string]any{"type": "string", "pattern": `^.+:[0-9]+$`}
	case protocol.Texts:
		return list(map[string]any{"type": "string"})
	case protocol.Text:
	}
	return map[string]any{"type": []string{"string", "number", "boolean"}}
}
