package ingest_test

import (
	"context"
	"testing"

	"github.com/twinlog/twinlog/domain/ingest"
)

// TestCutConnection: behind a message that was not stored nothing of its
// connection is, though the next try would succeed: the source sends all of it
// again, and nothing looks lost.
func TestCutConnection(t *testing.T) {
	p := newPlant(t)
	defer func() { p.g.Close() }()
	p.send(started(incA, ""), sample(incA, 2, 2))
	p.g.Close()
	entered, gate, asked := make(chan struct{}, 2), make(chan struct{}), 0
	p.cfg.Own = func(context.Context, string) error {
		entered <- struct{}{}
		<-gate
		if asked++; asked == 1 {
			return ingest.ErrElsewhere
		}
		return nil
	}
	p.start()
	on := func(connection uint64, d delivery) delivery {
		d.connection = connection
		return d
	}
	answered := make(chan ingest.Outcome, 3)
	for seq := 3; seq <= 5; seq++ {
		p.g.Submit(on(7, sample(incA, seq, seq)).message(p.clock()), func(o ingest.Outcome) { answered <- o })
		if seq == 3 {
			<-entered // it is being refused, and the others are queued behind it
		}
	}
	close(gate)
	for range 3 {
		if o := <-answered; o.Ack || !o.Disconnect {
			t.Errorf("on the cut connection: %+v", o)
		}
	}
	p.expect(t, "on the next", answers(p.send(on(8, sample(incA, 3, 3)), on(8, sample(incA, 4, 4)), on(8, sample(incA, 5, 5)))), "stored, stored, stored")
	for _, line := range p.stream("telemetry-gw-1." + incA) {
		if line[:3] == "gap" {
			t.Errorf("the stream has %q", line)
		}
	}
}
