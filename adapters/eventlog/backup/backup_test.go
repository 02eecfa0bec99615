package backup_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/backup"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/test/budget"
)

func derive(origin string, stream eventlog.StreamID, typ string, data []byte) (eventlog.EventID, bool) {
	sum := sha256.Sum256([]byte(origin + "|" + string(stream) + "|" + typ + "|" + string(data)))
	return eventlog.EventID(sum[:16]), typ == eventlog.TelemetryRecorded
}

func records(rng *rand.Rand, n int) []eventlog.Record {
	all := make([]eventlog.Record, n)
	next := map[eventlog.StreamID]eventlog.Revision{}
	pos, at := eventlog.Position(0), time.Date(1969, 12, 31, 23, 59, 59, 5000, time.UTC)
	for i := range all {
		r := &all[i]
		if pos++; rng.IntN(200) == 0 {
			pos = eventlog.NewPosition(pos.Epoch()+1, pos.Order())
		}
		if rng.IntN(3) == 0 {
			at = at.Add(time.Duration(rng.Int64N(1e10)))
		}
		r.Stream = eventlog.StreamID(fmt.Sprint("telemetry-", rng.IntN(4)))
		r.Revision = next[r.Stream]
		next[r.Stream]++
		r.Position, r.Recorded = pos, at
		r.Type, r.ContentType = []string{eventlog.TelemetryRecorded, "a.v1"}[rng.IntN(2)], []string{eventlog.JSON, "x/y"}[rng.IntN(2)]
		r.RawEnvelope = fmt.Appendf(nil, `{"n":%d}`, rng.IntN(3))
		r.Data = make([]byte, rng.IntN(300))
		for k := range r.Data {
			r.Data[k] = byte(rng.Uint32())
		}
		r.ID, _ = derive("o", r.Stream, r.Type, r.Data)
		if rng.IntN(3) == 0 {
			r.ID[3]++
		}
	}
	return all
}

func write(t testing.TB, h backup.Header, all []eventlog.Record, blocks int) ([]byte, backup.Place) {
	t.Helper()
	var b bytes.Buffer
	w, err := backup.NewWriter(&b, h, derive)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range all {
		if err := w.Add(r); err != nil {
			t.Fatal(err)
		}
		if blocks > 0 && i%blocks == 0 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	end, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), end
}

func scan(b []byte) (backup.Found, []eventlog.Record, error) {
	var all []eventlog.Record
	f, err := backup.Scan(bytes.NewReader(b), derive, func(_ backup.Header, r []eventlog.Record) error {
		all = append(all, r...)
		return nil
	})
	return f, all, err
}

func same(t *testing.T, got, want []eventlog.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range got {
		if fmt.Sprintf("%+v", got[i]) != fmt.Sprintf("%+v", want[i]) {
			t.Fatalf("record %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

// TestRoundTrip: what is written comes back; every flipped bit and every cut is
// an error, and up to there Found says what is good; from there it can go on.
func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	flips, cuts := 0, 0
	for end := time.Now().Add(budget.For(t) / 10); flips < 200 || time.Now().Before(end); {
		all := records(rng, 1+rng.IntN(300))
		h := backup.Header{Origin: "o", Head: 77, Made: time.Unix(5, 0).UTC()}
		b, last := write(t, h, all, 1+rng.IntN(100))
		f, got, err := scan(b)
		if err != nil || !f.Whole || f.Through != last {
			t.Fatalf("%+v, %v", f, err)
		}
		same(t, got, all)
		for range 20 {
			bad := bytes.Clone(b)
			at := rng.IntN(len(bad))
			bad[at] ^= 1 << rng.IntN(8)
			f, got, err := scan(bad)
			if !errors.Is(err, backup.ErrBroken) || f.Whole {
				t.Fatalf("bit in byte %d of %d flipped: %+v, %v", at, len(b), f, err)
			}
			same(t, got, all[:len(got)])
			flips++

			cut := rng.IntN(len(b))
			f, got, err = scan(b[:cut])
			if !errors.Is(err, backup.ErrBroken) || f.Offset > int64(cut) {
				t.Fatalf("cut at %d of %d: %+v, %v", cut, len(b), f, err)
			}
			cuts++
			if f.Offset == 0 {
				continue // nothing to go on from
			}
			again := bytes.NewBuffer(bytes.Clone(b[:f.Offset]))
			w, err := backup.Resume(again, f, derive)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range all[len(got):] {
				if err := w.Add(r); err != nil {
					t.Fatal(err)
				}
			}
			if end, err := w.Close(); err != nil || end != last {
				t.Fatalf("resumed: %+v, %v, want %+v", end, err, last)
			}
			if f, got, err = scan(again.Bytes()); err != nil || !f.Whole {
				t.Fatalf("resumed: %+v, %v", f, err)
			}
			same(t, got, all)
		}
	}
	t.Logf("%d flips, %d cuts", flips, cuts)
}

// FuzzScan: no file makes the reader panic or ask for more than its bytes
// back; what it takes as whole is written again to the same events.
func FuzzScan(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 1))
	b, _ := write(f, backup.Header{Origin: "o"}, records(rng, 20), 7)
	f.Add(b)
	f.Add(b[:len(b)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		found, all, err := scan(b)
		if err != nil {
			return
		}
		again, end := write(t, found.Header, all, 0)
		if end.Sum != found.Through.Sum {
			t.Fatalf("%+v, again %+v", found.Through, end)
		}
		if _, _, err := scan(again); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzRows goes past the checksums.
func FuzzRows(f *testing.F) {
	f.Add([]byte{0, 1, 1, 'a', 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := backup.ReadRows(b, "o", derive); err != nil && !errors.Is(err, backup.ErrBroken) {
			t.Fatal(err)
		}
	})
}
