package esdbgrpc

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// refusal is an answer with the trailers in which clients look for the reason.
type refusal struct {
	code     codes.Code
	text     string
	trailers metadata.MD
}

// Error implements error.
func (r *refusal) Error() string { return r.text }

// GRPCStatus is how grpc learns the code.
func (r *refusal) GRPCStatus() *status.Status { return status.New(r.code, r.text) }

func refuse(code codes.Code, exception, text string, more ...string) *refusal {
	md := metadata.Pairs(more...)
	if exception != "" {
		md.Set("exception", exception)
	}
	return &refusal{code, text, md}
}

func badRequest(format string, args ...any) *refusal {
	return refuse(codes.InvalidArgument, "", fmt.Sprintf(format, args...))
}

func tooLarge(size int) *refusal {
	return refuse(codes.InvalidArgument, "maximum-append-size-exceeded",
		fmt.Sprintf("append of %d bytes, expected at most %d, envelopes included", size, eventlog.MaxAppendBytes),
		"maximum-append-size", strconv.Itoa(eventlog.MaxAppendBytes))
}

// nothingIsDeleted answers Delete and Tombstone.
func nothingIsDeleted(what, stream string) *refusal {
	return refuse(codes.FailedPrecondition, "", fmt.Sprintf("%s of %q: nothing is ever deleted from this log", what, stream), "stream-name", stream)
}

// answer turns the log's errors into what clients understand.
func answer(err error) *refusal {
	var r *refusal
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, eventlog.ErrTooLarge):
		r = tooLarge(0)
		r.text = err.Error()
		return r
	case errors.Is(err, eventlog.ErrBadEvent), errors.Is(err, eventlog.ErrPositionLost):
		return refuse(codes.InvalidArgument, "", err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return refuse(codes.Aborted, "", err.Error())
	case errors.Is(err, context.Canceled):
		return refuse(codes.Canceled, "", err.Error())
	case errors.Is(err, eventlog.ErrStorageFull):
		return refuse(codes.ResourceExhausted, "", err.Error())
	case errors.Is(err, eventlog.ErrClosed):
		return refuse(codes.Unavailable, "", err.Error())
	case errors.Is(err, eventlog.ErrDamaged):
		return refuse(codes.DataLoss, "", err.Error())
	}
	if st, ok := status.FromError(err); ok {
		return refuse(st.Code(), "", st.Message())
	}
	return refuse(codes.Unknown, "", err.Error())
}

// end finishes a streaming call.
func end(st grpc.ServerStream, err error) error {
	if err == nil {
		return nil
	}
	r := answer(err)
	st.SetTrailer(r.trailers)
	return r
}

// endCall finishes a unary call.
func endCall(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	r := answer(err)
	_ = grpc.SetTrailer(ctx, r.trailers) // the status says it too
	return r
}
