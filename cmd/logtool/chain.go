package logtool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/twinlog/twinlog/adapters/eventlog/backup"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// A backup is a directory of files, each of which goes on where the one before
// ends. Names sort in that order.
const (
	fileEnding = ".tlb"
	partName   = "unfinished.part"
)

func fileName(after, through eventlog.Position) string {
	return fmt.Sprintf("%v-%v%s", after, through, fileEnding)
}

// Chain is a backup: its files in order.
type Chain struct {
	Files []string
	End   backup.Place
	first backup.Header
}

// ErrChain is returned for files that do not follow each other.
var ErrChain = errors.New("backup is not whole")

// readChain looks at how each file begins and ends. What is between, Scan checks.
func readChain(dir string) (c Chain, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return c, err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), fileEnding) {
			c.Files = append(c.Files, filepath.Join(dir, e.Name()))
		}
	}
	slices.Sort(c.Files)
	for i, path := range c.Files {
		h, end, err := ends(path)
		if err != nil {
			return c, fmt.Errorf("%s: %w", path, err)
		}
		if i == 0 {
			c.first = h
		}
		if h.After.Position != c.End.Position || h.After.Sum != c.End.Sum || h.Origin != c.first.Origin {
			return c, fmt.Errorf("%s goes on after position %v of %s, the files before it end at %v of %s: %w",
				path, h.After.Position, h.Origin, c.End.Position, c.first.Origin, ErrChain)
		}
		c.End = end
	}
	return c, nil
}

func ends(path string) (h backup.Header, end backup.Place, err error) {
	f, err := os.Open(path)
	if err != nil {
		return h, end, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	return backup.Ends(f)
}

// scan hands out the records of all files, and checks them.
func (c Chain) scan(visit func([]eventlog.Record) error) error {
	for _, path := range c.Files {
		if err := scanFile(path, visit); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

func scanFile(path string, visit func([]eventlog.Record) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	_, err = backup.Scan(f, telemetry.DeriveID, func(_ backup.Header, records []eventlog.Record) error { return visit(records) })
	return err
}

// openPart opens the file that an interrupted backup has left, behind its last
// whole block; nil if there is none, or it is no part of this chain.
func openPart(dir string, c Chain) (*os.File, backup.Found, error) {
	path := filepath.Join(dir, partName)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, backup.Found{}, nil
	} else if err != nil {
		return nil, backup.Found{}, err
	}
	found, err := backup.Scan(f, telemetry.DeriveID, func(backup.Header, []eventlog.Record) error { return nil })
	if err != nil && !errors.Is(err, backup.ErrBroken) {
		return nil, found, errors.Join(err, f.Close())
	}
	if found.Offset == 0 || found.Header.After.Position != c.End.Position || found.Header.After.Sum != c.End.Sum {
		return nil, found, errors.Join(f.Close(), os.Remove(path))
	}
	if _, err = f.Seek(found.Offset, io.SeekStart); err == nil {
		err = f.Truncate(found.Offset)
	}
	if err != nil {
		return nil, found, errors.Join(err, f.Close())
	}
	return f, found, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func mustExist(dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("no log in %s: %w", dir, err)
	}
	return nil
}
