//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twinlog/twinlog/test/budget"
)

// snapshotQuery asks for nearly everything that a plant has. Ages are left out:
// they count to the time of the question.
const snapshotQuery = `query($at: Moment) { plant(at: $at) {
  settings { allowedSkew staleMultiple revision }
  moment { knownAt recorded }
  assets(first: 20) { nodes { id revision name path level classVersion nameplate validFrom retired parent { id } ancestors { name }
    children(first: 5) { nodes { id } } relationships { nodes { type to { id } since } }
    devices { nodes { name } }
    tags { nodes { id path bindings { device signal from to } value { value quality { statusCode raw } sourceTime serverTime recorded position }
      samples(from: "2020-01-01T00:00:00Z", to: "2090-01-01T00:00:00Z", bounds: true, first: 200) { nodes { sourceTime value quality { statusCode } ref { stream revision index } } } } }
    twin { reported { tag { id } value position } } } }
  assetClasses { nodes { name version revision tags { name } } }
  tagValues { tags paths values status start times position }
  devices { nodes { name type gateway firmware online statusReason statusAt firstSeen registered signals assets { path } } }
} }`

// snapshot asks for everything at a moment, or now.
func (p *product) snapshot(t *testing.T, at map[string]any) map[string]any {
	t.Helper()
	a := p.ask(t, snapshotQuery, map[string]any{"at": at})
	m, _ := a.at("plant").(map[string]any)
	return m
}

func known(position any) map[string]any {
	return map[string]any{"known": map[string]any{"at": position}}
}

// sample is a message with one value, told by an unordered device.
func sample(device string, id int, at time.Time, value float64, quality int) []byte {
	return fmt.Appendf(nil, `{"schema_version":"2.1","msg_id":"%s-%d","device_id":%q,"ts":%d,"d":{"n":{"v":%v,"q":%d}}}`,
		device, id, device, at.UnixMilli(), value, quality)
}

// TestEveryMomentIsAnsweredAsItWas lives through a small history of late,
// simultaneous, future-dated and good samples while tags are bound anew, also in
// the past, and assets are moved and renamed. After each step it asks for
// everything. Later each of these answers must come again: by its position, by
// rebuilt read models after a kill, and by read models folded further.
func TestEveryMomentIsAnsweredAsItWas(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(budget.Seed(t), 7))
	dir := t.TempDir()
	p := serveProduct(t, dir)
	c := newTalker(t, p.mqtt, "talker")
	begin := time.Now().UTC().Truncate(time.Millisecond)
	pump, tags := p.pump(t, "pump 1", "D-0", "2020-01-01T00:00:00Z", "n")
	other, _ := p.pump(t, "pump 2", "D-1", "2024-01-01T00:00:00Z", "n")
	line := p.ask(t, `query($id: ID!) { plant { asset(id: $id) { parent { id } } } }`, map[string]any{"id": other}).text("plant", "asset", "parent", "id")
	reason := map[string]any{"text": "it is tried"}

	type moment struct {
		what string
		then map[string]any
	}
	var moments []moment
	did := map[string]bool{}
	look := func(what string) {
		t.Helper()
		p.folded(t)
		moments = append(moments, moment{what, p.snapshot(t, nil)})
		did[what] = true
	}
	mutate := func(name, input string, in map[string]any) {
		t.Helper()
		in["reason"] = reason
		a, _, err := p.post(fmt.Sprintf(`mutation($in: %s!) { %s(input: $in) { position } }`, input, name), map[string]any{"in": in})
		if err != nil {
			t.Fatal(err)
		}
		if code := a.code(); code != "" && code != "ILLEGAL_STATE" && code != "DUPLICATE_NAME" && code != "CONFLICT" && code != "BAD_INPUT" {
			t.Fatalf("%s %v: %+v", name, in, a.Errors)
		}
	}
	steps := 60
	for i := range steps {
		device := fmt.Sprint("D-", rng.IntN(2))
		now := time.Now().UTC()
		tell := func(what string, at time.Time) {
			t.Helper()
			c.publish(t, topic(device), sample(device, i, at, float64(i), []int{192, 68, 24}[rng.IntN(3)]))
			look(what)
		}
		switch k := rng.IntN(17); {
		case i == 3 || k == 0:
			tell("future", now.Add(time.Hour))
		case i == 4 || k == 1:
			tell("nearly future", now.Add(60*time.Second+200*time.Millisecond))
			if i == 4 { // whose time then comes
				time.Sleep(250 * time.Millisecond)
			}
		case k == 2:
			tell("days late", now.Add(-time.Duration(rng.IntN(100))*time.Hour))
		case k == 3:
			tell("same time", begin)
		case i == 10 || k == 4:
			at := begin.Add(-time.Duration(rng.IntN(48)) * time.Hour)
			mutate("bindTag", "BindTagInput", map[string]any{"tag": tags[0], "device": device, "signal": "n", "effective": at.Format(time.RFC3339Nano)})
			look("bound in the past")
		case i == 12 || k == 5:
			mutate("bindTag", "BindTagInput", map[string]any{"tag": tags[0], "device": device, "signal": "n"})
			look("bound")
		case i == 14 || k == 6:
			mutate("moveAsset", "MoveAssetInput", map[string]any{"asset": pump, "to": line, "effective": begin.Add(-time.Duration(rng.IntN(9)) * time.Hour).Format(time.RFC3339)})
			look("moved in the past")
		case i == 16 || k == 7:
			mutate("renameAsset", "RenameAssetInput", map[string]any{"asset": other, "name": fmt.Sprint("pump 2", rng.IntN(3))})
			look("renamed")
		case k == 8:
			mutate("updateNameplate", "UpdateNameplateInput", map[string]any{"asset": pump, "patch": map[string]any{"serial": i}})
			look("nameplate")
		case k == 9:
			c.publish(t, place+"/pump/"+device+"/status", fmt.Appendf(nil, `{"online":%v}`, rng.IntN(2) == 0))
			look("status")
		case i == 20 || k == 11:
			mutate("changeSettings", "ChangeSettingsInput", map[string]any{"allowedSkew": []string{"PT0S", "PT10S", "PT60S", "PT2H"}[rng.IntN(4)]})
			look("another skew")
		case i == 19 || k == 12:
			tell("a little ahead", now.Add(30*time.Second))
		case k == 10:
			mutate("bindTag", "BindTagInput", map[string]any{"tag": tags[0]})
			look("unbound")
		default:
			tell("good", now)
		}
	}

	again := func(how string) {
		t.Helper()
		wrong := map[string]bool{}
		for _, m := range moments {
			at, _ := m.then["moment"].(map[string]any)["knownAt"].(string)
			got := p.snapshot(t, known(at))
			if diff := differences("plant", m.then, got); len(diff) > 0 && !wrong[m.what] {
				wrong[m.what] = true
				t.Errorf("%s: after %q, at %s, then and now:\n%.1000s", how, m.what, at, strings.Join(diff, "\n"))
			}
		}
	}
	again("live")
	// The same at random instants of the plant's clock, for which there was no answer then.
	var questions, answers []map[string]any
	for range 40 {
		at := map[string]any{"asOf": begin.Add(time.Duration(rng.Int64N(int64(110*time.Hour))) - 105*time.Hour).Format(time.RFC3339Nano)}
		m := moments[rng.IntN(len(moments))]
		at["known"] = map[string]any{"at": m.then["moment"].(map[string]any)["knownAt"]}
		questions = append(questions, at)
		answers = append(answers, p.snapshot(t, at))
	}
	p.kill()
	if err := os.RemoveAll(filepath.Join(dir, "views")); err != nil {
		t.Fatal(err)
	}
	p = serveProduct(t, dir)
	p.folded(t)
	again("rebuilt")
	for i, at := range questions {
		if diff := differences("plant", answers[i], p.snapshot(t, at)); len(diff) > 0 {
			b, _ := json.Marshal(at)
			t.Fatalf("rebuilt: at %s, live and rebuilt:\n%.1000s", b, strings.Join(diff, "\n"))
		}
	}
	var names []string
	for name := range did {
		names = append(names, name)
	}
	slices.Sort(names)
	t.Logf("%d moments: %v", len(moments), names)
}

// differences lists where two answers are not the same.
func differences(path string, a, b any) (out []string) {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			break
		}
		for k := range x {
			out = append(out, differences(path+"."+k, x[k], y[k])...)
		}
		slices.Sort(out)
		return out
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			break
		}
		for i := range x {
			out = append(out, differences(fmt.Sprint(path, "[", i, "]"), x[i], y[i])...)
		}
		return out
	}
	if !reflect.DeepEqual(a, b) {
		out = append(out, fmt.Sprintf("%s: %v, %v", path, a, b))
	}
	return out
}
