//go:build unix

package badgerdir

import (
	"os"
	"syscall"
	"testing"
)

// TestUnlock: what has been unlocked is free, also while a copy of the
// descriptor is open, as in a process between fork and exec.
func TestUnlock(t *testing.T) {
	dir := t.TempDir()
	var copies []int
	defer func() {
		for _, fd := range copies {
			_ = syscall.Close(fd)
		}
	}()
	for range 2 {
		unlock, ours, err := lock(dir)
		if err != nil || !ours {
			t.Fatalf("lock: %v, %v", ours, err)
		}
		copies = append(copies, copyOf(t, dir)...)
		unlock()
	}
}

// copyOf duplicates what this process has open of the directory.
func copyOf(t *testing.T, dir string) (copies []int) {
	t.Helper()
	want, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	for fd := range 256 {
		var have syscall.Stat_t
		if syscall.Fstat(fd, &have) != nil {
			continue
		}
		if sys, ok := want.Sys().(*syscall.Stat_t); ok && have.Ino == sys.Ino && have.Dev == sys.Dev {
			if c, err := syscall.Dup(fd); err == nil {
				copies = append(copies, c)
			}
		}
	}
	if len(copies) == 0 {
		t.Fatal("the lock holds no descriptor")
	}
	return copies
}
