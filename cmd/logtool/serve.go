package logtool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/backup"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// Listen takes the socket in a data directory, whose log the caller has open:
// what lies there is of a server that is no more. Only the user that the server
// runs as may connect.
func Listen(ctx context.Context, data string) (net.Listener, error) {
	path := filepath.Join(data, socketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Handler answers a served Source.
func Handler(log eventlog.Log) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /about", func(w http.ResponseWriter, r *http.Request) {
		head, recorded, err := log.Head(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(About{log.Origin(), head, recorded}) // whoever asked has gone
	})
	mux.HandleFunc("GET /records", func(w http.ResponseWriter, r *http.Request) {
		after, err := eventlog.ParsePosition(r.FormValue("after"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := eventlog.CheckPosition(r.Context(), log, after); err != nil {
			http.Error(w, err.Error(), http.StatusGone)
			return
		}
		// A stream without its end tells the reader that something failed.
		_ = send(r.Context(), w, log, after)
	})
	return mux
}

func send(ctx context.Context, w http.ResponseWriter, log eventlog.Log, after eventlog.Position) error {
	out, err := backup.NewWriter(w, backup.Header{
		Origin: log.Origin(), After: backup.Place{Position: after}, Made: time.Now().UTC(),
	}, telemetry.DeriveID)
	if err != nil {
		return err
	}
	for r, err := range log.ReadAll(ctx, after, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			return err
		}
		if err := out.Add(r); err != nil {
			return err
		}
	}
	_, err = out.Close()
	return err
}

// Serve answers at the socket until ctx ends.
func Serve(ctx context.Context, l net.Listener, log eventlog.Log) error {
	s := &http.Server{
		Handler: Handler(log), ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// ErrUnfinished is returned where a restore or a repair has been killed between
// putting the old log aside and putting the new one in its place.
var ErrUnfinished = errors.New("a restore or a repair was interrupted: run it again before anything else")

// CheckUnfinished returns ErrUnfinished for a data directory without a log that
// is about to get one: a server may not begin a new log there.
func CheckUnfinished(data string) error {
	if _, err := os.Stat(filepath.Join(data, "log")); !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, name := range []string{restoring, repairing} {
		if _, err := os.Stat(filepath.Join(data, name)); err == nil {
			return fmt.Errorf("%s is there and log is not: %w", filepath.Join(data, name), ErrUnfinished)
		}
	}
	return nil
}

// repairing is where a repaired log is made before it takes its place.
const repairing = "log.repairing"
