// Package esdbgrpc serves an event log to every EventStoreDB and KurrentDB
// client, over that server's gRPC protocol v1.
//
// Its promise: a client reads the very bytes that the log holds and appends
// under the same rules as everybody else (docs/formats/esdb.md). What the log
// cannot do is refused by name: nothing is deleted, truncated or aged, so
// Delete, Tombstone and setting $maxAge, $maxCount and $tb fail.
//
// It implements Streams, PersistentSubscriptions, Gossip and ServerFeatures; it
// has no projections, users or operations service, and no links.
package esdbgrpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Rights are what a user may do.
type Rights struct {
	Read  bool // streams, $all, persistent subscriptions' messages
	Write bool // appends, whose envelopes are taken as told
	Admin bool // create, change, delete and list persistent subscriptions
}

// Config says how a log is served. The zero Config serves everybody, in clear.
type Config struct {
	// TLS, if not nil, is used for every connection. Clients send credentials
	// only over TLS.
	TLS *tls.Config
	// Users checks a user's password. nil: everybody may do everything.
	Users func(ctx context.Context, user, password string) (Rights, bool)
	// Advertise is the host and port that Gossip tells; "": where Serve listens.
	Advertise string
	// Ping is the least time between a client's keepalive pings; 0: 5 s, half
	// of what the clients do.
	Ping time.Duration
}

const (
	// maxMessageBytes is what the clients take, too.
	maxMessageBytes = 17 << 20
	standardPing    = 5 * time.Second
	// stopPatience is what appends under way get; subscriptions end at once.
	stopPatience = 300 * time.Millisecond
)

// Server serves one log.
type Server struct {
	log    eventlog.Log
	cfg    Config
	locks  stripes
	recent *recentIDs
	groups *groups
}

// New returns a server of the log.
func New(log eventlog.Log, cfg Config) *Server {
	if cfg.Ping == 0 {
		cfg.Ping = standardPing
	}
	return &Server{log: log, cfg: cfg, recent: newRecentIDs(maxRecentIDs), groups: newGroups(log)}
}

// Serve answers on the listener until ctx ends, and closes it. Appends under
// way get a moment to end, and every other call is told to come back.
func (s *Server) Serve(ctx context.Context, on net.Listener) error {
	background, stop := context.WithCancel(ctx)
	defer stop()
	if err := s.groups.load(background); err != nil {
		return errors.Join(fmt.Errorf("persistent subscriptions: %w", err), on.Close())
	}
	opts := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessageBytes), grpc.MaxSendMsgSize(maxMessageBytes),
		// The clients ping every ten seconds, idle or not; what grpc allows by
		// default ends their subscriptions after half a minute.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: s.cfg.Ping, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.UnaryInterceptor(s.guardCall), grpc.StreamInterceptor(s.guardStream(background)),
	}
	if s.cfg.TLS != nil {
		opts = append(opts, grpc.Creds(credentials.NewTLS(s.cfg.TLS)))
	}
	g := grpc.NewServer(opts...)
	serverfeatures.RegisterServerFeaturesServer(g, features{})
	gossip.RegisterGossipServer(g, newGossiper(s.cfg.Advertise, on.Addr()))
	streams.RegisterStreamsServer(g, &streamsServer{Server: s})
	persistent.RegisterPersistentSubscriptionsServer(g, &groupsServer{Server: s})
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.groups.run(background)
	}()
	go func() {
		<-background.Done()
		timer := time.AfterFunc(stopPatience, g.Stop)
		defer timer.Stop()
		g.GracefulStop()
	}()
	err := g.Serve(on)
	stop()
	<-done
	g.Stop()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("serve the log on %s: %w", on.Addr(), err)
}
