package acquire_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/edge/acquire"
)

// TestHealthOfAPolledSource takes a source through every state, each with its
// reason in words.
func TestHealthOfAPolledSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var vitals acquire.Vitals
		refused := errors.New("connection refused")
		m := &machine{connect: func() error { return refused }}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		groups := []acquire.Group{{Every: time.Second, Items: []int{0, 1, 2}}}
		if got := vitals.Health(); got.State != acquire.Idle {
			t.Errorf("before it runs it is %v", got.State)
		}
		go func() {
			done <- acquire.Poll(ctx, m, groups, acquire.Retry{Min: 10 * time.Second, Max: 10 * time.Second}, &vitals, quiet(),
				func(context.Context, acquire.Scan) error { return nil })
		}()
		check := func(when string, state acquire.State, reason string, failures int) {
			t.Helper()
			synctest.Wait()
			got := vitals.Health()
			if got.State != state || got.Reason != reason || got.Failures != failures {
				t.Errorf("%s: %v %q after %d failures; want %v %q, %d", when, got.State, got.Reason, got.Failures, state, reason, failures)
			}
			if waits := !got.Next.IsZero(); waits != (state == acquire.Waiting) {
				t.Errorf("%s: next attempt at %v", when, got.Next)
			}
		}
		time.Sleep(time.Second)
		check("nobody answers", acquire.Waiting, "connection refused", 1)
		time.Sleep(10 * time.Second)
		check("nobody answers again", acquire.Waiting, "connection refused", 2)
		m.change(func() { m.connect = nil })
		time.Sleep(10 * time.Second)
		check("it answers", acquire.Online, "", 0)
		since := vitals.Health().Since
		m.change(func() { m.mark = map[int]quality.Code{0: quality.BadSensorFailure, 2: quality.BadConfigurationError} })
		time.Sleep(time.Second)
		check("two sensors fail", acquire.Degraded, "2 of 3 items are Bad, 1 of them BadConfigurationError", 0)
		m.change(func() { m.mark = nil })
		time.Sleep(time.Second)
		check("they recover", acquire.Online, "", 0)
		if !vitals.Health().Since.After(since) {
			t.Error("Since did not move with the state")
		}
		m.change(func() { m.read = func(context.Context, []int) error { return errLost } })
		time.Sleep(time.Second)
		check("the session is lost", acquire.Waiting, "lost", 1)
		cancel()
		<-done
		check("it is stopped", acquire.Stopped, "context canceled", 1)
	})
}

// TestHearKeepsBeforeItReturns: what a source acknowledges after hear has been
// kept.
func TestHearKeepsBeforeItReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var steps []string
		src := talker(func(ctx context.Context, hear func([]acquire.Reading)) error {
			for range 2 {
				hear([]acquire.Reading{{Item: 0}})
				steps = append(steps, "acknowledged")
			}
			<-ctx.Done()
			return ctx.Err()
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_ = acquire.Listen(ctx, src, 1, time.Hour, acquire.Retry{}, &acquire.Vitals{}, quiet(), func(_ context.Context, s acquire.Scan) error {
			if len(s.Readings) == 1 && s.Readings[0].Quality.Code == quality.Good {
				time.Sleep(time.Second) // a slow disk
				steps = append(steps, "kept")
			}
			return nil
		})
		if diff := cmp.Diff([]string{"kept", "acknowledged", "kept", "acknowledged"}, steps); diff != "" {
			t.Errorf("steps (-want +got):\n%s", diff)
		}
	})
}
