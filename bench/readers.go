package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	phase := func(length time.Duration) (rate, anon float64, err error) {
		before, err := a.metrics(ctx)
		if err != nil {
			return 0, 0, err
		}
		began := time.Now()
		var sizes []float64
		for time.Since(began) < length {
			time.Sleep(time.Second)
			now, err := proc.RssAnon(c.pid())
			if err != nil {
				return 0, 0, err
			}
			sizes = append(sizes, float64(now))
		}
		after, err := a.metrics(ctx)
		if err != nil {
			return 0, 0, err
		}
		return (after[metricRecorded] - before[metricRecorded]) / time.Since(began).Seconds(), median(sizes), nil
	}
	if _, _, err := phase(20 * time.Second); err != nil { // memory settles
		return err
	}
	alone, small, err := phase(30 * time.Second)
	if err != nil {
		return err
	}
	values, err := everyValue(ctx, a, "idle")
	if err != nil {
		return err
	}
	for _, open := range []func() (io.Closer, error){
		func() (io.Closer, error) { return idleSocket(ctx, http, values) },
		func() (io.Closer, error) { return idleSocket(ctx, http, everyEvent) },
		func() (io.Closer, error) { return idleHTTP(ctx, http) },
	} {
		conn, err := open()
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // held open until the end: the collector would close it
	}
	with, large, err := phase(60 * time.Second)
	if err != nil {
		return err
	}
	again, after, err := phase(30 * time.Second)
	if err != nil {
		return err
	}
	m, err := a.metrics(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%.0f msg/s alone, %.0f with three readers that never read, %.0f afterwards: %.3f x; RssAnon %.0f, %.0f and %.0f MB (medians): %+.0f MB; %.0f of 3 closed as slow\n",
		alone, with, again, with/((alone+again)/2), small/1e6, large/1e6, after/1e6, (large-(small+after)/2)/1e6, m[metricSlow])
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

// everyValue asks for all that is below the asset at the top.
func everyValue(ctx context.Context, a api, top string) (string, error) {
	data, _, err := a.ask(ctx, `query($path: String) { plant { asset(path: $path) { id } } }`, map[string]any{"path": top})
	if err != nil {
		return "", err
	}
	var got struct {
		Plant struct{ Asset struct{ ID string } }
	}
	if err := json.Unmarshal(data, &got); err != nil {
		return "", err
	}
	return fmt.Sprintf(`subscription { values(filter: {under: %q}, delivery: EVERY, maxRate: "PT0S") { kind position changes { tag path value status sourceTime } } }`, got.Plant.Asset.ID), nil
}

const everyEvent = `subscription { events(filter: {telemetry: true}) { kind position events { id type data } } }`

// idleSocket subscribes over graphql-transport-ws, reads the first answer, and
// never reads again.
func idleSocket(ctx context.Context, addr, query string) (io.Closer, error) {
	conn, _, err := websocket.Dial(ctx, "ws://"+addr+"/graphql", &websocket.DialOptions{Subprotocols: []string{"graphql-transport-ws"}}) //nolint:bodyclose // it is the connection
	if err != nil {
		return nil, err
	}
	for _, m := range []any{
		map[string]any{"type": "connection_init"},
		map[string]any{"id": "1", "type": "subscribe", "payload": map[string]any{"query": query}},
	} {
		b, err := json.Marshal(m)
		if err != nil {
			return nil, err
		}
		if err := conn.Write(ctx, websocket.MessageText, b); err != nil {
			return nil, err
		}
		if m.(map[string]any)["type"] == "connection_init" { //nolint:forcetypeassert // made above
			if _, _, err := conn.Read(ctx); err != nil {
				return nil, err
			}
		}
	}
	conn.SetReadLimit(64 << 20)
	if _, b, err := conn.Read(ctx); err != nil || !bytes.Contains(b[:min(len(b), 100)], []byte(`"next"`)) {
		return nil, fmt.Errorf("subscribe: %.200s: %w", b, errors.Join(err, errRefused))
	}
	return closer{conn}, nil
}

var errRefused = errors.New("expected a frame")

// closer hangs up without a closing handshake, which would wait for a reader.
type closer struct{ *websocket.Conn }

func (c closer) Close() error { return c.CloseNow() }

// idleHTTP asks for a stream of server-sent events and never reads it.
func idleHTTP(ctx context.Context, addr string) (io.Closer, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	body := fmt.Sprintf(`{"query":%q}`, everyEvent)
	_, err = fmt.Fprintf(conn, "POST /graphql HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", addr, len(body), body)
	return conn, err
}
