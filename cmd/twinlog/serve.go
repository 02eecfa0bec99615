package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/twinlog/twinlog/cmd/server"
)

// listenFlags are what serve and demo have in common. An empty flag leaves the
// file's value, or the default, as it is.
type listenFlags struct {
	HTTP      string `name:"http" placeholder:"ADDR" help:"Address of GraphQL, the console and metrics (127.0.0.1:8080)."`
	MQTT      string `name:"mqtt" placeholder:"ADDR" help:"Address of the embedded MQTT broker (127.0.0.1:1883), or mqtt://HOST:PORT of an external one."`
	Data      string `name:"data" placeholder:"DIR" help:"Data directory (a folder under the user's data home). Back up its log/ and keys/; views/ can be deleted."`
	Operator  string `name:"operator" placeholder:"NAME" help:"Who acts where a request has no X-Twinlog-Operator header. The name is stored encrypted."`
	Log       string `name:"log" placeholder:"URL" help:"The log: badger, in the data directory, or a server's, esdb://HOST:PORT, which several servers may share (badger)."`
	LogListen string `name:"log-listen" placeholder:"ADDR" help:"Serve the log to EventStoreDB and KurrentDB clients at ADDR (nowhere)."`
	Regulated bool   `name:"regulated" help:"Do not start on a log whose server forgets events ($maxAge, $maxCount, $tb, scavenges)."`
	Insecure  bool   `name:"insecure" help:"Listen beyond this machine although requests are not authenticated yet."`
	LogLevel  string `name:"log-level" enum:"debug,info,warn,error" default:"warn" help:"How much to log to standard error: debug, info, warn, error."`
}

// over puts the flags that were given over a configuration.
func (f listenFlags) over(c server.Config, std streams) (server.Config, error) {
	for _, o := range []struct{ flag, field *string }{
		{&f.HTTP, &c.HTTP}, {&f.MQTT, &c.MQTT}, {&f.Data, &c.Data}, {&f.Operator, &c.Operator}, {&f.Log, &c.Log}, {&f.LogListen, &c.LogListen},
	} {
		if *o.flag != "" {
			*o.field = *o.flag
		}
	}
	c.Insecure, c.Regulated = c.Insecure || f.Insecure, c.Regulated || f.Regulated
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.LogLevel)); err != nil {
		return c, err
	}
	c.Logger = slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: level}))
	return c, nil
}

type serveCommand struct {
	Config string `name:"config" type:"existingfile" placeholder:"FILE" help:"YAML file of settings: http, mqtt, data, log, log_listen, operator, insecure, regulated. Flags override it."`
	listenFlags
}

// Help is shown by twinlog serve --help.
func (serveCommand) Help() string {
	return `Devices and gateways publish to the broker; people and programs ask at
http://ADDR/graphql. /healthz says whether the process is well, /readyz whether
its answers are up to date, /metrics feeds Prometheus.

  twinlog serve --config /etc/twinlog.yaml
  twinlog serve --data ./plant --http 127.0.0.1:9000`
}

// Run serves until the context ends.
func (s serveCommand) Run(ctx context.Context, std streams) error {
	var c server.Config
	var err error
	if s.Config != "" {
		if c, err = readConfig(s.Config); err != nil {
			return err
		}
	}
	if c, err = s.over(c, std); err != nil {
		return err
	}
	if c.Data == "" {
		if c.Data, err = dataHome("plant"); err != nil {
			return err
		}
	}
	srv, err := server.Open(ctx, c)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.out, "twinlog is ready\n  GraphQL  http://%s/graphql\n  console  http://%s/\n  MQTT     %s\n  data     %s\n",
		srv.HTTPAddr(), srv.HTTPAddr(), srv.MQTTAddr(), c.Data)
	return srv.Run(ctx)
}
