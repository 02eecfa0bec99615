package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/coder/websocket"

	"github.com/twinlog/twinlog/bench/mqttload"
	"github.com/twinlog/twinlog/bench/proc"
	"github.com/twinlog/twinlog/cmd/server"
)

// readers measures ingest without and with three readers that never read: a
// values subscription, an events subscription, and one over plain HTTP.
func readers(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "twinlog-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // temporary
	bin, err := build(ctx, dir)
	if err != nil {
		return err
	}
	if err := plant(ctx, dir+"/data", "idle", 4); err != nil {
		return err
	}
	mqtt, err := freePort()
	if err != nil {
		return err
	}
	http, err := freePort()
	if err != nil {
		return err
	}
	c, err := start(ctx, mqtt, bin, "serve", "--data", dir+"/data", "--mqtt", mqtt, "--http", http)
	if err != nil {
		return err
	}
	defer c.stop()
	load, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() {
		_, err := mqttload.Load{Addr: mqtt, Clients: 4, InFlight: 1024, Samples: samplesPerMessage, Name: "idle"}.Run(load)
		done <- err
	}()
	a := api{http}
	phase := func(length time.Duration) (rate float64, anon int64, err error) {
		before, err := a.metrics(ctx)
		if err != nil {
			return 0, 0, err
		}
		began := time.Now()
		time.Sleep(length)
		after, err := a.metrics(ctx)
		if err != nil {
			return 0, 0, err
		}
		rate = (after[metricRecorded] - before[metricRecorded]) / time.Since(began).Seconds()
		anon, err = proc.RssAnon(c.pid())
		return rate, anon, err
	}
	if _, _, err := phase(20 * time.Second); err != nil { // memory settles
		return err
	}
	alone, small, err := phase(30 * time.Second)
	if err != nil {
		return err
	}
	for _, open := range []func(context.Context, string) error{idleValues, idleEvents, idleHTTP} {
		if err := open(ctx, http); err != nil {
			return err
		}
	}
	with, large, err := phase(60 * time.Second)
	if err != nil {
		return err
	}
	again, _, err := phase(30 * time.Second)
	if err != nil {
		return err
	}
	m, err := a.metrics(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%.0f msg/s alone, %.0f with three readers that never read, %.0f afterwards: %.3f x; RssAnon %+.0f MB; %.0f closed as slow\n",
		alone, with, again, with/((alone+again)/2), float64(large-small)/1e6, m[metricSlow])
	stop()
	return <-done
}

// plant makes a data directory whose tags show the load's signals.
func plant(ctx context.Context, data, prefix string, n int) error {
	log, err := server.OpenLog(ctx, data, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // appends were durable before they returned
	return structure(ctx, log, time.Now().Add(-time.Hour).UTC(), prefix, n)
}

func idleValues(ctx context.Context, addr string) error {
	return idleSocket(ctx, addr, `subscription { values(filter: {}, delivery: EVERY, maxRate: "PT0S") { kind position changes { tag path value status sourceTime } } }`)
}

func idleEvents(ctx context.Context, addr string) error {
	return idleSocket(ctx, addr, `subscription { events(filter: {telemetry: true}) { kind position events { id type data } } }`)
}

// idleSocket subscribes over graphql-transport-ws and never reads again.
func idleSocket(ctx context.Context, addr, query string) error {
	conn, _, err := websocket.Dial(ctx, "ws://"+addr+"/graphql", &websocket.DialOptions{Subprotocols: []string{"graphql-transport-ws"}}) //nolint:bodyclose // it is the connection
	if err != nil {
		return err
	}
	for _, m := range []any{
		map[string]any{"type": "connection_init"},
		map[string]any{"id": "1", "type": "subscribe", "payload": map[string]any{"query": query}},
	} {
		b, err := json.Marshal(m)
		if err != nil {
			return err
		}
		if err := conn.Write(ctx, websocket.MessageText, b); err != nil {
			return err
		}
		if m.(map[string]any)["type"] == "connection_init" { //nolint:forcetypeassert // made above
			if _, _, err := conn.Read(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// idleHTTP asks for a stream of server-sent events and never reads it.
func idleHTTP(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	body := `{"query":"subscription { events(filter: {telemetry: true}) { kind position events { id type data } } }"}`
	_, err = fmt.Fprintf(conn, "POST /graphql HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", addr, len(body), body)
	return err
}
