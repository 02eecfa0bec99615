package server

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twinlog/twinlog/adapters/rows/badgerrows"
)

// openRows opens views/. Whatever is wrong with it, the log has everything that
// was in it: it is put aside for whoever wants to know why, and rebuilt.
func openRows(data string, logger *slog.Logger) (*badgerrows.Store, error) {
	dir := filepath.Join(data, "views")
	rows, err := tryRows(dir)
	if err == nil || strings.Contains(err.Error(), "Cannot acquire directory lock") {
		return rows, err
	}
	aside := dir + ".damaged-" + time.Now().UTC().Format("20060102T150405.000Z")
	if renameErr := os.Rename(dir, aside); renameErr != nil {
		return nil, errors.Join(err, renameErr)
	}
	rows, again := tryRows(dir)
	if again != nil { // so it was not the directory's fault
		return nil, errors.Join(err, os.RemoveAll(dir), os.Rename(aside, dir))
	}
	logger.Warn("views could not be opened: they were put aside and are rebuilt from the log", //nolint:sloglint // no context of a request
		slog.String("aside", aside), slog.Any("error", err))
	return rows, nil
}

// tryRows opens views/. Badger may panic on damaged tables.
func tryRows(dir string) (rows *badgerrows.Store, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", badgerrows.ErrUnreadable, r)
		}
	}()
	return badgerrows.Open(dir, badgerrows.Config{})
}
