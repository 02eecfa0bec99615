package kurrentlog_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/twinlog/twinlog/adapters/eventlog/kurrentlog"
	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/test/faultproxy"
)

// Each test here provokes something that the client does wrong by itself.

func fact(n int) eventlog.NewEvent {
	return eventlog.NewEvent{ID: eventlog.EventID{0xde, byte(n >> 8), byte(n), 1}, Type: "asset.moved.v1", Data: []byte(strconv.Itoa(n))}
}

// at expects n events.
func at(n int) eventlog.Expected {
	if n == 0 {
		return eventlog.NoStream
	}
	return eventlog.At(eventlog.Revision(n - 1))
}

// TestServerDown: with the server down, of many first calls the client answers one.
func TestServerDown(t *testing.T) {
	on := listen(t, "")
	address := on.Addr().String()
	if err := on.Close(); err != nil {
		t.Fatal(err)
	}
	l := open(t, address)
	var wg sync.WaitGroup
	began := time.Now()
	for range 20 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if _, err := l.Append(ctx, "asset-1", eventlog.NoStream, fact(0)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("append: %v", err)
			}
			for _, err := range l.ReadAll(ctx, 0, eventlog.Forwards, eventlog.Filter{}) {
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("read: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("20 callers with 300 ms took %v", d)
	}
	// The client is dead for good by now; the log is not.
	serve(t, memlog.New("served", time.Now), address)
	if _, err := l.Append(t.Context(), "asset-1", eventlog.NoStream, fact(0)); err != nil {
		t.Errorf("after the server came: %v", err)
	}
}

// TestPatience: without an end of the context a call ends all the same.
func TestPatience(t *testing.T) {
	on := listen(t, "")
	address := on.Addr().String()
	_ = on.Close()
	l := open(t, address, func(c *kurrentlog.Config) { c.Patience = 200 * time.Millisecond })
	began := time.Now()
	if _, err := l.Append(t.Context(), "asset-1", eventlog.NoStream, fact(0)); err == nil {
		t.Error("appended to nothing")
	}
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("took %v", d)
	}
}

// TestRestarts: the server is killed under a writer and a subscriber, again and
// again; every acknowledged event arrives once.
func TestRestarts(t *testing.T) {
	const kills = 10
	served := memlog.New("served", time.Now)
	address, stop := serve(t, served, "")
	l := open(t, address)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sub, err := l.Subscribe(ctx, 0, eventlog.Filter{Categories: []string{"asset"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Close() }()
	var killed atomic.Uint64
	written := make(chan int, 1)
	go func() {
		n := 0
		for ; killed.Load() < kills || n < 200; n++ {
			for {
				if _, err := l.Append(ctx, "asset-1", at(n), fact(n)); err == nil {
					break
				} else if errors.Is(err, eventlog.ErrConflict) || ctx.Err() != nil {
					t.Errorf("event %d: %v", n, err)
					written <- n
					return
				}
			}
			time.Sleep(time.Millisecond)
		}
		written <- n
	}()
	go func() {
		for range kills {
			time.Sleep(50 * time.Millisecond)
			stop()
			_, stop = serve(t, served, address)
			killed.Add(1)
		}
	}()
	events := -1
	for n := 0; n != events; {
		select {
		case events = <-written:
			continue
		default:
		}
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		b, err := sub.Next(short)
		cancel()
		if err != nil && (ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded)) {
			t.Fatalf("after %d events: %v", n, err)
		}
		for _, r := range b.Records {
			if int(r.Revision) != n || string(r.Data) != strconv.Itoa(n) {
				t.Fatalf("event %d is %d with %s", n, r.Revision, r.Data)
			}
			n++
		}
	}
	n := 0
	for r, err := range served.ReadAll(ctx, 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil || string(r.Data) != strconv.Itoa(n) {
			t.Fatalf("served event %d: %s, %v", n, r.Data, err)
		}
		n++
	}
	if n != events {
		t.Errorf("%d events in the served log, want %d", n, events)
	}
	t.Logf("%d events over %d restarts", events, killed.Load())
}

// fake is a server whose answers the test writes.
type fake struct {
	streams.UnimplementedStreamsServer
	serverfeatures.UnimplementedServerFeaturesServer
	append func(streams.Streams_AppendServer) error
	read   func(*streams.ReadReq, streams.Streams_ReadServer) error
}

func (f *fake) Append(st streams.Streams_AppendServer) error { return f.append(st) }

func (f *fake) Read(req *streams.ReadReq, st streams.Streams_ReadServer) error {
	return f.read(req, st)
}

func (f *fake) GetSupportedMethods(context.Context, *shared.Empty) (*serverfeatures.SupportedMethods, error) {
	return &serverfeatures.SupportedMethods{EventStoreServerVersion: "24.10.0"}, nil
}

func (f *fake) start(t *testing.T) string {
	on := listen(t, "")
	g := grpc.NewServer()
	streams.RegisterStreamsServer(g, f)
	serverfeatures.RegisterServerFeaturesServer(g, f)
	go func() { _ = g.Serve(on) }()
	t.Cleanup(g.Stop)
	return on.Addr().String()
}

func notFound(name string) *streams.ReadResp {
	return &streams.ReadResp{Content: &streams.ReadResp_StreamNotFound_{
		StreamNotFound: &streams.ReadResp_StreamNotFound{StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(name)}},
	}}
}

// TestNotLeader: the client forgets to ask for the leader, and tells its caller
// off once when another node names it.
func TestNotLeader(t *testing.T) {
	served := memlog.New("served", time.Now)
	leader, _ := serve(t, served, "")
	host, port, _ := net.SplitHostPort(leader)
	var asked atomic.Bool
	refuse := func(ctx context.Context, trailer func(metadata.MD)) error {
		md, _ := metadata.FromIncomingContext(ctx)
		asked.Store(len(md.Get("requires-leader")) > 0)
		trailer(metadata.Pairs("exception", "not-leader", "leader-endpoint-host", host, "leader-endpoint-port", port))
		return status.Error(codes.NotFound, "not the leader")
	}
	follower := &fake{
		append: func(st streams.Streams_AppendServer) error { return refuse(st.Context(), st.SetTrailer) },
		read: func(_ *streams.ReadReq, st streams.Streams_ReadServer) error {
			return refuse(st.Context(), st.SetTrailer)
		},
	}
	l := open(t, follower.start(t))
	if _, err := l.Append(t.Context(), "asset-1", eventlog.NoStream, fact(0)); err != nil {
		t.Fatal(err)
	}
	if !asked.Load() {
		t.Error("nobody asked for the leader")
	}
	if head, _, _ := served.Head(t.Context()); head != 1 {
		t.Errorf("the leader holds %d events", head)
	}
}

// TestEventWithoutCreated: the client ends the process over such an event.
func TestEventWithoutCreated(t *testing.T) {
	for name, meta := range map[string]map[string]string{
		"none": {"type": "a.b.v1", "content-type": "application/json"}, "no number": {"type": "a.b.v1", "content-type": "application/json", "created": "soon"},
		"nothing at all": nil,
	} {
		f := &fake{read: func(_ *streams.ReadReq, st streams.Streams_ReadServer) error {
			return st.Send(&streams.ReadResp{Content: &streams.ReadResp_Event{Event: &streams.ReadResp_ReadEvent{Event: &streams.ReadResp_ReadEvent_RecordedEvent{
				Id:               &shared.UUID{Value: &shared.UUID_String_{String_: "11111111-1111-4111-8111-111111111111"}},
				StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte("asset-1")}, CommitPosition: 1, PreparePosition: 1,
				Metadata: meta, CustomMetadata: []byte(`{"rec":"2026-01-02T03:04:05Z"}`),
			}}}})
		}}
		n := 0
		for r, err := range open(t, f.start(t)).Read(t.Context(), "asset-1", 0, eventlog.Backwards) {
			if err != nil || !r.Recorded.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
				t.Errorf("%s: recorded %v, %v", name, r.Recorded, err)
			}
			n++
		}
		if n != 1 {
			t.Errorf("%s: %d events", name, n)
		}
	}
}

// TestUnknownMessage: the client panics over one.
func TestUnknownMessage(t *testing.T) {
	f := &fake{read: func(_ *streams.ReadReq, st streams.Streams_ReadServer) error {
		return st.Send(&streams.ReadResp{Content: &streams.ReadResp_LastStreamPosition{LastStreamPosition: 3}})
	}}
	var got error
	for _, err := range open(t, f.start(t)).Read(t.Context(), "asset-1", 0, eventlog.Backwards) {
		got = err
	}
	if !errors.Is(got, eventlog.ErrDamaged) {
		t.Errorf("%v, want %v", got, eventlog.ErrDamaged)
	}
}

// TestReadersGoOn: a connection breaks under many readers, whose client may
// panic when the first that notices throws it away; each goes on where it was.
func TestReadersGoOn(t *testing.T) {
	if underRaceDetector {
		t.Skip("EventStore-Client-Go closes a channel under its senders, which this test provokes: it needs a build without the race detector (make test)")
	}
	const readers = 64
	var broken atomic.Bool
	f := &fake{}
	f.read = func(_ *streams.ReadReq, st streams.Streams_ReadServer) error {
		if broken.Load() {
			return st.Send(happened(1))
		}
		if err := st.Send(happened(2)); err != nil {
			return err
		}
		<-st.Context().Done()
		return st.Context().Err()
	}
	proxy, err := faultproxy.New(f.start(t))
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	l := open(t, proxy.Addr())
	var began, ended sync.WaitGroup
	began.Add(readers)
	for range readers {
		ended.Go(func() {
			n := 0
			for r, err := range l.Read(t.Context(), "asset-1", eventlog.LastRevision, eventlog.Backwards) {
				if err != nil || int(r.Position) != 2-n {
					t.Errorf("event %d of the read: position %d, %v", n, r.Position, err)
					break
				}
				if n++; n == 1 {
					began.Done()
				}
			}
			if n != 2 {
				t.Errorf("%d events, want 2", n)
			}
		})
	}
	began.Wait()
	broken.Store(true)
	proxy.Cut()
	defer time.AfterFunc(200*time.Millisecond, proxy.Heal).Stop() // until then the client tries in vain
	ended.Wait()
}

// happened is the event of asset-1 at a position from 1.
func happened(p uint64) *streams.ReadResp {
	return &streams.ReadResp{Content: &streams.ReadResp_Event{Event: &streams.ReadResp_ReadEvent{Event: &streams.ReadResp_ReadEvent_RecordedEvent{
		Id:               &shared.UUID{Value: &shared.UUID_String_{String_: fmt.Sprintf("11111111-1111-4111-8111-%012d", p)}},
		StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte("asset-1")}, StreamRevision: p - 1, CommitPosition: p, PreparePosition: p,
		Metadata: map[string]string{"type": "a.b.v1", "content-type": "application/json", "created": "0"}, CustomMetadata: []byte("{}"),
	}}}}
}

// TestSilentEnd: a server ends a subscription without an error, and the client
// never subscribes again.
func TestSilentEnd(t *testing.T) {
	var calls atomic.Uint64
	f := &fake{}
	f.read = func(req *streams.ReadReq, st streams.Streams_ReadServer) error {
		if req.GetOptions().GetSubscription() == nil {
			return st.Send(happened(9)) // the end of $all
		}
		if err := st.Send(&streams.ReadResp{Content: &streams.ReadResp_Confirmation{Confirmation: &streams.ReadResp_SubscriptionConfirmation{}}}); err != nil {
			return err
		}
		return st.Send(happened(calls.Add(1))) // and that is all
	}
	sub, err := open(t, f.start(t)).Subscribe(t.Context(), 0, eventlog.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for want := eventlog.Position(1); want <= 5; {
		b, err := sub.Next(ctx)
		if err != nil {
			t.Fatalf("before event %d: %v", want, err)
		}
		for _, r := range b.Records {
			if r.Position != want {
				t.Fatalf("event %d, want %d", r.Position, want)
			}
			want++
		}
	}
}

// TestHangingServer: a server that takes an append and never answers.
func TestHangingServer(t *testing.T) {
	f := &fake{
		append: func(st streams.Streams_AppendServer) error { <-st.Context().Done(); return nil },
		read:   func(_ *streams.ReadReq, st streams.Streams_ReadServer) error { return st.Send(notFound("asset-1")) },
	}
	l := open(t, f.start(t))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := l.Append(ctx, "asset-1", eventlog.NoStream, fact(0)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("append: %v", err)
	}
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("took %v", d)
	}
}
