package badweek

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/ingest"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// A stream is what the log has of one lane's incarnation.
type stream struct {
	last   uint64
	rows   map[uint64]int  // seq → n
	kept   map[uint64]bool // refused
	losses []telemetry.Lost
}

// judge holds the log against what the gateways know.
func judge(t *testing.T, log eventlog.Log, gateways []*gateway) (sum tally) {
	t.Helper()
	streams := gather(t, log)
	for _, g := range gateways {
		told, missing := uint64(0), map[string]uint64{}
		samples := map[string]uint64{}
		for id, s := range streams {
			if source, _, _ := strings.Cut(string(id), "."); strings.Split(strings.TrimPrefix(source, "telemetry-"), "~")[0] != g.id {
				continue
			}
			for _, l := range s.losses {
				sum.Losses++
				if strings.Contains(l.Reason, "stopped") {
					told += l.Counts.Messages
					continue
				}
				if l.Counts.Messages != l.To-l.From+1 {
					t.Errorf("%s: loss of %d to %d counts %d", id, l.From, l.To, l.Counts.Messages)
				}
				sum.Lost += int(l.Counts.Messages)
				for _, tag := range l.Tags {
					samples[tag.Signal] += tag.Samples
				}
			}
		}
		if told < g.turned || told > g.turned+g.doubtful {
			t.Errorf("%s: %d messages were turned away, and %d perhaps; %d are told", g.id, g.turned, g.doubtful, told)
		}
		seen := map[int]bool{}
		for at, n := range g.accepted {
			s := streams[telemetry.Stream(at.source, at.incarnation)]
			switch {
			case s == nil:
				t.Errorf("%s: message %d has no stream %v", g.id, n, at)
			case s.has(at.seq, n):
				sum.Stored++
				seen[n] = true
			case s.kept[at.seq] && n%997 == 0:
				sum.Refused++
			case s.dropped(at.seq):
				missing[signal(n)]++
			default:
				t.Errorf("%s: message %d under %v is neither stored nor lost", g.id, n, at)
			}
			if t.Failed() {
				return sum
			}
		}
		// What a kill interrupted may be there, or dropped, or never have been.
		maybe := map[string]uint64{}
		for at, n := range g.maybe {
			if s := streams[telemetry.Stream(at.source, at.incarnation)]; s != nil {
				if s.has(at.seq, n) {
					seen[n] = true
				} else if s.dropped(at.seq) {
					maybe[signal(n)]++
				}
			}
		}
		for _, tag := range []string{"s0", "s1", "s2"} {
			// A message that the server would refuse can't be read to name its tag.
			if got, low, high := samples[tag], missing[tag], missing[tag]+maybe[tag]; got+g.unread(streams, tag) < low || got > high {
				t.Errorf("%s %s: losses name %d samples, %d are missing and %d more may be", g.id, tag, got, low, high-low)
			}
		}
		for id, s := range streams { // nothing is there that nobody made
			if !strings.HasPrefix(string(id), "telemetry-"+g.id+".") && !strings.HasPrefix(string(id), "telemetry-"+g.id+"~") {
				continue
			}
			for _, n := range s.rows {
				if !seen[n] && !g.tried[n] {
					t.Errorf("%s: message %d is in the log and nobody's", id, n)
				}
				delete(seen, n)
			}
		}
		if len(seen) != 0 {
			t.Errorf("%s: %d messages were counted twice", g.id, len(seen))
		}
	}
	return sum
}

func signal(n int) string { return "s" + string(rune('0'+n%3)) }

// unread is how many of the dropped messages of a tag can't be read.
func (g *gateway) unread(streams map[eventlog.StreamID]*stream, tag string) (count uint64) {
	for at, n := range g.accepted {
		if s := streams[telemetry.Stream(at.source, at.incarnation)]; n%997 == 0 && signal(n) == tag && s != nil && s.dropped(at.seq) {
			count++
		}
	}
	return count
}

func (s *stream) has(seq uint64, n int) bool {
	got, ok := s.rows[seq]
	return ok && got == n
}

func (s *stream) dropped(seq uint64) bool {
	for _, l := range s.losses {
		if l.From <= seq && seq <= l.To && l.Counts.Messages == l.To-l.From+1 && !strings.Contains(l.Reason, "stopped") {
			return true
		}
	}
	return false
}

// gather reads the log: each stream's numbers follow one another without a hole.
func gather(t *testing.T, log eventlog.Log) map[eventlog.StreamID]*stream {
	t.Helper()
	streams := map[eventlog.StreamID]*stream{}
	for rec, err := range log.ReadAll(context.Background(), 0, eventlog.Forwards, eventlog.Filter{Categories: []string{"telemetry"}}) {
		if err != nil {
			t.Fatal(err)
		}
		s := streams[rec.Stream]
		if s == nil {
			s = &stream{rows: map[uint64]int{}, kept: map[uint64]bool{}}
			streams[rec.Stream] = s
		}
		from, to := uint64(0), uint64(0)
		switch rec.Type {
		case eventlog.TelemetryRecorded:
			row, err := telemetry.Decode(rec.Data)
			if err != nil {
				t.Fatal(err)
			}
			n, _ := row.Samples[0].Value.Number()
			from, to = row.Seq, row.Seq
			s.rows[row.Seq] = int(n)
		case ingest.Started{}.EventType():
			var e ingest.Started
			decode(t, rec, &e)
			from, to = e.Seq, e.Seq
		case telemetry.Lost{}.EventType():
			var e telemetry.Lost
			decode(t, rec, &e)
			from, to = e.From, e.To
			s.losses = append(s.losses, e)
		case telemetry.Refused{}.EventType():
			var e telemetry.Refused
			decode(t, rec, &e)
			from, to = e.Seq, e.Seq
			s.kept[e.Seq] = true
		default:
			t.Errorf("%s@%d is %s: %s", rec.Stream, rec.Revision, rec.Type, rec.Data)
			continue
		}
		if from != s.last+1 {
			t.Errorf("%s: %d after %d", rec.Stream, from, s.last)
		}
		s.last = to
	}
	return streams
}

func decode(t *testing.T, rec eventlog.Record, into any) {
	t.Helper()
	if err := json.Unmarshal(rec.Data, into); err != nil {
		t.Fatal(err)
	}
}
