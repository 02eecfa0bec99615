package importer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/test/budget"
)

// line is a row of a table as the test thinks of it.
type line struct {
	device string
	at     time.Time
	values [3]any // of signals; nil: empty
}

var signals = []string{"Flow (m3/h)", "druck°", "état"}

// said is what the line says, in a form that nothing in the package makes.
func (l line) said() string {
	s := fmt.Sprintf("%s at %d:", l.device, l.at.UnixMilli())
	for i, v := range l.values {
		switch v := v.(type) {
		case nil:
		case float64:
			s += fmt.Sprintf(" %s=float %x", signals[i], math.Float64bits(v))
		case int64:
			s += fmt.Sprintf(" %s=int %d", signals[i], v)
		default:
			s += fmt.Sprintf(" %s=%T %v", signals[i], v, v)
		}
	}
	return s
}

// told is the same of a stored row.
func told(r telemetry.Row) string {
	s := fmt.Sprintf("%s at %d:", r.Device, r.SourceTime.UnixMilli())
	for _, name := range signals {
		for _, m := range r.Samples {
			switch {
			case m.Signal != name:
			case m.Value.Kind == telemetry.Float64:
				s += fmt.Sprintf(" %s=float %x", name, m.Value.Bits)
			case m.Value.Kind == telemetry.Int64:
				s += fmt.Sprintf(" %s=int %d", name, int64(m.Value.Bits))
			case m.Value.Kind == telemetry.Bool:
				s += fmt.Sprintf(" %s=bool %v", name, m.Value.Bits == 1)
			case m.Value.Kind == telemetry.String:
				s += fmt.Sprintf(" %s=string %s", name, m.Value.Str)
			}
		}
	}
	return s
}

var anyCell = rapid.OneOf(
	rapid.Just(any(nil)),
	rapid.Map(rapid.Float64Range(-1e6, 1e6), func(f float64) any { return f }),
	rapid.SampledFrom([]any{0.0, 1.5, -2.25, 1e300, 5e-324, int64(9007199254740993), int64(math.MaxInt64), int64(math.MinInt64 + 1), true, false, "läuft", "a;b", "c,d e", `say "x"`, "zwei\nZeilen"}),
	rapid.Just(any(strings.Repeat("x", 100_000))), // a few of them fill an append
)

var anyLine = rapid.Custom(func(t *rapid.T) line {
	l := line{
		device: rapid.SampledFrom([]string{"P-1", "Pumpe 2/a"}).Draw(t, "device"),
		at:     time.UnixMilli(1_780_000_000_000 + rapid.Int64Range(0, 50).Draw(t, "at")*100).UTC(),
	}
	for i := range l.values {
		l.values[i] = anyCell.Draw(t, signals[i])
	}
	if l.values == [3]any{} {
		l.values[0] = 1.0
	}
	return l
})

func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return fmt.Sprint(v)
}

// file writes lines in one of the forms that people have.
func file(lines []line, rnd *rand.Rand) (Options, []byte) {
	var b bytes.Buffer
	if rnd.IntN(2) == 0 {
		b.WriteString("\ufeff")
	}
	if rnd.IntN(3) == 0 {
		for _, l := range lines {
			m := map[string]any{"ts": l.at.UnixMilli(), "device": l.device}
			for i, v := range l.values {
				if v != nil {
					m[signals[i]] = v
				}
			}
			j, err := json.Marshal(m)
			if err != nil {
				panic(err)
			}
			b.Write(append(j, '\n'))
		}
		return Options{Name: "x.ndjson", Format: "ndjson"}, b.Bytes()
	}
	order, comma := rnd.Perm(3), []string{",", ";", "\t"}[rnd.IntN(3)]
	put := func(cells ...string) {
		for i, c := range cells {
			if i > 0 {
				b.WriteString(comma)
			}
			b.WriteString(`"` + strings.ReplaceAll(c, `"`, `""`) + `"`)
		}
		b.WriteString([]string{"\n", "\r\n"}[rnd.IntN(2)])
	}
	o := Options{Name: fmt.Sprintf("%d.csv", rnd.IntN(10)), Format: "csv", Zone: "Europe/Berlin"}
	put("Device", "timestamp", signals[order[0]], signals[order[1]], signals[order[2]])
	for _, l := range lines {
		at := l.at.Format(time.RFC3339Nano)
		switch rnd.IntN(3) {
		case 0:
			at = strconv.FormatInt(l.at.UnixMilli(), 10)
		case 1:
			at = l.at.Add(2 * time.Hour).Format("2006-01-02 15:04:05.999") // summer time
		}
		put(l.device, at, text(l.values[order[0]]), text(l.values[order[1]]), text(l.values[order[2]]))
	}
	return o, b.Bytes()
}

var errBroken = errors.New("broken for the test")

// breaking fails an append, before or after its effect.
type breaking struct {
	eventlog.Log
	left  int
	after bool
}

func (b *breaking) Append(ctx context.Context, id eventlog.StreamID, e eventlog.Expected, events ...eventlog.NewEvent) (eventlog.Appended, error) {
	b.left--
	if b.left == 0 && b.after {
		if _, err := b.Log.Append(ctx, id, e, events...); err != nil {
			return eventlog.Appended{}, err
		}
	}
	if b.left <= 0 {
		return eventlog.Appended{}, errBroken
	}
	return b.Log.Append(ctx, id, e, events...)
}

// stored reads all rows of a log, and how often each is there.
func stored(t rapid.TB, log eventlog.Log) map[string]int {
	all := map[string]int{}
	for rec, err := range log.ReadAll(context.Background(), 0, eventlog.Forwards, eventlog.Filter{Types: []string{eventlog.TelemetryRecorded}}) {
		if err != nil {
			t.Fatal(err)
		}
		row, err := telemetry.Decode(rec.Data)
		if err != nil {
			t.Fatal(err)
		}
		all[told(row)]++
	}
	return all
}

func bring(log eventlog.Log, r io.Reader, o Options) (Progress, []Fault, error) {
	var faults []Fault
	p, err := Samples(context.Background(), Log{Log: log}, r, o, Hooks{Fault: func(f Fault) { faults = append(faults, f) }})
	return p, faults, err
}

// TestWhatIsKnownIsNotStoredAgain imports a table in pieces, in any form and
// order, broken off at any append: what is in the log then is each row once.
func TestWhatIsKnownIsNotStoredAgain(t *testing.T) {
	seed, end := budget.Seed(t), time.Now().Add(budget.For(t)/4)
	rnd := rand.New(rand.NewPCG(seed, 0))
	checks, broken := 0, 0
	once := func(make func(t *rapid.T) eventlog.Log) func(t *rapid.T) {
		return func(t *rapid.T) {
			checks++
			log := make(t)
			table := rapid.SliceOfN(anyLine, 1, 30).Draw(t, "table")
			rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "forms"), 1))
			for range rapid.IntRange(0, 4).Draw(t, "imports") {
				permuted := slices.Clone(table)
				rnd.Shuffle(len(permuted), func(i, j int) { permuted[i], permuted[j] = permuted[j], permuted[i] })
				from := rnd.IntN(len(table))
				o, text := file(permuted[from:from+(len(table)-from+1)/2+rnd.IntN((len(table)-from)/2+1)], rnd)
				_, faults, err := bring(&breaking{log, 1 + rnd.IntN(8), rnd.IntN(2) == 0}, bytes.NewReader(text), o)
				if err != nil && !errors.Is(err, errBroken) || len(faults) > 0 {
					t.Fatalf("%v, faults %v, in %.500s", err, faults, text)
				}
				if err != nil {
					broken++
				}
			}
			o, text := file(table, rnd)
			first, faults, err := bring(log, bytes.NewReader(text), o)
			if err != nil || len(faults) > 0 {
				t.Fatalf("%v, faults %v, in %.500s", err, faults, text)
			}
			if first.Rows != len(table) || first.Stored+first.Known != len(table) {
				t.Fatalf("%+v of %d rows", first, len(table))
			}
			want := map[string]int{}
			for _, l := range table {
				want[l.said()] = 1
			}
			if diff := cmp.Diff(want, stored(t, log)); diff != "" {
				t.Fatal(diff)
			}
			head, _, _ := log.Head(context.Background())
			o, text = file(table, rnd)
			again, _, err := bring(log, bytes.NewReader(text), o)
			if now, _, _ := log.Head(context.Background()); err != nil || again.Stored != 0 || again.Known != len(table) || now != head {
				t.Fatalf("the second time: %+v, %v, head %d then %d", again, err, head, now)
			}
		}
	}
	for first := true; first || time.Now().Before(end); first = false {
		rapid.Check(t, once(func(*rapid.T) eventlog.Log { return memlog.New("o", time.Now) }))
	}
	n, dir := 0, t.TempDir()
	for end := time.Now().Add(budget.For(t) / 8); n < 3 || time.Now().Before(end); n++ {
		onBadger(t, filepath.Join(dir, strconv.Itoa(n)), rnd)
	}
	t.Logf("%d tables in memory, %d imports broken off, %d tables on disk", checks, broken, n)
	if broken == 0 {
		t.Error("nothing was ever broken off")
	}
}

// onBadger imports halves that overlap, with the log closed and opened between.
func onBadger(t *testing.T, dir string, rnd *rand.Rand) {
	t.Helper()
	open := func() *badgerlog.Log {
		log, err := badgerlog.Open(t.Context(), dir, badgerlog.Config{IDs: telemetry.DeriveID})
		if err != nil {
			t.Fatal(err)
		}
		return log
	}
	table := rapid.SliceOfN(anyLine, 20, 60).Example(int(rnd.Uint32()))
	want := map[string]int{}
	for _, l := range table {
		want[l.said()] = 1
	}
	for i, part := range [][]line{table[:len(table)/2], table[len(table)/4:], table} {
		log := open()
		o, text := file(part, rnd)
		p, faults, err := bring(log, bytes.NewReader(text), o)
		if err != nil || len(faults) > 0 || i == 2 && p.Stored > 0 {
			t.Fatalf("import %d: %+v, %v, %v", i, p, faults, err)
		}
		if i == 2 {
			if diff := cmp.Diff(want, stored(t, log)); diff != "" {
				t.Fatal(diff)
			}
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
