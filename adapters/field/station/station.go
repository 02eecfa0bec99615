// Package station is a small pumping station that is not there: machines with
// enough physics to look alive, reached over real sockets only. A controller
// answers Modbus TCP for four pumps, two tanks and a valve; two pumps publish
// by themselves over MQTT.
//
// It promises that the same seed gives the same plant: time is an argument of
// the physics, and what a sensor shows at an instant depends on the seed and
// that instant alone. One sensor fails on schedule (first frozen, then with a
// broken wire), and the network fails once. It is a simulator for trials and
// demonstrations, not a model to decide anything by.
package station

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Config says what a station does. The zero value is one with no failures and
// without MQTT, on a free port.
type Config struct {
	Seed   uint64
	Modbus string // address to listen on; "" means 127.0.0.1:0
	// MQTT is the broker of the pumps that publish by themselves,
	// mqtt://host:port; "" means that they are silent.
	MQTT    string
	Failure Failure
	Outage  Outage
	// Uplinks are cut for as long as the outage's Uplink: the links between
	// gateways and the server, if the caller has led them through a Link.
	Uplinks []*Link
	Log     *slog.Logger // nil means none
}

// Failure is the life of one bad sensor, the motor temperature of pump P-102,
// counted from the start. Every repeats it; zero times do not happen.
type Failure struct {
	Frozen   time.Duration // from here on it shows the same current
	Broken   time.Duration // the wire breaks: 0 mA
	Repaired time.Duration
	Every    time.Duration
}

// Outage is a failure of the network, counted from the start.
type Outage struct {
	After    time.Duration // zero means never
	Machines time.Duration // for so long the machines are cut off from everybody
	Uplink   time.Duration // for so long the uplinks are cut
}

// Standard is the failure that a demonstration shows within its first two
// minutes, and again every ten.
func (Failure) Standard() Failure {
	return Failure{Frozen: 20 * time.Second, Broken: 40 * time.Second, Repaired: 100 * time.Second, Every: 10 * time.Minute}
}

// Standard is an outage a minute in: machines come back first, so that the
// gateway has something to keep while the server is away.
func (Outage) Standard() Outage {
	return Outage{After: 60 * time.Second, Machines: 10 * time.Second, Uplink: 30 * time.Second}
}

// A Station is a plant at work.
type Station struct {
	config Config
	server *server
	broker *Link // between the pumps that publish and the broker; nil without MQTT

	// mu guards plant: the server's connections and the publishing pumps read
	// it at their own times.
	mu    sync.Mutex
	plant *plant
	start time.Time
}

// New returns a station that listens already, so that its address is known.
func New(config Config) (*Station, error) {
	if config.Modbus == "" {
		config.Modbus = "127.0.0.1:0"
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	s := &Station{config: config, plant: newPlant(config.Seed, config.Failure), start: time.Now()}
	listener, err := net.Listen("tcp", config.Modbus) //nolint:noctx // listening waits for nothing
	if err != nil {
		return nil, fmt.Errorf("station: %w", err)
	}
	s.server = &server{listener: listener, bank: s}
	if config.MQTT != "" {
		if s.broker, err = newBrokerLink(config.MQTT); err != nil {
			_ = listener.Close() // nobody has connected
			return nil, err
		}
	}
	return s, nil
}

// ModbusAddr is where the controller answers, host:port.
func (s *Station) ModbusAddr() string { return s.server.listener.Addr().String() }

// Run runs the station until ctx ends, and returns ctx's error or the first of
// its own.
func (s *Station) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	s.start = time.Now()
	s.mu.Unlock()

	// The link to the broker goes down last: the pumps say farewell over it.
	later, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	link := make(chan error, 1)
	parts := []func(context.Context) error{s.server.run, s.outage}
	if s.broker != nil {
		go func() { link <- s.broker.Run(later) }()
		for i := range published {
			parts = append(parts, s.publisher(i).run)
		}
	} else {
		link <- nil
	}
	done := make(chan error, len(parts))
	for _, part := range parts {
		go func() { done <- part(ctx) }()
	}
	var failed error
	for range parts {
		if err := <-done; err != nil && failed == nil {
			failed = err
			cancel()
		}
	}
	hangUp()
	return errors.Join(failed, <-link, ctx.Err())
}

// now calls look with the plant as it is now.
func (s *Station) now(look func(*plant)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plant.advance(time.Since(s.start))
	look(s.plant)
}

// outage plays the network's part.
func (s *Station) outage(ctx context.Context) error {
	o := s.config.Outage
	if o.After <= 0 {
		<-ctx.Done()
		return nil
	}
	links := s.config.Uplinks
	var machines []*Link
	if s.broker != nil {
		machines = append(machines, s.broker)
	}
	cut := func(down bool, server bool, links []*Link) {
		for _, l := range links {
			l.Cut(down)
		}
		if server {
			s.server.cut(down)
		}
	}
	steps := []struct {
		at   time.Duration
		what string
		do   func()
	}{
		{o.After, "network lost", func() {
			cut(true, false, links)
			if o.Machines > 0 {
				cut(true, true, machines)
			}
		}},
		{o.After + o.Machines, "machines back", func() { cut(false, true, machines) }},
		{o.After + max(o.Uplink, o.Machines), "uplink back", func() { cut(false, false, links) }},
	}
	defer cut(false, true, append(machines, links...))
	for _, step := range steps {
		if err := sleepUntil(ctx, s.start.Add(step.at)); err != nil {
			return nil //nolint:nilerr // the end of ctx is the end of the outage
		}
		s.config.Log.LogAttrs(ctx, slog.LevelInfo, "station outage", slog.String("what", step.what))
		step.do()
	}
	<-ctx.Done()
	return nil
}

func sleepUntil(ctx context.Context, at time.Time) error {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
