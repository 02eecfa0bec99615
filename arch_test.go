package twinlog_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/twinlog/twinlog/"

// allowed says which rooms each room may look into, and which third parties
// may enter it. A room may always look into itself and the standard library.
// This table is the architecture; ARCHITECTURE.md explains it.
var allowed = map[string]struct{ rooms, guests []string }{
	"domain":      {},
	"projections": {rooms: []string{"domain"}, guests: []string{"github.com/google/cel-go"}},
	"edge":        {rooms: []string{"domain"}, guests: []string{"github.com/google/cel-go"}},
	"graph": {rooms: []string{"domain", "projections"}, guests: []string{
		"github.com/99designs/gqlgen", "github.com/vektah/gqlparser", "github.com/coder/websocket",
	}},
	"adapters": {rooms: []string{"domain", "projections", "edge"}, guests: []string{""}},
	"cmd":      {rooms: []string{"domain", "projections", "edge", "graph", "adapters", "web"}, guests: []string{""}},
	"web":      {},
	"bench":    {rooms: []string{"domain", "projections", "edge", "graph", "adapters", "cmd"}, guests: []string{""}},
	"test":     {rooms: []string{"domain", "projections", "edge", "graph", "adapters", "cmd", "web"}, guests: []string{""}},
}

// neighbours are the only adapters that other adapters may look into.
var neighbours = map[string][]string{
	"adapters/uplink/wire":       {"adapters/uplink/"},
	"adapters/badgerdir":         {"adapters/"},
	"adapters/eventlog/esdbwire": {"adapters/eventlog/"},
}

// alone are packages that may import nothing of the module and no third party,
// so that no mistake of what they judge can be theirs.
var alone = []string{"test/oracle"}

// impure may not be used in the domain and the folds although it is standard
// library: they give the same answer on every machine and every day.
var impure = []string{"net", "os", "os/exec", "syscall", "log", "log/slog", "math/rand", "math/rand/v2", "database/sql"}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		room := roomOf(p.ImportPath)
		if room == "" {
			continue // the root holds only tests
		}
		rule, ok := allowed[room]
		if !ok {
			t.Errorf("%s is in no room of the table", p.ImportPath)
			continue
		}
		kit := strings.HasSuffix(p.ImportPath, "test") // eventlogtest and friends
		for _, imp := range p.Imports {
			switch {
			case slices.Contains(alone, strings.TrimPrefix(p.ImportPath, module)):
				if strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") {
					t.Errorf("%s imports %s: it judges the system, and looks only into the standard library", p.ImportPath, imp)
				}
			case strings.HasPrefix(imp, module):
				if r := roomOf(imp); r != room && !slices.Contains(rule.rooms, r) && (!kit || r != "test") {
					t.Errorf("%s imports %s: %s may not look into %s", p.ImportPath, imp, room, r)
				}
				if room == "adapters" && !adapterMayImport(p.ImportPath, imp) {
					t.Errorf("%s imports %s: adapters do not import each other", p.ImportPath, imp)
				}
			case strings.Contains(strings.SplitN(imp, "/", 2)[0], "."):
				if !kit && !slices.ContainsFunc(rule.guests, func(g string) bool { return strings.HasPrefix(imp, g) }) {
					t.Errorf("%s imports %s: not a guest of %s", p.ImportPath, imp, room)
				}
			case (room == "domain" || room == "projections") && !kit && slices.Contains(impure, imp):
				t.Errorf("%s imports %s: %s is pure", p.ImportPath, imp, room)
			}
		}
	}
}

// packages lists the module's packages with their imports, tests left out.
func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// adapterMayImport reports whether one adapter may look into a package: never
// into another adapter, but into its own folder and the named neighbours.
func adapterMayImport(from, imp string) bool {
	from, imp = strings.TrimPrefix(from, module), strings.TrimPrefix(imp, module)
	if roomOf(module+imp) != "adapters" || strings.HasPrefix(from+"/", imp+"/") || strings.HasPrefix(imp+"/", from+"/") {
		return true
	}
	return slices.ContainsFunc(neighbours[imp], func(n string) bool { return strings.HasPrefix(from, n) })
}

func roomOf(path string) string {
	if path+"/" == module {
		return ""
	}
	return strings.SplitN(strings.TrimPrefix(path+"/", module), "/", 2)[0]
}
