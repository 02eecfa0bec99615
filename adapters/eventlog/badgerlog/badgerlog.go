// Package badgerlog keeps an event log in a directory, on Badger v4.
//
// Its promise: when Append returns, the events are on the disk, in one
// transaction with everything that finds them again, and no reader has seen
// them before that. One goroutine, the committer, gives positions; whoever
// appends while it syncs shares the next sync (group commit). Telemetry and all
// other events of a commit are two values, so that readers of the latter never
// touch the former. docs/formats/log.md draws every key and value.
//
// Badger's own checks do not find what this package must find: a flipped bit
// in its write-ahead file ends the log early without an error, a failed sync of
// a value file is only logged, a failed sync of the write-ahead file leaves the
// commit visible. So blocks carry their own checksum and the hash of the commit
// before, a HEAD file remembers how far the log was acknowledged, and after a
// failed commit the log stops for good (Failed).
//
// When a window of 65,536 positions is full, its telemetry is sealed: written
// again as columns, read back, compared with the blocks byte for byte, and only
// then are the blocks deleted. No reader can tell.
package badgerlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// ErrLocked is returned when another process has the log open.
var ErrLocked = errors.New("log is in use by another process")

// Config says how a log is kept. The zero Config is a good one.
type Config struct {
	// Origin names the log when it is created; later it must be empty or the
	// same. Empty: a new log makes a random one of 16 letters and digits.
	Origin string
	// Now is the clock that Recorded comes from; nil: time.Now.
	Now func() time.Time
	// Clock says how far Now can be trusted; its OffsetUS is not used. nil: nothing is said.
	Clock func() eventlog.ClockState
	// IDs derives an event's id from what the log keeps anyway, or returns
	// false. Ids that it gives back are not stored. What it once derived it
	// must derive for ever.
	IDs func(origin string, stream eventlog.StreamID, typ string, data []byte) (eventlog.EventID, bool)
	// Reserve is how many bytes stay free on the disk: below it appends are
	// refused with ErrStorageFull. 0: 1 GiB; at least 4 memtables, because
	// Badger dies of a full disk (SIGBUS) with what it had not written yet.
	Reserve uint64
	// Free returns the bytes free for the log; nil asks the file system of dir.
	Free func() (uint64, error)
	// Window is the number of positions after which the index of telemetry
	// streams goes from memory to the disk; 0: 65,536 (about 2 MB in memory).
	Window int
	// RecentBytes bounds the newest commits kept in memory for readers that
	// have caught up, in bytes as they are there; 0: 16 MiB, which is 40,000
	// telemetry rows.
	RecentBytes int
	// NoSealing leaves telemetry in the blocks in which it was written.
	NoSealing bool
	// Log receives what Badger has to say at warning level and above; nil: nobody.
	Log *slog.Logger

	// Moment is called when the log comes to one of Moments, in the goroutine
	// that does; for tests that kill. nil: nobody.
	Moment func(string)

	copying bool // see OpenCopy
}

// Moments are those at which a process that dies leaves something of its own
// kind behind.
var Moments = []string{
	momentTaken, momentWriting, momentSynced, momentHead, momentWindow, momentMarked,
	momentParts, momentSwitch, momentSwitched, momentIndex, momentDeleted,
	momentMerging, momentMerged, momentCollected,
}

const (
	momentTaken     = "commit: half the batch is taken"
	momentWriting   = "commit: handed to the store, before its sync"
	momentSynced    = "commit: synced, before the acknowledgement"
	momentHead      = "commit: HEAD is written"
	momentWindow    = "window: index written"
	momentMarked    = "window: marked"
	momentParts     = "seal: parts written"
	momentSwitch    = "seal: before switch"
	momentSwitched  = "seal: switched"
	momentIndex     = "seal: index written"
	momentDeleted   = "seal: blocks deleted"
	momentMerging   = "collect: before tables are merged"
	momentMerged    = "collect: tables are merged"
	momentCollected = "collect: a value file is rewritten"
)

const (
	standardReserve = 1 << 30
	standardWindow  = 1 << 16
	standardRecent  = 16 << 20
)

func (c Config) complete(dir string) Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Clock == nil {
		c.Clock = func() eventlog.ClockState { return eventlog.ClockState{} }
	}
	if c.IDs == nil {
		c.IDs = func(string, eventlog.StreamID, string, []byte) (eventlog.EventID, bool) {
			return eventlog.EventID{}, false
		}
	}
	if c.Reserve == 0 {
		c.Reserve = standardReserve
	}
	c.Reserve = max(c.Reserve, 4*memTableBytes)
	if c.Free == nil {
		c.Free = func() (uint64, error) { return freeBytes(dir) }
	}
	if c.Moment == nil {
		c.Moment = func(string) {}
	}
	if c.Window == 0 {
		c.Window = standardWindow
	}
	if c.RecentBytes == 0 {
		c.RecentBytes = standardRecent
	}
	return c
}

// Log is an eventlog.Log in a directory. Open makes one.
type Log struct {
	cfg    Config
	dir    string
	origin string
	db     *badger.DB
	head   *headFile
	guard  guard

	queue     chan *request
	answers   chan []*request // of AppendAsync, a commit's at once; closed by the committer
	poke      chan struct{}   // the notifier has something to tell
	toWindows chan *window    // closed windows on their way to the disk
	bell      bell
	counters  counters

	// open is held for reading by everything that uses db, and for writing by
	// Close, so that db is never used after it is closed.
	open   sync.RWMutex
	closed bool          // guarded by open
	stop   chan struct{} // closed by Close
	done   sync.WaitGroup

	failed    chan error // capacity 1
	failure   atomic.Pointer[error]
	voice     *badgerVoice
	committer committer

	// mu guards what readers see of the log: published by the committer after
	// each sync, and never held during I/O.
	mu         sync.RWMutex
	end        extent
	counts     map[eventlog.StreamID]uint64 // events in recently written streams
	categories map[string]eventlog.Position // last non-telemetry event of each category seen
	current    *window                      // being filled
	closing    []*window                    // full, not yet on the disk
	marks      []eventlog.Mark              // ends of all windows but the current
	epochs     []epochStart                 // beginnings of all epochs but that of position 1
	recent     recent

	sealed      atomic.Uint64 // position up to which telemetry is sealed
	sealFailed  atomic.Pointer[error]
	sealedUnits sealedCache
	toSeal      chan struct{} // a window has been closed; capacity 1
	// sealing is held by who seals, and guards maker and stale.
	sealing sync.Mutex
	maker   partMaker
	stale   int64 // bytes of blocks deleted since the last collect
}

// extent is where the log ends, as one reader sees it throughout.
type extent struct {
	head      eventlog.Position // last position
	telemetry eventlog.Position // last position of the last commit with telemetry, 0 if none
	other     eventlog.Position // the same for other events
	recorded  time.Time         // of the last commit
}

func (e extent) of(other bool) eventlog.Position {
	if other {
		return e.other
	}
	return e.telemetry
}

var (
	_ eventlog.Log           = (*Log)(nil)
	_ eventlog.AsyncAppender = (*Log)(nil)
)

// Origin implements eventlog.Log.
func (l *Log) Origin() string { return l.origin }

// Head implements eventlog.Log.
func (l *Log) Head(context.Context) (eventlog.Position, time.Time, error) {
	e := l.extent()
	return e.head, e.recorded, nil
}

// extent returns where the log ends.
func (l *Log) extent() extent {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.end
}

// Failed gives the error that stopped the log: a commit or a sync that failed.
// Readers go on, every Append is refused; the process should end, because what
// the failed commit left behind only a fresh start can tell.
func (l *Log) Failed() <-chan error { return l.failed }

func (l *Log) fail(err error) {
	err = fmt.Errorf("log stopped: %w: %w", eventlog.ErrDamaged, err)
	if l.failure.CompareAndSwap(nil, &err) {
		l.failed <- err
	}
}

// Close waits for the commit under way, refuses what else is waiting, and
// closes the store, unless the log has failed. It may be called more than once.
func (l *Log) Close() error {
	l.open.Lock()
	if l.closed {
		l.open.Unlock()
		return nil
	}
	l.closed = true
	close(l.stop)
	l.open.Unlock()
	l.done.Wait()
	l.bell.ring()
	l.refuseQueue()
	if l.failure.Load() != nil {
		// Badger merges tables when it closes, forgets the error of a table that
		// it could not write (v4.9.6 levels.go, subcompact) and deletes what it
		// has merged: acknowledged events would be gone. So a failed log is left
		// as a crash leaves it, its lock until the process ends.
		return l.head.close()
	}
	return errors.Join(l.head.close(), wrap(l.db.Close(), "close %s", l.dir))
}

// use keeps the store open until the returned function is called.
func (l *Log) use() (func(), error) {
	l.open.RLock()
	if l.closed {
		l.open.RUnlock()
		return nil, fmt.Errorf("log %s: %w", l.dir, eventlog.ErrClosed)
	}
	return l.open.RUnlock, nil
}

// wrap adds what was done to err, if there is one.
func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

// derive is Config.IDs for this log.
func (l *Log) derive(id eventlog.StreamID, typ string, data []byte) (eventlog.EventID, bool) {
	return l.cfg.IDs(l.origin, id, typ, data)
}

// Counters count what readers took from the store since Open.
type Counters struct {
	TelemetryBlocks uint64 // parts with telemetry rows that were read
	OtherBlocks     uint64 // parts with other events that were read
	Commits         uint64 // group commits, each with one sync
	Bytes           uint64 // bytes of blocks written
	SealedRows      uint64 // telemetry rows sealed
	VerbatimRows    uint64 // of them, those that are no rows as telemetry.md draws them
	SealedBytes     uint64 // bytes of sealed parts, index entries and seals written
}

type counters struct{ telemetry, other, commits, bytes, sealed, verbatim, sealedBytes atomic.Uint64 }

// Counters returns the counts so far.
func (l *Log) Counters() Counters {
	c := &l.counters
	return Counters{
		c.telemetry.Load(), c.other.Load(), c.commits.Load(), c.bytes.Load(), c.sealed.Load(), c.verbatim.Load(), c.sealedBytes.Load(),
	}
}
