// Package edge is what happens next to the machine: one supervised pipeline for
// each source, from the source's bytes to a message for the server.
//
//	acquire → normalize → quality → deadband → Sink
//
// It promises that a value never travels without its quality, that a value
// which was not read is never sent under a new time, and that a pipeline which
// fails, or panics on what a machine sent, disturbs no other one and starts
// again. It keeps nothing on disk: what the Sink accepted is the Sink's to
// deliver, and what it refused counts as not sent, so that the next scan says
// it again.
package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge/acquire"
	"github.com/twinlog/twinlog/edge/deadband"
	"github.com/twinlog/twinlog/edge/normalize"
	"github.com/twinlog/twinlog/edge/outbox"
	"github.com/twinlog/twinlog/edge/quality"
)

// ErrBadPipeline reports a pipeline that contradicts itself.
var ErrBadPipeline = errors.New("invalid pipeline")

// A Message is what one scan of one device found worth sending.
type Message struct {
	Priority outbox.Priority
	Place    string // where the device stands: "enterprise/site/area/line", the first four levels of its topic
	// Row holds the device and the samples. MsgID, Seq, Gateway and
	// SchemaVersion are left to the sink, which knows its own numbers.
	Row telemetry.Row
}

// A Sink takes messages for the server. Put returns when they are as safe as the
// sink makes them, and may block while the disk is slow; an error means that
// none was taken. It is called by many goroutines at a time, one for each
// source, and each source's messages keep their order.
type Sink interface {
	Put(ctx context.Context, messages ...Message) error
}

// The messages of a scan are put together, since each put may cost a sync of
// the disk; these bound how many, so that they are one small write to any sink.
const (
	maxPutMessages = 64
	maxPutSamples  = 4000 // some 200 kB
)

// A Device is a machine whose signals a source reads.
type Device struct {
	ID    string // device_id
	Type  string // device_type, the fifth topic level
	Place string // the first four topic levels
}

// A Tag is one signal of a device: what happens to it on its way.
type Tag struct {
	Device   int           // index in the pipeline's Devices
	Signal   string        // its name in the message
	Every    time.Duration // how often a polled tag is read; above zero
	Scale    normalize.Scale
	Limits   quality.Limits
	Deadband deadband.Rule
	Priority outbox.Priority // how long its samples are kept when not all can be
}

// A Pipeline is one source with its tags. Exactly one of Polled and Reporting
// is set.
type Pipeline struct {
	Name      string
	Polled    acquire.Polled
	Reporting acquire.Reporting
	Retry     acquire.Retry
	Devices   []Device
	Tags      []Tag // by item: the index is the source's
}

// A Gateway runs pipelines.
type Gateway struct {
	runs []*run
}

// New returns a Gateway of pipelines that hand their messages to sink. It
// refuses pipelines that contradict themselves.
func New(sink Sink, log *slog.Logger, pipelines []Pipeline) (*Gateway, error) {
	g := &Gateway{}
	for _, p := range pipelines {
		if err := p.check(); err != nil {
			return nil, fmt.Errorf("source %q: %w", p.Name, err)
		}
		g.runs = append(g.runs, newRun(p, sink, log.With(slog.String("source", p.Name))))
	}
	return g, nil
}

// check refuses what would fail at the first scan.
func (p Pipeline) check() error {
	if (p.Polled == nil) == (p.Reporting == nil) {
		return fmt.Errorf("expected exactly one of a polled and a reporting source: %w", ErrBadPipeline)
	}
	for i, t := range p.Tags {
		if t.Device < 0 || t.Device >= len(p.Devices) {
			return fmt.Errorf("tag %d %q is of device %d, expected 0 to %d: %w", i, t.Signal, t.Device, len(p.Devices)-1, ErrBadPipeline)
		}
		if p.Polled != nil && t.Every <= 0 {
			return fmt.Errorf("tag %d %q is read every %v, expected a period above zero: %w", i, t.Signal, t.Every, ErrBadPipeline)
		}
		if err := t.Limits.Check(); err != nil {
			return fmt.Errorf("tag %d %q: %w", i, t.Signal, err)
		}
	}
	return nil
}

// Run runs every pipeline until ctx ends and returns ctx's error. A pipeline
// that fails is started again after a wait.
func (g *Gateway) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, r := range g.runs {
		all.Go(func() { r.supervise(ctx) })
	}
	<-ctx.Done()
	all.Wait()
	return ctx.Err()
}

// Status returns what each pipeline has done since New, in their order.
func (g *Gateway) Status() []Status {
	all := make([]Status, len(g.runs))
	for i, r := range g.runs {
		all[i] = r.status()
	}
	return all
}

// Status counts what one pipeline has done.
type Status struct {
	Source   string
	Health   acquire.Health
	Scans    uint64 // visits to the source, with or without an answer
	Readings uint64 // items accounted for
	Bad      uint64 // of these, Bad
	Messages uint64 // taken by the sink
	Samples  uint64 // in these messages: what the deadband let through
	Refused  uint64 // messages that the sink did not take
	Restarts uint64 // times that the pipeline itself failed
}
