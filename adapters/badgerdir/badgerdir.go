// Package badgerdir opens Badger directories as killed processes and broken
// disks leave them.
//
// Badger v4.9.6 refuses with "Create a new file" a directory in which a
// write-ahead or value file is empty, because the process died between making
// the file and giving it a size (dgraph-io/badger issue 2207). Nothing can be
// in such a file; if something was, the stores' own checks find it missing. A
// table that has been cut ends the process with a panic, a missing MANIFEST has
// Badger delete all tables, and other damage it does not say the place of. So
// this package looks first, and names the file.
package badgerdir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/dgraph-io/badger/v4"
)

// ErrDamaged is returned, with the file's name, for a directory that holds what
// no killed process leaves.
var ErrDamaged = errors.New("file is damaged")

// Open is badger.Open. It refuses with ErrDamaged instead of ending the process,
// and lets no empty file stand in the way.
func Open(o badger.Options) (*badger.DB, error) {
	if _, err := os.Stat(o.Dir); errors.Is(err, os.ErrNotExist) {
		return badger.Open(o) // which makes it
	}
	unlock, ours, err := lock(o.Dir)
	if err != nil {
		return nil, err
	}
	if ours { // else Badger says who has it
		err := errors.Join(removeEmpty(o.Dir), removeDiscard(o.Dir), check(o))
		unlock()
		if err != nil {
			return nil, err
		}
	}
	db, err := badger.Open(o)
	switch {
	case err == nil:
	case strings.Contains(err.Error(), "key mismatch"), strings.Contains(err.Error(), "sanity text"), strings.Contains(err.Error(), "key registry"):
		err = fmt.Errorf("KEYREGISTRY: %w: %w", ErrDamaged, err)
	case strings.Contains(err.Error(), "Opening table"): // it names the file
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return db, err
}

func removeEmpty(dir string) error {
	for _, pattern := range []string{"*.mem", "*.vlog"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return fmt.Errorf("files of %s: %w", dir, err)
		}
		for _, path := range paths {
			if info, err := os.Stat(path); err != nil || info.Size() > 0 {
				continue // what cannot be looked at is Badger's to complain of
			}
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("empty file of a killed process: %w", err)
			}
		}
	}
	return nil
}

// discardBytes is the least that Badger makes of its DISCARD file. It slices a
// shorter one beyond its end.
const discardBytes = 1 << 20

// removeDiscard removes a cut DISCARD: it only says which value files are worth
// collecting, and Badger learns that again from each merge of tables.
func removeDiscard(dir string) error {
	path := filepath.Join(dir, "DISCARD")
	if info, err := os.Stat(path); err != nil || info.Size() >= discardBytes {
		return nil //nolint:nilerr // what cannot be looked at is Badger's to complain of
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("cut list of garbage: %w", err)
	}
	return nil
}

// check reads MANIFEST and looks at the end of each table in it.
func check(o badger.Options) error {
	f, err := os.Open(filepath.Join(o.Dir, badger.ManifestFilename))
	if errors.Is(err, os.ErrNotExist) {
		tables, err := filepath.Glob(filepath.Join(o.Dir, "*.sst"))
		if len(tables) > 0 {
			err = fmt.Errorf("MANIFEST is missing beside %d tables: %w", len(tables), ErrDamaged)
		}
		return err
	} else if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	m, _, err := badger.ReplayManifestFile(f, o.ExternalMagicVersion, o)
	if err != nil {
		return fmt.Errorf("MANIFEST: %w: %w", ErrDamaged, err)
	}
	for id := range m.Tables {
		if err := checkTable(filepath.Join(o.Dir, fmt.Sprintf("%06d.sst", id))); err != nil {
			return err
		}
	}
	return nil
}

// maxChecksum is more than a table's index checksum takes: an algorithm and a
// 64-bit sum as protobuf.
const maxChecksum = 64

// checkTable looks at the lengths with which a table ends: the index, its
// length, its checksum, and that one's length.
func checkTable(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s, which MANIFEST names, is missing: %w", filepath.Base(path), ErrDamaged)
	} else if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	at := info.Size()
	length := func() int64 { // of what ends here, which its length follows
		b := make([]byte, 4)
		if at -= 4; at < 0 {
			return -1
		}
		if _, err := f.ReadAt(b, at); err != nil {
			return -1
		}
		n := int64(binary.BigEndian.Uint32(b))
		at -= n
		return n
	}
	if sum := length(); sum <= 0 || sum > maxChecksum || length() <= 0 || at < 0 {
		return fmt.Errorf("%s of %d bytes has no end: %w", filepath.Base(path), info.Size(), ErrDamaged)
	}
	return nil
}
