package esdbgrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"google.golang.org/grpc/codes"

	"github.com/twinlog/twinlog/domain/eventlog"
)

type groupsServer struct {
	persistent.UnimplementedPersistentSubscriptionsServer
	*Server
}

func (g *group) refusal(code codes.Code, exception, why string) *refusal {
	return groupRefusal(groupKey{g.source, g.name}, code, exception, why)
}

func groupRefusal(k groupKey, code codes.Code, exception, why string) *refusal {
	return refuse(code, exception, fmt.Sprintf("persistent subscription %s on %s: %s", k.name, k.source, why),
		"stream-name", k.source, "group-name", k.name, "reason", why)
}

const (
	doesNotExist = "persistent-subscription-does-not-exist"
	existsAlso   = "persistent-subscription-exists"
	failed       = "persistent-subscription-failed"
	dropped      = "persistent-subscription-dropped"
)

func (a *groups) get(k groupKey) (*group, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g := a.byKey[k]
	if g == nil {
		return nil, groupRefusal(k, codes.NotFound, doesNotExist, "it does not exist")
	}
	return g, nil
}

// Create implements the service.
func (s *groupsServer) Create(ctx context.Context, req *persistent.CreateReq) (*persistent.CreateResp, error) {
	k, cfg, begin, err := created(req.GetOptions())
	if err == nil {
		err = s.create(ctx, k, cfg, begin)
	}
	return &persistent.CreateResp{}, endCall(ctx, err)
}

func (s *groupsServer) create(ctx context.Context, k groupKey, cfg settings, begin origin) error {
	if k.name == "" {
		return badRequest("persistent subscription without a name")
	}
	after, err := s.place(ctx, k, begin)
	if err != nil {
		return err
	}
	a := s.groups
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byKey[k] != nil {
		return groupRefusal(k, codes.AlreadyExists, existsAlso, "it exists")
	}
	g, err := a.newGroup(k, cfg)
	if err != nil {
		return err
	}
	if after != nil {
		g.after, g.isAfter = *after, true
	}
	if err := g.record(ctx, Configured{k.source, k.name, cfg, after}); err != nil {
		return err
	}
	a.byKey[k] = g
	return nil
}

// origin is where a group begins.
type origin struct {
	end      bool
	revision uint64 // of a stream: the first event
	position uint64 // of $all: behind it
}

// place names the event behind which a group begins; nil: at the start.
func (s *Server) place(ctx context.Context, k groupKey, o origin) (*place, error) {
	if k.source != allStreams {
		from := eventlog.LastRevision
		if !o.end {
			if o.revision == 0 {
				return nil, nil
			}
			from = eventlog.Revision(o.revision - 1)
		}
		for r, err := range s.log.Read(ctx, eventlog.StreamID(k.source), from, eventlog.Backwards) {
			return &place{r.Stream, r.Revision}, err
		}
		return nil, nil
	}
	before := eventlog.End
	if !o.end {
		if o.position == 0 {
			return nil, nil
		}
		before = eventlog.Position(o.position) + 1
	}
	for r, err := range s.log.ReadAll(ctx, before, eventlog.Backwards, eventlog.Filter{}) {
		return &place{r.Stream, r.Revision}, err
	}
	return nil, nil
}

// Update implements the service. Consumers are sent away, and come back to the
// new settings; parked events and, unless another beginning is named, the
// checkpoint stay.
func (s *groupsServer) Update(ctx context.Context, req *persistent.UpdateReq) (*persistent.UpdateResp, error) {
	k, cfg, begin, named := updated(req.GetOptions())
	return &persistent.UpdateResp{}, endCall(ctx, s.update(ctx, k, cfg, begin, named))
}

func (s *groupsServer) update(ctx context.Context, k groupKey, cfg settings, begin origin, named bool) error {
	old, err := s.groups.get(k)
	if err != nil {
		return err
	}
	old.end(old.refusal(codes.Canceled, dropped, "it was changed"))
	cfg.ByType, cfg.Regex, cfg.Prefixes = old.cfg.ByType, old.cfg.Regex, old.cfg.Prefixes
	old.mu.Lock()
	defer old.mu.Unlock()
	var after *place
	if old.isAfter {
		p := old.after
		after = &p
	}
	if named {
		if after, err = s.place(ctx, k, begin); err != nil {
			return err
		}
	}
	if err := old.record(ctx, Configured{k.source, k.name, cfg, after}); err != nil {
		return err
	}
	old.cfg, old.isAfter = cfg, after != nil
	if after != nil {
		old.after = *after
	}
	old.told = 0
	return nil
}

// Delete implements the service.
func (s *groupsServer) Delete(ctx context.Context, req *persistent.DeleteReq) (*persistent.DeleteResp, error) {
	o := req.GetOptions()
	k := groupKey{sourceName(o.GetStreamIdentifier(), o.GetAll() != nil), o.GetGroupName()}
	g, err := s.groups.get(k)
	if err == nil {
		g.end(g.refusal(codes.Canceled, dropped, "it was deleted"))
		g.mu.Lock()
		err = g.record(ctx, Removed{})
		next := g.next
		g.mu.Unlock()
		if err == nil {
			s.groups.mu.Lock()
			delete(s.groups.byKey, k)
			s.groups.ended[k] = next
			s.groups.mu.Unlock()
		}
	}
	return &persistent.DeleteResp{}, endCall(ctx, err)
}

// ReplayParked implements the service.
func (s *groupsServer) ReplayParked(ctx context.Context, req *persistent.ReplayParkedReq) (*persistent.ReplayParkedResp, error) {
	o := req.GetOptions()
	g, err := s.groups.get(groupKey{sourceName(o.GetStreamIdentifier(), o.GetAll() != nil), o.GetGroupName()})
	if err == nil {
		most := math.MaxInt
		if v, ok := o.GetStopAtOption().(*persistent.ReplayParkedReq_Options_StopAt); ok {
			most = int(max(v.StopAt, 0))
		}
		err = g.replay(ctx, most)
	}
	return &persistent.ReplayParkedResp{}, endCall(ctx, err)
}

// GetInfo implements the service.
func (s *groupsServer) GetInfo(ctx context.Context, req *persistent.GetInfoReq) (*persistent.GetInfoResp, error) {
	o := req.GetOptions()
	g, err := s.groups.get(groupKey{sourceName(o.GetStreamIdentifier(), o.GetAll() != nil), o.GetGroupName()})
	if err != nil {
		return nil, endCall(ctx, err)
	}
	return &persistent.GetInfoResp{SubscriptionInfo: g.info()}, nil
}

// List implements the service.
func (s *groupsServer) List(ctx context.Context, req *persistent.ListReq) (*persistent.ListResp, error) {
	only := req.GetOptions().GetListForStream()
	resp := &persistent.ListResp{}
	for _, g := range s.groups.all() {
		if only == nil || g.source == sourceName(only.GetStream(), only.GetAll() != nil) {
			resp.Subscriptions = append(resp.Subscriptions, g.info())
		}
	}
	if len(resp.Subscriptions) == 0 && only != nil {
		k := groupKey{source: sourceName(only.GetStream(), only.GetAll() != nil)}
		return nil, endCall(ctx, groupRefusal(k, codes.NotFound, doesNotExist, "there is none"))
	}
	return resp, nil
}

// RestartSubsystem implements the service: every consumer is sent away.
func (s *groupsServer) RestartSubsystem(context.Context, *shared.Empty) (*shared.Empty, error) {
	for _, g := range s.groups.all() {
		g.end(g.refusal(codes.Canceled, dropped, "the subsystem was restarted"))
	}
	return &shared.Empty{}, nil
}

// maxSlots bounds what one consumer has in flight.
const maxSlots = 5000

// Read implements the service: one consumer.
func (s *groupsServer) Read(st persistent.PersistentSubscriptions_ReadServer) error {
	first, err := st.Recv()
	if err != nil {
		return err
	}
	o := first.GetOptions()
	if o == nil {
		return end(st, badRequest("persistent subscription without options"))
	}
	g, err := s.groups.get(groupKey{sourceName(o.GetStreamIdentifier(), o.GetAll() != nil), o.GetGroupName()})
	if err != nil {
		return end(st, err)
	}
	c, err := g.join(s.groups.life, min(max(int(o.GetBufferSize()), 1), maxSlots))
	if err != nil {
		return end(st, err)
	}
	defer g.leave(c)
	if err := st.Send(&persistent.ReadResp{Content: &persistent.ReadResp_SubscriptionConfirmation_{
		SubscriptionConfirmation: &persistent.ReadResp_SubscriptionConfirmation{SubscriptionId: g.source + "::" + g.name},
	}}); err != nil {
		return err
	}
	heard := make(chan error, 1)
	go func() { heard <- g.listen(st, c) }()
	structured := o.GetUuidOption().GetString_() == nil
	for {
		select {
		case m := <-c.out:
			if err := sendMessage(st, m, structured); err != nil {
				return end(st, err)
			}
		case err := <-heard:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return end(st, err)
		case <-c.gone:
			return end(st, c.why)
		case <-st.Context().Done():
			return end(st, st.Context().Err())
		}
	}
}

var errStopped = errors.New("the consumer asked to stop")

// listen hears a consumer's answers.
func (g *group) listen(st persistent.PersistentSubscriptions_ReadServer, c *consumer) error {
	for {
		req, err := st.Recv()
		if err != nil {
			return err
		}
		switch v := req.GetContent().(type) {
		case *persistent.ReadReq_Ack_:
			ids, err := idsOf(v.Ack.GetIds())
			if err != nil {
				return err
			}
			if err := g.ack(st.Context(), c, ids); err != nil {
				return err
			}
		case *persistent.ReadReq_Nack_:
			ids, err := idsOf(v.Nack.GetIds())
			if err != nil {
				return err
			}
			if err := g.nack(st.Context(), c, ids, int(v.Nack.GetAction()), v.Nack.GetReason()); err != nil {
				return err
			}
			if v.Nack.GetAction() == persistent.ReadReq_Nack_Stop {
				return g.refusal(codes.Canceled, dropped, errStopped.Error())
			}
		}
	}
}

func idsOf(list []*shared.UUID) ([]eventlog.EventID, error) {
	ids := make([]eventlog.EventID, len(list))
	for i, u := range list {
		var err error
		if ids[i], err = idOf(u); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

func sendMessage(st persistent.PersistentSubscriptions_ReadServer, m delivery, structured bool) error {
	w, err := wireOf(m.rec, structured)
	if err != nil {
		return err
	}
	e := &persistent.ReadResp_ReadEvent{
		Event: &persistent.ReadResp_ReadEvent_RecordedEvent{
			Id: w.id, StreamIdentifier: w.stream, StreamRevision: uint64(m.rec.Revision),
			PreparePosition: uint64(m.rec.Position), CommitPosition: uint64(m.rec.Position),
			Metadata: w.metadata, CustomMetadata: w.custom, Data: m.rec.Data,
		},
		Position: &persistent.ReadResp_ReadEvent_CommitPosition{CommitPosition: uint64(m.rec.Position)},
		Count:    &persistent.ReadResp_ReadEvent_RetryCount{RetryCount: int32(m.retries)},
	}
	return st.Send(&persistent.ReadResp{Content: &persistent.ReadResp_Event{Event: e}})
}

func sourceName(id *shared.StreamIdentifier, all bool) string {
	if name := string(id.GetStreamName()); !all && !strings.EqualFold(name, allStreams) {
		return name
	}
	return allStreams
}
