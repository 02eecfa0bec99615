package esdbgrpc

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"

	"github.com/twinlog/twinlog/domain/eventlog"
)

type streamsServer struct {
	streams.UnimplementedStreamsServer
	*Server
}

// want is what a client expects of a stream.
type want uint8

const (
	wantExact want = iota // an exact revision, or no stream
	wantAny
	wantExists
)

// proposal is one append of a client.
type proposal struct {
	stream eventlog.StreamID
	want   want
	exact  eventlog.Expected
	events []eventlog.NewEvent
}

// head is where a stream really is.
type head struct {
	exists   bool
	revision eventlog.Revision
}

// conflict says that a stream is not where the client expected it.
type conflict struct {
	p  proposal
	at head
}

// Error implements error.
func (c *conflict) Error() string { return fmt.Sprintf("stream %s is elsewhere", c.p.stream) }

// maxDrained bounds what is read of a refused append to hear its end: the
// client learns the reason only after it has sent everything.
const maxDrained = 64 << 20

// maxCollected bounds what is kept of an append; the log itself judges its size.
const maxCollected = 2 * eventlog.MaxAppendBytes

// Append implements streams.StreamsServer.
func (s *streamsServer) Append(st streams.Streams_AppendServer) error {
	p, err := receive(st)
	if err != nil {
		return end(st, err)
	}
	a, err := s.append(st.Context(), p)
	var c *conflict
	switch {
	case errors.As(err, &c):
		return st.SendAndClose(&streams.AppendResp{Result: wrongVersion(c)})
	case err != nil:
		return end(st, err)
	}
	return st.SendAndClose(&streams.AppendResp{Result: &streams.AppendResp_Success_{Success: success(p, a)}})
}

// receive reads all of an append, and only then says what is wrong with it.
func receive(st streams.Streams_AppendServer) (p proposal, wrong error) {
	size, opened := 0, false
	for {
		req, err := st.Recv()
		if errors.Is(err, io.EOF) {
			if !opened && wrong == nil {
				wrong = badRequest("append without options")
			}
			if wrong == nil && size > maxCollected {
				wrong = tooLarge(size)
			}
			return p, wrong
		}
		if err != nil {
			return p, err
		}
		if o := req.GetOptions(); o != nil && !opened {
			opened = true
			wrong = p.options(o)
			continue
		}
		m := req.GetProposedMessage()
		size += len(m.GetData()) + len(m.GetCustomMetadata())
		if size > maxDrained {
			return p, tooLarge(size)
		}
		if m == nil || wrong != nil || size > maxCollected {
			continue
		}
		e, err := newEvent(m.GetId(), m.GetMetadata(), m.GetCustomMetadata(), m.GetData())
		if err != nil {
			wrong = err
			continue
		}
		p.events = append(p.events, e)
	}
}

func (p *proposal) options(o *streams.AppendReq_Options) (err error) {
	p.stream, err = streamOf(o.GetStreamIdentifier().GetStreamName())
	switch v := o.GetExpectedStreamRevision().(type) {
	case *streams.AppendReq_Options_Any:
		p.want = wantAny
	case *streams.AppendReq_Options_StreamExists:
		p.want = wantExists
	case *streams.AppendReq_Options_NoStream:
		p.exact = eventlog.NoStream
	case *streams.AppendReq_Options_Revision:
		p.exact = eventlog.At(eventlog.Revision(v.Revision))
	default:
		err = errors.Join(err, badRequest("append without an expected revision"))
	}
	return err
}

// append brings a proposal into the log. A *conflict says where the stream is.
func (s *Server) append(ctx context.Context, p proposal) (eventlog.Appended, error) {
	if len(p.events) == 0 {
		return s.appendNothing(ctx, p)
	}
	if p.want != wantExact {
		return s.appendAtHead(ctx, p)
	}
	a, err := s.log.Append(ctx, p.stream, p.exact, p.events...)
	if errors.Is(err, eventlog.ErrConflict) {
		h, herr := s.head(ctx, p.stream)
		return eventlog.Appended{}, errors.Join(herr, &conflict{p, h})
	}
	if err == nil && !a.Repeated {
		s.recent.add(p.stream, p.events, a)
	}
	return a, err
}

// appendNothing checks only what the client expects.
func (s *Server) appendNothing(ctx context.Context, p proposal) (eventlog.Appended, error) {
	h, err := s.head(ctx, p.stream)
	if err != nil {
		return eventlog.Appended{}, err
	}
	if at := h.expected(); p.want == wantExact && p.exact != at || p.want == wantExists && !h.exists {
		return eventlog.Appended{}, &conflict{p, h}
	}
	return eventlog.Appended{Revision: h.revision, Repeated: !h.exists}, nil
}

func (h head) expected() eventlog.Expected {
	if !h.exists {
		return eventlog.NoStream
	}
	return eventlog.At(h.revision)
}

// appendAtHead finds the stream's head and appends there, one writer of this
// server at a time. Writers beside the server may still come between.
func (s *Server) appendAtHead(ctx context.Context, p proposal) (eventlog.Appended, error) {
	lock := s.locks.of(p.stream)
	lock.Lock()
	defer lock.Unlock()
	if last, known := s.recent.find(p.stream, p.events); known == len(p.events) {
		return eventlog.Appended{Last: last.last, Revision: last.revision, Repeated: true}, nil
	} else if known > 0 {
		h, err := s.head(ctx, p.stream)
		return eventlog.Appended{}, errors.Join(err, &conflict{p, h})
	}
	for {
		h, err := s.head(ctx, p.stream)
		if err != nil {
			return eventlog.Appended{}, err
		}
		if p.want == wantExists && !h.exists {
			return eventlog.Appended{}, &conflict{p, h}
		}
		a, err := s.log.Append(ctx, p.stream, h.expected(), p.events...)
		if errors.Is(err, eventlog.ErrConflict) && ctx.Err() == nil {
			continue // somebody who knows the revision was faster, so the log has moved
		}
		if err == nil {
			s.recent.add(p.stream, p.events, a)
		}
		return a, err
	}
}

func (s *Server) head(ctx context.Context, id eventlog.StreamID) (head, error) {
	for r, err := range s.log.Read(ctx, id, eventlog.LastRevision, eventlog.Backwards) {
		return head{err == nil, r.Revision}, err
	}
	return head{}, nil
}

func success(p proposal, a eventlog.Appended) *streams.AppendResp_Success {
	r := &streams.AppendResp_Success{
		CurrentRevisionOption: &streams.AppendResp_Success_CurrentRevision{CurrentRevision: uint64(a.Revision)},
		PositionOption: &streams.AppendResp_Success_Position{Position: &streams.AppendResp_Position{
			CommitPosition: uint64(a.Last), PreparePosition: uint64(a.Last),
		}},
	}
	if len(p.events) == 0 {
		r.PositionOption = &streams.AppendResp_Success_NoPosition{NoPosition: &shared.Empty{}}
		if a.Repeated {
			r.CurrentRevisionOption = &streams.AppendResp_Success_NoStream{NoStream: &shared.Empty{}}
		}
	}
	return r
}

// wrongVersion is an answer and not an error, in today's fields and in those
// that clients before 20.6.1 read.
func wrongVersion(c *conflict) *streams.AppendResp_WrongExpectedVersion_ {
	w, none := &streams.AppendResp_WrongExpectedVersion{}, &shared.Empty{}
	if c.at.exists {
		rev := uint64(c.at.revision)
		w.CurrentRevisionOption = &streams.AppendResp_WrongExpectedVersion_CurrentRevision{CurrentRevision: rev}
		w.CurrentRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_CurrentRevision_20_6_0{CurrentRevision_20_6_0: rev}
	} else {
		w.CurrentRevisionOption = &streams.AppendResp_WrongExpectedVersion_CurrentNoStream{CurrentNoStream: none}
		w.CurrentRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_NoStream_20_6_0{NoStream_20_6_0: none}
	}
	switch {
	case c.p.want == wantAny:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedAny{ExpectedAny: none}
		w.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_Any_20_6_0{Any_20_6_0: none}
	case c.p.want == wantExists:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedStreamExists{ExpectedStreamExists: none}
		w.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_StreamExists_20_6_0{StreamExists_20_6_0: none}
	case c.p.exact == eventlog.NoStream:
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedNoStream{ExpectedNoStream: none}
	default:
		rev := uint64(c.p.exact.Next()) - 1
		w.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedRevision{ExpectedRevision: rev}
		w.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_ExpectedRevision_20_6_0{ExpectedRevision_20_6_0: rev}
	}
	return &streams.AppendResp_WrongExpectedVersion_{WrongExpectedVersion: w}
}

// Delete implements streams.StreamsServer: it never deletes.
func (s *streamsServer) Delete(ctx context.Context, req *streams.DeleteReq) (*streams.DeleteResp, error) {
	return nil, endCall(ctx, nothingIsDeleted("delete", string(req.GetOptions().GetStreamIdentifier().GetStreamName())))
}

// Tombstone implements streams.StreamsServer: it never deletes.
func (s *streamsServer) Tombstone(ctx context.Context, req *streams.TombstoneReq) (*streams.TombstoneResp, error) {
	return nil, endCall(ctx, nothingIsDeleted("tombstone", string(req.GetOptions().GetStreamIdentifier().GetStreamName())))
}
