package server

import (
	"context"
	"fmt"
	"strings"

	"github.com/twinlog/twinlog/adapters/broker"
	"github.com/twinlog/twinlog/adapters/uplink/mqttlink"
)

// external reports whether an MQTT setting names somebody else's broker.
func external(mqtt string) bool { return strings.Contains(mqtt, "://") }

// everything is what is taken from an external broker: all topics of the tree
// (enterprise/site/area/line/type/device/…) that say what a device measured or
// whether it is there.
var everything = []string{"+/+/+/+/+/+/telemetry", "+/+/+/+/+/+/telemetry/#", "+/+/+/+/+/+/status"}

// openMQTT opens the way in: the embedded broker, or a subscription to an external
// one.
func (s *Server) openMQTT(ctx context.Context) (err error) {
	if !external(s.config.MQTT) {
		s.broker, err = broker.Listen(ctx, broker.Config{Addr: s.config.MQTT, Handler: broker.Into(s.ingester), Log: s.config.Logger})
		if err != nil {
			return fmt.Errorf("mqtt: %w (another address: --mqtt ADDR)", err)
		}
		return nil
	}
	s.subscriber, err = mqttlink.NewSubscriber(mqttlink.SubscriberConfig{
		Endpoint: mqttlink.Endpoint{URL: s.config.MQTT, ClientID: "twinlog-" + s.log.Origin()},
		Filters:  everything, Submit: s.ingester.Submit, Log: s.config.Logger,
	})
	if err != nil {
		return fmt.Errorf("mqtt: %w", err)
	}
	return nil
}

// brokerLease is what the server holds that listens to an external broker: the
// others stand by. It does so under one client id, so that the broker keeps for
// the next what the last did not acknowledge.
const brokerLease = "mqtt"

// take takes messages until ctx ends.
func (s *Server) take(ctx context.Context) error {
	if s.broker != nil {
		return s.broker.Run(ctx)
	}
	return s.alone(ctx, brokerLease, s.subscriber.Run)
}
