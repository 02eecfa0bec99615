package asset

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// maxPatch keeps a nameplate a nameplate: documents belong elsewhere.
const maxPatch = 64 << 10

// NameplateDecider is the behaviour of an asset's own stream. Its state is the
// number of facts in it; what the nameplate then reads is a question of time.
func NameplateDecider() eventlog.Decider[uint64, UpdateNameplate] {
	return eventlog.Decider[uint64, UpdateNameplate]{
		Decode: Decode,
		Evolve: func(n uint64, _ eventlog.Event) uint64 { return n + 1 },
		Decide: func(_ uint64, c UpdateNameplate) ([]eventlog.Event, error) {
			if err := checkTime(c.Effective); err != nil {
				return nil, fmt.Errorf("asset %s: %w", c.Asset, err)
			}
			patch, err := checkObject(c.Patch)
			if err != nil {
				return nil, fmt.Errorf("asset %s: %w", c.Asset, err)
			}
			if string(patch) == "{}" {
				return nil, nil
			}
			return []eventlog.Event{NameplateUpdated{Effective: c.Effective.UTC(), Patch: patch}}, nil
		},
	}
}

// checkObject returns a JSON object in its canonical form.
func checkObject(doc json.RawMessage) (json.RawMessage, error) {
	if len(doc) > maxPatch {
		return nil, fmt.Errorf("%d bytes, expected at most %d: %w", len(doc), maxPatch, ErrBadPatch)
	}
	canonical, err := eventlog.CanonicalJSON(doc)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadPatch, err)
	}
	if canonical[0] != '{' {
		return nil, fmt.Errorf("%.40s, expected a JSON object: %w", canonical, ErrBadPatch)
	}
	return canonical, nil
}

// MergePatch applies a JSON Merge Patch (RFC 7396 §2) to a document and returns
// canonical JSON. An empty target is null. Numbers keep their digits.
func MergePatch(target, patch json.RawMessage) (json.RawMessage, error) {
	p, err := decodeJSON(patch)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadPatch, err)
	}
	var t any
	if len(target) > 0 {
		if t, err = decodeJSON(target); err != nil {
			return nil, fmt.Errorf("target: %w: %w", ErrBadPatch, err)
		}
	}
	return eventlog.CanonicalJSON(mergePatch(t, p))
}

func mergePatch(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, ok := target.(map[string]any)
	if !ok {
		t = map[string]any{}
	}
	for name, v := range p {
		if v == nil {
			delete(t, name)
		} else {
			t[name] = mergePatch(t[name], v)
		}
	}
	return t
}

func decodeJSON(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	return v, d.Decode(&v)
}
