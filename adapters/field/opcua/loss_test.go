package opcua_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/field/fieldtest"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/edge/acquire"
	"github.com/twinlog/twinlog/edge/protocol"
)

// loss is a source behind a network that is cut while the peer goes on.
type loss struct {
	s     *server
	chaos *fieldtest.Chaos
	ports protocol.Ports
}

func newLoss(t *testing.T, tags ...map[string]any) *loss {
	t.Helper()
	l := &loss{s: startServer(t)} // whose history is this test's own
	l.chaos = fieldtest.NewChaos(t, strings.TrimSuffix(strings.TrimPrefix(l.s.url(), "opc.tcp://"), "/plant"))
	l.ports = open(t, map[string]any{"url": "opc.tcp://" + l.chaos.Address() + "/plant", "timeout": time.Second}, tags...)
	return l
}

// across takes the source through a loss: it hears a value, is cut off while
// values change, and connects again. It returns what the second session brought.
func (l *loss) across(t *testing.T, name string, during func(at time.Time)) []acquire.Reading {
	t.Helper()
	first := report(t, l.ports)
	at := time.Now().Truncate(time.Millisecond)
	first.item(0)
	l.s.set(name, 1, "Good", at)
	first.until("1", func(r acquire.Reading) bool { return number(r) == 1 })
	l.chaos.Cut()
	if err := <-first.end; err == nil || t.Context().Err() != nil {
		t.Fatalf("cut off, the session ended with %v", err)
	}
	during(at)
	l.chaos.Heal()
	second := report(t, l.ports)
	l.s.set(name, 1000, "Good", at.Add(time.Minute))
	var got []acquire.Reading
	second.until("the end", func(r acquire.Reading) bool {
		got = append(got, r)
		return number(r) == 1000 && r.Cause != acquire.Historic
	})
	second.stop()
	<-second.end
	return got
}

func number(r acquire.Reading) float64 {
	x, ok := r.Value.Number()
	if !ok {
		return math.NaN()
	}
	return x
}

// TestTransfer: what changed while the network was cut was kept by the server
// for the subscription, and comes once and in order.
func TestTransfer(t *testing.T) {
	queue := tag("Float")
	queue["sampling"] = time.Duration(0)
	l := newLoss(t, queue)
	got := l.across(t, "Float", func(at time.Time) {
		for i := range 20 {
			l.s.set("Float", 2+i, "Good", at.Add(time.Duration(i+1)*time.Second))
		}
	})
	next := 2.0
	for _, r := range got {
		if number(r) == next {
			next++
		} else if number(r) > next && number(r) != 1000 {
			t.Fatalf("after %v came %v", next-1, number(r))
		}
		if r.Cause == acquire.Historic {
			t.Errorf("%v was read from history", number(r))
		}
	}
	if next != 22 {
		t.Errorf("the changes up to %v came, want 21", next-1)
	}
}

// TestHistory: the server has forgotten the subscription, and what changed in
// between is read from its history, with its own times and quality, page by page.
func TestHistory(t *testing.T) {
	l := newLoss(t, tag("Flow"))
	const values = 2500 // three pages
	var began time.Time
	got := l.across(t, "Flow", func(at time.Time) {
		began = at
		l.s.command(map[string]any{"drop": true})
		for i := range values {
			status := "Good"
			if i == 100 {
				status = "UncertainLastUsableValue"
			}
			l.s.set("Flow", 2000+i, status, at.Add(time.Duration(i+1)*10*time.Millisecond))
		}
	})
	next := 0
	for _, r := range got {
		if r.Cause != acquire.Historic {
			continue
		}
		if want := began.Add(time.Duration(next+1) * 10 * time.Millisecond); number(r) != float64(2000+next) || !r.SourceTime.Equal(want) {
			t.Fatalf("missed value %d is %v at %v, want %v at %v", next, number(r), r.SourceTime, 2000+next, want)
		}
		if next == 100 && r.Quality.Code != quality.UncertainLastUsableValue {
			t.Errorf("quality %v", r.Quality.Code)
		}
		next++
	}
	// The last may be the first value of the new subscription.
	if next < values-1 || next > values {
		t.Errorf("%d values came from history, want %d", next, values)
	}
}

// TestStop: a session ends with its context, and the server does not keep it.
func TestStop(t *testing.T) {
	s := shared(t)
	ports := open(t, map[string]any{"url": s.url()}, tag("Double"))
	live := report(t, ports)
	live.item(0)
	before := s.command(map[string]any{"sessions": true}).Sessions
	live.stop()
	if err := <-live.end; err == nil {
		t.Error("it ended without an error")
	}
	if after := s.command(map[string]any{"sessions": true}).Sessions; after >= before {
		t.Errorf("%d sessions before, %d after", before, after)
	}
}

// TestNoise: bytes that are no OPC UA end the session and nothing else.
func TestNoise(t *testing.T) {
	l := newLoss(t, tag("Double"))
	first := report(t, l.ports)
	first.item(0)
	l.chaos.Garbage(fieldtest.Random(t))
	if err := <-first.end; err == nil {
		t.Fatal("garbage was taken for a session")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := l.ports.Reporting.Report(ctx, func([]acquire.Reading) { t.Error("garbage was taken for a value") }); err == nil {
		t.Error("garbage was taken for a server")
	}
	l.chaos.Heal()
	report(t, l.ports).item(0)
}
