package badgerlog

import (
	"slices"
	"sync"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// recent holds the newest commits, so that readers that have caught up share
// one decoding and never touch the store. Log.mu guards it.
type recent struct {
	commits []*recentCommit
	bytes   int
	max     int
}

// recordBytes is what a record takes beside its data and envelope.
const recordBytes = 160

type recentCommit struct {
	first, last eventlog.Position
	parts       [2]recentPart
	size        int // in memory, once it has been read

	once sync.Once // makes all
	all  []eventlog.Record
	err  error
}

type recentPart struct {
	key   partKey
	bytes []byte // nil: the commit has none of this kind

	once    sync.Once // makes records
	records []eventlog.Record
	err     error
}

// add takes a commit in and lets the oldest go.
func (r *recent) add(c *recentCommit) {
	r.commits = append(r.commits, c)
	r.bytes += c.size
	for r.bytes > r.max && len(r.commits) > 1 {
		r.bytes -= r.commits[0].size
		r.commits[0] = nil
		r.commits = r.commits[1:]
	}
}

// after returns the commits that hold positions after p, at most n of them;
// false if the first of them is no longer here.
func (r *recent) after(p eventlog.Position, n int) ([]*recentCommit, bool) {
	if len(r.commits) == 0 || r.commits[0].first > p+1 {
		return nil, false
	}
	i, _ := slices.BinarySearchFunc(r.commits, p, func(c *recentCommit, p eventlog.Position) int {
		if c.last <= p {
			return -1
		}
		return 1
	})
	return slices.Clone(r.commits[i:min(len(r.commits), i+n)]), true
}

// recordsOf returns a commit's records of one kind.
func (l *Log) recordsOf(c *recentCommit, other bool) ([]eventlog.Record, error) {
	rp := &c.parts[index(other)]
	rp.once.Do(func() {
		if rp.bytes == nil {
			return
		}
		var p *part
		if p, rp.err = decodePart(rp.bytes, rp.key); rp.err != nil {
			return
		}
		p.derive = l.derive
		rp.records = make([]eventlog.Record, len(p.rows))
		for i := range p.rows {
			if rp.records[i], rp.err = p.record(i); rp.err != nil {
				return
			}
		}
	})
	return rp.records, rp.err
}

// recordsAll returns a commit's records in the order of positions.
func (l *Log) recordsAll(c *recentCommit) ([]eventlog.Record, error) {
	c.once.Do(func() {
		var kinds [2][]eventlog.Record
		for i, other := range []bool{false, true} {
			if kinds[i], c.err = l.recordsOf(c, other); c.err != nil {
				return
			}
		}
		switch {
		case len(kinds[0]) == 0:
			c.all = kinds[1]
		case len(kinds[1]) == 0:
			c.all = kinds[0]
		default:
			c.all = slices.Concat(kinds[0], kinds[1])
			slices.SortFunc(c.all, func(a, b eventlog.Record) int { return int(a.Position) - int(b.Position) })
		}
	})
	return c.all, c.err
}

// fromRecent reads a chunk from memory; false if its start is no longer there.
func (l *Log) fromRecent(after eventlog.Position, e extent, f eventlog.Filter) (chunk, bool, error) {
	const maxCommits = 256
	l.mu.RLock()
	commits, ok := l.recent.after(after, maxCommits)
	l.mu.RUnlock()
	if !ok {
		return chunk{}, false, nil
	}
	out := chunk{reached: after}
	telemetry, other := f.WantsTelemetry(), f.WantsOther()
	everything := len(f.Categories) == 0 && len(f.Types) == 0
	for _, c := range commits {
		if c.last > e.head {
			break
		}
		var records []eventlog.Record
		var err error
		switch {
		case telemetry && other:
			records, err = l.recordsAll(c)
		case telemetry || other:
			records, err = l.recordsOf(c, other)
		}
		if err != nil {
			return chunk{}, true, err
		}
		if everything && len(out.records) == 0 && c.first > after && len(records) >= chunkRecords/8 {
			return chunk{records: slices.Clip(records), reached: c.last}, true, nil // shared, as it is
		}
		for _, r := range records {
			if r.Position > after && f.Passes(r.Stream, r.Type) {
				out.add(r)
			}
			if out.full() {
				out.reached = r.Position
				return out, true, nil
			}
		}
		out.reached = c.last
	}
	return out, true, nil
}
