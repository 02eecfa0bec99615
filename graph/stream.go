package graph

import (
	"context"
	"encoding/json"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// ending is how a subscription's resolver tells the transport what gqlgen has
// no words for: why it ended, and where each frame stands. The resolver writes
// before it closes its channel, or before it sends the frame; the transport
// reads after, and not at all once the operation's context has ended. So no
// lock is needed.
type ending struct {
	err error
	// positions holds one entry for each frame on its way: one that waits to be
	// taken, and one that the transport is writing.
	positions chan eventlog.Position
	// after is where the client says it stopped, if it said so beside the
	// document (Last-Event-ID of a browser's EventSource).
	after *eventlog.Position
}

type endingKey struct{}

func withEnding(ctx context.Context, after *eventlog.Position) (context.Context, *ending) {
	e := &ending{positions: make(chan eventlog.Position, 2), after: after}
	return context.WithValue(ctx, endingKey{}, e), e
}

// endingOf returns the operation's ending; a new one where the transport asked
// for none.
func endingOf(ctx context.Context) *ending {
	if e, ok := ctx.Value(endingKey{}).(*ending); ok {
		return e
	}
	_, e := withEnding(ctx, nil)
	return e
}

// position returns where the frame stands that was received last.
func (e *ending) position() (eventlog.Position, bool) {
	select {
	case p := <-e.positions:
		return p, true
	default:
		return 0, false
	}
}

// appendResponse appends an answer as JSON. Data is written as gqlgen left it:
// it is JSON already, and a day of columns is not worth checking twice. A
// request that was refused before it ran has no data entry at all.
func appendResponse(b []byte, resp *graphql.Response, ran bool) []byte {
	b = append(b, '{')
	if len(resp.Errors) > 0 {
		b = append(append(b, `"errors":`...), marshal(resp.Errors)...)
	}
	if ran {
		if len(resp.Errors) > 0 {
			b = append(b, ',')
		}
		b = append(b, `"data":`...)
		if len(resp.Data) == 0 {
			b = append(b, "null"...)
		}
		b = append(b, resp.Data...)
	}
	if len(resp.Extensions) > 0 {
		b = append(append(b, `,"extensions":`...), marshal(resp.Extensions)...)
	}
	return append(b, '}')
}

// marshal is json.Marshal for what always has a JSON form; should it not, the
// client is told that much.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		b, _ = json.Marshal(gqlerror.List{{Message: "the answer has no JSON form", Extensions: map[string]any{"code": CodeInternal}}})
	}
	return b
}

// frames runs a subscription: f makes frames and gives each to send, which
// blocks until the transport takes it. So at most one frame waits, whatever the
// reader does. What f returns is what the reader is told at the end.
func frames[T any](ctx context.Context, f func(send func(T, eventlog.Position) error) error) <-chan T {
	ch, end := make(chan T), endingOf(ctx)
	go func() {
		defer close(ch)
		end.err = f(func(frame T, at eventlog.Position) error {
			select {
			case end.positions <- at:
			case <-ctx.Done():
				return ctx.Err()
			}
			select {
			case ch <- frame:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	return ch
}
