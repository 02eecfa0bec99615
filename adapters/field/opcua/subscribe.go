package opcua

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/gopcua/opcua"
	"github.com/gopcua/opcua/ua"

	"github.com/twinlog/twinlog/edge/acquire"
)

// atOnce is how many items one request names; servers have limits of their own,
// of which 1,000 is the smallest that is common.
const atOnce = 1000

// subscribe makes a subscription with all items. An item that the server does
// not take is Bad with the server's reason, and costs no other one.
func (s *Source) subscribe(ctx context.Context, c *opcua.Client) error {
	s.subscription, s.acks, s.sequence = 0, nil, 0
	created, err := send[*ua.CreateSubscriptionResponse](ctx, c, &ua.CreateSubscriptionRequest{
		RequestedPublishingInterval: milliseconds(s.settings.Duration("publishing")),
		RequestedMaxKeepAliveCount:  s.keepAliveCount(),
		// What the server keeps for a client that is away, as long as it will.
		RequestedLifetimeCount: uint32(max(sessionTimeout/s.settings.Duration("publishing"), 3*time.Duration(s.keepAliveCount()))), //nolint:gosec // at most 360,000
		PublishingEnabled:      true,
	})
	if err != nil {
		return err
	}
	s.subscription = created.SubscriptionID
	for from := 0; from < len(s.items); from += atOnce {
		if err := s.monitor(ctx, c, from, min(from+atOnce, len(s.items))); err != nil {
			return err
		}
	}
	return nil
}

// monitor asks for items from (inclusive) to to (exclusive).
func (s *Source) monitor(ctx context.Context, c *opcua.Client, from, to int) error {
	var asked []int
	request := &ua.CreateMonitoredItemsRequest{SubscriptionID: s.subscription, TimestampsToReturn: ua.TimestampsToReturnBoth}
	for i := from; i < to; i++ {
		s.monitored[i], s.fresh[i], s.missed[i] = ua.StatusOK, true, !s.last[i].IsZero()
		if s.items[i].method != nil {
			continue
		}
		node, err := s.items[i].node.resolve(c.Namespaces())
		if err != nil {
			s.monitored[i] = ua.StatusBadNodeIDUnknown
			s.log.LogAttrs(ctx, slog.LevelWarn, "item", slog.Int("item", i), slog.Any("error", err))
			continue
		}
		asked = append(asked, i)
		request.ItemsToCreate = append(request.ItemsToCreate, s.items[i].request(node, uint32(i))) //nolint:gosec // an index
	}
	if len(asked) == 0 {
		return nil
	}
	answer, err := send[*ua.CreateMonitoredItemsResponse](ctx, c, request)
	if err != nil {
		return err
	}
	if len(answer.Results) != len(asked) {
		return fmt.Errorf("%d results for %d items: %w", len(answer.Results), len(asked), ua.StatusBadUnknownResponse)
	}
	for n, i := range asked {
		s.monitored[i] = answer.Results[n].StatusCode
	}
	return nil
}

func (it item) request(node *ua.NodeID, handle uint32) *ua.MonitoredItemCreateRequest {
	sampling := -1.0 // the publishing interval (OPC 10000-4 §7.21)
	if it.sampling >= 0 {
		sampling = milliseconds(it.sampling)
	}
	r := &ua.MonitoredItemCreateRequest{
		ItemToMonitor:  &ua.ReadValueID{NodeID: node, AttributeID: ua.AttributeIDValue, DataEncoding: &ua.QualifiedName{}},
		MonitoringMode: ua.MonitoringModeReporting,
		RequestedParameters: &ua.MonitoringParameters{
			ClientHandle: handle, SamplingInterval: sampling, QueueSize: it.queue, DiscardOldest: true,
		},
	}
	switch {
	case it.events:
		r.ItemToMonitor.AttributeID = ua.AttributeIDEventNotifier
		r.RequestedParameters.SamplingInterval = 0
		r.RequestedParameters.Filter = ua.NewExtensionObject(eventFilter())
	case it.filter != nil:
		r.RequestedParameters.Filter = ua.NewExtensionObject(it.filter)
	}
	return r
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// transfer moves the subscription of the session before into this one, and
// returns the numbers of the notifications that the server has kept.
func (s *Source) transfer(ctx context.Context, c *opcua.Client) ([]uint32, error) {
	answer, err := send[*ua.TransferSubscriptionsResponse](ctx, c, &ua.TransferSubscriptionsRequest{
		SubscriptionIDs: []uint32{s.subscription}, SendInitialValues: true,
	})
	if err != nil {
		return nil, err
	}
	if len(answer.Results) != 1 {
		return nil, ua.StatusBadUnknownResponse
	}
	if status := answer.Results[0].StatusCode; status != ua.StatusOK {
		return nil, status
	}
	return answer.Results[0].AvailableSequenceNumbers, nil
}

// republish hands on the notifications that were sent and never kept.
func (s *Source) republish(ctx context.Context, c *opcua.Client, available []uint32, hear func([]acquire.Reading)) error {
	for _, n := range available {
		if n <= s.sequence {
			s.acks = append(s.acks, n) // kept, and only the acknowledgement was lost
			continue
		}
		answer, err := send[*ua.RepublishResponse](ctx, c, &ua.RepublishRequest{SubscriptionID: s.subscription, RetransmitSequenceNumber: n})
		if isOneOf(err, ua.StatusBadMessageNotAvailable) {
			continue
		}
		if err != nil {
			return err
		}
		if answer.NotificationMessage == nil {
			return ua.StatusBadUnknownResponse
		}
		if err := s.notify(ctx, c, answer.NotificationMessage, hear); err != nil {
			return err
		}
	}
	return s.refresh(ctx, c)
}
