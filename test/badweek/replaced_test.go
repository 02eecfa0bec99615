package badweek

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twinlog/twinlog/adapters/queue/memqueue"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/ingest"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// quiet is a gateway on a good line, without kills.
func quiet(t *testing.T) (*server, *gateway) {
	s := newServer(rand.New(rand.NewPCG(1, 1)))
	g := newGateway(t, "gw", s, rand.New(rand.NewPCG(2, 2)))
	g.way.mend()
	g.cfg.LiveDepth = 1000
	g.start()
	return s, g
}

// talkFor makes messages for a while and returns how many.
func (g *gateway) talkFor(d time.Duration) (n int) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(every) {
		g.settle(g.put(context.Background()), false)
		n++
	}
	return n
}

// events counts the log's events of a type.
func events(t *testing.T, log eventlog.Log, typ string) (all []eventlog.Record) {
	t.Helper()
	for rec, err := range log.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if rec.Type == typ {
			all = append(all, rec)
		}
	}
	return all
}

// TestDataDirectoryDeleted: a gateway that lost its outbox begins anew, and the
// log says that something may be missing.
func TestDataDirectoryDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := quiet(t)
		old := g.talkFor(24 * time.Hour)
		g.stop()
		g.queues = map[string]*memqueue.Queue{}
		g.start()
		fresh := g.talkFor(24 * time.Hour)
		time.Sleep(time.Hour)
		g.stop()
		s.stop()
		if started := events(t, s.log, ingest.Started{}.EventType()); len(started) != 4 { // of the live and of the alarm lane
			t.Fatalf("%d incarnations began", len(started))
		}
		gaps := events(t, s.log, telemetry.Gap{}.EventType())
		var gap telemetry.Gap
		if len(gaps) != 2 || json.Unmarshal(gaps[0].Data, &gap) != nil || gap.Reason != telemetry.GapOutboxLost || gap.Previous == "" {
			t.Fatalf("gaps %+v", gap)
		}
		if rows := len(events(t, s.log, eventlog.TelemetryRecorded)) + len(events(t, s.log, telemetry.Refused{}.EventType())); rows != old+fresh || s.repeats != 0 {
			t.Fatalf("%d of %d messages are there, %d were taken for repeats", rows, old+fresh, s.repeats)
		}
	})
}

// TestYesterdaysCopy: a gateway that goes on from an old copy of its outbox gives
// numbers a second time. The log says so, and not one of its fresh messages is
// acknowledged as a repeat of an old one.
func TestYesterdaysCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := quiet(t)
		g.talkFor(12 * time.Hour)
		time.Sleep(time.Minute)
		copied := map[string]*memqueue.Queue{}
		for lane, q := range g.queues {
			copied[lane] = q.Copy()
		}
		today := g.talkFor(12 * time.Hour)
		time.Sleep(time.Minute)
		before := len(events(t, s.log, eventlog.TelemetryRecorded))
		g.stop()
		g.queues = copied
		g.start()
		fresh := g.talkFor(time.Hour)
		time.Sleep(time.Hour)
		if len(events(t, s.log, ingest.Cloned{}.EventType())) == 0 {
			t.Error("nothing says that the source was cloned")
		}
		if after := len(events(t, s.log, eventlog.TelemetryRecorded)); after != before || s.g.Counters().Duplicates.Load() != 0 {
			t.Errorf("%d rows after %d, %d taken for repeats", after, before, s.g.Counters().Duplicates.Load())
		}
		if depth := g.lanes.Total().Depth; depth < uint64(fresh) {
			t.Errorf("%d of %d fresh messages wait: the others were acknowledged and are nowhere", depth, fresh)
		}
		if today < 4000 {
			t.Errorf("%d messages after the copy", today)
		}
		g.stop()
		s.stop()
	})
}
