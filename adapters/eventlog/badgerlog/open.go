package badgerlog

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/adapters/badgerdir"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// The files of a log's directory.
const (
	originName = "ORIGIN"
	headName   = "HEAD"
	storeName  = "badger"
)

// Open opens the log in dir, making a new one if dir is empty or missing. It
// refuses with ErrDamaged, naming what is missing, a log that does not hold all
// that it has acknowledged, and with ErrLocked one that is in use.
func Open(ctx context.Context, dir string, cfg Config) (*Log, error) {
	l := newLog(dir, cfg)
	if err := os.MkdirAll(filepath.Join(dir, storeName), 0o755); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if err := l.openStore(); err != nil {
		return nil, err
	}
	if err := l.start(ctx); err != nil {
		err = fmt.Errorf("open log %s: %w", dir, err)
		if l.head != nil {
			err = errors.Join(err, l.head.file.Close())
		}
		return nil, errors.Join(err, l.db.Close())
	}
	l.toSeal <- struct{}{} // what an earlier process has left
	for _, run := range []func(){l.commitAll, l.answerAll, l.writeWindows, l.wakeAll, l.keepHouse, l.sealAll} {
		l.done.Go(run)
	}
	return l, nil
}

func newLog(dir string, cfg Config) *Log {
	l := &Log{
		cfg: cfg.complete(dir), dir: dir, queue: make(chan *request, maxRequests), answers: make(chan []*request, 2), poke: make(chan struct{}, 1),
		toWindows: make(chan *window, 4), toSeal: make(chan struct{}, 1), stop: make(chan struct{}), failed: make(chan error, 1),
		voice: &badgerVoice{log: cfg.Log}, committer: newCommitter(),
		counts: map[eventlog.StreamID]uint64{}, categories: map[string]eventlog.Position{},
	}
	l.recent.max = l.cfg.RecentBytes
	l.guard.free, l.guard.reserve = l.cfg.Free, l.cfg.Reserve
	return l
}

// openStore opens Badger, which writes while it opens: a full disk must be seen
// before.
func (l *Log) openStore() error {
	if l.guard.look(); l.guard.left.Load()+int64(l.cfg.Reserve) < 4*memTableBytes {
		return fmt.Errorf("open log %s: less than %d bytes free: %w", l.dir, 4*memTableBytes, eventlog.ErrStorageFull)
	}
	db, err := badgerdir.Open(badgerOptions(filepath.Join(l.dir, storeName), l.voice).WithSyncWrites(!l.cfg.copying))
	switch {
	case err == nil:
	case strings.Contains(err.Error(), "Cannot acquire directory lock"):
		err = ErrLocked
	case errors.Is(err, badgerdir.ErrDamaged):
		err = fmt.Errorf("%w: %w", eventlog.ErrDamaged, err)
	}
	l.db = db
	return wrap(err, "open log %s", l.dir)
}

// start compares the store with what HEAD remembers and reads what is needed
// in memory.
func (l *Log) start(ctx context.Context) (err error) {
	v := l.openingView()
	defer v.close()
	defer unpanic(&err)
	last, err := v.loadSeals(ctx)
	if err != nil {
		return err
	}
	e, err := v.findEnd(last)
	if err != nil {
		return err
	}
	if err := v.loadEpochs(e.head); err != nil {
		return err
	}
	fresh, err := l.openOrigin(e.head == 0)
	if err != nil {
		return err
	}
	if fresh {
		l.current = newWindow(1)
		return nil
	}
	var h head
	if l.head, h, err = openHead(filepath.Join(l.dir, headName)); err != nil {
		return err
	}
	if err := v.verify(ctx, e, h); err != nil {
		return err
	}
	if e.head > 0 {
		hash, last, err := v.commitHash(e.head)
		if err != nil {
			return err
		}
		l.committer.chain, e.recorded = hash, later(last.recorded, h.recorded)
	}
	l.end = e
	if err := v.loadWindows(ctx, e); err != nil {
		return err
	}
	return v.finishSealing(ctx, last)
}

// loadSeals finds up to where telemetry is sealed and returns the last seal.
func (v *view) loadSeals(ctx context.Context) (last seal, err error) {
	it := v.iterator([]byte{sealKey}, false)
	for n := 0; ; n++ {
		if n == 0 {
			it.Rewind()
		} else {
			it.Next()
		}
		if !it.Valid() {
			break
		}
		if n%10_000 == 0 && ctx.Err() != nil {
			return last, ctx.Err()
		}
		b, err := value(it.Item())
		if err != nil {
			return last, err
		}
		s, err := parseSeal(it.Item().Key(), b)
		if err != nil {
			return last, err
		}
		if s.first != last.last+1 {
			return last, fmt.Errorf("no seal of positions %v to %v, though later ones are there: %w", last.last+1, s.first-1, eventlog.ErrDamaged)
		}
		last = s
	}
	v.sealed = last.last
	v.l.sealed.Store(uint64(last.last))
	return last, nil
}

// finishSealing deletes what a sealing that was cut short has left behind.
func (v *view) finishSealing(ctx context.Context, last seal) error {
	it := v.iterator([]byte{telemetryKey}, false)
	if it.Rewind(); it.Valid() && keyNumber(it.Item().Key()[:9]) <= uint64(last.last) {
		return v.l.cleanUp(ctx, last, nil, &pacer{})
	}
	return nil
}

// openingView is ownView before there are windows.
func (l *Log) openingView() *view {
	return &view{l: l, txn: l.db.NewTransaction(false), release: func() {}}
}

// openOrigin reads the log's name, or makes it and HEAD for a new log. ORIGIN
// comes last: once it is there, HEAD must be too.
func (l *Log) openOrigin(empty bool) (fresh bool, err error) {
	path := filepath.Join(l.dir, originName)
	b, err := os.ReadFile(path)
	if err == nil {
		if l.origin, err = parseOrigin(string(b)); err != nil {
			return false, err
		}
		if l.cfg.Origin != "" && l.cfg.Origin != l.origin {
			return false, fmt.Errorf("the log's origin is %q, expected %q", l.origin, l.cfg.Origin)
		}
		return false, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("read ORIGIN: %w", err)
	}
	if !empty {
		return false, fmt.Errorf("ORIGIN is missing beside a log that holds events: %w", eventlog.ErrDamaged)
	}
	if l.origin = l.cfg.Origin; l.origin == "" {
		random := make([]byte, 8)
		if _, err := rand.Read(random); err != nil {
			return false, err
		}
		l.origin = hex.EncodeToString(random)
	}
	if err := eventlog.StreamID("structure-" + l.origin).Check(); err != nil {
		return false, fmt.Errorf("origin %q: %w", l.origin, err)
	}
	// A HEAD without ORIGIN is of a creation that was cut short.
	if err := os.Remove(filepath.Join(l.dir, headName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	if l.head, err = createHead(filepath.Join(l.dir, headName)); err != nil {
		return false, err
	}
	return true, writeDurably(path, []byte(originText(l.origin)))
}

// originText is the ORIGIN file: ids are derived from the name, so a flipped
// bit in it must not pass.
func originText(origin string) string {
	return fmt.Sprintf("%s %08x\n", origin, crc32.Checksum([]byte(origin), castagnoli))
}

func parseOrigin(text string) (string, error) {
	origin, _, _ := strings.Cut(text, " ")
	if text != originText(origin) {
		return "", fmt.Errorf("ORIGIN holds %.100q, expected a name and its checksum: %w", text, eventlog.ErrDamaged)
	}
	return origin, nil
}

// writeDurably makes a file appear whole or not at all.
func writeDurably(path string, b []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// findEnd finds the last block of each kind; last is the last seal.
func (v *view) findEnd(last seal) (extent, error) {
	e := extent{head: last.last, telemetry: last.telemetry}
	for _, other := range []bool{false, true} {
		it := v.last([]byte{kindKey(other)})
		if !it.Valid() {
			continue
		}
		key, err := parsePartKey(it.Item().Key())
		if err != nil {
			return e, err
		}
		if e.head = max(e.head, key.last); other {
			e.other = key.last
		} else {
			e.telemetry = max(e.telemetry, key.last)
		}
	}
	return e, nil
}

// verify holds the store to HEAD: nothing that was acknowledged may be missing
// at the end, and the newest blocks must follow each other without a hole.
func (v *view) verify(ctx context.Context, e extent, h head) error {
	if h.last > e.head {
		return fmt.Errorf("the log ends at position %v, but positions %v to %v were acknowledged and are missing: %w",
			e.head, e.head+1, h.last, eventlog.ErrDamaged)
	}
	if h.last > v.sealed { // else it is in a sealed window, whose blocks are no more
		hash, _, err := v.commitHash(h.last)
		if err != nil {
			return err
		}
		if hash != h.hash {
			return fmt.Errorf("the commit that ends at position %v is not the one that was acknowledged (hash %x, HEAD says %x): %w",
				h.last, hash, h.hash, eventlog.ErrDamaged)
		}
	}
	return v.verifyKeys(ctx, e)
}

// verifyKeysMax: more blocks than Badger can have in write-ahead files, where
// damage makes it forget the rest of a file without a word. Older blocks are in
// tables; readers find a hole there by the links between blocks.
const verifyKeysMax = 1 << 20

// verifyKeys walks the newest blocks' keys backwards and finds holes.
func (v *view) verifyKeys(ctx context.Context, e extent) error {
	its := [2]*keyWalk{newKeyWalk(v, false), newKeyWalk(v, true)}
	next := e.head // where the commit before the last one seen must end
	for n := 0; n < verifyKeysMax && next > v.sealed; n++ {
		if n%10_000 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		var found [2]bool
		var key partKey
		for i, it := range its {
			k, ok, err := it.key()
			if err != nil {
				return err
			}
			if found[i] = ok && k.last == next; found[i] {
				key = k
				it.it.Next()
			}
		}
		switch {
		case !found[0] && !found[1]:
			return fmt.Errorf("no block ends at position %v, though later ones are there: %w", next, eventlog.ErrDamaged)
		case key.both != (found[0] && found[1]):
			return fmt.Errorf("one of the two blocks of positions %v to %v is missing: %w", key.first(), key.last, eventlog.ErrDamaged)
		}
		next = standing(v.l.epochs, key.first()-1)
	}
	if next < standing(v.l.epochs, v.sealed) {
		return fmt.Errorf("a commit from position %v on is half in the sealed window to %v: %w", next+1, v.sealed, eventlog.ErrDamaged)
	}
	return nil
}

type keyWalk struct{ it *badger.Iterator }

func newKeyWalk(v *view, other bool) *keyWalk { return &keyWalk{v.last([]byte{kindKey(other)})} }

func (w *keyWalk) key() (partKey, bool, error) {
	if !w.it.Valid() {
		return partKey{}, false, nil
	}
	k, err := parsePartKey(w.it.Item().Key())
	return k, true, err
}

// commitHash reads the commit that ends at a position and hashes it.
func (v *view) commitHash(last eventlog.Position) (chainHash, partHeader, error) {
	digest := sha256.New()
	var h partHeader
	if s := standing(v.l.starts(), last); s < last { // a window ends where an epoch does
		if last = s; last == 0 {
			return chainHash{}, h, nil
		}
		if last <= v.sealed { // it was cut, and here is the rest
			s, err := v.sealAt(last)
			return s.hash, h, err
		}
	}
	found := 0
	for _, other := range []bool{false, true} {
		it := v.iterator([]byte{kindKey(other)}, false)
		it.Seek(positionKey(kindKey(other), last))
		if !it.Valid() {
			continue
		}
		key, err := parsePartKey(it.Item().Key())
		if err != nil {
			return chainHash{}, h, err
		}
		if key.last != last {
			continue
		}
		b, err := value(it.Item())
		if err != nil {
			return chainHash{}, h, err
		}
		if h, _, err = decodeHeader(b, key); err != nil {
			return chainHash{}, h, err
		}
		found++
		digest.Write(b)
	}
	if found == 0 || h.key.both != (found == 2) {
		return chainHash{}, h, fmt.Errorf("the commit that ends at position %v is missing or not whole: %w", last, eventlog.ErrDamaged)
	}
	return chainHash(digest.Sum(nil)[:hashLen]), h, nil
}
