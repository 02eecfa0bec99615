package kurrentlog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/twinlog/twinlog/adapters/eventlog/esdbwire"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// ErrOrigin is returned for a log of another origin than the one asked for.
var ErrOrigin = errors.New("the log has another origin")

// Connect opens the log on a server that must be there, under the origin that
// the log itself says: all processes on one log must agree on it, because ids
// derive from it. Config.Origin may be empty; else it must be the same. A log
// that has none yet is given Config.Origin, or a random one of 16 letters and
// digits.
func Connect(ctx context.Context, cfg Config) (*Log, error) {
	want := cfg.Origin
	cfg.Origin = "unnamed"
	l, err := Open(cfg)
	if err != nil {
		return nil, err
	}
	found, err := l.name(ctx, want)
	switch {
	case err != nil:
		return nil, errors.Join(fmt.Errorf("kurrentlog: origin: %w", err), l.Close())
	case want != "" && found != want:
		return nil, errors.Join(fmt.Errorf("kurrentlog: origin %q, expected %q: %w", found, want, ErrOrigin), l.Close())
	}
	l.cfg.Origin = found
	return l, nil
}

// name finds the log's origin, or gives it one.
func (l *Log) name(ctx context.Context, want string) (string, error) {
	for _, stream := range []string{esdbwire.ServedOrigin, l.streamName(esdbwire.OriginStream)} {
		if found, err := l.nameIn(ctx, stream); found != "" || err != nil {
			return found, err
		}
	}
	if want == "" {
		want = strings.ToLower(rand.Text())[:16]
	}
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	e, err := eventlog.NewJSONEvent(eventlog.FreshKey(random).Event(0), esdbwire.Named{Origin: want}, eventlog.Envelope{
		Actor: eventlog.Actor{Subject: "log", Kind: eventlog.Service, AuthMethods: []string{"none"}},
	})
	if err != nil {
		return "", err
	}
	_, err = l.Append(ctx, esdbwire.OriginStream, eventlog.NoStream, e)
	if errors.Is(err, eventlog.ErrConflict) { // another process was faster
		return l.nameIn(ctx, l.streamName(esdbwire.OriginStream))
	}
	return want, err
}

// nameIn reads a stream's first event; "" if there is none, or only
// administrators may read it.
func (l *Log) nameIn(ctx context.Context, stream string) (found string, err error) {
	q := readRequest{stream: stream, dir: eventlog.Forwards, count: 1}
	err = l.read(ctx, q, func(e *esdb.RecordedEvent) (bool, error) {
		ev, err := eventlog.DecodeJSON[esdbwire.Named](e.Data)
		if err != nil {
			return true, fmt.Errorf("%s: %w", stream, err)
		}
		found = ev.(esdbwire.Named).Origin
		return true, nil
	})
	if e, ok := errors.AsType[*esdb.Error](err); ok && e.Code() == esdb.ErrorCodeAccessDenied {
		return "", nil
	}
	return found, err
}
