package outbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Priority says how long a message is kept when not everything can be, and how
// soon it is sent. The zero value is the usual one.
type Priority int8

// The priorities.
const (
	Low    Priority = -1
	Normal Priority = 0
	High   Priority = 1
	Alarm  Priority = 2
)

// The lanes of a gateway. Each is a source of its own: gw_id for the live one,
// gw_id~lane for the others.
const (
	LiveLane    = ""
	AlarmLane   = "alarms"
	LowLane     = "backlog-low"
	BacklogLane = "backlog"
	HighLane    = "backlog-high"
)

// ranks says which lane drops first when the budget is used up.
var ranks = map[string]int{LowLane: 0, BacklogLane: 1, HighLane: 2, LiveLane: 3, AlarmLane: 4}

// SourceOf returns the source of a gateway's lane.
func SourceOf(gateway, lane string) string {
	if lane == LiveLane {
		return gateway
	}
	return gateway + "~" + lane
}

// LanesConfig says what is particular to a gateway's lanes.
type LanesConfig struct {
	// Config is that of every lane; Gateway is the gw_id. Rate and Idle apply to
	// the lanes beside the live one.
	Config
	// LiveDepth is how many messages may wait in the live lane; further ones go
	// to the backlog of their priority until half of them are gone. 0 means 1,024.
	LiveDepth int
	// Queue opens the store of a lane.
	Queue func(lane string) (Queue, error)
	// Known are the lanes that the store holds already.
	Known []string
}

// The lanes beside the live one, unless Config says otherwise: how many messages
// a second leave a backlog, and how long a connection without work is kept.
const (
	backlogRate = 2000
	idleBeside  = time.Minute
)

// Lanes are the outboxes of one gateway under one budget. What is new goes
// through the live lane; what an outage holds up goes into a backlog, so that
// the plant is seen as it is as soon as the link is back, while the backlog
// follows at its own rate. Alarms overtake both. A lane is opened when it is
// needed first.
type Lanes struct {
	cfg     LanesConfig
	opening chan struct{} // held by whoever opens a lane, for as long as a disk takes
	opened  chan *Outbox  // lanes for Run to drain

	mu    sync.Mutex // guards all below, for moments only
	lanes map[string]*Outbox
	spill bool // new messages go to the backlog
}

// OpenLanes opens the live lane and those that the store holds.
func OpenLanes(ctx context.Context, cfg LanesConfig) (*Lanes, error) {
	cfg.Config = cfg.withDefaults()
	if cfg.LiveDepth <= 0 {
		cfg.LiveDepth = 1024
	}
	if cfg.Rate <= 0 {
		cfg.Rate = backlogRate
	}
	if cfg.Idle <= 0 {
		cfg.Idle = idleBeside
	}
	l := &Lanes{cfg: cfg, lanes: map[string]*Outbox{}, opening: make(chan struct{}, 1), opened: make(chan *Outbox, len(ranks))}
	for _, lane := range append([]string{LiveLane}, cfg.Known...) {
		if _, err := l.lane(ctx, lane); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return l, nil
}

// lane returns an outbox, opening it if it is not open.
func (l *Lanes) lane(ctx context.Context, name string) (*Outbox, error) {
	if o := l.Lane(name); o != nil {
		return o, nil
	}
	select {
	case l.opening <- struct{}{}:
		defer func() { <-l.opening }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if o := l.Lane(name); o != nil { // somebody else was first
		return o, nil
	}
	rank, ok := ranks[name]
	if !ok {
		return nil, fmt.Errorf("outbox lane %q, expected one of %q", name, slices.Sorted(maps.Keys(ranks)))
	}
	queue, err := l.cfg.Queue(name)
	if err != nil {
		return nil, err
	}
	cfg := l.cfg.Config
	cfg.Gateway, cfg.Rank = SourceOf(cfg.Gateway, name), rank
	switch name {
	case LiveLane:
		cfg.Rate, cfg.Idle = 0, 0
	case AlarmLane:
		cfg.Rate = 0
	}
	o, err := Open(ctx, queue, cfg)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.lanes[name] = o
	l.mu.Unlock()
	l.opened <- o
	return o, nil
}

// Put gives the bodies to the lane of their priority and returns when they are
// durable: all or none. It fails as Outbox.Put does.
func (l *Lanes) Put(ctx context.Context, p Priority, bodies ...Body) error {
	o, err := l.lane(ctx, l.choose(p))
	if err != nil {
		return err
	}
	_, err = o.Put(ctx, bodies...)
	return err
}

func (l *Lanes) choose(p Priority) string {
	if p == Alarm {
		return AlarmLane
	}
	depth := l.Lane(LiveLane).depth()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case depth >= l.cfg.LiveDepth:
		l.spill = true
	case depth < (l.cfg.LiveDepth+1)/2:
		l.spill = false
	}
	switch {
	case !l.spill:
		return LiveLane
	case p == High:
		return HighLane
	case p == Low:
		return LowLane
	default:
		return BacklogLane
	}
}

// depth is how many messages wait or are under way.
func (o *Outbox) depth() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return int(o.head.Messages - o.answers.messages) //nolint:gosec // in memory it is an index
}

// Run drains all lanes, each over a link of its own, until ctx ends or one
// fails. link returns the link of a source.
func (l *Lanes) Run(ctx context.Context, link func(source string) (Link, error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	defer all.Wait()
	for {
		select {
		case o := <-l.opened:
			way, err := link(o.cfg.Gateway)
			if err != nil {
				return err
			}
			all.Go(func() { cancel(o.Drain(ctx, way)) })
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// LaneStats are the counters of one lane.
type LaneStats struct {
	Lane string
	Stats
}

// Stats returns the counters of each open lane, by name.
func (l *Lanes) Stats() []LaneStats {
	var all []LaneStats
	for _, name := range l.names() {
		all = append(all, LaneStats{name, l.Lane(name).Stats()})
	}
	return all
}

// Total adds the lanes up. Incarnation, Acked and Linked are the live lane's.
func (l *Lanes) Total() Stats {
	var sum Stats
	for _, s := range l.Stats() {
		if s.Lane == LiveLane {
			sum.Incarnation, sum.Acked, sum.Linked = s.Incarnation, s.Acked, s.Linked
		}
		sum.Accepted += s.Accepted
		sum.Depth += s.Depth
		sum.Bytes += s.Bytes
		sum.Age = max(sum.Age, s.Age)
		sum.Lost += s.Lost
		sum.LostSamples += s.LostSamples
		sum.Refused += s.Refused
		sum.Quarantined += s.Quarantined
		sum.Sent += s.Sent
		sum.Links += s.Links
		if s.LastError != "" {
			sum.LastError = s.LastError
		}
	}
	return sum
}

// Lane returns an open lane, or nil.
func (l *Lanes) Lane(name string) *Outbox {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lanes[name]
}

func (l *Lanes) names() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.lanes))
}

// Close closes every lane, after Run has ended. The queues are the caller's.
func (l *Lanes) Close() error {
	var errs []error
	for _, name := range l.names() {
		errs = append(errs, l.Lane(name).Close())
	}
	return errors.Join(errs...)
}
