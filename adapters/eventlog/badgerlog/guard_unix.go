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
