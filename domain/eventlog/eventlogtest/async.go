package eventlogtest

import (
	"context"
	"fmt"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// ByAsync returns the log with an Append that goes through AppendAsync, so that
// the tests of one hold the other to the same contract.
func ByAsync[L interface {
	eventlog.Log
	eventlog.AsyncAppender
}](l L) eventlog.Log {
	return async{l, l}
}

type async struct {
	eventlog.Log
	by eventlog.AsyncAppender
}

type answer struct {
	appended eventlog.Appended
	err      error
}

func (a async) Append(ctx context.Context, id eventlog.StreamID, expected eventlog.Expected, events ...eventlog.NewEvent) (eventlog.Appended, error) {
	if err := ctx.Err(); err != nil { // the one thing that AppendAsync cannot be told
		return eventlog.Appended{}, fmt.Errorf("append to %s: %w", id, err)
	}
	done := make(chan answer, 1)
	a.by.AppendAsync(id, expected, events, func(app eventlog.Appended, err error) { done <- answer{app, err} })
	got := <-done
	return got.appended, got.err
}
