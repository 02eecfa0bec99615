package badgerlog

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Sealing rewrites the telemetry blocks of a closed window as columns. The
// parts are written under keys of their own, read back and compared with the
// blocks byte for byte; then one transaction with one key, the seal, switches
// readers over; then index entries shrink and the blocks go. Whatever cuts this
// short, either the blocks are all there or the seal is, and Open finishes.

const (
	// sealBytes bounds the rows of one sealed window: a window of large rows
	// is sealed in several.
	sealBytes = 24 << 20
	// sealTxnBytes and sealTxnKeys keep the committer's wait for our syncs short.
	sealTxnBytes = 256 << 10
	sealTxnKeys  = 2000
	sealEvery    = time.Second
	// sealAgain: so long after a failure sealing is tried again.
	sealAgain = 30 * time.Second
	// sealIdle: after so many times of sealEvery without a window memory is given back.
	sealIdle = 30
	// collectBytes of deleted blocks are worth a look at the value files.
	collectBytes = 128 << 20
	// collectAgain: and again after so many, if nothing came of it because
	// tables with the deletions have not been merged.
	collectAgain = 16 << 20
)

// Seal seals all windows that are closed, but never the newest commit. It is
// for tools and tests: the log seals by itself.
func (l *Log) Seal(ctx context.Context) error {
	for {
		release, err := l.use()
		if err != nil {
			return err
		}
		done, err := l.sealNext(ctx, &pacer{})
		release()
		if done || err != nil {
			return wrap(err, "seal")
		}
	}
}

// sealAll seals in the background until the log closes.
func (l *Log) sealAll() {
	if l.cfg.NoSealing {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	l.done.Go(func() {
		<-l.stop
		cancel()
	})
	idle := 0
	for {
		select {
		case <-l.toSeal:
		case <-time.After(sealEvery): // a window that was the log's end may no longer be
		case <-l.stop:
			return
		}
		sealed, err := l.sealWaiting(ctx, &pacer{stop: l.stop, on: true})
		if ctx.Err() != nil || l.failure.Load() != nil {
			return
		}
		if err != nil {
			select {
			case <-time.After(sealAgain):
			case <-l.stop:
				return
			}
		}
		if idle++; sealed {
			idle = 0
		}
		if idle == sealIdle {
			l.forgetMaker()
		}
	}
}

// sealWaiting seals what can be sealed now, and says whether there was
// anything. SealError says from then on how it went.
func (l *Log) sealWaiting(ctx context.Context, pace *pacer) (sealed bool, err error) {
	for done := false; !done && err == nil; {
		done, err = l.sealNext(ctx, pace)
		sealed = sealed || !done && err == nil
	}
	if ctx.Err() != nil {
		return sealed, err
	}
	if err == nil {
		l.sealFailed.Store(nil)
		return sealed, nil
	}
	if was := l.sealFailed.Swap(&err); was == nil && l.cfg.Log != nil {
		l.cfg.Log.LogAttrs(ctx, slog.LevelError, "sealing fails, the blocks stay and it is tried again", slog.Any("error", err))
	}
	return sealed, err
}

// SealError is why telemetry is not sealed at the moment, nil if it is. Nothing
// is lost by it, but the log grows a hundredfold faster.
func (l *Log) SealError() error {
	if err := l.sealFailed.Load(); err != nil {
		return *err
	}
	return nil
}

// forgetMaker gives back the memory that sealing used.
func (l *Log) forgetMaker() {
	l.sealing.Lock()
	defer l.sealing.Unlock()
	l.maker = partMaker{}
}

// pacer gives the time that it took back to others: sealing works half of the
// time, and more when windows wait, so that they do not become ever more.
type pacer struct {
	stop    <-chan struct{}
	on      bool
	waiting int // windows besides the one that is being sealed
	since   time.Time
}

func (p *pacer) rest() {
	if !p.on {
		return
	}
	if worked := time.Since(p.since); !p.since.IsZero() && worked < time.Second {
		select {
		case <-time.After(worked / time.Duration(1+p.waiting)):
		case <-p.stop:
		}
	}
	p.since = time.Now()
}

// nextWindow returns the end of the first window that may be sealed; false if
// there is none. wait: there will be when its index is on the disk.
func (l *Log) nextWindow() (end eventlog.Position, wait, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	i := l.markAfter(eventlog.Position(l.sealed.Load()))
	if i == len(l.marks) || l.marks[i].Position >= l.end.head {
		return 0, false, false
	}
	end = l.marks[i].Position
	return end, len(l.closing) > 0 && l.closing[0].last <= end, true
}

// UnsealedWindows counts the full windows that are not sealed yet. The last of
// them may have to wait until it is not the log's end.
func (l *Log) UnsealedWindows() int { return l.windowsAfter(eventlog.Position(l.sealed.Load())) }

// windowsAfter counts the closed windows after position p.
func (l *Log) windowsAfter(p eventlog.Position) int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.marks) - l.markAfter(p)
}

// markAfter returns the place of the first mark after p. l.mu is held.
func (l *Log) markAfter(p eventlog.Position) int {
	i, _ := slices.BinarySearchFunc(l.marks, p, func(m eventlog.Mark, p eventlog.Position) int {
		if m.Position <= p {
			return -1
		}
		return 1
	})
	return i
}

// sealNext seals one window, or as much of it as sealBytes allows; done when
// there is none.
func (l *Log) sealNext(ctx context.Context, pace *pacer) (done bool, err error) {
	l.sealing.Lock()
	defer l.sealing.Unlock()
	defer unpanic(&err)
	end, wait, ok := l.nextWindow()
	for ; ok && wait; end, wait, ok = l.nextWindow() {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return false, ctx.Err()
		}
		if failed := l.failure.Load(); failed != nil {
			return false, *failed
		}
	}
	if !ok {
		return true, nil
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if failed := l.failure.Load(); failed != nil {
		return false, *failed
	}
	if left := l.guard.left.Load() + int64(l.cfg.Reserve); left < 3*memTableBytes {
		return true, nil // the disk is nearly full: when the next window closes
	}
	pace.waiting = l.windowsAfter(end)
	w, err := l.gatherWindow(ctx, end, pace)
	if err != nil {
		return false, err
	}
	if err := w.seal(ctx, pace); err != nil {
		return false, err
	}
	if l.stale > collectBytes {
		l.stale = collectBytes - collectAgain
		err = l.collect(ctx, pace)
	}
	return false, err
}

// toBeSealed is a window while it is sealed.
type toBeSealed struct {
	l      *Log
	into   seal
	before eventlog.Position // the last telemetry block before
	parts  []*part
	starts []int // first row of each part
	flat   []row
	rows   int
	odd    map[int32]bool // rows that go verbatim
	maker  *partMaker

	verbatim int         // rows that were written so
	unit     *sealedUnit // as it was read back
}

// gatherWindow reads the blocks to be sealed.
func (l *Log) gatherWindow(ctx context.Context, end eventlog.Position, pace *pacer) (*toBeSealed, error) {
	v := l.ownView()
	defer v.close()
	first := v.sealed + 1
	w := &toBeSealed{l: l, into: seal{first: first, last: end}, odd: map[int32]bool{}, maker: &l.maker}
	if first > 1 {
		s, err := v.sealAt(first - 1)
		if err != nil {
			return nil, err
		}
		w.before = s.telemetry
	}
	w.into.telemetry = w.before
	memory := &l.maker.blocks
	memory.reset()
	it := v.iterator([]byte{telemetryKey}, false)
	size := 0
	for it.Seek(positionKey(telemetryKey, first)); it.Valid(); it.Next() {
		key, err := parsePartKey(it.Item().Key())
		if err != nil {
			return nil, err
		}
		if key.last > end {
			break
		}
		b, err := valueInto(memory.bytes(int(it.Item().ValueSize())), it.Item())
		if err != nil {
			return nil, err
		}
		p, err := decodePartInto(memory, b, key)
		if err != nil {
			return nil, err
		}
		if p.previous != w.into.telemetry {
			return nil, damagedPart(key, fmt.Sprintf("follows position %v, expected %v", p.previous, w.into.telemetry))
		}
		w.into.telemetry = key.last
		w.parts, w.starts = append(w.parts, p), append(w.starts, w.rows)
		w.rows += len(p.rows)
		for i := range p.rows {
			size += len(p.rows[i].data) + 64
		}
		if len(w.parts)%64 == 0 {
			pace.rest()
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if size >= sealBytes && key.last < end {
			w.into.last = key.last
			break
		}
	}
	w.into.rows, w.flat = w.rows, memory.rows
	hash, _, err := v.commitHash(w.into.last)
	w.into.hash = hash
	return w, err
}

// seal writes, compares, switches and cleans up.
func (w *toBeSealed) seal(ctx context.Context, pace *pacer) error {
	const maxTries = 3 // then all rows go verbatim
	for tries := 0; w.rows > 0; tries++ {
		if err := w.write(pace); err != nil {
			return err
		}
		w.l.cfg.Moment(momentParts)
		odd, err := w.compare(ctx, pace)
		if err != nil {
			return err
		}
		if len(odd) == 0 {
			break
		}
		if tries > maxTries {
			return fmt.Errorf("sealed positions %v to %v do not come back: %d rows differ", w.into.first, w.into.last, len(odd))
		}
		for _, i := range odd {
			w.odd[i] = true
		}
		for i := 0; i < w.rows && tries == maxTries; i++ {
			w.odd[int32(i)] = true
		}
	}
	w.l.cfg.Moment(momentSwitch)
	if err := w.l.update(func(txn *badger.Txn) error {
		return txn.Set(positionKey(sealKey, w.into.last), w.into.bytes())
	}); err != nil {
		return err
	}
	w.l.sealed.Store(uint64(w.into.last))
	w.l.counters.sealed.Add(uint64(w.rows))
	w.l.counters.verbatim.Add(uint64(w.verbatim))
	w.l.cfg.Moment(momentSwitched)
	return w.l.cleanUp(ctx, w.into, w.unit, pace)
}

// update makes a durable transaction; an error ends the log as that of a commit does.
func (l *Log) update(change func(*badger.Txn) error) error {
	txn := l.db.NewTransaction(true)
	defer txn.Discard()
	if err := change(txn); err != nil {
		return err
	}
	err := txn.Commit()
	if unsync := l.voice.unsync.Load(); err == nil && unsync != nil {
		err = *unsync
	}
	if err != nil {
		l.fail(fmt.Errorf("seal: %w", err))
		return *l.failure.Load()
	}
	return nil
}
