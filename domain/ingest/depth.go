package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// summary is what must be known of a stored event.
type summary struct {
	revision eventlog.Revision
	msgID    string
	seq      uint64
	hasSeq   bool
	gap      *telemetry.Gap
	times    block
}

// readBack returns up to n events, oldest first, the newest being at revision
// last, and none that was recorded before since.
func readBack(ctx context.Context, s *source, last eventlog.Revision, n int, since time.Time) ([]summary, error) {
	var all []summary
	for rec, err := range s.g.log.Read(ctx, s.stream, last, eventlog.Backwards) {
		if err != nil {
			return nil, err
		}
		if rec.Recorded.Before(since) {
			break
		}
		sum, err := summarise(rec)
		if err != nil {
			return nil, err
		}
		if all = append(all, sum); len(all) == n {
			break
		}
	}
	slices.Reverse(all)
	return all, nil
}

func summarise(rec eventlog.Record) (summary, error) {
	sum := summary{revision: rec.Revision, times: block{recorded: rec.Recorded.UnixMilli()}}
	switch rec.Type {
	case eventlog.TelemetryRecorded:
		var v telemetry.View
		if err := v.Reset(rec.Data); err != nil {
			return sum, fmt.Errorf("%s@%d: %w", rec.Stream, rec.Revision, err)
		}
		sum.msgID, sum.seq, sum.hasSeq = v.MsgID(), v.Seq, v.HasSeq
		if v.Basis != telemetry.FromArrival {
			sum.times.own = v.SourceTime.UnixMilli()
		}
	case telemetry.Refused{}.EventType():
		var e telemetry.Refused
		if err := json.Unmarshal(rec.Data, &e); err != nil {
			return sum, fmt.Errorf("%s@%d: %w", rec.Stream, rec.Revision, err)
		}
		sum.msgID, sum.seq, sum.hasSeq = e.MsgID, e.Seq, e.Seq != 0
	case telemetry.Gap{}.EventType():
		sum.gap = new(telemetry.Gap)
		if err := json.Unmarshal(rec.Data, sum.gap); err != nil {
			return sum, fmt.Errorf("%s@%d: %w", rec.Stream, rec.Revision, err)
		}
	}
	return sum, nil
}

// trim forgets what is older than must be remembered.
func (r *unorderedRules) trim(s *source, now time.Time) {
	limit := s.g.depth.shallow
	if now.Before(r.deepUntil) {
		limit = s.g.depth.whole
	}
	for r.win.len() > limit {
		r.before.add(r.blocks[0]) // a little early: a block is dropped one by one
		r.win.drop()
		if r.win.from%blockEvents == 0 {
			r.blocks = slices.Delete(r.blocks, 0, 1)
		}
		r.whole = r.whole && limit == s.g.depth.whole
	}
	r.win.shrink()
}

// deepen reads the window back as far as it was promised.
func (r *unorderedRules) deepen(ctx context.Context, s *source, now time.Time) error {
	s.g.counters.Deep.Add(1)
	r.deepUntil = now.Add(deepFor)
	r.whole = true
	if r.win.len() >= s.g.depth.whole {
		return nil
	}
	records, err := readBack(ctx, s, r.win.from-1, s.g.depth.whole-r.win.len(), now.Add(-windowAge))
	if err != nil {
		return err // the stream will be loaded anew
	}
	if len(records) == 0 {
		return nil
	}
	marks := make([]uint32, len(records))
	// The blocks are made anew, from the oldest event on.
	from := records[0].revision
	blocks := make([]block, (r.win.next-1)/blockEvents-from/blockEvents+1)
	for i := range records {
		marks[i] = r.mark(s, records[i].msgID)
		blocks[records[i].revision/blockEvents-from/blockEvents].add(records[i].times)
	}
	for i, b := range r.blocks {
		blocks[r.win.from/blockEvents-from/blockEvents+eventlog.Revision(i)].add(b)
	}
	r.win.prepend(marks)
	r.blocks = blocks
	if r.exact = r.win.from == 0; r.exact {
		r.before = block{}
		return nil
	}
	r.before = block{own: records[0].times.own, recorded: records[0].times.recorded}
	return nil
}

// proven reports whether a message's own time shows that it is not one of
// those older than the window in memory. A repeat has the time of the original.
func (r *unorderedRules) proven(it *item) bool {
	switch skew := clockSkew.Milliseconds(); {
	case r.win.from == 0:
		return true
	case it.at == 0 || it.at <= r.before.own:
		return false
	case r.exact:
		return true
	default:
		return !r.fast && it.at > r.before.recorded+skew && it.at <= it.message.Arrived.UnixMilli()+skew
	}
}
