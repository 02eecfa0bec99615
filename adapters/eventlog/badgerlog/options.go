package badgerlog

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

const (
	// memTableBytes bounds a transaction to 15 % of itself (600 KiB of keys and
	// small values, 6,500 entries), which is what maxRequests can need.
	memTableBytes = 4 << 20
	// valueFileBytes: the newest value file is read whole at Open.
	valueFileBytes = 128 << 20
	// blockThreshold sends larger values to value files, which compaction
	// never rewrites. Smaller ones cost less in the table than their pointer.
	blockThreshold = 1 << 10
	indexCache     = 16 << 20
	// tableBlock has room for four pieces of sealed parts: with 4,096 bytes it
	// would be three, and a table being built would need more memory by a third.
	tableBlock = 4200
)

// badgerOptions are chosen so that a log costs less than 128 MB of memory that
// is its own: three memtables of 4 MiB (each a third larger in its arena), eight
// tables of 6 MiB being built, 16 MiB of table indexes, 16 MiB of recent commits. Keys
// are small and tables uncompressed, so blocks come from the page cache and
// there is no block cache.
func badgerOptions(dir string, voice *badgerVoice) badger.Options {
	o := badger.DefaultOptions(dir)
	// Badger builds up to eight tables at once, each in twice a table's size (and
	// then in twice as much again), and keeps that memory: 6 MiB hold a memtable
	// and its batch.
	o.TableSizeMultiplier = 1
	return o.
		WithSyncWrites(true).
		WithDetectConflicts(false). // one writer
		WithNumVersionsToKeep(1).
		WithMemTableSize(memTableBytes).
		WithNumMemtables(2).
		// Deleted blocks count as garbage once their tables are merged.
		WithNumLevelZeroTables(2).
		WithCompactL0OnClose(true).
		WithNumCompactors(2).
		WithBaseTableSize(memTableBytes * 3 / 4).
		WithBlockSize(tableBlock).
		WithValueLogFileSize(valueFileBytes).
		WithValueThreshold(blockThreshold).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(indexCache).
		// Tables hold the indexes, which have no checksum of ours.
		WithChecksumVerificationMode(options.OnBlockRead).
		WithVerifyValueChecksum(false). // parts carry their own
		WithMetricsEnabled(false).
		WithLogger(voice)
}

// badgerVoice is Badger's logger. It listens for the one error that Badger
// v4.9.6 only logs: a value file that could not be synced (value.go, write).
type badgerVoice struct {
	log    *slog.Logger
	unsync atomic.Pointer[error]
}

func (v *badgerVoice) Errorf(format string, args ...any) {
	if strings.Contains(format, "sync") {
		err := fmt.Errorf("badger: "+strings.TrimSpace(format), args...)
		v.unsync.CompareAndSwap(nil, &err)
	}
	v.say(slog.LevelError, format, args)
}

func (v *badgerVoice) Warningf(format string, args ...any) { v.say(slog.LevelWarn, format, args) }
func (v *badgerVoice) Infof(string, ...any)                {}
func (v *badgerVoice) Debugf(string, ...any)               {}

func (v *badgerVoice) say(level slog.Level, format string, args []any) {
	if v.log != nil {
		v.log.LogAttrs(context.Background(), level, "badger",
			slog.String("message", strings.TrimSpace(fmt.Sprintf(format, args...))))
	}
}
