//go:build linux

package crash

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A disk is what would be left of a directory if the power went: of each file
// what its last completed sync wrote, under the names that are durable. A name
// is made durable by a sync of its directory or, as on ext4, of its file.
type disk struct {
	live   string           // the directory that is watched
	blobs  string           // what was synced, a file for each inode
	names  map[string]inode // durable, relative to live
	synced map[inode]bool   // has a blob
}

// An inode is told from a later one with the same number by its birth.
type inode struct {
	number       uint64
	birth, nanos int64
}

func inodeOf(path string) (inode, error) {
	var s unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_BTIME, &s)
	return inode{s.Ino, s.Btime.Sec, int64(s.Btime.Nsec)}, err
}

// newDisk takes all that is in live as durable.
func newDisk(t *testing.T, live string) *disk {
	t.Helper()
	d := &disk{live: live, blobs: t.TempDir(), names: map[string]inode{}, synced: map[inode]bool{}}
	err := d.walk(func(rel string, dir bool) error {
		if dir {
			return nil
		}
		return d.syncFile(filepath.Join(live, rel))
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *disk) walk(each func(rel string, dir bool) error) error {
	return filepath.WalkDir(d.live, func(path string, e os.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || path == d.live {
			return err
		}
		rel, err := filepath.Rel(d.live, path)
		if err != nil {
			return err
		}
		return each(rel, e.IsDir())
	})
}

func (d *disk) blob(i inode) string {
	return filepath.Join(d.blobs, fmt.Sprintf("%d-%d.%d", i.number, i.birth, i.nanos))
}

// writtenThrough are files that Badger opens with O_DSYNC: no sync follows.
const writtenThrough = "KEYREGISTRY"

// sync notes that the sync of a file or directory has ended.
func (d *disk) sync(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it has been deleted since
	} else if err != nil {
		return err
	}
	if info.IsDir() {
		return d.syncDir(path)
	}
	return d.syncFile(path)
}

func (d *disk) syncFile(path string) error {
	rel, err := filepath.Rel(d.live, path)
	if err != nil || !filepath.IsLocal(rel) {
		return err // not ours
	}
	i, err := inodeOf(path)
	if err != nil {
		return err
	}
	d.names[rel], d.synced[i] = i, true
	return copyFile(path, d.blob(i))
}

func (d *disk) syncDir(path string) error {
	dir, err := filepath.Rel(d.live, path)
	if err != nil || !filepath.IsLocal(dir) {
		return err
	}
	for name := range d.names {
		if filepath.Dir(name) == dir {
			delete(d.names, name)
		}
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		i, err := inodeOf(filepath.Join(path, e.Name()))
		if err != nil {
			return err
		}
		d.names[filepath.Join(dir, e.Name())] = i
		if strings.HasPrefix(e.Name(), writtenThrough) {
			if err := d.syncFile(filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// restore writes to a directory what the power cut left. Strictly: nothing but
// what was synced. Else the kernel had begun to write: all names are the live
// ones, and each page that differs is the synced or the live one.
func (d *disk) restore(to string, strictly bool, rng *rand.Rand) error {
	names := d.names
	if !strictly {
		names = map[string]inode{}
	}
	err := d.walk(func(rel string, dir bool) error {
		if dir {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		if strictly {
			return nil
		}
		i, err := inodeOf(filepath.Join(d.live, rel))
		names[rel] = i
		return err
	})
	if err != nil {
		return err
	}
	for name, i := range names {
		path := filepath.Join(to, name)
		if d.synced[i] {
			err = copyFile(d.blob(i), path)
		} else {
			err = os.WriteFile(path, nil, 0o644)
		}
		if err == nil && !strictly {
			err = tear(filepath.Join(d.live, name), path, rng)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const pageBytes = 4096

// tear gives some pages of path what live has there, and perhaps its size.
func tear(live, path string, rng *rand.Rand) error {
	from, err := os.Open(live)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer to.Close()
	info, err := from.Stat()
	if err != nil {
		return err
	}
	was, err := to.Stat()
	if err != nil {
		return err
	}
	size := was.Size()
	if info.Size() != size && rng.IntN(2) == 0 {
		size = info.Size()
		if err := to.Truncate(size); err != nil {
			return err
		}
	}
	likely := rng.Float64() // of a page to have been written
	return extents(from, info.Size(), func(at, end int64) error {
		page, old := make([]byte, pageBytes), make([]byte, pageBytes)
		for at -= at % pageBytes; at < min(end, size); at += pageBytes {
			n, err := from.ReadAt(page, at)
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			n = min(n, int(size-at))
			if k, _ := to.ReadAt(old[:n], at); k == n && string(old[:n]) == string(page[:n]) || rng.Float64() > likely {
				continue
			}
			if _, err := to.WriteAt(page[:n], at); err != nil {
				return err
			}
		}
		return nil
	})
}

// extents calls each for the parts of a file that are no holes: Badger's
// preallocated files are nearly all hole.
func extents(f *os.File, size int64, each func(at, end int64) error) error {
	for end := int64(0); end < size; {
		at, err := f.Seek(end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // nothing but a hole follows
		} else if err != nil {
			return err
		}
		if end, err = f.Seek(at, unix.SEEK_HOLE); err != nil {
			return err
		}
		if err := each(at, end); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := out.Truncate(info.Size()); err != nil {
		return err
	}
	return extents(in, info.Size(), func(at, end int64) error {
		_, err := io.Copy(io.NewOffsetWriter(out, at), io.NewSectionReader(in, at, end-at))
		return err
	})
}
