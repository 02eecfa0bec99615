// Package logurl opens a log by its URL, in one place for every command that
// takes one:
//
//	/var/lib/twinlog/log           the embedded log in a directory
//	badger:///var/lib/twinlog/log  the same
//	esdb://host:2113?tls=false     a server of the EventStoreDB protocol
//
// Beside the client's own options a server's URL takes origin (of the log, where
// the log itself does not say it), prefix (of all its streams, where several
// logs share a server) and epoch (of its positions, raised after a restore).
package logurl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// ErrURL is returned for text that names no log.
var ErrURL = errors.New("not the URL of a log")

// Log is a log that was opened here; close it.
type Log interface {
	eventlog.Log
	Close() error
}

// Place is where a log is.
type Place struct {
	Dir    string // of an embedded log; empty for a server's
	Server string // connection string of a server; empty for an embedded log
}

// Parse says where a URL points to.
func Parse(text string) (Place, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	switch {
	case text == "":
		return Place{}, fmt.Errorf("%w: empty, expected a directory or esdb://HOST:PORT", ErrURL)
	case !ok:
		return Place{Dir: text}, nil
	case scheme == "badger":
		dir, err := url.PathUnescape(rest)
		if err != nil || dir == "" {
			return Place{}, fmt.Errorf("%w: %q, expected badger:///DIRECTORY", ErrURL, text)
		}
		return Place{Dir: dir}, nil
	case scheme == "esdb", scheme == "esdb+discover":
		return Place{Server: text}, nil
	}
	return Place{}, fmt.Errorf("%w: %q, expected a directory, badger:///DIRECTORY or esdb://HOST:PORT", ErrURL, text)
}

// Config says what a log is opened with. The zero Config is a good one.
type Config struct {
	Origin string       // of a new log, or what the log's must be; empty: whatever it is
	Logger *slog.Logger // nil: nobody
}

// Open opens the log at a URL. An embedded log that does not exist is made.
func Open(ctx context.Context, text string, c Config) (Log, error) {
	p, err := Parse(text)
	if err != nil {
		return nil, err
	}
	if p.Server != "" {
		l, err := openServer(ctx, p.Server, c)
		if err != nil {
			return nil, err
		}
		return l, nil
	}
	l, err := badgerlog.Open(ctx, p.Dir, Embedded(c))
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Embedded is the configuration of every embedded log: with it, ids of
// telemetry are derived and not stored.
func Embedded(c Config) badgerlog.Config {
	return badgerlog.Config{Origin: c.Origin, IDs: telemetry.DeriveID, Log: c.Logger}
}
