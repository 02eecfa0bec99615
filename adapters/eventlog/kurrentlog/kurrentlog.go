// Package kurrentlog keeps an event log on an EventStoreDB or KurrentDB
// server, through EventStore-Client-Go v4.2.0.
//
// Its promise: the same contract as every eventlog.Log, whatever that client
// does. The client can block for ever, stop for good, panic and end the
// process; each such way is closed here (client.go, codec.go), so that a call
// ends when its context does, and a server that comes back is found again.
//
// An event's envelope is its custom metadata, byte for byte
// (docs/formats/esdb.md). Recorded is what the envelope says, stamped by
// whoever appends: several writers' clocks can disagree, so it may fall from
// one event to the next, and KnownAt goes by the largest so far. Positions are
// the server's commit positions in the configured epoch.
//
// It deletes nothing. Guard says whether the server does.
package kurrentlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Config says which server and which of its streams. Origin is required by Open.
type Config struct {
	// Connection is the client's connection string, "esdb://host:2113?tls=false".
	Connection string
	// Origin names the log among all logs.
	Origin string
	// Prefix stands before the name of every stream, "site-7~", where several
	// logs share a server; it is not part of a StreamID.
	Prefix string
	// Epoch is the top of every position; a copy or a restore raises it. In
	// epoch 0 the server's position is taken whole, so that a served log's own
	// epochs come through.
	Epoch uint16
	// Now is the clock that Recorded comes from; nil: time.Now.
	Now func() time.Time
	// Clock says how far Now can be trusted; nil: nothing is said.
	Clock func() eventlog.ClockState
	// Patience is how long a call goes on trying to reach the server; 0: 10 s.
	// Subscriptions have no end to it.
	Patience time.Duration
}

const standardPatience = 10 * time.Second

// Log is an eventlog.Log on a server. Open and Connect make one.
type Log struct {
	cfg  Config
	link *link

	// mu guards what this process knows of the log so far.
	mu       sync.Mutex
	seen     eventlog.Position // the furthest position met
	recorded time.Time         // the largest Recorded met
	tail     bool              // the log's newest events have been looked at

	// marking guards the marks while they are being extended.
	marking sync.Mutex
	marks   []eventlog.Mark
	marked  eventlog.Mark // how far they have been made, and the largest Recorded up to there
}

var _ eventlog.Log = (*Log)(nil)

// Open returns the log on a server that need not be there yet.
func Open(cfg Config) (*Log, error) {
	if cfg.Origin == "" {
		return nil, errors.New("kurrentlog: no origin")
	}
	client, err := esdb.ParseConnectionString(cfg.Connection)
	if err != nil {
		return nil, fmt.Errorf("kurrentlog: connection string: %w", err)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Clock == nil {
		cfg.Clock = func() eventlog.ClockState { return eventlog.ClockState{} }
	}
	if cfg.Patience == 0 {
		cfg.Patience = standardPatience
	}
	return &Log{cfg: cfg, link: newLink(client, cfg.Patience)}, nil
}

// Close ends the connection; calls under way fail.
func (l *Log) Close() error { return l.link.close() }

// Origin implements eventlog.Log.
func (l *Log) Origin() string { return l.cfg.Origin }

// position of a server's commit position; false where it does not fit.
func (l *Log) position(commit uint64) (eventlog.Position, error) {
	p := eventlog.Position(commit)
	if l.cfg.Epoch != 0 {
		if commit >= 1<<48 {
			return 0, fmt.Errorf("commit position %d, expected less than 2^48 in epoch %d: %w", commit, l.cfg.Epoch, eventlog.ErrDamaged)
		}
		p = eventlog.NewPosition(l.cfg.Epoch, commit)
	}
	if p == 0 || p >= eventlog.End {
		return 0, fmt.Errorf("commit position %d, expected 1 to 2^63-2: %w", commit, eventlog.ErrDamaged)
	}
	return p, nil
}

// commit is the way back.
func (l *Log) commit(p eventlog.Position) (uint64, error) {
	if l.cfg.Epoch == 0 || p == 0 {
		return uint64(p), nil
	}
	if p.Epoch() != l.cfg.Epoch {
		return 0, fmt.Errorf("position %v of epoch %d, this is epoch %d: %w", p, p.Epoch(), l.cfg.Epoch, eventlog.ErrPositionLost)
	}
	return p.Order(), nil
}

// streamName is a stream as the server calls it.
func (l *Log) streamName(id eventlog.StreamID) string { return l.cfg.Prefix + string(id) }

// streamID is the way back; false for a stream that is none of ours.
func (l *Log) streamID(name string) (eventlog.StreamID, bool) {
	rest, ok := strings.CutPrefix(name, l.cfg.Prefix)
	id := eventlog.StreamID(rest)
	return id, ok && id.Check() == nil
}

// met notes an event that this process has read or written.
func (l *Log) met(p eventlog.Position, recorded time.Time) {
	l.mu.Lock()
	l.seen = max(l.seen, p)
	if recorded.After(l.recorded) {
		l.recorded = recorded
	}
	l.mu.Unlock()
}

// lookAtTail makes sure that the newest events have been met once, so that
// this process stamps behind what others have stamped.
func (l *Log) lookAtTail(ctx context.Context) error {
	l.mu.Lock()
	done := l.tail
	l.mu.Unlock()
	if done {
		return nil
	}
	if _, err := l.meetBack(ctx, 0); err != nil {
		return err
	}
	l.mu.Lock()
	l.tail = true
	l.mu.Unlock()
	return nil
}

// tailEvents is how far back the largest Recorded is looked for. Every writer
// stamps behind what it has met, so only writers that raced can have put a
// larger one further back.
const tailEvents = 1024

// meetBack reads backwards to a position, at most tailEvents, and returns the
// newest event's position.
func (l *Log) meetBack(ctx context.Context, to eventlog.Position) (eventlog.Position, error) {
	var head eventlog.Position
	n := 0
	for r, err := range l.ReadAll(ctx, eventlog.End, eventlog.Backwards, eventlog.Filter{}) {
		if err != nil {
			return 0, err
		}
		head = max(head, r.Position)
		if n++; r.Position <= to || n == tailEvents {
			break
		}
	}
	return head, nil
}

// Head implements eventlog.Log. Its Recorded is the largest of what this
// process has met and of the newest events.
func (l *Log) Head(ctx context.Context) (eventlog.Position, time.Time, error) {
	if err := l.lookAtTail(ctx); err != nil {
		return 0, time.Time{}, fmt.Errorf("head: %w", err)
	}
	l.mu.Lock()
	seen := l.seen
	l.mu.Unlock()
	head, err := l.meetBack(ctx, seen)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("head: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return head, l.recorded, nil
}

// end returns the server's last position, whoever's event that is.
func (l *Log) end(ctx context.Context) (eventlog.Position, error) {
	var head eventlog.Position
	err := l.read(ctx, readRequest{all: true, dir: eventlog.Backwards, count: 1}, func(e *esdb.RecordedEvent) (bool, error) {
		var err error
		head, err = l.position(e.Position.Commit)
		return true, err
	})
	return head, err
}

// mustReach refuses a position beyond the end.
func (l *Log) mustReach(ctx context.Context, after eventlog.Position) (end eventlog.Position, err error) {
	if end, err = l.end(ctx); err != nil {
		return 0, err
	}
	if after > end {
		return 0, fmt.Errorf("position %v is beyond the end %v: %w", after, end, eventlog.ErrPositionLost)
	}
	return end, nil
}
