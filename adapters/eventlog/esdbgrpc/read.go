package esdbgrpc

import (
	"context"
	"fmt"
	"iter"
	"math"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"

	"github.com/twinlog/twinlog/adapters/eventlog/esdbwire"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// source is what a read or a subscription is of.
type source struct {
	stream string // "" for $all
	sieve  sieve
	// Of a stream: where to begin.
	from   eventlog.Revision
	isFrom bool
	// Of $all and of an index: where to begin.
	position eventlog.Position
	isAt     bool
	isEnd    bool // begin at the end, in either case
}

// Read implements streams.StreamsServer.
func (s *streamsServer) Read(req *streams.ReadReq, st streams.Streams_ReadServer) error {
	o := req.GetOptions()
	src, err := sourceOf(o)
	if err != nil {
		return end(st, err)
	}
	out := &sender{st: st, structured: o.GetUuidOption().GetString_() == nil}
	if o.GetSubscription() != nil {
		return end(st, s.subscribe(st.Context(), out, src, o))
	}
	return end(st, s.read(st.Context(), out, src, o))
}

func sourceOf(o *streams.ReadReq_Options) (src source, err error) {
	switch v := o.GetStreamOption().(type) {
	case *streams.ReadReq_Options_Stream:
		src.stream = string(v.Stream.GetStreamIdentifier().GetStreamName())
		if src.stream == "" {
			return src, badRequest("read of a stream without a name")
		}
		switch r := v.Stream.GetRevisionOption().(type) {
		case *streams.ReadReq_Options_StreamOptions_Revision:
			src.from, src.isFrom = eventlog.Revision(r.Revision), true
		case *streams.ReadReq_Options_StreamOptions_End:
			src.isEnd = true
		}
		return src, nil
	case *streams.ReadReq_Options_All:
		switch p := v.All.GetAllOption().(type) {
		case *streams.ReadReq_Options_AllOptions_Position:
			// The clients' "end" is also written as the largest number.
			if src.position = eventlog.Position(p.Position.GetCommitPosition()); p.Position.GetCommitPosition() > math.MaxInt64 {
				src.isEnd = true
			} else {
				src.isAt = true
			}
		case *streams.ReadReq_Options_AllOptions_End:
			src.isEnd = true
		}
	default:
		return src, badRequest("read of nothing")
	}
	if f := o.GetFilter(); f != nil {
		src.sieve, err = filterOf(f)
	}
	return src, err
}

func filterOf(f *streams.ReadReq_Options_FilterOptions) (sieve, error) {
	switch v := f.GetFilter().(type) {
	case *streams.ReadReq_Options_FilterOptions_EventType:
		return expression{true, v.EventType.GetRegex(), v.EventType.GetPrefix()}.compile()
	case *streams.ReadReq_Options_FilterOptions_StreamIdentifier:
		return expression{false, v.StreamIdentifier.GetRegex(), v.StreamIdentifier.GetPrefix()}.compile()
	}
	return sieve{}, badRequest("filter of nothing")
}

// sender writes the answers of one call.
type sender struct {
	st         streams.Streams_ReadServer
	structured bool
}

func (o *sender) event(r eventlog.Record) error {
	m, err := eventOf(r, o.structured)
	if err != nil {
		return err
	}
	return o.st.Send(m)
}

func (o *sender) notFound(stream string) error {
	return o.st.Send(&streams.ReadResp{Content: &streams.ReadResp_StreamNotFound_{
		StreamNotFound: &streams.ReadResp_StreamNotFound{StreamIdentifier: identifier(stream)},
	}})
}

// read answers once and ends.
func (s *Server) read(ctx context.Context, out *sender, src source, o *streams.ReadReq_Options) error {
	dir := eventlog.Forwards
	if o.GetReadDirection() == streams.ReadReq_Options_Backwards {
		dir = eventlog.Backwards
	}
	if o.GetCountOption() == nil || o.GetCount() == 0 {
		return badRequest("read of 0 events")
	}
	records, err := s.records(ctx, src, dir)
	if err != nil {
		return err
	}
	sent := uint64(0)
	for r, err := range records {
		if err != nil {
			return err
		}
		if !src.sieve.pass(r) {
			continue
		}
		if err := out.event(r); err != nil {
			return err
		}
		if sent++; sent == o.GetCount() {
			return nil
		}
	}
	if _, index := indexOf(src.stream); sent > 0 || src.stream == "" || index {
		return nil
	}
	// Nothing from there on, or nothing at all?
	if h, err := s.head(ctx, eventlog.StreamID(src.stream)); err != nil || h.exists {
		return err
	}
	return out.notFound(src.stream)
}

// possible reports whether a stream of this log may be called so.
func possible(stream string) bool {
	return !strings.HasPrefix(stream, "$") && eventlog.StreamID(stream).Check() == nil
}

func none(func(eventlog.Record, error) bool) {}

// originRecord yields what is said under the name of the origin.
func (s *Server) originRecord(yield func(eventlog.Record, error) bool) {
	e, err := eventlog.NewJSONEvent(eventlog.EventID{15: 1}, esdbwire.Named{Origin: s.log.Origin()}, eventlog.Envelope{})
	yield(eventlog.Record{
		Stream: esdbwire.ServedOrigin, Position: 1, ID: e.ID, Type: e.Type, ContentType: eventlog.JSON, Data: e.Data, RawEnvelope: []byte("{}"),
	}, err)
}

// records are those of a read. $all is read from a position inclusively
// forwards and exclusively backwards, a stream inclusively both ways.
func (s *Server) records(ctx context.Context, src source, dir eventlog.Direction) (iter.Seq2[eventlog.Record, error], error) {
	if src.stream == "" {
		return s.allRecords(ctx, src, dir, src.sieve.log), nil
	}
	if f, ok := indexOf(src.stream); ok {
		if src.isFrom && src.from > 0 {
			return nil, badRequest("read of %s from event number %d: an index has no event numbers; "+
				"filter $all by this name from a position", src.stream, src.from)
		}
		return s.allRecords(ctx, src, dir, f), nil
	}
	if src.stream == esdbwire.ServedOrigin {
		return s.originRecord, nil
	}
	if !possible(src.stream) {
		return none, nil
	}
	from := src.from
	switch {
	case src.isEnd && dir == eventlog.Forwards:
		return none, nil
	case src.isEnd:
		from = eventlog.LastRevision
	}
	if dir == eventlog.Forwards && from == eventlog.LastRevision {
		return none, nil
	}
	return s.log.Read(ctx, eventlog.StreamID(src.stream), from, dir), nil
}

func (s *Server) allRecords(ctx context.Context, src source, dir eventlog.Direction, f eventlog.Filter) iter.Seq2[eventlog.Record, error] {
	switch {
	case dir == eventlog.Backwards && src.isEnd:
		return s.log.ReadAll(ctx, eventlog.End, dir, f)
	case dir == eventlog.Backwards:
		return s.log.ReadAll(ctx, src.position, dir, f)
	case src.isEnd:
		return none
	}
	return s.log.ReadAll(ctx, max(src.position, 1)-1, dir, f)
}

// confirm is the first message of every subscription.
func (o *sender) confirm() error {
	return o.st.Send(&streams.ReadResp{Content: &streams.ReadResp_Confirmation{
		Confirmation: &streams.ReadResp_SubscriptionConfirmation{SubscriptionId: fmt.Sprintf("%p", o)},
	}})
}

func (o *sender) checkpoint(p eventlog.Position) error {
	return o.st.Send(&streams.ReadResp{Content: &streams.ReadResp_Checkpoint_{
		Checkpoint: &streams.ReadResp_Checkpoint{CommitPosition: uint64(p), PreparePosition: uint64(p)},
	}})
}
