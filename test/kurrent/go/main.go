// Command go drives KurrentDB-Client-Go against a served log, in a module and a
// process of its own: that client and the one of the product cannot share one.
// It prints RESTART where it wants the server stopped and started, and waits
// for a line.
package main

import (
	"bufio"
	"context"
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
	if err := run(os.Args[1]); err != nil {
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

func run(address string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cfg, err := kurrentdb.ParseConnectionString("kurrentdb://" + address + "?tls=false")
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
	if err := k.appends(); err != nil {
		return err
	}
	fmt.Println("appended")
	if err := k.reads(); err != nil {
		return err
	}
	fmt.Println("read")
	return k.follows()
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
