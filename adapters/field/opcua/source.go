package opcua

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gopcua/opcua"
	"github.com/gopcua/opcua/ua"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/edge/acquire"
	"github.com/twinlog/twinlog/edge/protocol"
)

var _ acquire.Reporting = (*Source)(nil)

// A Source is one server with the items that a gateway wants of it.
type Source struct {
	name     string
	settings protocol.Settings
	items    []item
	log      *slog.Logger

	mu     sync.Mutex    // guards client
	client *opcua.Client // nil while there is no session

	// What follows is the goroutine's that reports. It outlives sessions.
	subscription uint32          // the last one made; 0 for none
	monitored    []ua.StatusCode // by item: what the server made of it
	last         []time.Time     // by item: the source time of the last value heard
	fresh        []bool          // by item: its next value is a snapshot
	missed       []bool          // by item: its history since last is to be read
	acks         []uint32        // notifications that have been kept and not acknowledged
	sequence     uint32          // of the last notification that was kept
	historyless  map[int]bool    // items whose history the server refused
	seen         map[string]bool // events by id, so that a refresh does not repeat them
	seenOrder    []string
}

// forget is how a source begins.
func (s *Source) forget() {
	n := len(s.items)
	s.monitored, s.last, s.fresh, s.missed = make([]ua.StatusCode, n), make([]time.Time, n), make([]bool, n), make([]bool, n)
	s.historyless, s.seen = map[int]bool{}, map[string]bool{}
}

// Report keeps one session. See acquire.Reporting.
func (s *Source) Report(ctx context.Context, hear func([]acquire.Reading)) error {
	c, err := s.connect(ctx)
	if err != nil {
		return err
	}
	s.use(c)
	defer func() {
		s.use(nil)
		hangUp(c, ctx.Err() == nil)
	}()
	if err := s.resume(ctx, c, hear); err != nil {
		return fmt.Errorf("opcua %s: %w", s.settings.Text("url"), err)
	}
	for ctx.Err() == nil {
		if err := s.publish(ctx, c, hear); err != nil {
			return fmt.Errorf("opcua %s: %w", s.settings.Text("url"), err)
		}
	}
	return ctx.Err()
}

func (s *Source) use(c *opcua.Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client = c
}

// session returns the client for those who write.
func (s *Source) session() (*opcua.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		return nil, ua.StatusBadNotConnected
	}
	return s.client, nil
}

// resume takes over the subscription of the session before, or makes a new one
// and closes the gap from history.
func (s *Source) resume(ctx context.Context, c *opcua.Client, hear func([]acquire.Reading)) error {
	if s.subscription != 0 {
		available, err := s.transfer(ctx, c)
		if err == nil {
			s.log.LogAttrs(ctx, slog.LevelInfo, "subscription transferred", slog.Int("kept", len(available)))
			for i := range s.fresh {
				s.fresh[i] = true
			}
			hear(s.refused())
			return s.republish(ctx, c, available, hear)
		}
		s.log.LogAttrs(ctx, slog.LevelInfo, "subscription not transferred, a new one is made", slog.Any("error", err))
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if err := s.subscribe(ctx, c); err != nil {
		return err
	}
	hear(s.refused())
	return s.refresh(ctx, c)
}

// refused returns a reading of each item that the server does not monitor, and
// of each event item that nothing has happened yet.
func (s *Source) refused() []acquire.Reading {
	out := []acquire.Reading{}
	for i, status := range s.monitored {
		switch {
		case s.items[i].method != nil, status == ua.StatusOK && s.items[i].events:
			out = append(out, acquire.Reading{Item: i, Quality: quality.Of(quality.GoodNoData), Cause: acquire.Snapshot})
		case status != ua.StatusOK:
			out = append(out, acquire.Reading{Item: i, Quality: quality.FromRaw(quality.OPCUA, uint32(status)), Cause: acquire.Snapshot})
		}
	}
	return out
}

// publish asks for one notification, which takes up to a keep-alive to come,
// and hands it on. What is acknowledged with the request has been kept.
func (s *Source) publish(ctx context.Context, c *opcua.Client, hear func([]acquire.Reading)) error {
	request := &ua.PublishRequest{}
	for _, n := range s.acks {
		request.SubscriptionAcknowledgements = append(request.SubscriptionAcknowledgements, &ua.SubscriptionAcknowledgement{SubscriptionID: s.subscription, SequenceNumber: n})
	}
	answer, err := send[*ua.PublishResponse](ctx, c, request)
	if err != nil {
		return err
	}
	s.acks = s.acks[:0]
	if answer.SubscriptionID != s.subscription {
		return nil // of one that was given up
	}
	if answer.NotificationMessage == nil {
		return ua.StatusBadUnknownResponse
	}
	return s.notify(ctx, c, answer.NotificationMessage, hear)
}

// notify hands on what one notification says. A keep-alive says nothing.
func (s *Source) notify(ctx context.Context, c *opcua.Client, m *ua.NotificationMessage, hear func([]acquire.Reading)) error {
	readings := []acquire.Reading{}
	for _, data := range m.NotificationData {
		if data == nil {
			continue
		}
		switch n := data.Value.(type) {
		case *ua.DataChangeNotification:
			readings = append(readings, s.changes(n)...)
		case *ua.EventNotificationList:
			readings = append(readings, s.eventsOf(n)...)
		case *ua.StatusChangeNotification:
			s.subscription = 0
			return fmt.Errorf("the server has ended the subscription: %w", n.Status)
		}
	}
	if err := s.backfill(ctx, c, readings, hear); err != nil {
		return err
	}
	hear(readings)
	if ctx.Err() != nil {
		return ctx.Err() // not kept, so not acknowledged
	}
	if len(m.NotificationData) > 0 {
		s.acks, s.sequence = append(s.acks, m.SequenceNumber), m.SequenceNumber
	}
	return nil
}

func (s *Source) changes(n *ua.DataChangeNotification) []acquire.Reading {
	var out []acquire.Reading
	for _, m := range n.MonitoredItems {
		if m == nil || m.Value == nil || int(m.ClientHandle) >= len(s.items) || s.items[m.ClientHandle].events {
			continue
		}
		i := int(m.ClientHandle)
		r := s.reading(i, m.Value)
		if s.fresh[i] {
			r.Cause, s.fresh[i] = acquire.Snapshot, false
		}
		if !s.missed[i] && r.SourceTime.After(s.last[i]) {
			s.last[i] = r.SourceTime
		}
		out = append(out, r)
	}
	return out
}

// send makes a request and returns its response, or the error that the service
// as a whole has returned.
func send[T ua.Response](ctx context.Context, c *opcua.Client, request ua.Request) (T, error) {
	var answer T
	var none T
	err := c.Send(ctx, request, func(r ua.Response) error {
		a, ok := r.(T)
		if !ok {
			return fmt.Errorf("a %T, expected %T: %w", r, none, ua.StatusBadUnknownResponse)
		}
		answer = a
		return nil
	})
	if err != nil {
		return none, err
	}
	if any(answer) == any(none) {
		return none, ua.StatusBadUnknownResponse
	}
	if h := answer.Header(); h != nil && h.ServiceResult != ua.StatusOK {
		return none, h.ServiceResult
	}
	return answer, nil
}

// isOneOf reports whether err is one of the codes.
func isOneOf(err error, codes ...ua.StatusCode) bool {
	for _, code := range codes {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// bad reports whether a status is of the severity Bad.
func bad(s ua.StatusCode) bool { return s>>30 == 2 }
