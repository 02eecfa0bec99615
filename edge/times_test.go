package edge_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/edge"
	"github.com/twinlog/twinlog/edge/acquire"
)

// reporting speaks by itself.
type reporting func(ctx context.Context, hear func([]acquire.Reading)) error

func (f reporting) Report(ctx context.Context, hear func([]acquire.Reading)) error {
	return f(ctx, hear)
}

// TestNativeTimes: what a device timed itself goes out under that time, a
// message for each, and what is the same measurement again does not.
func TestNativeTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(item int, second float64, x float64) acquire.Reading {
			r := good(x)
			r.Item, r.SourceTime = item, epoch().Add(time.Duration(second*float64(time.Second)))
			return r
		}
		src := reporting(func(ctx context.Context, hear func([]acquire.Reading)) error {
			time.Sleep(100 * time.Millisecond)
			hear([]acquire.Reading{at(0, -5, 10), at(2, -5, 20), at(0, -4, 30), at(1, -5, 40)})
			hear([]acquire.Reading{at(0, -4, 30), at(1, -5, 40)}) // a server that repeats itself
			<-ctx.Done()
			return ctx.Err()
		})
		var s sink
		run(t, &s, 3, pump(edge.Pipeline{Reporting: src}))
		want := []string{"-5 P-1 flow=10/Good level=20/Good", "-4 P-1 flow=30/Good", "-5 P-2 flow=40/Good"}
		if diff := cmp.Diff(want, s.said()); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		if late := s.got[0].Row.EdgeLatency; late != 5100*time.Millisecond {
			t.Errorf("latency %v, want 5.1s", late)
		}
	})
}

// TestStale: a source that fell silent is a lost communication, once, without a
// value, under the time at which it was missed.
func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := reporting(func(ctx context.Context, hear func([]acquire.Reading)) error {
			hear([]acquire.Reading{good(1)})
			time.Sleep(9500 * time.Millisecond)
			hear([]acquire.Reading{good(1)})
			<-ctx.Done()
			return ctx.Err()
		})
		p := pump(edge.Pipeline{Reporting: src})
		p.Devices, p.Tags = p.Devices[:1], p.Tags[:1]
		p.Tags[0].Limits.Stale = 5 * time.Second
		var s sink
		run(t, &s, 12, p)
		want := []string{"0 P-1 flow=1/Good", "6 P-1 flow=null/BadNoCommunication", "9.5 P-1 flow=1/Good"}
		if diff := cmp.Diff(want, s.said()); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
	})
}

// TestTheSameMeasurementAgainIsSilence: a server that goes on answering with
// what it had long ago has not been heard of.
func TestTheSameMeasurementAgainIsSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := polled{read: func(second, _ int) acquire.Reading {
			r := good(1)
			r.SourceTime = epoch().Add(time.Duration(min(second, 2)) * time.Second)
			return r
		}}
		p := pump(edge.Pipeline{Polled: src})
		p.Devices, p.Tags = p.Devices[:1], p.Tags[:1]
		p.Tags[0].Limits.Stale = 5 * time.Second
		var s sink
		run(t, &s, 12, p)
		if diff := cmp.Diff([]string{"0 P-1 flow=1/Good", "8 P-1 flow=null/BadNoCommunication"}, s.said()); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
	})
}

// TestEarliestTime: a scan that took several requests goes out under the time of
// the first answer, device by device.
func TestEarliestTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := polled{read: func(_, item int) acquire.Reading {
			r := good(1)
			r.At = epoch().Add([]time.Duration{300, 200, 100}[item] * time.Millisecond)
			return r
		}}
		var s sink
		run(t, &s, 0, pump(edge.Pipeline{Polled: src}))
		if diff := cmp.Diff([]string{"0.1 P-1 flow=1/Good level=1/Good", "0.2 P-2 flow=1/Good"}, s.said()); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
	})
}

// TestAfterALoss: what was missed goes out under its own time, what the device
// shows when it is reached again is what the tag is now, however long it has been
// so, and neither is told twice.
func TestAfterALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(cause acquire.Cause, second float64, x float64) acquire.Reading {
			r := good(x)
			r.Cause, r.SourceTime = cause, epoch().Add(time.Duration(second*float64(time.Second)))
			return r
		}
		sessions := 0
		src := reporting(func(ctx context.Context, hear func([]acquire.Reading)) error {
			if sessions++; sessions == 1 {
				hear([]acquire.Reading{at(acquire.Snapshot, -9, 1)})
				time.Sleep(2 * time.Second)
				return context.DeadlineExceeded
			}
			time.Sleep(2 * time.Second)
			hear([]acquire.Reading{at(acquire.Historic, 2.5, 7), at(acquire.Historic, 2.75, 1)})
			hear([]acquire.Reading{at(acquire.Snapshot, -9, 1)}) // it has been so since long before the loss
			hear([]acquire.Reading{at(acquire.Snapshot, -9, 1)})
			hear([]acquire.Reading{{Cause: acquire.Historic, Value: float(3)}}) // of no time
			<-ctx.Done()
			return ctx.Err()
		})
		p := pump(edge.Pipeline{Reporting: src, Retry: acquire.Retry{Min: time.Nanosecond, Max: time.Nanosecond}})
		p.Devices, p.Tags = p.Devices[:1], p.Tags[:1]
		var s sink
		run(t, &s, 6, p)
		want := []string{
			"-9 P-1 flow=1/Good", "2 P-1 flow=null/BadNoCommunication",
			"2.5 P-1 flow=7/Good", "2.75 P-1 flow=1/Good", "4 P-1 flow=1/Good",
		}
		if diff := cmp.Diff(want, s.said()); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
	})
}
