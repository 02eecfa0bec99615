package kurrentlog_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"

	"github.com/twinlog/twinlog/adapters/eventlog/kurrentlog"
	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
)

func connect(t *testing.T, address string, change ...func(*kurrentlog.Config)) (*kurrentlog.Log, error) {
	t.Helper()
	cfg := kurrentlog.Config{Connection: "esdb://" + address + "?tls=false"}
	for _, c := range change {
		c(&cfg)
	}
	l, err := kurrentlog.Connect(t.Context(), cfg)
	if err == nil {
		t.Cleanup(func() { _ = l.Close() })
	}
	return l, err
}

// TestServedOrigin: a served log says whose it is, and stays as it was.
func TestServedOrigin(t *testing.T) {
	served := memlog.New("site-7", time.Now)
	address, _ := serve(t, served, "")
	l, err := connect(t, address)
	if err != nil || l.Origin() != "site-7" {
		t.Fatalf("%v, %v", l, err)
	}
	if _, err := connect(t, address, func(c *kurrentlog.Config) { c.Origin = "site-8" }); !errors.Is(err, kurrentlog.ErrOrigin) {
		t.Errorf("under another origin: %v", err)
	}
	if head, _, _ := served.Head(t.Context()); head != 0 {
		t.Errorf("asking wrote %d events", head)
	}
}

// TestOneOrigin: of many processes that meet a log without origin at once, one
// names it, and the others take that name.
func TestOneOrigin(t *testing.T) {
	served := memlog.New("served", time.Now)
	address, _ := serve(t, forgetful{served}, "")
	var wg sync.WaitGroup
	names := make([]string, 8)
	for i := range names {
		wg.Go(func() {
			l, err := connect(t, address)
			if err != nil {
				t.Error(err)
				return
			}
			names[i] = l.Origin()
		})
	}
	wg.Wait()
	for _, n := range names {
		if n != names[0] || len(n) != 16 {
			t.Errorf("origins %q", names)
		}
	}
}

// TestOriginOfOthers: a server that lets nobody read its own streams is asked
// for the log's.
func TestOriginOfOthers(t *testing.T) {
	f := &fake{}
	f.read = func(req *streams.ReadReq, st streams.Streams_ReadServer) error {
		if string(req.GetOptions().GetStream().GetStreamIdentifier().GetStreamName())[0] == '$' {
			return status.Error(codes.PermissionDenied, "only for administrators")
		}
		return st.Send(named("log-origin", `{"origin":"site-9"}`))
	}
	if l, err := connect(t, f.start(t)); err != nil || l.Origin() != "site-9" {
		t.Errorf("%v", err)
	}
}

// TestNoServerNoOrigin: an answer comes within the patience.
func TestNoServerNoOrigin(t *testing.T) {
	on := listen(t, "")
	address := on.Addr().String()
	_ = on.Close()
	if _, err := connect(t, address, func(c *kurrentlog.Config) { c.Patience = 100 * time.Millisecond }); err == nil {
		t.Error("connected to nothing")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := kurrentlog.Connect(ctx, kurrentlog.Config{Connection: "esdb://" + address + "?tls=false"}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// forgetful is a log that does not say its origin, as on a genuine server.
type forgetful struct{ *memlog.Log }

func (forgetful) Origin() string { return "" }

// named is an event that says an origin.
func named(stream, data string) *streams.ReadResp {
	return &streams.ReadResp{Content: &streams.ReadResp_Event{Event: &streams.ReadResp_ReadEvent{Event: &streams.ReadResp_ReadEvent_RecordedEvent{
		Id:               &shared.UUID{Value: &shared.UUID_String_{String_: "11111111-1111-4111-8111-111111111111"}},
		StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(stream)}, CommitPosition: 1, PreparePosition: 1,
		Metadata: map[string]string{"type": "log.named.v1", "content-type": "application/json", "created": "0"}, Data: []byte(data),
	}}}}
}
