package esdbgrpc_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"github.com/twinlog/twinlog/adapters/eventlog/esdbgrpc"
	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/test/budget"
)

// The client here is the official one.

func serve(t *testing.T, log eventlog.Log, cfg esdbgrpc.Config) string {
	t.Helper()
	on, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- esdbgrpc.New(log, cfg).Serve(ctx, on) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return on.Addr().String()
}

func dial(t *testing.T, connection string, change ...func(*esdb.Configuration)) *esdb.Client {
	t.Helper()
	cfg, err := esdb.ParseConnectionString(connection)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Logger = func(esdb.LogLevel, string, ...any) {}
	for _, c := range change {
		c(cfg)
	}
	c, err := esdb.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// begin serves an empty log and returns a client of it.
func begin(t *testing.T) (*memlog.Log, *esdb.Client) {
	log := memlog.New("served", time.Now)
	return log, dial(t, "esdb://"+serve(t, log, esdbgrpc.Config{})+"?tls=false")
}

func event(typ string) esdb.EventData {
	return esdb.EventData{EventID: uuid.New(), EventType: typ, ContentType: esdb.ContentTypeJson, Data: []byte(`{"a":1}`)}
}

func add(t *testing.T, c *esdb.Client, stream string, expected esdb.ExpectedRevision, events ...esdb.EventData) *esdb.WriteResult {
	t.Helper()
	w, err := c.AppendToStream(t.Context(), stream, esdb.AppendToStreamOptions{ExpectedRevision: expected}, events...)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func code(err error) esdb.ErrorCode {
	e, _ := errors.AsType[*esdb.Error](err)
	if e == nil {
		return -1
	}
	return e.Code()
}

func wantConflict(t *testing.T, c *esdb.Client, expected esdb.ExpectedRevision, text string, events ...esdb.EventData) {
	t.Helper()
	_, err := c.AppendToStream(t.Context(), "order-1", esdb.AppendToStreamOptions{ExpectedRevision: expected}, events...)
	if code(err) != esdb.ErrorCodeWrongExpectedVersion || !strings.Contains(err.Error(), text) {
		t.Errorf("%v, want a conflict with %s", err, text)
	}
}

func TestExpectedRevisions(t *testing.T) {
	_, c := begin(t)
	a, b, d := event("order.placed"), event("order.paid"), event("order.sent")
	wantConflict(t, c, esdb.StreamExists{}, "expecting 'stream_exists' but got 'no_stream'", a)
	wantConflict(t, c, esdb.Revision(3), "expecting '3' but got 'no_stream'", a)
	first := add(t, c, "order-1", esdb.Any{}, a, b)
	if first.NextExpectedVersion != 1 || first.CommitPosition != 2 {
		t.Errorf("%+v", first)
	}
	// Tried again, with any revision: the cache knows them.
	if again := add(t, c, "order-1", esdb.Any{}, a, b); *again != *first {
		t.Errorf("again %+v, first %+v", again, first)
	}
	if again := add(t, c, "order-1", esdb.NoStream{}, a, b); *again != *first {
		t.Errorf("again %+v, first %+v", again, first)
	}
	wantConflict(t, c, esdb.Any{}, "expecting 'any' but got '1'", b, d) // half of it is there
	wantConflict(t, c, esdb.NoStream{}, "expecting 'no_stream' but got '1'", d)
	wantConflict(t, c, esdb.Revision(0), "expecting '0' but got '1'", d)
	if w := add(t, c, "order-1", esdb.StreamExists{}, d); w.NextExpectedVersion != 2 {
		t.Errorf("%+v", w)
	}
	if w := add(t, c, "order-1", esdb.Revision(2)); w.NextExpectedVersion != 2 {
		t.Errorf("nothing appended: %+v", w)
	}
}

func recv(t *testing.T, s *esdb.ReadStream, err error) (all []*esdb.RecordedEvent) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for {
		e, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e.OriginalEvent())
	}
}

// TestForeignMetadata: what is no envelope comes back all the same.
func TestForeignMetadata(t *testing.T) {
	log, c := begin(t)
	metas := []string{"", "{}", `{"$correlationId": "x"}`, "\x00\xffnot json", `{"act":5}`, `{"xmd":"aGk="}`, `{"cty":"a/b"}`}
	for _, m := range metas {
		e := event("a.b")
		e.Metadata = []byte(m)
		add(t, c, "order-1", esdb.Any{}, e)
	}
	s, err := c.ReadStream(t.Context(), "order-1", esdb.ReadStreamOptions{}, 100)
	for i, e := range recv(t, s, err) {
		if string(e.UserMetadata) != metas[i] {
			t.Errorf("%q became %q", metas[i], e.UserMetadata)
		}
		if e.ContentType != "application/json" && metas[i] != `{"cty":"a/b"}` {
			t.Errorf("%q: content type %s", metas[i], e.ContentType)
		}
	}
	for r, err := range log.Read(t.Context(), "order-1", 0, eventlog.Forwards) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Envelope(); err != nil {
			t.Errorf("%s: %v", r.RawEnvelope, err)
		}
	}
}

func types(all []*esdb.RecordedEvent) string {
	var b strings.Builder
	for _, e := range all {
		b.WriteString(e.EventType + " ")
	}
	return strings.TrimSpace(b.String())
}

func TestReads(t *testing.T) {
	_, c := begin(t)
	for i, s := range []string{"order-1", "bill-1", "order-2", "order-1"} {
		add(t, c, s, esdb.Any{}, event(string(rune('a'+i))))
	}
	ctx := t.Context()
	check := func(name, want string, s *esdb.ReadStream, err error) {
		t.Helper()
		if got := types(recv(t, s, err)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	s, err := c.ReadStream(ctx, "order-1", esdb.ReadStreamOptions{Direction: esdb.Backwards, From: esdb.End{}}, 10)
	check("a stream backwards", "d a", s, err)
	s, err = c.ReadStream(ctx, "order-1", esdb.ReadStreamOptions{From: esdb.Revision(1)}, 10)
	check("a stream from 1", "d", s, err)
	s, err = c.ReadStream(ctx, "order-1", esdb.ReadStreamOptions{From: esdb.Revision(2)}, 10)
	check("a stream from behind its end", "", s, err)
	s, err = c.ReadAll(ctx, esdb.ReadAllOptions{From: esdb.Position{Commit: 2, Prepare: 2}}, 2)
	check("$all from 2, inclusive", "b c", s, err)
	s, err = c.ReadAll(ctx, esdb.ReadAllOptions{Direction: esdb.Backwards, From: esdb.Position{Commit: 3, Prepare: 3}}, 10)
	check("$all back from 3, exclusive", "b a", s, err)
	s, err = c.ReadAll(ctx, esdb.ReadAllOptions{Direction: esdb.Backwards, From: esdb.End{}}, 2)
	check("$all back", "d c", s, err)
	s, err = c.ReadStream(ctx, "$ce-order", esdb.ReadStreamOptions{ResolveLinkTos: true}, 10)
	check("a category", "a c d", s, err)
	s, err = c.ReadStream(ctx, "$et-b", esdb.ReadStreamOptions{Direction: esdb.Backwards, From: esdb.End{}}, 10)
	check("a type", "b", s, err)
	for _, name := range []string{"order-9", "$$order-1", "no category", "$stats"} {
		s, err := c.ReadStream(ctx, name, esdb.ReadStreamOptions{}, 10)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); code(err) != esdb.ErrorCodeResourceNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFilteredSubscriptions(t *testing.T) {
	_, c := begin(t)
	for i, s := range []string{"order-1", "bill-1", "order-2", "telemetry-gw.1"} {
		typ := []string{"x.a", "x.b", "y.c", eventlog.TelemetryRecorded}[i]
		add(t, c, s, esdb.Any{}, event(typ))
	}
	for _, k := range []struct {
		filter esdb.SubscriptionFilter
		want   string
	}{
		{esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"order-"}}, "x.a y.c live"},
		{esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"$idx-ce-order"}}, "x.a y.c live"},
		{esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Regex: "^b|gw"}, "x.b " + eventlog.TelemetryRecorded + " live"},
		{esdb.SubscriptionFilter{Type: esdb.EventFilterType, Prefixes: []string{"x.", "l"}}, "x.a x.b live"},
		{esdb.SubscriptionFilter{Type: esdb.EventFilterType, Prefixes: []string{"$idx-et-live"}}, ""},
		{esdb.SubscriptionFilter{Type: esdb.EventFilterType, Regex: `^(?!x|telemetry)`}, "y.c live"},
		{esdb.SubscriptionFilter{Type: esdb.EventFilterType, Regex: `^[^$].*`}, "x.a x.b y.c " + eventlog.TelemetryRecorded + " live"},
	} {
		sub, err := c.SubscribeToAll(t.Context(), esdb.SubscribeToAllOptions{From: esdb.Start{}, Filter: &k.filter})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		caught, point := false, uint64(0)
		for !caught {
			switch e := sub.Recv(); {
			case e.EventAppeared != nil:
				got = append(got, e.EventAppeared.OriginalEvent().EventType)
			case e.CheckPointReached != nil:
				point = e.CheckPointReached.Commit
			case e.CaughtUp != nil:
				caught = true
			case e.SubscriptionDropped != nil:
				t.Fatal(e.SubscriptionDropped.Error)
			}
		}
		if want := strings.TrimSuffix(strings.TrimSuffix(k.want, "live"), " "); strings.Join(got, " ") != want || point < 4 {
			t.Errorf("%+v: %v, checkpoint %d, want %s", k.filter, got, point, want)
		}
		_ = sub.Close()
	}
	_, err := c.SubscribeToAll(t.Context(), esdb.SubscribeToAllOptions{Filter: &esdb.SubscriptionFilter{Type: esdb.EventFilterType, Regex: `(?<=a)b`}})
	if err == nil || !strings.Contains(err.Error(), "InvalidArgument") {
		t.Errorf("a look-behind: %v", err)
	}
}

// TestStreamSubscription starts behind an event and goes on live.
func TestStreamSubscription(t *testing.T) {
	_, c := begin(t)
	for range 3 {
		add(t, c, "order-1", esdb.Any{}, event("old"))
	}
	sub, err := c.SubscribeToStream(t.Context(), "order-1", esdb.SubscribeToStreamOptions{From: esdb.Revision(0)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Close() }()
	var got []uint64
	for len(got) < 4 {
		switch e := sub.Recv(); {
		case e.EventAppeared != nil:
			got = append(got, e.EventAppeared.OriginalEvent().EventNumber)
		case e.CaughtUp != nil:
			add(t, c, "order-2", esdb.Any{}, event("other"))
			add(t, c, "order-1", esdb.Any{}, event("new"), event("new"))
		case e.SubscriptionDropped != nil:
			t.Fatal(e.SubscriptionDropped.Error)
		}
	}
	for i, n := range got {
		if int(n) != i+1 {
			t.Fatalf("event numbers %v, want 1 to 4", got)
		}
	}
}

func TestNothingIsDeleted(t *testing.T) {
	_, c := begin(t)
	add(t, c, "order-1", esdb.Any{}, event("a"))
	_, err := c.DeleteStream(t.Context(), "order-1", esdb.DeleteStreamOptions{ExpectedRevision: esdb.Any{}})
	refused(t, err, "nothing is ever deleted")
	_, err = c.TombstoneStream(t.Context(), "order-1", esdb.TombstoneStreamOptions{ExpectedRevision: esdb.Any{}})
	refused(t, err, "nothing is ever deleted")
	meta := esdb.StreamMetadata{}
	meta.SetMaxCount(1)
	_, err = c.SetStreamMetadata(t.Context(), "order-1", esdb.AppendToStreamOptions{}, meta)
	refused(t, err, "nothing is ever deleted")
	s, err := c.ReadStream(t.Context(), "order-1", esdb.ReadStreamOptions{}, 10)
	if got := types(recv(t, s, err)); got != "a" {
		t.Errorf("left: %s", got)
	}
}

func refused(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("%v, want %s", err, text)
	}
}

// TestOversize: the reason comes through, because all of the append was heard first.
func TestOversize(t *testing.T) {
	_, c := begin(t)
	big := make([]esdb.EventData, 40)
	for i := range big {
		big[i] = event("big")
		big[i].Data = make([]byte, 100_000)
	}
	_, err := c.AppendToStream(t.Context(), "order-1", esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, big...)
	refused(t, err, "expected at most 1000000")
	_, err = c.AppendToStream(t.Context(), "Bad Name", esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, big...)
	refused(t, err, "category-id")
	noType := event("")
	_, err = c.AppendToStream(t.Context(), "order-1", esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, noType)
	refused(t, err, "without type")
	link := event("$>")
	_, err = c.AppendToStream(t.Context(), "order-1", esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, link)
	refused(t, err, "no links")
}

// TestDiscovery: a client that asks Gossip first.
func TestDiscovery(t *testing.T) {
	log := memlog.New("served", time.Now)
	address := serve(t, log, esdbgrpc.Config{})
	c := dial(t, "esdb+discover://"+address+"?tls=false")
	add(t, c, "order-1", esdb.Any{}, event("a"))
}

// TestIdle: a client that only listens, and pings as it always does, is not
// sent away. grpc's own policy does so after half a minute.
func TestIdle(t *testing.T) {
	t.Parallel()
	idle := time.Second
	if budget.For(t) >= 20*time.Second {
		idle = 45 * time.Second
	}
	_, c := begin(t)
	sub, err := c.SubscribeToStream(t.Context(), "order-1", esdb.SubscribeToStreamOptions{From: esdb.Start{}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Close() }()
	appended := make(chan struct{})
	time.AfterFunc(idle, func() {
		defer close(appended)
		_, err := c.AppendToStream(t.Context(), "order-1", esdb.AppendToStreamOptions{ExpectedRevision: esdb.Any{}}, event("a"))
		if err != nil {
			t.Error(err)
		}
	})
	for {
		switch e := sub.Recv(); {
		case e.EventAppeared != nil:
			<-appended
			t.Logf("idle for %v", idle)
			return
		case e.SubscriptionDropped != nil:
			t.Fatal(e.SubscriptionDropped.Error)
		}
	}
}
