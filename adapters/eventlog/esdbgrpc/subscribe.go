package esdbgrpc

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/twinlog/twinlog/domain/eventlog"
)

const (
	// liveCheckpoint is how long a filtered subscription at the log's end keeps
	// to itself that it has moved through what it left out.
	liveCheckpoint = 100 * time.Millisecond
	standardWindow = 32
)

// subscribe follows the log until the client has enough. What it starts from
// is exclusive.
func (s *Server) subscribe(ctx context.Context, out *sender, src source, o *streams.ReadReq_Options) error {
	if o.GetReadDirection() == streams.ReadReq_Options_Backwards {
		return badRequest("subscription backwards")
	}
	if f := o.GetFilter(); f != nil && f.GetCheckpointIntervalMultiplier() == 0 {
		return badRequest("checkpoint interval multiplier 0, expected at least 1")
	}
	f, index := indexOf(src.stream)
	switch {
	case src.stream == "":
		return s.subscribeAll(ctx, out, src, src.sieve.log, o.GetFilter())
	case index:
		if src.isFrom {
			return badRequest("subscription to %s from an event number: an index has none", src.stream)
		}
		return s.subscribeAll(ctx, out, src, f, nil)
	case strings.HasPrefix(src.stream, "$"):
		return badRequest("subscription to %q: this log has no such stream, and never will", src.stream)
	}
	return s.subscribeStream(ctx, out, src)
}

// follower is a subscription to $all.
type follower struct {
	out      *sender
	interval uint64 // positions between two checkpoints; 0: none are wanted
	told     eventlog.Position
	through  eventlog.Position
	caughtUp bool // the client knows
}

func (s *Server) subscribeAll(ctx context.Context, out *sender, src source, f eventlog.Filter, filter *streams.ReadReq_Options_FilterOptions) error {
	after := src.position
	if src.isEnd {
		var err error
		if after, _, err = s.log.Head(ctx); err != nil {
			return err
		}
	}
	sub, err := s.log.Subscribe(ctx, after, f)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Close() }()
	if err := out.confirm(); err != nil {
		return err
	}
	w := &follower{out: out, told: after, through: after}
	if filter != nil {
		window := uint64(standardWindow)
		if filter.GetMax() > 0 {
			window = uint64(filter.GetMax())
		}
		w.interval = window * uint64(filter.GetCheckpointIntervalMultiplier())
	}
	for {
		b, err := w.next(ctx, sub)
		if err != nil {
			return err
		}
		if err := w.tell(src.sieve, b); err != nil {
			return err
		}
	}
}

// next waits for news, but not longer than a checkpoint is due.
func (w *follower) next(ctx context.Context, sub eventlog.Subscription) (eventlog.Batch, error) {
	if w.interval == 0 || w.told == w.through {
		return sub.Next(ctx)
	}
	short, cancel := context.WithTimeout(ctx, liveCheckpoint)
	defer cancel()
	b, err := sub.Next(short)
	if err != nil && errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		w.told = w.through
		return eventlog.Batch{Through: w.through}, w.out.checkpoint(w.through)
	}
	return b, err
}

func (w *follower) tell(s sieve, b eventlog.Batch) error {
	for _, r := range b.Records {
		if s.pass(r) {
			if err := w.out.event(r); err != nil {
				return err
			}
		}
	}
	w.through = max(w.through, b.Through)
	atEnd := b.CaughtUp && !w.caughtUp
	if w.interval > 0 && w.through > w.told && (atEnd || uint64(w.through-w.told) >= w.interval) {
		if err := w.out.checkpoint(w.through); err != nil {
			return err
		}
		w.told = w.through
	}
	if atEnd {
		w.caughtUp = true
		return w.out.caughtUp(-1, w.through)
	}
	return nil
}

// subscribeStream reads the stream, then picks its events out of what its
// category gets, so that a quiet stream costs nothing.
func (s *Server) subscribeStream(ctx context.Context, out *sender, src source) error {
	id := eventlog.StreamID(src.stream)
	if err := id.Check(); err != nil {
		return err
	}
	var next eventlog.Revision
	if src.isFrom {
		next = src.from + 1
	}
	before, _, err := s.log.Head(ctx)
	if err != nil {
		return err
	}
	if src.isEnd {
		h, err := s.head(ctx, id)
		if err != nil {
			return err
		}
		next = h.expected().Next()
	}
	sub, err := s.log.Subscribe(ctx, before, eventlog.Filter{Categories: []string{id.Category()}})
	if err != nil {
		return err
	}
	defer func() { _ = sub.Close() }()
	if err := out.confirm(); err != nil {
		return err
	}
	give := func(r eventlog.Record) error {
		if r.Stream != id || r.Revision < next {
			return nil
		}
		next = r.Revision + 1
		return out.event(r)
	}
	for r, err := range s.log.Read(ctx, id, next, eventlog.Forwards) {
		if err != nil {
			return err
		}
		if err := give(r); err != nil {
			return err
		}
	}
	for told := false; ; {
		b, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		for _, r := range b.Records {
			if err := give(r); err != nil {
				return err
			}
		}
		if b.CaughtUp && !told {
			told = true
			if err := out.caughtUp(int64(next)-1, 0); err != nil {
				return err
			}
		}
	}
}

// caughtUp says that the client has it all. Newer clients expect a time and a
// place in it, which the generated type does not know yet: without them one of
// them hands out an empty event. revision is -1 for $all.
func (o *sender) caughtUp(revision int64, at eventlog.Position) error {
	m := &streams.ReadResp_CaughtUp{}
	now := time.Now()
	stamp := protowire.AppendTag(nil, 1, protowire.VarintType)
	stamp = protowire.AppendVarint(stamp, uint64(now.Unix()))
	stamp = protowire.AppendTag(stamp, 2, protowire.VarintType)
	stamp = protowire.AppendVarint(stamp, uint64(now.Nanosecond()))
	raw := protowire.AppendTag(nil, 1, protowire.BytesType) // google.protobuf.Timestamp timestamp = 1
	raw = protowire.AppendBytes(raw, stamp)
	if revision >= 0 {
		raw = protowire.AppendTag(raw, 2, protowire.VarintType) // int64 stream_revision = 2
		raw = protowire.AppendVarint(raw, uint64(revision))
	}
	if at > 0 {
		var place []byte // AllStreamPosition position = 3
		for field := range protowire.Number(2) {
			place = protowire.AppendTag(place, field+1, protowire.VarintType)
			place = protowire.AppendVarint(place, uint64(at))
		}
		raw = protowire.AppendTag(raw, 3, protowire.BytesType)
		raw = protowire.AppendBytes(raw, place)
	}
	m.ProtoReflect().SetUnknown(raw)
	return o.st.Send(&streams.ReadResp{Content: &streams.ReadResp_CaughtUp_{CaughtUp: m}})
}
