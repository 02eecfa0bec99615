//go:build linux || darwin

package badgerlog

import (
	"fmt"
	"syscall"
)

// freeBytes returns what an unprivileged process may still write to dir's file system.
func freeBytes(dir string) (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return s.Bavail * uint64(s.Bsize), nil
}

// diskBytes is what a file takes on the disk: Badger's are larger by name.
func diskBytes(path string) int64 {
	var s syscall.Stat_t
	if err := syscall.Stat(path, &s); err != nil {
		return 0 // it has just been removed
	}
	return s.Blocks * 512
}
