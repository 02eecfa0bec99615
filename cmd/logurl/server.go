package logurl

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/twinlog/twinlog/adapters/eventlog/kurrentlog"
)

// openServer opens the log on a server, which must be there.
func openServer(ctx context.Context, text string, c Config) (*kurrentlog.Log, error) {
	cfg, err := serverConfig(text)
	if err != nil {
		return nil, err
	}
	if cfg.Origin == "" {
		cfg.Origin = c.Origin
	}
	return kurrentlog.Connect(ctx, cfg)
}

// serverConfig takes our own options out of a connection string. The string may
// hold a password, so no error repeats it.
func serverConfig(text string) (kurrentlog.Config, error) {
	cfg := kurrentlog.Config{Connection: text}
	before, query, ok := strings.Cut(text, "?")
	if !ok {
		return cfg, nil
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		return cfg, fmt.Errorf("%w: options behind the ?: %w", ErrURL, err)
	}
	cfg.Origin, cfg.Prefix = q.Get("origin"), q.Get("prefix")
	if e := q.Get("epoch"); e != "" {
		n, err := strconv.ParseUint(e, 10, 15)
		if err != nil {
			return cfg, fmt.Errorf("%w: epoch=%q, expected 0 to 32767", ErrURL, e)
		}
		cfg.Epoch = uint16(n)
	}
	var theirs []string
	for option := range strings.SplitSeq(query, "&") {
		switch name, _, _ := strings.Cut(option, "="); name {
		case "origin", "prefix", "epoch":
		default:
			theirs = append(theirs, option)
		}
	}
	if cfg.Connection = before; len(theirs) > 0 {
		cfg.Connection += "?" + strings.Join(theirs, "&")
	}
	return cfg, nil
}
