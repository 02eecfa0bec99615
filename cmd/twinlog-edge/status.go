package main

import (
	"context"
	"encoding/json"
	"errors"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/twinlog/twinlog/cmd/gateway"
)

// memoryLimit is what the garbage collector holds the process to, unless
// GOMEMLIMIT says otherwise.
const memoryLimit = 44 << 20

func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}

var page = template.Must(template.New("status").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="5"><title>{{.ID}}</title>
<style>body{font:15px sans-serif;margin:2em}td,th{padding:.3em .8em;text-align:left;border-bottom:1px solid #ccc}.waiting,.degraded,.stopped{background:#fdd}</style>
<h1>Gateway {{.ID}}</h1>
<p>{{if .Status.Outbox.Linked}}Linked to the server.{{else}}<span class="waiting">Not linked to the server. {{.Status.Outbox.LastError}}</span>{{end}}
Outbox: {{.Status.Outbox.Depth}} messages, {{.Status.Outbox.Bytes}} bytes, the oldest of {{.Status.Outbox.Age}} ago; {{.Status.Outbox.Lost}} lost, {{.Status.Outbox.Refused}} refused.</p>
<table><tr><th>source<th>state<th>since<th>reason<th>readings<th>bad<th>samples<th>restarts
{{range .Status.Sources}}<tr><td>{{.Source}}<td class="{{.Health.State}}">{{.Health.State}}<td>{{.Health.Since.Format "2006-01-02 15:04:05"}}<td>{{.Health.Reason}}<td>{{.Readings}}<td>{{.Bad}}<td>{{.Samples}}<td>{{.Restarts}}
{{end}}</table></html>
`))

// serveStatus shows the gateway's state on an address of this machine, as a page
// and at /status.json, until ctx ends. Nothing can be changed there.
func serveStatus(ctx context.Context, address string, id string, g *gateway.Gateway, log *slog.Logger) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = page.Execute(w, struct {
			ID     string
			Status gateway.Status
		}{id, g.Status()})
	})
	mux.HandleFunc("GET /status.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(g.Status())
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	log.LogAttrs(ctx, slog.LevelInfo, "status page", slog.String("address", listener.Addr().String()))
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.LogAttrs(ctx, slog.LevelError, "status page", slog.Any("error", err))
		}
	}()
	return nil
}
