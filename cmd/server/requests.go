package server

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// How a server stops answering: requests have answerWithin to end by
// themselves, subscriptions are ended then, and after endWithin nothing is
// waited for.
const (
	answerWithin = time.Second
	endWithin    = 3 * time.Second
)

// requests are those under way, WebSockets among them, which http.Server does
// not know any more.
type requests struct {
	ctx context.Context // of all requests; ends subscriptions
	end context.CancelFunc
	wg  sync.WaitGroup
}

// begin keeps ctx's values; its end is not the requests', which finish gives
// their time.
func (r *requests) begin(ctx context.Context) {
	r.ctx, r.end = context.WithCancel(context.WithoutCancel(ctx))
}

func (r *requests) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.wg.Add(1)
		defer r.wg.Done()
		h.ServeHTTP(w, req)
	})
}

// finish takes no new requests and returns when the last one has ended, at the
// latest after endWithin.
func (r *requests) finish(s *http.Server) {
	defer r.end()
	end := time.AfterFunc(answerWithin, r.end)
	defer end.Stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), endWithin)
	defer cancel()
	if s.Shutdown(ctx) != nil {
		_ = s.Close() // somebody has begun a request and does not send the rest
	}
	ended := make(chan struct{})
	go func() { defer close(ended); r.wg.Wait() }()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}
