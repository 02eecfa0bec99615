package badgerlog

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/domain/eventlog"
)

const (
	// maxRequests keeps the index keys of a commit within a transaction
	// (memTableBytes): two keys each at most.
	maxRequests = 1024
	// gatherBytes: nothing is added to a commit of this size, so that with the
	// largest append it stays below 4 MiB.
	gatherBytes = 3 << 20
	// siblings and gatherWait: a commit after one of at least so many requests
	// waits so long for as many again, because their writers, answered just now,
	// are probably about to ask again. A thousand writers with one request each
	// then share a sync by the hundred; a few never wait.
	siblings   = 8
	gatherWait = time.Millisecond
	// maxCounts bounds the streams whose length is kept in memory, about 4 MB.
	maxCounts = 1 << 15
)

// committer is what only the committer goroutine touches.
type committer struct {
	chain    chainHash // of the last commit
	held     *request  // the next commit's first, if it has come already
	before   int       // how many requests it had
	builders [2]*partBuilder

	// Of the commit being made:
	first    eventlog.Position
	next     eventlog.Position
	recorded time.Time
	stamp    eventlog.Stamp
	bytes    int
	accepted []*request
	counts   map[eventlog.StreamID]uint64
	streams  map[eventlog.StreamID][]run // other events
	kinds    map[string][]run            // other events by category
	rows     []streamRun                 // telemetry, for the window
	parts    [2][]byte
	keys     [2]partKey
	hash     chainHash
}

type streamRun struct {
	id eventlog.StreamID
	run
}

func newCommitter() committer {
	return committer{
		builders: [2]*partBuilder{newPartBuilder(), newPartBuilder()},
		counts:   map[eventlog.StreamID]uint64{}, streams: map[eventlog.StreamID][]run{}, kinds: map[string][]run{},
	}
}

// commitAll is the committer goroutine.
func (l *Log) commitAll() {
	defer close(l.answers)
	var batch []*request
	for {
		r := l.committer.held
		if l.committer.held = nil; r == nil {
			select {
			case r = <-l.queue:
			case <-l.stop:
				return
			}
		}
		batch = l.gather(append(batch[:0], r))
		l.commit(batch)
		clear(batch)
	}
}

// commit makes one durable commit of all requests that may go in, and answers
// all of them after it: also a refusal may rest on what has just been written.
func (l *Log) commit(batch []*request) {
	c := &l.committer
	turned := l.turnFor(batch[0])
	l.begin(batch[0].copied)
	for i, r := range batch {
		if !r.state.CompareAndSwap(waiting, taken) {
			r.done = nil // withdrawn: nobody waits
			continue
		}
		if i == len(batch)/2 {
			l.cfg.Moment(momentTaken)
		}
		if r.err = turned; r.err == nil {
			r.err = l.accept(r)
		}
		if r.err == nil {
			c.accepted = append(c.accepted, r)
		}
	}
	if len(c.accepted) > 0 {
		if err := l.write(); err != nil {
			for _, r := range c.accepted {
				r.appended, r.err = eventlog.Appended{}, err
			}
		}
	}
	async := make([]*request, 0, len(batch))
	for _, r := range batch {
		switch {
		case r.then != nil:
			async = append(async, r)
		case r.done != nil:
			close(r.done)
		}
	}
	if len(async) > 0 {
		l.answers <- async
	}
}

// turnFor begins another epoch where a request asks for it.
func (l *Log) turnFor(r *request) error {
	switch {
	case r.epoch != 0:
		return l.turn(r.epoch)
	case r.copied != nil && r.copied.first.Epoch() > l.upcoming().Epoch():
		return l.turn(r.copied.first.Epoch())
	}
	return nil
}

// begin starts a commit, stamped now or as the one that from was in.
func (l *Log) begin(from *copied) {
	c := &l.committer
	clear(c.counts)
	clear(c.streams)
	clear(c.kinds)
	clear(c.accepted)
	c.accepted, c.rows, c.bytes = c.accepted[:0], c.rows[:0], 0
	c.first = l.upcoming() // the committer alone writes end
	c.next = c.first
	for _, b := range c.builders {
		b.reset(c.first)
	}
	if from != nil {
		c.recorded, c.stamp = from.recorded, from.stamp
		return
	}
	raw := l.cfg.Now().UTC().Truncate(time.Microsecond)
	c.recorded = raw
	if c.recorded.Before(l.end.recorded) {
		c.recorded = l.end.recorded
	}
	clock := l.cfg.Clock()
	clock.OffsetUS = raw.Sub(c.recorded).Microseconds()
	c.stamp = eventlog.NewStamp(c.recorded, clock)
}

// accept enters a request into the commit, or says why not.
func (l *Log) accept(r *request) error {
	c := &l.committer
	if err := l.failure.Load(); err != nil {
		return *err
	}
	have, err := l.length(r.stream)
	if err != nil {
		return err
	}
	next, n := uint64(r.expected.Next()), uint64(len(r.events))
	switch {
	case next < have && n <= have-next:
		return errBehind
	case next != have:
		return fmt.Errorf("the stream holds %d events, expected %d: %w", have, next, eventlog.ErrConflict)
	case r.copied != nil && r.copied.first != c.next:
		return fmt.Errorf("its position is taken or not next, expected %v: %w", c.next, eventlog.ErrConflict)
	}
	size := r.size(c.stamp)
	if size > eventlog.MaxAppendBytes {
		return fmt.Errorf("%d bytes: %w", size, eventlog.ErrTooLarge)
	}
	if err := l.guard.allow(c.bytes + size); err != nil {
		return err
	}
	c.bytes += size
	c.counts[r.stream] = have + n
	r.appended = eventlog.Appended{
		First: c.next, Last: c.next + eventlog.Position(n) - 1, Revision: eventlog.Revision(have + n - 1),
	}
	category := r.stream.Category()
	for i := range r.events {
		e, rev := &r.events[i], eventlog.Revision(have)+eventlog.Revision(i)
		if e.telemetry {
			c.builders[0].add(e, r.stream, rev, c.next)
			c.addRow(r.stream, rev)
		} else {
			c.builders[1].add(e, r.stream, rev, c.next)
			c.streams[r.stream] = addRun(c.streams[r.stream], rev, c.next)
			list := c.kinds[category]
			var nth eventlog.Revision
			if len(list) > 0 {
				nth = list[len(list)-1].lastRev() + 1
			}
			c.kinds[category] = addRun(list, nth, c.next)
		}
		c.next++
	}
	return nil
}

func (c *committer) addRow(id eventlog.StreamID, rev eventlog.Revision) {
	if n := len(c.rows); n > 0 {
		if l := &c.rows[n-1]; l.id == id && l.lastRev()+1 == rev && l.lastPos()+1 == c.next {
			l.n++
			return
		}
	}
	c.rows = append(c.rows, streamRun{id, run{rev, c.next, 1}})
}

// length returns how many events a stream holds, this commit included.
func (l *Log) length(id eventlog.StreamID) (n uint64, err error) {
	if n, ok := l.committer.counts[id]; ok {
		return n, nil
	}
	if n, ok := l.counts[id]; ok { // the committer alone writes counts
		return n, nil
	}
	v := l.ownView()
	defer v.close()
	defer unpanic(&err)
	return v.count(id, l.end.head)
}

// write makes the commit durable and then visible. Any error ends the log:
// nobody can say what of the commit the disk will give back.
func (l *Log) write() error {
	c := &l.committer
	entries, err := l.entries()
	if err != nil {
		return err
	}
	txn := l.db.NewTransaction(true)
	defer txn.Discard()
	for _, e := range entries {
		if err := txn.SetEntry(e); err != nil {
			return fmt.Errorf("commit of %d events: %w", c.next-c.first, err) // nothing was written
		}
	}
	l.cfg.Moment(momentWriting)
	err = txn.Commit()
	if unsync := l.voice.unsync.Load(); err == nil && unsync != nil {
		err = *unsync
	}
	if err == nil {
		l.cfg.Moment(momentSynced)
	}
	if err == nil && !l.cfg.copying {
		err = l.head.write(head{last: c.next - 1, hash: c.hash, recorded: later(c.recorded, l.end.recorded)})
	}
	if err != nil {
		l.fail(fmt.Errorf("commit of positions %v to %v: %w", c.first, c.next-1, err))
		return *l.failure.Load()
	}
	l.cfg.Moment(momentHead)
	c.chain = c.hash
	l.publish()
	return nil
}

// entries makes the keys and values of the commit.
func (l *Log) entries() (_ []*badger.Entry, err error) {
	defer unpanic(&err)
	c := &l.committer
	both := c.builders[0].n > 0 && c.builders[1].n > 0
	entries := make([]*badger.Entry, 0, 2+len(c.streams)+len(c.kinds))
	digest := sha256.New()
	for i, b := range c.builders {
		c.parts[i] = nil
		if b.n == 0 {
			continue
		}
		other := i == 1
		c.keys[i] = partKey{other: other, last: c.next - 1, count: uint32(c.next - c.first), both: both}
		c.parts[i] = b.bytes(partHeader{
			key: c.keys[i], rows: b.n, previous: l.end.of(other), chain: c.chain, recorded: c.recorded, stamp: c.stamp,
		})
		digest.Write(c.parts[i])
		entries = append(entries, badger.NewEntry(c.keys[i].bytes(), c.parts[i]))
	}
	c.hash = chainHash(digest.Sum(nil)[:hashLen])
	for id, runs := range c.streams {
		entries = append(entries, badger.NewEntry(namedKey(streamKey, string(id), uint64(runs[len(runs)-1].lastRev())), appendRuns(nil, runs)))
	}
	for category, runs := range c.kinds {
		previous, ok := l.categories[category] // the committer alone writes categories
		if !ok {
			v := l.ownView()
			previous, err = v.lastOf(category, l.end.head)
			v.close()
			if err != nil {
				return nil, err
			}
		}
		value := appendRuns(binary.AppendUvarint(nil, uint64(previous)), runs)
		entries = append(entries, badger.NewEntry(namedKey(categoryKey, category, uint64(runs[len(runs)-1].lastPos())), value))
	}
	return entries, nil
}

// publish shows the commit to readers and wakes them.
func (l *Log) publish() {
	c := &l.committer
	rc := &recentCommit{first: c.first, last: c.next - 1}
	stored := 0
	for i, b := range c.parts {
		rc.parts[i].key, rc.parts[i].bytes = c.keys[i], b
		stored += len(b)
		if b != nil {
			rc.size += len(b) + len(c.builders[i].body) + c.builders[i].n*recordBytes
		}
	}
	l.guard.wrote(stored)
	l.counters.commits.Add(1)
	l.counters.bytes.Add(uint64(stored))

	l.mu.Lock()
	l.end.head, l.end.recorded = c.next-1, later(c.recorded, l.end.recorded)
	if c.parts[0] != nil {
		l.end.telemetry = c.next - 1
	}
	if c.parts[1] != nil {
		l.end.other = c.next - 1
	}
	maps.Copy(l.counts, c.counts)
	for id := range l.counts {
		if len(l.counts) <= maxCounts {
			break
		}
		delete(l.counts, id) // any: the store knows them all
	}
	for category, runs := range c.kinds {
		l.categories[category] = runs[len(runs)-1].lastPos()
	}
	for _, r := range c.rows {
		l.current.addRun(r.id, r.run)
	}
	full := l.fill(c.next-1, l.end.recorded)
	l.recent.add(rc)
	l.mu.Unlock()

	select {
	case l.poke <- struct{}{}:
	default: // it has been told already
	}
	if full != nil {
		select {
		case l.toWindows <- full:
		case <-l.stop: // Open reads it again
		}
	}
}

// refuseQueue answers what the committer left behind. Log.closed is set, so
// nothing more comes.
func (l *Log) refuseQueue() {
	refuse := func(r *request) {
		if r != nil && r.state.CompareAndSwap(waiting, taken) {
			if r.err = fmt.Errorf("log %s: %w", l.dir, eventlog.ErrClosed); r.then != nil {
				r.then(eventlog.Appended{}, r.err)
			} else {
				close(r.done)
			}
		}
	}
	refuse(l.committer.held)
	for {
		select {
		case r := <-l.queue:
			refuse(r)
		default:
			return
		}
	}
}
