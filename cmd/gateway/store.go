package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/twinlog/twinlog/edge/outbox"
)

// socketName is where a running gateway answers `twinlog-edge outbox`, in its
// data directory: only one process may have the store open.
const socketName = "outbox.sock"

// serveStore answers questions about the outbox until ctx ends. A gateway that
// can't be asked works all the same.
func serveStore(ctx context.Context, s *Store, dir string, log *slog.Logger) {
	name := filepath.Join(dir, socketName)
	_ = os.Remove(name) // of a process that was killed; the store's own lock says that we are alone
	l, err := new(net.ListenConfig).Listen(ctx, "unix", name)
	if err != nil { // a path of more than 107 bytes, for one
		log.LogAttrs(ctx, slog.LevelWarn, "the outbox can't be asked while the gateway runs", slog.Any("error", err))
		return
	}
	server := &http.Server{Handler: storeHandler(s), ReadHeaderTimeout: 5 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	_ = server.Serve(l) // until it is closed
}

func storeHandler(s *Store) http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any, err error) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		_ = json.NewEncoder(w).Encode(v) // the asker has gone
	}
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Stats(), nil) })
	mux.HandleFunc("GET /refused", func(w http.ResponseWriter, r *http.Request) {
		after, _ := strconv.ParseUint(r.FormValue("after"), 10, 64)
		list, err := s.refused(r.Context(), r.FormValue("lane"), after)
		answer(w, list, err)
	})
	mux.HandleFunc("POST /retry", func(w http.ResponseWriter, r *http.Request) {
		seq, _ := strconv.ParseUint(r.FormValue("seq"), 10, 64)
		n, err := s.retry(r.Context(), r.FormValue("lane"), seq)
		answer(w, n, err)
	})
	return mux
}

// refusedPage is how many refused messages are read at a time.
const refusedPage = 100

func (s *Store) refused(ctx context.Context, lane string, after uint64) ([]outbox.Refusal, error) {
	o := s.Lane(lane)
	if o == nil {
		return nil, fmt.Errorf("lane %q is not in use", lane)
	}
	return o.Quarantine(ctx, after, refusedPage)
}

func (s *Store) retry(ctx context.Context, lane string, seq uint64) (uint64, error) {
	o := s.Lane(lane)
	if o == nil {
		return 0, fmt.Errorf("lane %q is not in use", lane)
	}
	return o.Retry(ctx, seq)
}

// A StoreClient asks about a gateway's outbox, whether the gateway runs or not.
type StoreClient struct {
	http  *http.Client
	store *Store // nil while a gateway runs, which is asked instead
}

// OpenStoreClient finds the gateway that runs in dir, or opens its outbox.
func OpenStoreClient(ctx context.Context, c Config, dir string) (*StoreClient, error) {
	name := filepath.Join(dir, socketName)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", name)
	}
	if conn, err := dial(ctx, "", ""); err == nil {
		_ = conn.Close()
		return &StoreClient{http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: 30 * time.Second}}, nil
	}
	if _, err := os.Stat(filepath.Join(dir, "outbox")); err != nil {
		return nil, fmt.Errorf("no outbox in %s: %w", dir, err)
	}
	store, err := OpenStore(ctx, c, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	return &StoreClient{store: store}, nil
}

// Close gives the store back, if it was opened.
func (c *StoreClient) Close() error {
	if c.store == nil {
		return nil
	}
	return c.store.Close()
}

// Stats returns the counters of each lane.
func (c *StoreClient) Stats(ctx context.Context) (stats []outbox.LaneStats, err error) {
	if c.store != nil {
		return c.store.Stats(), nil
	}
	return stats, c.ask(ctx, http.MethodGet, "/stats", &stats)
}

// Refused returns a page of a lane's refused messages, from the first with
// Seq > after; an empty one is the end.
func (c *StoreClient) Refused(ctx context.Context, lane string, after uint64) (list []outbox.Refusal, err error) {
	if c.store != nil {
		return c.store.refused(ctx, lane, after)
	}
	return list, c.ask(ctx, http.MethodGet, fmt.Sprintf("/refused?lane=%s&after=%d", lane, after), &list)
}

// Retry sends a refused message again and returns its new number.
func (c *StoreClient) Retry(ctx context.Context, lane string, seq uint64) (n uint64, err error) {
	if c.store != nil {
		return c.store.retry(ctx, lane, seq)
	}
	return n, c.ask(ctx, http.MethodPost, fmt.Sprintf("/retry?lane=%s&seq=%d", lane, seq), &n)
}

func (c *StoreClient) ask(ctx context.Context, method, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://gateway"+path, nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask the running gateway: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end below
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("ask the running gateway: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the running gateway: %s", body)
	}
	return json.Unmarshal(body, into)
}
