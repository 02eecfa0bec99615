//go:build unix

package badgerdir

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lock takes the lock that Badger takes, so that nobody's files are touched
// while he makes them; ours is false if somebody has it.
func lock(dir string) (unlock func(), ours bool, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, false, fmt.Errorf("lock %s: %w", dir, err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, false, f.Close()
	} else if err != nil {
		return nil, false, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	return func() {
		// Closing is not enough: a process that is just being made has a copy of f.
		_ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
		_ = f.Close()
	}, true, nil
}
