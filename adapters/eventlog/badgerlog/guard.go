package badgerlog

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// guard refuses appends before the disk is full. It remembers what was free
// and counts down what has been written since, so that the committer never
// waits for the file system's answer.
type guard struct {
	free    func() (uint64, error)
	reserve uint64
	left    atomic.Int64 // bytes that may still be written
}

const (
	// guardInterval: other processes fill disks too, but not by a reserve in this time.
	guardInterval = 250 * time.Millisecond
	// writeFactor: a block is written once to a value file and its keys twice
	// (write-ahead file, table); small blocks a few times by compaction.
	writeFactor = 4
)

// look asks the file system. An error counts as a full disk, because a disk
// that cannot be asked is not one to write to.
func (g *guard) look() {
	free, err := g.free()
	if err != nil {
		g.left.Store(-1)
		return
	}
	g.left.Store(int64(min(free, 1<<62)) - int64(g.reserve))
}

func (g *guard) allow(bytes int) error {
	if left := g.left.Load(); left < int64(bytes)*writeFactor {
		return fmt.Errorf("%d bytes are to stay free and %d are missing: %w", g.reserve, int64(bytes)*writeFactor-left, eventlog.ErrStorageFull)
	}
	return nil
}

func (g *guard) wrote(bytes int) { g.left.Add(-int64(bytes) * writeFactor) }

// keepHouse syncs HEAD and watches the disk until the log closes.
func (l *Log) keepHouse() {
	look, sync := time.NewTicker(guardInterval), time.NewTicker(headSyncing)
	defer look.Stop()
	defer sync.Stop()
	for {
		select {
		case <-look.C:
			l.guard.look()
		case <-sync.C:
			if err := l.head.sync(); err != nil {
				l.fail(err)
			}
		case <-l.stop:
			return
		}
	}
}
