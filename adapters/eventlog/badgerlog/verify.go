package badgerlog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Report is what Verify found.
type Report struct {
	Origin  string
	Through eventlog.Position // the last event that was found
	Events  uint64
	Streams int
	Sealed  uint64 // events of them in sealed windows
	Blocks  uint64
	Windows uint64
	Losses  []Loss // the first maxLosses
	Lost    uint64 // all of them
}

const maxLosses = 1000

// Verify walks everything that the log held when it was called: checksums, the
// chain of hashes, that positions and revisions have no gaps, that every index
// entry names what is there and every event has its entries, sealed parts,
// marks, epochs and HEAD. It takes about 100 bytes of memory per stream.
func (l *Log) Verify(ctx context.Context, step func(at eventlog.Position)) (Report, error) {
	release, err := l.use()
	if err != nil {
		return Report{}, err
	}
	defer release()
	e := l.extent()
	v := l.ownView()
	defer v.close()
	return v.verifyAll(ctx, e.head, head{}, step)
}

// VerifyDir is Verify for a log that nobody has open, and that Open may refuse.
func VerifyDir(ctx context.Context, dir string, cfg Config, step func(at eventlog.Position)) (r Report, err error) {
	l, first, err := openDamaged(ctx, dir, cfg)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, l.closeDamaged()) }()
	v := l.openingView()
	defer v.close()
	v.sealed = eventlog.Position(l.sealed.Load())
	var h head
	f, h, err := openHead(filepath.Join(dir, headName))
	if err != nil {
		first = append(first, Loss{What: err.Error()})
	} else if err := f.file.Close(); err != nil {
		return r, err
	}
	r, err = v.verifyAll(ctx, math.MaxInt64, h, step)
	r.Losses = append(first, r.Losses...)
	r.Lost += uint64(len(first))
	return r, err
}

// openDamaged opens the store of a log that may be damaged; what start would
// refuse is told instead.
func openDamaged(ctx context.Context, dir string, cfg Config) (*Log, []Loss, error) {
	if _, err := os.Stat(filepath.Join(dir, storeName)); err != nil {
		return nil, nil, fmt.Errorf("no log in %s: %w", dir, err)
	}
	l := newLog(dir, cfg)
	if err := l.openStore(); err != nil {
		return nil, nil, err
	}
	var losses []Loss
	tell := func(err error) {
		if err != nil {
			losses = append(losses, Loss{What: err.Error()})
		}
	}
	v := l.openingView()
	defer v.close()
	_, err := v.loadSeals(ctx)
	tell(err)
	tell(v.loadEpochs(math.MaxInt64))
	if text, err := os.ReadFile(filepath.Join(dir, originName)); err != nil {
		tell(fmt.Errorf("ORIGIN: %w", err))
	} else if l.origin, err = parseOrigin(string(text)); err != nil {
		tell(err)
	}
	if l.origin == "" {
		l.origin = cfg.Origin
	}
	return l, losses, nil
}

func (l *Log) closeDamaged() error { return wrap(l.db.Close(), "close %s", l.dir) }

// verifier compares what a walk meets.
type verifier struct {
	w       *walker
	report  Report
	epochs  []epochStart
	next    map[eventlog.StreamID]eventlog.Revision
	at      eventlog.Position
	last    [2]eventlog.Position            // last block of each kind
	kinds   map[string]eventlog.Position    // last entry of each category
	runs    map[eventlog.StreamID][]run     // of telemetry blocks since the last mark
	marks   []eventlog.Position             // ends of closed windows still to come
	entries map[byte]uint64                 // index entries that events have
	hashes  map[eventlog.Position]chainHash // that the commit behind a position must follow
}

func (v *view) verifyAll(ctx context.Context, upTo eventlog.Position, h head, step func(eventlog.Position)) (Report, error) {
	c := verifier{
		epochs: v.l.starts(), next: map[eventlog.StreamID]eventlog.Revision{}, kinds: map[string]eventlog.Position{},
		runs: map[eventlog.StreamID][]run{}, entries: map[byte]uint64{}, hashes: map[eventlog.Position]chainHash{},
	}
	c.report.Origin = v.l.origin
	c.w = &walker{view: v, ctx: ctx, head: upTo, loss: c.loss, part: c.block, window: c.unit, seal: func(s seal) {
		c.report.Windows++
		c.last[0] = s.telemetry
	}}
	c.readMarks()
	for r, err := range c.w.records() {
		if err != nil {
			return c.report, err
		}
		c.record(r)
		if step != nil {
			step(r.Position)
		}
	}
	c.report.Through, c.report.Streams = c.at, len(c.next)
	if h.last > c.at {
		c.loss(Loss{follow(c.epochs, c.at), h.last, "were acknowledged and are missing at the end"})
	}
	if err := c.chain(ctx, h); err != nil {
		return c.report, err
	}
	if upTo == math.MaxInt64 { // else entries may be newer
		c.countEntries()
	}
	return c.report, nil
}

func (c *verifier) loss(l Loss) {
	if c.report.Lost++; len(c.report.Losses) < maxLosses {
		c.report.Losses = append(c.report.Losses, l)
	}
}

func (c *verifier) record(r eventlog.Record) {
	if want := follow(c.epochs, c.at); r.Position != want {
		c.loss(Loss{want, r.Position - 1, "no event stands there, though later ones do"})
	}
	c.at = r.Position
	if want := c.next[r.Stream]; r.Revision != want {
		c.loss(Loss{r.Position, r.Position, fmt.Sprintf("%s@%d comes where revision %d is next", r.Stream, r.Revision, want)})
	}
	c.next[r.Stream] = r.Revision + 1
	if c.report.Events++; r.Type == eventlog.TelemetryRecorded && r.Position <= c.w.sealed {
		c.report.Sealed++
	}
}

// block checks a block's place among those of its kind and the index entries
// of its events.
func (c *verifier) block(p *part) {
	c.report.Blocks++
	i := index(p.key.other)
	if p.previous != c.last[i] {
		c.loss(Loss{p.previous, p.key.first() - 1, fmt.Sprintf("the block that ends at %v follows one at %v, found one at %v", p.key.last, p.previous, c.last[i])})
	}
	c.last[i] = p.key.last
	if !p.key.other {
		c.closeWindows(p.key.first())
		for k := range p.rows {
			id := p.streams[p.rows[k].stream]
			c.runs[id] = addRun(c.runs[id], p.rows[k].rev, p.rows[k].pos)
		}
		return
	}
	streams, kinds := map[eventlog.StreamID][]run{}, map[string][]run{}
	for k := range p.rows {
		r := &p.rows[k]
		id := p.streams[r.stream]
		streams[id] = addRun(streams[id], r.rev, r.pos)
		list := kinds[id.Category()]
		var nth eventlog.Revision
		if n := len(list); n > 0 {
			nth = list[n-1].lastRev() + 1
		}
		kinds[id.Category()] = addRun(list, nth, r.pos)
	}
	for id, runs := range streams {
		c.entry(namedKey(streamKey, string(id), uint64(runs[len(runs)-1].lastRev())), appendRuns(nil, runs), 0, p.key)
	}
	for kind, runs := range kinds {
		last := runs[len(runs)-1].lastPos()
		c.entry(namedKey(categoryKey, kind, uint64(last)), appendRuns(binary.AppendUvarint(nil, uint64(c.kinds[kind])), runs), 0, p.key)
		c.kinds[kind] = last
	}
}

// entry compares an index entry with what it should be.
func (c *verifier) entry(key, want []byte, meta byte, of partKey) {
	c.entries[key[0]]++
	item, err := c.w.txn.Get(key)
	var got []byte
	if err == nil {
		got, err = value(item)
	}
	switch {
	case err != nil:
		c.loss(Loss{of.first(), of.last, fmt.Sprintf("index entry %q: %v", key, err)})
	case !bytes.Equal(got, want) || item.UserMeta() != meta:
		c.loss(Loss{of.first(), of.last, fmt.Sprintf("index entry %q is %x, expected %x", key, got, want)})
	}
}

// unit checks the index entries of a sealed window.
func (c *verifier) unit(u *sealedUnit) {
	ends := make([]uint32, len(u.streams))
	for i, g := range u.group {
		ends[u.groupStream[g]] = u.rev[i]
	}
	of := partKey{last: u.seal.last, count: 1}
	for n, id := range u.streams {
		want := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(u.seal.last)), uint64(n))
		c.entry(namedKey(windowKey, string(id), uint64(u.firstRev[n])+uint64(ends[n])), want, sealedMeta, of)
	}
}

// closeWindows checks the index of windows of blocks that end before next.
func (c *verifier) closeWindows(next eventlog.Position) {
	for len(c.marks) > 0 && c.marks[0] < next {
		if end := c.marks[0]; end > c.w.sealed {
			for id, runs := range c.runs {
				c.entry(namedKey(windowKey, string(id), uint64(runs[len(runs)-1].lastRev())), appendRuns(nil, runs), 0, partKey{last: end, count: 1})
			}
			clear(c.runs)
		}
		c.marks = c.marks[1:]
	}
}

// readMarks checks that closed windows follow each other.
func (c *verifier) readMarks() {
	it := c.w.iterator([]byte{markKey}, false)
	next := eventlog.Position(1)
	var recorded int64
	for it.Rewind(); it.Valid(); it.Next() {
		last := eventlog.Position(keyNumber(it.Item().Key()))
		b, err := value(it.Item())
		if err == nil {
			var m eventlog.Mark
			var first eventlog.Position
			if first, m, err = parseMark(last, b); err == nil && first != next {
				err = fmt.Errorf("mark of a window from %v, expected from %v", first, next)
			}
			if us := m.Recorded.UnixMicro(); err == nil && len(c.marks) > 0 && us < recorded {
				err = errors.New("mark falls in time")
			}
			recorded = m.Recorded.UnixMicro()
		}
		if err != nil {
			c.loss(Loss{next, last, err.Error()})
		}
		next = last + 1
		c.marks = append(c.marks, last)
	}
}

// countEntries finds entries that no event has.
func (c *verifier) countEntries() {
	end := eventlog.Position(math.MaxInt64)
	c.closeWindows(end)
	for _, kind := range []byte{streamKey, categoryKey, windowKey} {
		n := uint64(0)
		it := c.w.iterator([]byte{kind}, false)
		for it.Rewind(); it.Valid(); it.Next() {
			n++
		}
		if n > c.entries[kind] && kind != windowKey || n < c.entries[kind] {
			c.loss(Loss{What: fmt.Sprintf("%d index entries of kind %c, expected %d", n, kind, c.entries[kind])})
		}
	}
}

// chain checks that every commit that is still there as it was written has the
// hash that the commit after it names.
func (c *verifier) chain(ctx context.Context, h head) error {
	its := [2]*badger.Iterator{c.w.iterator([]byte{telemetryKey}, false), c.w.iterator([]byte{otherKey}, false)}
	for _, it := range its {
		it.Rewind()
	}
	var hash chainHash
	known := false // hash is that of the commit before
	var last eventlog.Position
	for its[0].Valid() || its[1].Valid() {
		if err := ctx.Err(); err != nil {
			return err
		}
		var keys [2]partKey
		at := eventlog.Position(math.MaxInt64)
		for i, it := range its {
			if it.Valid() {
				var err error
				if keys[i], err = parsePartKey(it.Item().KeyCopy(nil)); err != nil {
					it.Next()
					keys[i].last = math.MaxInt64
				}
				at = min(at, keys[i].last)
			}
		}
		if at > c.w.head {
			return nil
		}
		digest, found := sha256.New(), 0
		for i, it := range its {
			if !it.Valid() || keys[i].last != at {
				continue
			}
			b, err := value(it.Item())
			it.Next()
			if err != nil {
				continue // the walk has said so
			}
			p, _, err := decodeHeader(b, keys[i])
			if err != nil {
				continue
			}
			found++
			follows := last == standing(c.epochs, keys[i].first()-1)
			if s, err := c.w.sealEnding(keys[i].first() - 1); err == nil && s.last != 0 {
				hash, known, follows = s.hash, true, true
			}
			if known && follows && p.chain != hash {
				c.loss(Loss{keys[i].first(), at, fmt.Sprintf("the commit before has hash %x, the chain says %x", hash, p.chain)})
			}
			digest.Write(b)
			if found == 1 && !p.key.both || found == 2 {
				hash, known = chainHash(digest.Sum(nil)[:hashLen]), true
			} else {
				known = false
			}
		}
		last = at
		if at == h.last && known && hash != h.hash {
			c.loss(Loss{at, at, fmt.Sprintf("the commit has hash %x, HEAD says %x", hash, h.hash)})
		}
	}
	return nil
}

// sealEnding returns the seal of the window that ends at a position; the zero
// one if none does.
func (v *view) sealEnding(p eventlog.Position) (seal, error) {
	item, err := v.txn.Get(positionKey(sealKey, p))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return seal{}, nil
	} else if err != nil {
		return seal{}, err
	}
	return sealOf(item)
}
