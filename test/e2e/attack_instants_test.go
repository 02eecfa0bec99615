//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestAbsurdInstants: the ends of time are refused or mean what they say; they
// are never taken for another instant.
func TestAbsurdInstants(t *testing.T) {
	t.Parallel()
	p := serveProduct(t, t.TempDir())
	_, tags := p.pump(t, "pump 1", "P-1", "2020-01-01T00:00:00Z", "n")
	c := newTalker(t, p.mqtt, "P-1")
	c.publish(t, topic("P-1"), message("P-1", 1))
	c.publish(t, topic("P-1"), message("P-1", 2))
	p.folded(t)
	for _, q := range []struct {
		asOf   string
		assets int
		value  any
	}{
		{"0001-01-01T00:00:00Z", 0, nil},
		{"1600-01-01T00:00:00Z", 0, nil},
		{"1677-01-01T00:00:00Z", 0, nil},
		{"2019-12-31T23:59:59.999999999Z", 0, nil},
		{"2261-01-01T00:00:00Z", 5, 2.0},
		{"2262-04-12T00:00:00Z", 5, 2.0},
		{"2554-07-21T23:34:33Z", 5, 2.0}, // 2^64 ns after 1970
		{"9999-12-31T23:59:59Z", 5, 2.0},
	} {
		a, _, err := p.post(`query($at: Moment, $id: ID!) { plant(at: $at) { assets { nodes { id } } tag(id: $id) { value { value } } } }`,
			map[string]any{"at": map[string]any{"asOf": q.asOf}, "id": tags[0]})
		if err != nil {
			t.Fatal(err)
		}
		if a.code() == "BAD_INPUT" {
			continue
		}
		assets, _ := a.at("plant", "assets", "nodes").([]any)
		if value := a.at("plant", "tag", "value", "value"); len(assets) != q.assets || value != q.value || a.code() != "" {
			t.Errorf("asOf %s: %d assets and value %v, want %d and %v: %v", q.asOf, len(assets), value, q.assets, q.value, a.Errors)
		}
	}
	for _, q := range []struct {
		from, to string
		count    float64
	}{
		{"0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", 2},
		{"2554-07-21T23:34:33Z", "9999-12-31T23:59:59Z", 0},
		{"0001-01-01T00:00:00Z", "1600-01-01T00:00:00Z", 0},
		{"2027-01-01T00:00:00Z", "2026-01-01T00:00:00Z", 0},
	} {
		a, _, err := p.post(`query($tags: [ID!]!, $from: Time!, $to: Time!) { plant { series(tags: $tags, from: $from, to: $to) { count } } }`,
			map[string]any{"tags": tags, "from": q.from, "to": q.to})
		if err != nil {
			t.Fatal(err)
		}
		if n := a.at("plant", "series", 0, "count"); a.code() != "BAD_INPUT" && (n != q.count || a.code() != "") {
			t.Errorf("%s to %s: %v samples, want %v: %v", q.from, q.to, n, q.count, a.Errors)
		}
	}
	for _, effective := range []string{"0001-01-01T00:00:00Z", "1600-01-01T00:00:00Z", "2262-04-12T00:00:00Z", "2554-07-21T23:34:34Z", "9999-12-31T00:00:00Z"} {
		a, _, err := p.post(`mutation($in: BindTagInput!) { bindTag(input: $in) { tag { bindings { signal from to } } } }`, map[string]any{"in": map[string]any{
			"tag": tags[0], "device": "P-9", "signal": "absurd", "effective": effective, "reason": map[string]any{"text": "x"},
		}})
		if err != nil || a.code() != "BAD_INPUT" {
			b, _ := json.Marshal(a.Data)
			t.Errorf("bound at %s: code %q, want BAD_INPUT: %s %v", effective, a.code(), b, err)
		}
	}
	if n := p.metric(t, "twinlog_graphql_internal_errors_total"); n != 0 {
		t.Errorf("%d errors that nobody foresaw: %.2000s", n, p.stderr)
	}
}

// TestAtOnce sends the same mutation and contradicting ones at once.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	p := serveProduct(t, t.TempDir())
	pump, _ := p.pump(t, "pump 1", "P-1", "2020-01-01T00:00:00Z", "n")
	line := p.ask(t, `query($id: ID!) { plant { asset(id: $id) { parent { id } } } }`, map[string]any{"id": pump}).text("plant", "asset", "parent", "id")
	reason := map[string]any{"text": "at once"}
	const n = 20
	all := func(f func(i int) (string, map[string]any)) (out [n]answer) {
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				query, in := f(i)
				var err error
				if out[i], _, err = p.post(query, map[string]any{"in": in}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		return out
	}
	register := `mutation($in: RegisterAssetInput!) { registerAsset(input: $in) { position repeated eventIds asset { id } } }`
	// One key: done once, told to all.
	done, ids := 0, map[string]bool{}
	for _, a := range all(func(int) (string, map[string]any) {
		return register, map[string]any{"name": "twice", "level": "EQUIPMENT", "parent": line, "reason": reason, "idempotencyKey": "k-1"}
	}) {
		if a.at("registerAsset", "repeated") == false {
			done++
		}
		if id := a.text("registerAsset", "asset", "id"); id != "" {
			ids[id] = true
		}
		if a.code() != "" {
			t.Errorf("with one key: %+v", a.Errors)
		}
	}
	if done != 1 || len(ids) != 1 {
		t.Errorf("with one key: done %d times, ids %v", done, ids)
	}
	// One name and no key: one of them wins.
	done = 0
	for _, a := range all(func(int) (string, map[string]any) {
		return register, map[string]any{"name": "rivals", "level": "EQUIPMENT", "parent": line, "reason": reason}
	}) {
		if a.code() == "" {
			done++
		} else if a.code() != "DUPLICATE_NAME" {
			t.Errorf("with one name: %+v", a.Errors)
		}
	}
	if done != 1 {
		t.Errorf("%d assets were registered under one name", done)
	}
	// Two components, each moved under the other, at instants of the past and now.
	var pair [2]string
	for i := range pair {
		a := p.ask(t, register, map[string]any{"in": map[string]any{
			"name": fmt.Sprint("part ", i), "level": "COMPONENT", "parent": pump, "reason": reason, "effective": "2021-01-01T00:00:00Z",
		}})
		pair[i] = a.text("registerAsset", "asset", "id")
	}
	begin := time.Date(2022, 1, 1, 0, 0, 0, 0, time.UTC)
	moved := 0
	for _, a := range all(func(i int) (string, map[string]any) {
		return `mutation($in: MoveAssetInput!) { moveAsset(input: $in) { position } }`, map[string]any{
			"asset": pair[i%2], "to": pair[1-i%2], "reason": reason, "effective": begin.AddDate(0, i/4, 0).Format(time.RFC3339),
		}
	}) {
		if a.code() == "" {
			moved++
		} else if a.code() != "ILLEGAL_STATE" {
			t.Errorf("moved at once: %+v", a.Errors)
		}
	}
	p.folded(t)
	for month := range 12 {
		at := map[string]any{"asOf": begin.AddDate(0, month, 3).Format(time.RFC3339)}
		a := p.ask(t, `query($at: Moment, $a: ID!, $b: ID!) { plant(at: $at) { a: asset(id: $a) { path ancestors { id } } b: asset(id: $b) { path ancestors { id } } } }`,
			map[string]any{"at": at, "a": pair[0], "b": pair[1]})
		for i, name := range []string{"a", "b"} {
			up, _ := a.at("plant", name, "ancestors").([]any)
			for k := range up {
				if a.text("plant", name, "ancestors", k, "id") == pair[i] {
					t.Errorf("%v: part %d lies below itself", at, i)
				}
			}
			if a.text("plant", name, "path") == "" || len(up) < 4 {
				t.Errorf("%v: part %d: %v", at, i, a.Data)
			}
		}
	}
	t.Logf("%d of %d moves were done", moved, n)
}
