package esdbgrpc

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// batch is one append of a BatchAppend stream, which may come in pieces.
type batch struct {
	proposal
	correlation *shared.UUID
	options     *streams.BatchAppendReq_Options
	size        int
	wrong       error
	deadline    time.Time
}

const (
	// maxBatches bounds what one client has under way at once.
	maxBatches = 64
	// maxOpenBatches bounds appends begun and not finished on one stream.
	maxOpenBatches = 256
)

// BatchAppend implements streams.StreamsServer. Appends to one stream keep
// their order; the answers come as they are ready.
func (s *streamsServer) BatchAppend(st streams.Streams_BatchAppendServer) error {
	open := map[string]*batch{}
	answers := make(chan *streams.BatchAppendResp, maxBatches)
	sent := make(chan error, 1)
	go func() {
		var err error
		for a := range answers {
			if err == nil {
				err = st.Send(a)
			}
		}
		sent <- err
	}()
	var work sync.WaitGroup
	lanes := map[eventlog.StreamID]chan struct{}{} // closed when the stream's last batch is done
	slots := make(chan struct{}, maxBatches)
	err := func() error {
		for {
			req, err := st.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			b, err := collectBatch(open, req)
			if err != nil || b == nil {
				if err != nil {
					return err
				}
				continue
			}
			before, done := lanes[b.stream], make(chan struct{})
			if len(lanes) > maxOpenBatches {
				forgetDone(lanes)
			}
			lanes[b.stream] = done
			slots <- struct{}{}
			work.Go(func() {
				defer func() { close(done); <-slots }()
				if before != nil {
					<-before
				}
				answers <- s.answerBatch(st.Context(), b)
			})
		}
	}()
	work.Wait()
	close(answers)
	return end(st, errors.Join(err, <-sent))
}

func forgetDone(lanes map[eventlog.StreamID]chan struct{}) {
	for id, done := range lanes {
		select {
		case <-done:
			delete(lanes, id)
		default:
		}
	}
}

// collectBatch adds a piece, and returns the batch when it is whole.
func collectBatch(open map[string]*batch, req *streams.BatchAppendReq) (*batch, error) {
	key := req.GetCorrelationId().String()
	b := open[key]
	if b == nil {
		if len(open) >= maxOpenBatches {
			return nil, badRequest("more than %d appends begun and not finished", maxOpenBatches)
		}
		b = &batch{correlation: req.GetCorrelationId(), wrong: badRequest("append without options")}
		open[key] = b
	}
	if o := req.GetOptions(); o != nil && b.options == nil {
		b.options = o
		b.wrong = b.begin(o)
	}
	for _, m := range req.GetProposedMessages() {
		b.size += len(m.GetData()) + len(m.GetCustomMetadata())
		if b.wrong == nil && b.size > maxCollected {
			b.wrong, b.events = tooLarge(b.size), nil
		}
		if b.wrong != nil {
			continue
		}
		var e eventlog.NewEvent
		if e, b.wrong = newEvent(m.GetId(), m.GetMetadata(), m.GetCustomMetadata(), m.GetData()); b.wrong == nil {
			b.events = append(b.events, e)
		}
	}
	if !req.GetIsFinal() {
		return nil, nil
	}
	delete(open, key)
	return b, nil
}

func (b *batch) begin(o *streams.BatchAppendReq_Options) (err error) {
	b.stream, err = streamOf(o.GetStreamIdentifier().GetStreamName())
	switch v := o.GetExpectedStreamPosition().(type) {
	case *streams.BatchAppendReq_Options_Any:
		b.want = wantAny
	case *streams.BatchAppendReq_Options_StreamExists:
		b.want = wantExists
	case *streams.BatchAppendReq_Options_NoStream:
		b.exact = eventlog.NoStream
	case *streams.BatchAppendReq_Options_StreamPosition:
		b.exact = eventlog.At(eventlog.Revision(v.StreamPosition))
	default:
		err = errors.Join(err, badRequest("append without an expected revision"))
	}
	switch d := o.GetDeadlineOption().(type) {
	case *streams.BatchAppendReq_Options_Deadline:
		b.deadline = time.Now().Add(d.Deadline.AsDuration())
	case *streams.BatchAppendReq_Options_Deadline_21_10_0:
		b.deadline = d.Deadline_21_10_0.AsTime()
	}
	return err
}

func (s *streamsServer) answerBatch(ctx context.Context, b *batch) *streams.BatchAppendResp {
	resp := &streams.BatchAppendResp{CorrelationId: b.correlation, StreamIdentifier: b.options.GetStreamIdentifier()}
	switch v := b.options.GetExpectedStreamPosition().(type) {
	case *streams.BatchAppendReq_Options_Any:
		resp.ExpectedStreamPosition = &streams.BatchAppendResp_Any{Any: &emptypb.Empty{}}
	case *streams.BatchAppendReq_Options_StreamExists:
		resp.ExpectedStreamPosition = &streams.BatchAppendResp_StreamExists{StreamExists: &emptypb.Empty{}}
	case *streams.BatchAppendReq_Options_NoStream:
		resp.ExpectedStreamPosition = &streams.BatchAppendResp_NoStream{NoStream: &emptypb.Empty{}}
	case *streams.BatchAppendReq_Options_StreamPosition:
		resp.ExpectedStreamPosition = &streams.BatchAppendResp_StreamPosition{StreamPosition: v.StreamPosition}
	}
	if !b.deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, b.deadline)
		defer cancel()
	}
	a, err := eventlog.Appended{}, b.wrong
	if err == nil {
		a, err = s.append(ctx, b.proposal)
	}
	if err != nil {
		resp.Result = &streams.BatchAppendResp_Error{Error: batchError(err)}
		return resp
	}
	done := &streams.BatchAppendResp_Success{
		CurrentRevisionOption: &streams.BatchAppendResp_Success_CurrentRevision{CurrentRevision: uint64(a.Revision)},
		PositionOption: &streams.BatchAppendResp_Success_Position{Position: &shared.AllStreamPosition{
			CommitPosition: uint64(a.Last), PreparePosition: uint64(a.Last),
		}},
	}
	if len(b.events) == 0 {
		done.PositionOption = &streams.BatchAppendResp_Success_NoPosition{NoPosition: &emptypb.Empty{}}
		if a.Repeated {
			done.CurrentRevisionOption = &streams.BatchAppendResp_Success_NoStream{NoStream: &emptypb.Empty{}}
		}
	}
	resp.Result = &streams.BatchAppendResp_Success_{Success: done}
	return resp
}

// batchError carries exactly one detail: the field is one Any in the protocol
// and a list only in the generated type.
func batchError(err error) *rpcstatus.Status {
	var detail proto.Message
	st := &rpcstatus.Status{Code: int32(codes.Unknown), Message: err.Error()}
	var c *conflict
	switch {
	case errors.As(err, &c):
		st.Code, detail = int32(codes.FailedPrecondition), conflictDetail(c)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		st.Code, detail = int32(codes.Aborted), &shared.Timeout{}
	default:
		r := answer(err)
		st.Code, st.Message = int32(r.code), r.text
		switch {
		case len(r.trailers.Get("maximum-append-size")) > 0:
			detail = &shared.MaximumAppendSizeExceeded{MaxAppendSize: eventlog.MaxAppendBytes}
		case r.code == codes.InvalidArgument || r.code == codes.FailedPrecondition:
			detail = &shared.BadRequest{Message: r.text}
		default:
			detail = &shared.Unknown{}
		}
	}
	if packed, err := anypb.New(detail); err == nil {
		st.Details = []*anypb.Any{packed}
	}
	return st
}

func conflictDetail(c *conflict) *shared.WrongExpectedVersion {
	w := &shared.WrongExpectedVersion{
		CurrentStreamRevisionOption: &shared.WrongExpectedVersion_CurrentNoStream{CurrentNoStream: &emptypb.Empty{}},
	}
	if c.at.exists {
		w.CurrentStreamRevisionOption = &shared.WrongExpectedVersion_CurrentStreamRevision{CurrentStreamRevision: uint64(c.at.revision)}
	}
	switch {
	case c.p.want == wantAny:
		w.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedAny{ExpectedAny: &emptypb.Empty{}}
	case c.p.want == wantExists:
		w.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedStreamExists{ExpectedStreamExists: &emptypb.Empty{}}
	case c.p.exact == eventlog.NoStream:
		w.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedNoStream{ExpectedNoStream: &emptypb.Empty{}}
	default:
		w.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedStreamPosition{ExpectedStreamPosition: uint64(c.p.exact.Next()) - 1}
	}
	return w
}
