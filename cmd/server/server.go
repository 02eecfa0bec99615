// Package server puts a twinlog server together from its configuration: the
// log, ingest behind an MQTT broker, the projections, and GraphQL over HTTP.
// `twinlog serve` runs it; `twinlog demo` runs the very same code beside a
// simulated plant.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/twinlog/twinlog/adapters/broker"
	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/adapters/eventlog/esdbgrpc"
	"github.com/twinlog/twinlog/adapters/identity/local"
	"github.com/twinlog/twinlog/adapters/rows/badgerrows"
	"github.com/twinlog/twinlog/adapters/uplink/mqttlink"
	"github.com/twinlog/twinlog/adapters/uplink/wire"
	"github.com/twinlog/twinlog/cmd/logtool"
	"github.com/twinlog/twinlog/cmd/logurl"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/ingest"
	"github.com/twinlog/twinlog/domain/lease"
	"github.com/twinlog/twinlog/graph"
	"github.com/twinlog/twinlog/projections"
)

// Server is a server that is open: the log has been checked, the addresses are
// taken. Run serves; Run or Close ends it.
type Server struct {
	config     Config
	log        logurl.Log
	leases     *lease.Keeper // nil: the log is this server's alone
	rows       *badgerrows.Store
	views      views
	runner     *projections.Runner
	ingester   *ingest.Ingester
	broker     *broker.Broker       // nil with an external broker
	subscriber *mqttlink.Subscriber // nil with the embedded one
	graph      *graph.Handler
	people     *local.People
	http       *http.Server
	listener   net.Listener
	served     net.Listener // where the log is served; nil: nowhere
	operations net.Listener // the socket of the data directory, for backups; nil: there is none
	requests   requests
	stopped    atomic.Pointer[error] // why the log takes nothing any more
}

// Open takes the data directory and the addresses. What is wrong with the log
// or with an address is found here, before anything has been promised.
func Open(ctx context.Context, c Config) (_ *Server, err error) {
	c = c.WithDefaults()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &Server{config: c}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if s.log, err = openLog(ctx, c); err != nil {
		return nil, err
	}
	if s.rows, err = openRows(c.Data, c.Logger); err != nil {
		return nil, fmt.Errorf("views: %w", err)
	}
	if s.people, err = local.Open(ctx, filepath.Join(c.Data, "keys"), s.log); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	s.views = newViews(s.rows)
	s.runner = projections.NewRunner(s.log, s.rows, projections.Config{Notice: s.notice}, s.views.folds()...)
	in := ingest.Config{}
	if c.shared() {
		s.leases = lease.New(s.log, lease.Config{Holder: newHolder()})
		in.Own = s.own
	}
	s.ingester = ingest.New(s.log, wire.NewReader(wire.Config{}), in)
	if s.graph, err = s.newGraph(); err != nil {
		return nil, err
	}
	if err := s.listen(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// openLog opens the log that the configuration names.
func openLog(ctx context.Context, c Config) (logurl.Log, error) {
	if c.shared() {
		log, err := logurl.Open(ctx, c.Log, logurl.Config{Logger: c.Logger})
		if err != nil {
			return nil, fmt.Errorf("log: %w", err)
		}
		if g, ok := log.(interface {
			Guard(ctx context.Context) error
		}); ok && c.Regulated {
			if err := g.Guard(ctx); err != nil {
				return nil, errors.Join(fmt.Errorf("log: a regulated site is not started: %w", err), log.Close())
			}
		}
		return log, nil
	}
	log, err := OpenLog(ctx, c.Data, c.Logger)
	if err != nil {
		return nil, err
	}
	return log, nil
}

// OpenLog opens the log of a data directory.
func OpenLog(ctx context.Context, data string, logger *slog.Logger) (*badgerlog.Log, error) {
	if err := logtool.CheckUnfinished(data); err != nil {
		return nil, fmt.Errorf("log in %s: %w", data, err)
	}
	log, err := badgerlog.Open(ctx, filepath.Join(data, "log"), logurl.Embedded(logurl.Config{Logger: logger}))
	if err != nil {
		return nil, fmt.Errorf("log in %s: %w", data, err)
	}
	return log, nil
}

func (s *Server) notice(projection, what string) {
	s.config.Logger.Warn("projection", slog.String("name", projection), slog.String("what", what)) //nolint:sloglint // no context of a request
}

// listen takes the addresses.
func (s *Server) listen(ctx context.Context) (err error) {
	var lc net.ListenConfig
	if s.listener, err = lc.Listen(ctx, "tcp", s.config.HTTP); err != nil {
		return fmt.Errorf("http: %w (another address: --http ADDR)", err)
	}
	s.requests.begin(ctx)
	s.http = &http.Server{
		Handler: s.requests.counted(s.routes()), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return s.requests.ctx },
		ErrorLog:    slog.NewLogLogger(s.config.Logger.Handler(), slog.LevelDebug),
	}
	if !s.config.shared() {
		if s.operations, err = logtool.Listen(ctx, s.config.Data); err != nil {
			s.config.Logger.WarnContext(ctx, "no backups while this server runs", slog.Any("error", err))
		}
	}
	if s.config.LogListen != "" {
		if s.served, err = lc.Listen(ctx, "tcp", s.config.LogListen); err != nil {
			return fmt.Errorf("log-listen: %w (another address: --log-listen ADDR)", err)
		}
	}
	return s.openMQTT(ctx)
}

// HTTPAddr is the address of GraphQL and the console.
func (s *Server) HTTPAddr() string { return s.listener.Addr().String() }

// MQTTAddr is the embedded broker's address, or the external one's URL.
func (s *Server) MQTTAddr() string {
	if s.broker == nil {
		return s.config.MQTT
	}
	return s.broker.Addr().String()
}

// Log is the server's log.
func (s *Server) Log() eventlog.Log { return s.log }

// Runner is what keeps the server's projections.
func (s *Server) Runner() *projections.Runner { return s.runner }

// Ingested are the counters of what came in.
func (s *Server) Ingested() *ingest.Counters { return s.ingester.Counters() }

// Run serves until ctx ends, then stops in order: no new requests, no new
// messages, what is under way is answered, what was folded is committed. It
// returns nil, or what ended it before its time.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := newWork(cancel)
	folding, stopFolding := context.WithCancel(context.WithoutCancel(ctx))
	defer stopFolding()
	taking, stopTaking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopTaking()
	work.start("memory", func() error { boundMemory(folding); return nil })
	work.start("projections", func() error { return s.runner.Run(folding) })
	if s.leases != nil {
		work.start("leases", func() error { return s.leases.Run(folding) })
	}
	work.start("mqtt", func() error { return s.take(taking) })
	work.start("alarms", func() error {
		return s.alone(folding, "alarms", func(ctx context.Context) error { return NewAlarms(s.log).Run(ctx) })
	})
	if s.served != nil {
		work.start("log-listen", func() error { return esdbgrpc.New(s.log, esdbgrpc.Config{}).Serve(taking, s.served) })
	}
	if s.operations != nil {
		work.start("operations", func() error { return logtool.Serve(taking, s.operations, s.log) })
	}
	work.start("http", func() error { return s.http.Serve(s.listener) })
	select {
	case <-ctx.Done():
	case err := <-s.failed():
		err = fmt.Errorf("log: %w", err)
		s.stopped.Store(&err)
		work.fail(err)
	}
	stopTaking()
	s.requests.finish(s.http)
	work.fail(s.ingester.Close())
	stopFolding()
	return errors.Join(work.wait(), s.Close())
}

// failed is told when an embedded log has stopped for good.
func (s *Server) failed() <-chan error {
	if l, ok := s.log.(*badgerlog.Log); ok {
		return l.Failed()
	}
	return nil
}

// Close gives back what Open took. After Run it has been called already.
func (s *Server) Close() error {
	var errs []error
	if s.requests.end != nil {
		s.requests.end()
	}
	for _, l := range []net.Listener{s.listener, s.served, s.operations} {
		if l == nil {
			continue
		}
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.ingester != nil {
		errs = append(errs, s.ingester.Close())
	}
	if s.rows != nil {
		errs = append(errs, s.rows.Close())
	}
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	return errors.Join(errs...)
}
