package timetravel

import (
	"testing"
	"time"

	"github.com/twinlog/twinlog/test/oracle"
)

// TestFound asks again what random histories have found wrong once.
func TestFound(t *testing.T) {
	at := func(d time.Duration) *time.Time { u := epoch.Add(d); return &u }
	hour := oracle.Range{From: epoch.Add(time.Hour), To: epoch.Add(2 * time.Hour), Quality: "ANY", Bounds: true}
	nothing := oracle.Position(0)
	for _, c := range []struct {
		name string
		ask  func(w *oracle.World, asset string) oracle.Question
	}{
		{"a moment before the first event keeps its asOf", func(w *oracle.World, _ string) oracle.Question {
			return w.Moment(oracle.Moment{AsOf: at(0), Known: &nothing})
		}},
		{"before the first event nothing was set", func(w *oracle.World, _ string) oracle.Question {
			return w.Settings(oracle.Moment{Known: &nothing})
		}},
		{"before the first event there were no devices", func(w *oracle.World, _ string) oracle.Question {
			return w.Devices(oracle.Moment{Known: &nothing})
		}},
		{"a series of nothing has a status of nothing", func(w *oracle.World, asset string) oracle.Question {
			q, _ := w.Series(oracle.Moment{}, asset, "temp", hour)
			return q
		}},
		{"values of nothing have a status of nothing", func(w *oracle.World, asset string) oracle.Question {
			return w.TagValues(oracle.Moment{AsOf: at(-100 * 24 * time.Hour)}, asset, "")
		}},
		{"the bound before a range is not after the moment", func(w *oracle.World, asset string) oracle.Question {
			q, _ := w.Series(oracle.Moment{AsOf: at(0)}, asset, "flow", hour)
			return q
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := pump(t)
			for _, minute := range []int{-5, 5, 65} {
				m := message{device: "d1", id: s.fresh(), source: epoch.Add(time.Duration(minute) * time.Minute)}
				m.samples = []oracle.Sample{{Signal: "n1", Value: float64(minute)}}
				s.tells(s.publish(m))
			}
			skew := time.Hour
			_, _, err := s.tell("changeSettings", "position", map[string]any{"allowedSkew": "PT1H"}, time.Time{})
			s.tells(err)
			s.pending = append(s.pending, oracle.SettingsChanged{AllowedSkew: &skew})
			s.tells(s.lookUp())
			s.tells(s.wait())
			s.tells(s.check([]oracle.Question{c.ask(s.world, s.assets[2].Asset)}))
		})
	}
}

// plot is a story in a test.
type plot struct {
	*story
	t testing.TB
}

// pump is a plant with one pump, E/S/E, whose flow is d1's n1 and whose temp is
// d2's n2.
func pump(t testing.TB) *plot {
	t.Helper()
	s, err := newStory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	if err := s.ground(); err != nil {
		t.Fatal(err)
	}
	return &plot{s, t}
}

func (p *plot) tells(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}
