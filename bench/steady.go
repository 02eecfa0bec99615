package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/twinlog/twinlog/bench/mqttload"
	"github.com/twinlog/twinlog/bench/proc"
)

// steady runs the whole server for a minute at full speed, with projections,
// history and one subscriber, and says whether it keeps up and stays small.
func steady(ctx context.Context, bin, dir string) error {
	mqtt, err := freePort()
	if err != nil {
		return err
	}
	http, err := freePort()
	if err != nil {
		return err
	}
	c, err := start(ctx, mqtt, bin, "serve", "--data", dir, "--mqtt", mqtt, "--http", http)
	if err != nil {
		return err
	}
	defer c.stop()
	ctx, cancel := context.WithTimeout(ctx, 62*time.Second)
	defer cancel()
	a := api{http}
	var frames atomic.Int64
	go subscribe(ctx, http, &frames)
	done := make(chan error, 1)
	go func() {
		_, err := mqttload.Load{Addr: mqtt, Clients: 4, InFlight: 1024, Samples: samplesPerMessage, Name: "steady"}.Run(ctx)
		done <- err
	}()
	var at20, at60 int64
	var worst, before float64
	for second := range 60 {
		select {
		case <-time.After(time.Second):
		case err := <-done:
			return err
		}
		m, err := a.metrics(ctx)
		if err != nil {
			return err
		}
		if rate := m[metricRecorded] - before; second > 2 && rate > 0 {
			worst = max(worst, m[metricLag]/rate)
		}
		before = m[metricRecorded]
		switch second {
		case 19:
			at20, err = proc.RssAnon(c.pid())
		case 59:
			at60, err = proc.RssAnon(c.pid())
		}
		if err != nil {
			return err
		}
	}
	fmt.Printf("60 s with projections, history and one subscriber: %.0f msg/s, worst lag %.2f s, %d frames, RssAnon %0.f MB at 20 s, %.0f MB at 60 s (%.2f x)\n",
		before/60, worst, frames.Load(), float64(at20)/1e6, float64(at60)/1e6, float64(at60)/float64(at20))
	cancel()
	return <-done
}

// subscribe reads events over graphql-transport-ws until ctx ends.
func subscribe(ctx context.Context, addr string, frames *atomic.Int64) {
	conn, _, err := websocket.Dial(ctx, "ws://"+addr+"/graphql", &websocket.DialOptions{Subprotocols: []string{"graphql-transport-ws"}})
	if err != nil {
		return
	}
	defer conn.CloseNow() //nolint:errcheck // the run is over
	conn.SetReadLimit(1 << 26)
	send := func(v any) {
		if b, err := json.Marshal(v); err == nil {
			_ = conn.Write(ctx, websocket.MessageText, b)
		}
	}
	send(map[string]any{"type": "connection_init"})
	send(map[string]any{"id": "1", "type": "subscribe", "payload": map[string]any{
		"query": `subscription { events(filter: {telemetry: true}) { kind position } }`,
	}})
	for {
		if _, _, err := conn.Read(ctx); err != nil {
			return
		}
		frames.Add(1)
	}
}

func mosquittoPath() (string, error) {
	if p, err := exec.LookPath("mosquitto"); err == nil {
		return p, nil
	}
	return exec.LookPath("/usr/sbin/mosquitto")
}
