package main

import (
	"context"
	"log/slog"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// bareRole makes this program the limit that ingest is measured against: the
// embedded broker's library with a publish hook that stores nothing.
const bareRole = "bare-broker"

// nothing lets everybody in and keeps no message.
type nothing struct{ mqtt.HookBase }

func (nothing) ID() string { return "nothing" }
func (nothing) Provides(b byte) bool {
	return b == mqtt.OnPublish || b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck
}
func (nothing) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }
func (nothing) OnACLCheck(*mqtt.Client, string, bool) bool              { return true }
func (nothing) OnPublish(_ *mqtt.Client, p packets.Packet) (packets.Packet, error) {
	return p, nil
}

func serveBare(ctx context.Context, addr string) error {
	s := mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(new(nothing), nil); err != nil {
		return err
	}
	if err := s.AddListener(listeners.NewTCP(listeners.Config{ID: "tcp", Address: addr})); err != nil {
		return err
	}
	if err := s.Serve(); err != nil {
		return err
	}
	<-ctx.Done()
	return s.Close()
}
