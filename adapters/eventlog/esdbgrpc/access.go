package esdbgrpc

import (
	"context"
	"encoding/base64"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// need says which right a method asks for. A method that is not here needs all.
func need(method string) Rights {
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	switch service {
	case "event_store.client.server_features.ServerFeatures", "event_store.client.gossip.Gossip":
		return Rights{}
	case "event_store.client.streams.Streams":
		if name == "Read" {
			return Rights{Read: true}
		}
		return Rights{Write: true}
	case "event_store.client.persistent_subscriptions.PersistentSubscriptions":
		if name == "Read" {
			return Rights{Read: true}
		}
		return Rights{Admin: true}
	}
	return Rights{Read: true, Write: true, Admin: true}
}

func (r Rights) cover(n Rights) bool {
	return (r.Read || !n.Read) && (r.Write || !n.Write) && (r.Admin || !n.Admin)
}

// admit checks the caller's Basic credentials against what the method needs.
func (s *Server) admit(ctx context.Context, method string) (context.Context, metadata.MD, error) {
	n := need(method)
	if s.cfg.Users == nil || n == (Rights{}) {
		return ctx, nil, nil
	}
	user, password, ok := basic(ctx)
	if !ok {
		return ctx, metadata.Pairs("exception", "access-denied"), status.Error(codes.Unauthenticated, "no credentials: this server takes Basic authentication over TLS")
	}
	rights, ok := s.cfg.Users(ctx, user, password)
	if !ok {
		return ctx, metadata.Pairs("exception", "access-denied"), status.Error(codes.Unauthenticated, "wrong user or password")
	}
	if !rights.cover(n) {
		return ctx, metadata.Pairs("exception", "access-denied"), status.Errorf(codes.PermissionDenied, "user %q may not call %s", user, method)
	}
	return ctx, nil, nil
}

func basic(ctx context.Context) (user, password string, ok bool) {
	md, _ := metadata.FromIncomingContext(ctx)
	for _, v := range md.Get("authorization") {
		if len(v) > 6 && strings.EqualFold(v[:6], "basic ") {
			text, err := base64.StdEncoding.DecodeString(v[6:])
			if err != nil {
				return "", "", false
			}
			return strings.Cut(string(text), ":")
		}
	}
	return "", "", false
}

func (s *Server) guardCall(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	ctx, trailers, err := s.admit(ctx, info.FullMethod)
	if err != nil {
		_ = grpc.SetTrailer(ctx, trailers) // the status says it too
		return nil, err
	}
	return handle(ctx, req)
}

// guardStream admits streaming calls, and ends them when life does.
func (s *Server) guardStream(life context.Context) grpc.StreamServerInterceptor {
	return func(srv any, st grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		ctx, trailers, err := s.admit(st.Context(), info.FullMethod)
		if err != nil {
			if strings.HasSuffix(info.FullMethod, "/Append") {
				drain(st)
			}
			st.SetTrailer(trailers)
			return err
		}
		if !need(info.FullMethod).Write { // an append is let to its end
			var cancel context.CancelFunc
			ctx, cancel = context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(life, cancel)()
		}
		err = handle(srv, admitted{st, ctx})
		if err != nil && life.Err() != nil {
			return status.Error(codes.Unavailable, "the server is stopping")
		}
		return err
	}
}

// maxDrainedMessages bounds how much of a stranger's append is heard.
const maxDrainedMessages = 100

// drain hears an append to its end: a client that is refused before it has sent
// everything does not learn why.
func drain(st grpc.ServerStream) {
	for range maxDrainedMessages {
		if err := st.RecvMsg(&streams.AppendReq{}); err != nil {
			return
		}
	}
}

// admitted is a stream whose context knows the user.
type admitted struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // grpc's own interface hands it out
}

// Context implements grpc.ServerStream.
func (a admitted) Context() context.Context { return a.ctx }
