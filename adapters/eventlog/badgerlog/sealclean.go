package badgerlog

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// cleanUp shortens the index of a sealed window and deletes its blocks, the
// last one last: as long as one is there, Open does it all again. u is the
// window if it has been read already.
func (l *Log) cleanUp(ctx context.Context, s seal, u *sealedUnit, pace *pacer) error {
	v := l.ownView()
	defer v.close()
	v.quiet = true
	out := sealWriter{l: l}
	if s.rows > 0 {
		var err error
		if u == nil {
			u, err = v.unit(s)
		}
		if err != nil {
			return err
		}
		ends := make([]uint32, len(u.streams))
		for i, g := range u.group {
			ends[u.groupStream[g]] = u.rev[i]
		}
		for n, id := range u.streams {
			entry := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(s.last)), uint64(n))
			key := namedKey(windowKey, string(id), uint64(u.firstRev[n])+uint64(ends[n]))
			if err := out.set(badger.NewEntry(key, entry).WithMeta(sealedMeta)); err != nil {
				return err
			}
		}
		if err := out.flush(); err != nil {
			return err
		}
		pace.rest()
	}
	l.cfg.Moment(momentIndex)
	if err := l.deleteKeys(telemetryKey, s.first, s.last, pace); err != nil {
		return err
	}
	return ctx.Err()
}

// deleteKeys deletes the keys of a kind whose positions are first to last.
func (l *Log) deleteKeys(kind byte, first, last eventlog.Position, pace *pacer) error {
	v := l.ownView()
	defer v.close()
	it := v.iterator([]byte{kind}, false)
	var keys [][]byte
	for it.Seek(positionKey(kind, first)); ; it.Next() {
		end := !it.Valid() || keyNumber(it.Item().Key()[:9]) > uint64(last)
		if len(keys) >= sealTxnKeys || end && len(keys) > 0 {
			if err := l.update(func(txn *badger.Txn) error {
				for _, k := range keys {
					if err := txn.Delete(k); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				return err
			}
			keys = keys[:0]
			if kind == telemetryKey {
				l.cfg.Moment(momentDeleted)
			}
			pace.rest()
		}
		if end {
			return nil
		}
		keys = append(keys, it.Item().KeyCopy(nil))
		l.stale += it.Item().EstimatedSize()
	}
}

// Collect gives back what deleted blocks take on the disk. It is for tools and
// tests: the log does it by itself, after each 128 MiB of them.
func (l *Log) Collect(ctx context.Context) error {
	release, err := l.use()
	if err != nil {
		return err
	}
	defer release()
	l.sealing.Lock()
	defer l.sealing.Unlock()
	return wrap(l.collect(ctx, &pacer{}), "collect")
}

// Compact seals what can be sealed and gives back value files that hold nothing
// but deleted blocks, all but the newest. It is for tools: the log does it by itself.
func (l *Log) Compact(ctx context.Context) error {
	if err := l.Seal(ctx); err != nil {
		return err
	}
	release, err := l.use()
	if err != nil {
		return err
	}
	defer release()
	l.sealing.Lock()
	defer l.sealing.Unlock()
	return wrap(l.collect(ctx, &pacer{}), "compact")
}

// collect lets Badger give back the value files that hold nothing but deleted
// blocks. It copies what still lives in them up to the first damage and drops
// the rest without a word, so everything in value files is read before.
func (l *Log) collect(ctx context.Context, pace *pacer) error {
	if err := l.readValues(ctx, pace); err != nil {
		return err
	}
	l.cfg.Moment(momentMerging)
	if err := l.db.Flatten(1); err != nil {
		return err
	}
	l.cfg.Moment(momentMerged)
	for {
		if err := l.db.RunValueLogGC(0.5); errors.Is(err, badger.ErrNoRewrite) || errors.Is(err, badger.ErrRejected) {
			return nil
		} else if err != nil {
			return err
		}
		l.cfg.Moment(momentCollected)
		l.stale = 0
		if err := ctx.Err(); err != nil {
			return err
		}
		pace.rest()
	}
}

// readValues checks the blocks that are large enough for a value file.
func (l *Log) readValues(ctx context.Context, pace *pacer) error {
	v := l.ownView()
	defer v.close()
	for _, kind := range []byte{telemetryKey, otherKey} {
		n := 0
		it := v.iterator([]byte{kind}, false)
		for it.Rewind(); it.Valid(); it.Next() {
			if n++; n%256 == 0 {
				pace.rest()
				if err := ctx.Err(); err != nil {
					return err
				}
			}
			if it.Item().EstimatedSize() < blockThreshold {
				continue
			}
			key, err := parsePartKey(it.Item().Key())
			if err != nil {
				return err
			}
			b, err := value(it.Item())
			if err != nil {
				return err
			}
			if _, _, err := decodeHeader(b, key); err != nil {
				return err
			}
		}
	}
	return nil
}
