package esdbgrpc

import (
	"context"
	"net"
	"strconv"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
)

// version is the server release whose protocol this is. Clients read three
// numbers and cannot connect at all where they find a suffix. It is below 25.1,
// so that nobody asks for appends to several streams.
const version = "24.10.0"

const (
	streamsService = "event_store.client.streams.streams"
	groupsService  = "event_store.client.persistent_subscriptions.persistentsubscriptions"
)

type features struct {
	serverfeatures.UnimplementedServerFeaturesServer
}

// GetSupportedMethods implements the service. Names are lower case, as clients compare them.
func (features) GetSupportedMethods(context.Context, *shared.Empty) (*serverfeatures.SupportedMethods, error) {
	m := &serverfeatures.SupportedMethods{EventStoreServerVersion: version}
	for _, service := range []struct {
		name    string
		methods []string
	}{
		{streamsService, []string{"read", "append", "batchappend", "delete", "tombstone"}},
		{groupsService, []string{"create", "update", "delete", "read", "getinfo", "replayparked", "list", "restartsubsystem"}},
		{"event_store.client.gossip.gossip", []string{"read"}},
		{"event_store.client.server_features.serverfeatures", []string{"getsupportedmethods"}},
	} {
		for _, name := range service.methods {
			method := &serverfeatures.SupportedMethod{ServiceName: service.name, MethodName: name}
			if service.name == groupsService {
				method.Features = []string{"stream", "all"}
			}
			m.Methods = append(m.Methods, method)
		}
	}
	return m, nil
}

// gossiper says that this server is a cluster of one, and its leader.
type gossiper struct {
	gossip.UnimplementedGossipServer
	id   [16]byte
	host string
	port uint32
}

func newGossiper(advertise string, at net.Addr) *gossiper {
	if advertise == "" {
		advertise = at.String()
	}
	host, port, err := net.SplitHostPort(advertise)
	if err != nil {
		host, port = advertise, "2113"
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		n = 2113
	}
	g := &gossiper{host: host, port: uint32(n)}
	copy(g.id[:], "twinlog-"+host)
	return g
}

// Read implements the service.
func (g *gossiper) Read(context.Context, *shared.Empty) (*gossip.ClusterInfo, error) {
	return &gossip.ClusterInfo{Members: []*gossip.MemberInfo{{
		InstanceId: uuidOf(g.id, true), TimeStamp: ticks(time.Now()), State: gossip.MemberInfo_Leader, IsAlive: true,
		HttpEndPoint: &gossip.EndPoint{Address: g.host, Port: g.port},
	}}}, nil
}
