package esdbgrpc_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/twinlog/twinlog/adapters/eventlog/esdbgrpc"
	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
)

// serveUntil is serve with a stop of its own.
func serveUntil(t *testing.T, log *memlog.Log) (connection string, stop func()) {
	t.Helper()
	on, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- esdbgrpc.New(log, esdbgrpc.Config{}).Serve(ctx, on) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return "esdb://" + on.Addr().String() + "?tls=false", stop
}

func join(t *testing.T, c *esdb.Client, stream, group string) *esdb.PersistentSubscription {
	t.Helper()
	var sub *esdb.PersistentSubscription
	var err error
	if stream == "$all" {
		sub, err = c.SubscribeToPersistentSubscriptionToAll(t.Context(), group, esdb.SubscribeToPersistentSubscriptionOptions{BufferSize: 5})
	} else {
		sub, err = c.SubscribeToPersistentSubscription(t.Context(), stream, group, esdb.SubscribeToPersistentSubscriptionOptions{BufferSize: 5})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Close() })
	return sub
}

// next waits for one event, or says that none came.
func next(t *testing.T, sub *esdb.PersistentSubscription) *esdb.ResolvedEvent {
	t.Helper()
	got := make(chan *esdb.ResolvedEvent, 1)
	go func() {
		if e := sub.Recv(); e.EventAppeared != nil {
			got <- e.EventAppeared.Event
		} else {
			got <- nil
		}
	}()
	select {
	case e := <-got:
		return e
	case <-time.After(5 * time.Second):
		return nil
	}
}

func create(t *testing.T, c *esdb.Client, change func(*esdb.PersistentSubscriptionSettings)) {
	t.Helper()
	s := esdb.SubscriptionSettingsDefault()
	s.CheckpointLowerBound = 1
	if change != nil {
		change(&s)
	}
	err := c.CreatePersistentSubscription(t.Context(), "order-1", "workers", esdb.PersistentStreamSubscriptionOptions{Settings: &s, StartFrom: esdb.Start{}})
	if err != nil {
		t.Fatal(err)
	}
}

// TestCompetingConsumers: two share the work, a restart loses and repeats nothing
// that was acknowledged.
func TestCompetingConsumers(t *testing.T) {
	const half = 100
	log := memlog.New("served", time.Now)
	connection, stop := serveUntil(t, log)
	c := dial(t, connection)
	create(t, c, nil)
	seen := map[uint64]int{}
	var mu sync.Mutex
	work := func(c *esdb.Client, until int) (counts [2]int) {
		var wg sync.WaitGroup
		subs := [2]*esdb.PersistentSubscription{join(t, c, "order-1", "workers"), join(t, c, "order-1", "workers")}
		for i, sub := range subs {
			wg.Go(func() {
				for {
					e := sub.Recv()
					if e.EventAppeared == nil {
						return
					}
					mu.Lock()
					seen[numbers(e.EventAppeared.Event)]++
					counts[i]++
					err := sub.Ack(e.EventAppeared.Event) // the client's Close races with its Ack
					mu.Unlock()
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		for range half {
			add(t, c, "order-1", esdb.Any{}, event("a"))
		}
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			mu.Lock()
			enough := len(seen) == until
			mu.Unlock()
			if enough {
				break
			}
		}
		time.Sleep(300 * time.Millisecond) // the last acknowledgements are on their way
		mu.Lock()
		for _, sub := range subs {
			_ = sub.Close()
		}
		mu.Unlock()
		wg.Wait()
		return counts
	}
	counts := work(c, half)
	if counts[0] < half/5 || counts[1] < half/5 {
		t.Errorf("the two got %v", counts)
	}
	stop()
	connection, _ = serveUntil(t, log)
	c = dial(t, connection)
	work(c, 2*half)
	for n := range uint64(2 * half) {
		if seen[n] != 1 {
			t.Errorf("event %d came %d times", n, seen[n])
		}
	}
}

func numbers(e *esdb.ResolvedEvent) uint64 { return e.OriginalEvent().EventNumber }

// TestNack: skipped, tried again, parked; and what is parked comes back when
// asked for, also after a restart.
func TestNack(t *testing.T) {
	log := memlog.New("served", time.Now)
	connection, stop := serveUntil(t, log)
	c := dial(t, connection)
	create(t, c, func(s *esdb.PersistentSubscriptionSettings) { s.MaxRetryCount = 2 })
	for range 4 {
		add(t, c, "order-1", esdb.Any{}, event("a"))
	}
	sub := join(t, c, "order-1", "workers")
	actions := map[uint64]esdb.NackAction{0: esdb.NackActionSkip, 1: esdb.NackActionPark, 2: esdb.NackActionRetry}
	var came []uint64
	for len(came) < 6 {
		e := next(t, sub)
		if e == nil {
			t.Fatalf("only %v came", came)
		}
		n := numbers(e)
		came = append(came, n)
		var err error
		if action, ok := actions[n]; ok {
			err = sub.Nack("because", action, e)
		} else {
			err = sub.Ack(e)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(came)
	if want := []uint64{0, 1, 2, 2, 2, 3}; !slices.Equal(came, want) { // 2 is tried twice again, then parked
		t.Errorf("%v came, want %v", came, want)
	}
	time.Sleep(300 * time.Millisecond)
	info, err := c.GetPersistentSubscriptionInfo(t.Context(), "order-1", "workers", esdb.GetPersistentSubscriptionOptions{})
	if err != nil || info.Stats.ParkedMessagesCount != 2 {
		t.Fatalf("%+v, %v, want 2 parked", info, err)
	}
	_ = sub.Close()
	stop()

	connection, _ = serveUntil(t, log)
	c = dial(t, connection)
	sub = join(t, c, "order-1", "workers")
	if err := c.ReplayParkedMessages(t.Context(), "order-1", "workers", esdb.ReplayParkedMessagesOptions{}); err != nil {
		t.Fatal(err)
	}
	came = nil
	for len(came) < 2 {
		e := next(t, sub)
		if e == nil {
			t.Fatalf("only %v came back", came)
		}
		came = append(came, numbers(e))
		if err := sub.Ack(e); err != nil {
			t.Fatal(err)
		}
	}
	if slices.Sort(came); !slices.Equal(came, []uint64{1, 2}) {
		t.Errorf("%v came back, want 1 and 2", came)
	}
	time.Sleep(300 * time.Millisecond)
	info, err = c.GetPersistentSubscriptionInfo(t.Context(), "order-1", "workers", esdb.GetPersistentSubscriptionOptions{})
	if err != nil || info.Stats.ParkedMessagesCount != 0 {
		t.Errorf("%+v, %v, want none parked", info, err)
	}
}

// TestTimeout: an event that nobody answers goes to somebody else.
func TestTimeout(t *testing.T) {
	connection, _ := serveUntil(t, memlog.New("served", time.Now))
	c := dial(t, connection)
	create(t, c, func(s *esdb.PersistentSubscriptionSettings) { s.MessageTimeout = 300 })
	add(t, c, "order-1", esdb.Any{}, event("a"))
	sub := join(t, c, "order-1", "workers")
	first := next(t, sub)
	second := next(t, sub)
	if first == nil || second == nil || numbers(first) != numbers(second) {
		t.Errorf("%v, then %v", first, second)
	}
}

func TestGroupsAreManaged(t *testing.T) {
	connection, _ := serveUntil(t, memlog.New("served", time.Now))
	c := dial(t, connection)
	create(t, c, func(s *esdb.PersistentSubscriptionSettings) { s.MaxSubscriberCount = 1 })
	err := c.CreatePersistentSubscription(t.Context(), "order-1", "workers", esdb.PersistentStreamSubscriptionOptions{})
	if code(err) != esdb.ErrorCodeResourceAlreadyExists {
		t.Errorf("created twice: %v", err)
	}
	_, err = c.SubscribeToPersistentSubscription(t.Context(), "order-1", "nobody", esdb.SubscribeToPersistentSubscriptionOptions{})
	if code(err) != esdb.ErrorCodeResourceNotFound {
		t.Errorf("nobody: %v", err)
	}
	one := join(t, c, "order-1", "workers")
	if _, err = c.SubscribeToPersistentSubscription(t.Context(), "order-1", "workers", esdb.SubscribeToPersistentSubscriptionOptions{}); err == nil ||
		!strings.Contains(err.Error(), "maximum") {
		t.Errorf("one too many: %v", err)
	}
	filter := &esdb.SubscriptionFilter{Type: esdb.StreamFilterType, Prefixes: []string{"bill-"}}
	err = c.CreatePersistentSubscriptionToAll(t.Context(), "bills", esdb.PersistentAllSubscriptionOptions{StartFrom: esdb.Start{}, Filter: filter})
	if err != nil {
		t.Fatal(err)
	}
	add(t, c, "order-1", esdb.Any{}, event("a"))
	add(t, c, "bill-1", esdb.Any{}, event("b"))
	sub := join(t, c, "$all", "bills")
	if e := next(t, sub); e == nil || e.OriginalEvent().StreamID != "bill-1" {
		t.Errorf("from $all came %v", e)
	}
	list, err := c.ListAllPersistentSubscriptions(t.Context(), esdb.ListPersistentSubscriptionsOptions{})
	if err != nil || len(list) != 2 {
		t.Errorf("list: %v, %v", list, err)
	}
	if err := c.DeletePersistentSubscription(t.Context(), "order-1", "workers", esdb.DeletePersistentSubscriptionOptions{}); err != nil {
		t.Fatal(err)
	}
	for ended := false; !ended; {
		ended = one.Recv().SubscriptionDropped != nil
	}
	create(t, c, nil) // it may be made again
	if e := next(t, join(t, c, "order-1", "workers")); e == nil || numbers(e) != 0 {
		t.Errorf("the new one begins with %v", e)
	}
}
