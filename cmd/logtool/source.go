// Package logtool is what operators do with a log: back it up while it runs,
// restore it, copy it elsewhere, check it, repair it. `twinlog backup`,
// `twinlog restore` and `twinlog log` are its commands; docs/operations.md says
// when to use which.
package logtool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/backup"
	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/cmd/logurl"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// About is what a log says of itself.
type About struct {
	Origin   string            `json:"origin"`
	Head     eventlog.Position `json:"head"`
	Recorded time.Time         `json:"recorded"` // of the newest event
}

// A Source gives a log's events in order.
type Source interface {
	About(ctx context.Context) (About, error)
	// Records yields everything after a position up to what was the end when
	// it began; ErrPositionLost for a position that does not stand in the log.
	Records(ctx context.Context, after eventlog.Position) iter.Seq2[eventlog.Record, error]
	Close() error
}

// socketName is where a running server answers to whoever may enter its data
// directory.
const socketName = "operations.sock"

// OpenData opens the log of a data directory: through the server that runs on
// it, or directly.
func OpenData(ctx context.Context, data string) (Source, error) {
	if s := dial(data); s.answers(ctx) {
		return s, nil
	}
	dir := filepath.Join(data, "log")
	if err := mustExist(dir); err != nil {
		return nil, err
	}
	l, err := badgerlog.Open(ctx, dir, logurl.Embedded(logurl.Config{}))
	if errors.Is(err, badgerlog.ErrLocked) {
		return nil, fmt.Errorf("%w, which does not answer at %s", err, filepath.Join(data, socketName))
	}
	if err != nil {
		return nil, err
	}
	return direct{l}, nil
}

// Running reports whether a server runs on a data directory.
func Running(ctx context.Context, data string) bool {
	s := dial(data)
	defer s.Close() //nolint:errcheck // it only asked
	return s.answers(ctx)
}

func dial(data string) *served {
	return &served{client: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(data, socketName))
		},
	}}}
}

func (s *served) answers(ctx context.Context) bool {
	_, err := s.About(ctx)
	return err == nil
}

// direct is an opened log.
type direct struct{ logurl.Log }

// About implements Source.
func (d direct) About(ctx context.Context) (About, error) {
	head, recorded, err := d.Head(ctx)
	return About{d.Origin(), head, recorded}, err
}

// Records implements Source.
func (d direct) Records(ctx context.Context, after eventlog.Position) iter.Seq2[eventlog.Record, error] {
	return d.ReadAll(ctx, after, eventlog.Forwards, eventlog.Filter{})
}

// served is the log of a running server, behind its socket.
type served struct{ client *http.Client }

func (s *served) get(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://server"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	err = errors.Join(errors.New(strings.TrimSpace(string(text))), err, resp.Body.Close())
	if resp.StatusCode == http.StatusGone {
		err = fmt.Errorf("%w: %w", eventlog.ErrPositionLost, err)
	}
	return nil, err
}

// About implements Source.
func (s *served) About(ctx context.Context) (a About, err error) {
	resp, err := s.get(ctx, "/about")
	if err != nil {
		return a, err
	}
	return a, errors.Join(json.NewDecoder(resp.Body).Decode(&a), resp.Body.Close())
}

// errEnough ends a scan whose reader wants no more.
var errEnough = errors.New("enough")

// Records implements Source.
func (s *served) Records(ctx context.Context, after eventlog.Position) iter.Seq2[eventlog.Record, error] {
	return func(yield func(eventlog.Record, error) bool) {
		resp, err := s.get(ctx, "/records?after="+after.String())
		if err != nil {
			yield(eventlog.Record{}, err)
			return
		}
		defer resp.Body.Close() //nolint:errcheck // it was only read
		_, err = backup.Scan(resp.Body, telemetry.DeriveID, func(_ backup.Header, records []eventlog.Record) error {
			for _, r := range records {
				if !yield(r, nil) {
					return errEnough
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(eventlog.Record{}, fmt.Errorf("the server stopped sending: %w", err))
		}
	}
}

// Close implements Source.
func (s *served) Close() error {
	s.client.CloseIdleConnections()
	return nil
}
