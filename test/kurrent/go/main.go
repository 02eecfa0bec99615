// Command go drives KurrentDB-Client-Go against a served log, in a module and a
// process of its own: that client and the one of the product cannot share one.
// The test makes the same program for EventStore-Client-Go by the names that
// differ.
//
//	go CONNECTION IDLE
//
// It prints the SHA-256 of each event that is there (envelope, then data), and
// RESTART where it wants the server stopped and started, and waits for a line.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/kurrent-io/KurrentDB-Client-Go/kurrentdb"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Println("FAILED", err)
		os.Exit(1)
	}
	fmt.Println("DONE")
}

const stream = "order-go"

func event(n int) kurrentdb.EventData {
	return kurrentdb.EventData{
		EventID: uuid.New(), EventType: "order.placed.v1", ContentType: kurrentdb.ContentTypeJson, Data: []byte{byte('0' + n)},
	}
}

type client struct {
	*kurrentdb.Client
	ctx context.Context
}

func run(connection, idle string) error {
	pause, err := time.ParseDuration(idle)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute+pause)
	defer cancel()
	cfg, err := kurrentdb.ParseConnectionString(connection)
	if err != nil {
		return err
	}
	cfg.Logger = func(kurrentdb.LogLevel, string, ...any) {}
	c, err := kurrentdb.NewClient(cfg)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	k := client{c, ctx}
	if err := k.digests(); err != nil {
		return err
	}
	if err := k.appends(); err != nil {
		return err
	}
	fmt.Println("appended")
	if err := k.reads(); err != nil {
		return err
	}
	fmt.Println("read")
	if err := k.follows(); err != nil {
		return err
	}
	fmt.Println("followed")
	if err := k.shares(); err != nil {
		return err
	}
	fmt.Println("worked")
	return k.idles(pause)
}

// digests prints the hash of every event's bytes.
func (k client) digests() error {
	s, err := k.ReadAll(k.ctx, kurrentdb.ReadAllOptions{From: kurrentdb.Start{}}, 1000)
	if err != nil {
		return err
	}
	defer s.Close()
	for {
		e, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r := e.OriginalEvent()
		fmt.Printf("SHA %s@%d %x\n", r.StreamID, r.EventNumber, sha256.Sum256(append(append([]byte{}, r.UserMetadata...), r.Data...)))
	}
}

// shares lets two consumers work through a persistent subscription, one event
// of which they park.
func (k client) shares() error {
	settings := kurrentdb.SubscriptionSettingsDefault()
	if err := k.CreatePersistentSubscription(k.ctx, stream, "workers", kurrentdb.PersistentStreamSubscriptionOptions{Settings: &settings, StartFrom: kurrentdb.Start{}}); err != nil {
		return fmt.Errorf("create a persistent subscription: %w", err)
	}
	type taken struct {
		by   int
		data string
		err  error
	}
	all := make(chan taken, 100)
	for i := range 2 {
		sub, err := k.SubscribeToPersistentSubscription(k.ctx, stream, "workers", kurrentdb.SubscribeToPersistentSubscriptionOptions{BufferSize: 1})
		if err != nil {
			return err
		}
		defer func() { _ = sub.Close() }()
		go func() {
			for {
				e := sub.Recv()
				if e.EventAppeared == nil {
					return
				}
				data := string(e.EventAppeared.Event.OriginalEvent().Data)
				var err error
				if data == "2" {
					err = sub.Nack("look into it", kurrentdb.NackActionPark, e.EventAppeared.Event)
				} else {
					err = sub.Ack(e.EventAppeared.Event)
				}
				all <- taken{i, data, err}
			}
		}()
	}
	var got []string
	by := map[int]bool{}
	for len(got) < 6 {
		select {
		case t := <-all:
			if t.err != nil {
				return t.err
			}
			got, by[t.by] = append(got, t.data), true
		case <-k.ctx.Done():
			return fmt.Errorf("only %v came", got)
		}
	}
	slices.Sort(got)
	if want := []string{"0", "1", "2", "3", "4", "5"}; !slices.Equal(got, want) || len(by) != 2 {
		return fmt.Errorf("worked on %v by %d consumers, want %v by 2", got, len(by), want)
	}
	for {
		info, err := k.GetPersistentSubscriptionInfo(k.ctx, stream, "workers", kurrentdb.GetPersistentSubscriptionOptions{})
		if err != nil {
			return fmt.Errorf("info: %w", err)
		}
		if info.Stats != nil && info.Stats.ParkedMessagesCount == 1 {
			return nil
		}
		time.Sleep(10 * time.Millisecond) // until the context ends
	}
}

// idles says nothing for a while over an open subscription, which must live.
func (k client) idles(pause time.Duration) error {
	sub, err := k.SubscribeToStream(k.ctx, stream, kurrentdb.SubscribeToStreamOptions{From: kurrentdb.Revision(5)})
	if err != nil {
		return err
	}
	defer func() { _ = sub.Close() }()
	time.Sleep(pause)
	if _, err := k.append(kurrentdb.Revision(5), event(6)); err != nil {
		return fmt.Errorf("append after %v: %w", pause, err)
	}
	for {
		switch e := sub.Recv(); {
		case e.EventAppeared != nil:
			if got := string(e.EventAppeared.OriginalEvent().Data); got != "6" {
				return fmt.Errorf("event %s after %v, want 6", got, pause)
			}
			return nil
		case e.SubscriptionDropped != nil:
			return fmt.Errorf("dropped after %v: %w", pause, e.SubscriptionDropped.Error)
		}
	}
}

func (k client) append(at kurrentdb.StreamState, events ...kurrentdb.EventData) (*kurrentdb.WriteResult, error) {
	return k.AppendToStream(k.ctx, stream, kurrentdb.AppendToStreamOptions{StreamState: at}, events...)
}

func (k client) appends() error {
	first := []kurrentdb.EventData{event(0), event(1)}
	a, err := k.append(kurrentdb.NoStream{}, first...)
	if err != nil {
		return fmt.Errorf("first append: %w", err)
	}
	again, err := k.append(kurrentdb.NoStream{}, first...)
	if err != nil || *again != *a {
		return fmt.Errorf("again: %+v, %w, first %+v", again, err, a)
	}
	var wrong *kurrentdb.Error
	if _, err = k.append(kurrentdb.Revision(0), event(9)); !errors.As(err, &wrong) || wrong.Code() != kurrentdb.ErrorCodeWrongExpectedVersion {
		return fmt.Errorf("wrong revision: %w", err)
	}
	for n, at := range []kurrentdb.StreamState{kurrentdb.Revision(1), kurrentdb.Any{}, kurrentdb.StreamExists{}} {
		if _, err = k.append(at, event(n+2)); err != nil {
			return fmt.Errorf("append %d: %w", n+2, err)
		}
	}
	return nil
}

func drain(s *kurrentdb.ReadStream, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer s.Close()
	text := ""
	for {
		e, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return text, nil
		}
		if err != nil {
			return text, err
		}
		text += string(e.OriginalEvent().Data)
	}
}

func (k client) reads() error {
	for _, r := range []struct {
		o    kurrentdb.ReadStreamOptions
		want string
	}{
		{kurrentdb.ReadStreamOptions{From: kurrentdb.Start{}}, "01234"},
		{kurrentdb.ReadStreamOptions{From: kurrentdb.Revision(3)}, "34"},
		{kurrentdb.ReadStreamOptions{Direction: kurrentdb.Backwards, From: kurrentdb.End{}}, "43210"},
	} {
		if got, err := drain(k.ReadStream(k.ctx, stream, r.o, 100)); err != nil || got != r.want {
			return fmt.Errorf("read %+v: %s, %w, want %s", r.o, got, err, r.want)
		}
	}
	got, err := drain(k.ReadAll(k.ctx, kurrentdb.ReadAllOptions{Direction: kurrentdb.Backwards, From: kurrentdb.End{}}, 3))
	if err != nil || got != "432" {
		return fmt.Errorf("read all: %s, %w", got, err)
	}
	return nil
}

// follows reads a filtered subscription over a restart of the server.
func (k client) follows() error {
	var at kurrentdb.AllPosition = kurrentdb.Start{}
	var seen []string
	if err := k.follow(&at, &seen, "4"); err != nil {
		return err
	}
	fmt.Println("RESTART")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	next := event(5)
	for tries := 0; ; tries++ {
		if _, err := k.append(kurrentdb.Revision(4), next); err == nil {
			break
		} else if tries > 50 {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err := k.follow(&at, &seen, "5"); err != nil {
		return err
	}
	if want := []string{"0", "1", "2", "3", "4", "5"}; !slices.Equal(seen, want) {
		return fmt.Errorf("seen %v, want %v", seen, want)
	}
	return nil
}

func (k client) follow(at *kurrentdb.AllPosition, seen *[]string, until string) error {
	sub, err := k.SubscribeToAll(k.ctx, kurrentdb.SubscribeToAllOptions{
		From: *at, Filter: &kurrentdb.SubscriptionFilter{Type: kurrentdb.StreamFilterType, Prefixes: []string{"order-"}},
	})
	if err != nil {
		return err
	}
	defer func() { _ = sub.Close() }()
	for caught := false; ; {
		e := sub.Recv()
		switch {
		case e.EventAppeared != nil:
			r := e.EventAppeared.OriginalEvent()
			*seen, *at = append(*seen, string(r.Data)), r.Position
		case e.CheckPointReached != nil:
			*at = *e.CheckPointReached
		case e.CaughtUp != nil:
			caught = true
		case e.SubscriptionDropped != nil:
			return e.SubscriptionDropped.Error
		default:
			return errors.New("a subscription event with nothing in it")
		}
		if n := len(*seen); n > 0 && (*seen)[n-1] == until && caught {
			return nil
		}
	}
}
