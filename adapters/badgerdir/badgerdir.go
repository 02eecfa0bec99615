// Package badgerdir opens Badger directories as killed processes leave them.
//
// Badger v4.9.6 refuses with "Create a new file" a directory in which a
// write-ahead or value file is empty, because the process died between making
// the file and giving it a size (dgraph-io/badger issue 2207). Nothing can be
// in such a file; if something was, the stores' own checks find it missing.
package badgerdir

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
)

// Open is badger.Open without empty files in the way. The directory must exist.
func Open(o badger.Options) (*badger.DB, error) {
	for _, pattern := range []string{"*.mem", "*.vlog"} {
		paths, err := filepath.Glob(filepath.Join(o.Dir, pattern))
		if err != nil {
			return nil, fmt.Errorf("files of %s: %w", o.Dir, err)
		}
		for _, path := range paths {
			if info, err := os.Stat(path); err != nil || info.Size() > 0 {
				continue // what cannot be looked at is Badger's to complain of
			}
			if err := os.Remove(path); err != nil {
				return nil, fmt.Errorf("empty file of a killed process: %w", err)
			}
		}
	}
	return badger.Open(o)
}
