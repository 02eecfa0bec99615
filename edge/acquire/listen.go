package acquire

import (
	"context"
	"log/slog"
	"time"
)

// Listen keeps a session to a source that speaks by itself until ctx ends; it
// returns ctx's error or the first error of hear. It reports all items (0 to
// items-1) as Bad when the session is lost, and an empty Scan every tick, so
// that the caller can find what has not been heard for too long.
func Listen(ctx context.Context, src Reporting, items int, tick time.Duration, retry Retry, vitals *Vitals, log *slog.Logger, hear func(context.Context, Scan) error) (err error) {
	vitals.begin(log)
	defer func() { vitals.stopped(err) }()
	all := make([]int, items)
	for i := range all {
		all[i] = i
	}
	for failures := 0; ; failures++ {
		vitals.connecting()
		heard, end := listenOnce(ctx, src, tick, func(ctx context.Context, scan Scan) error {
			if scan.Readings != nil {
				vitals.heard(scan.Readings, items)
			}
			return hear(ctx, scan)
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if end.own != nil {
			return end.own
		}
		if heard {
			failures = 0
		}
		wait := retry.Wait(failures)
		vitals.lost(end.session, failures+1, wait)
		log.LogAttrs(ctx, slog.LevelDebug, "no session", slog.Any("error", end.session), slog.Int("attempt", failures+1), slog.Duration("next", wait))
		if err := hear(ctx, Silence(all, time.Now().UTC())); err != nil {
			return err
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// ends tells the end of a session from a fault of the gateway's own.
type ends struct{ session, own error }

// listenOnce runs one session. Everything is heard by this goroutine, and the
// source's goroutine has ended before it returns.
func listenOnce(ctx context.Context, src Reporting, tick time.Duration, hear func(context.Context, Scan) error) (heard bool, end ends) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	news := make(chan []Reading) // unbuffered: the source waits while the gateway is busy
	kept := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- src.Report(ctx, func(r []Reading) {
			select {
			case news <- r:
			case <-ctx.Done():
				return
			}
			select {
			case <-kept:
			case <-ctx.Done():
			}
		})
	}()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		var scan Scan
		select {
		case err := <-done:
			return heard, ends{session: err}
		case r := <-news:
			if r == nil {
				r = []Reading{}
			}
			heard, scan = true, stamp(r, time.Now().UTC())
		case now := <-ticker.C:
			scan.At = now.UTC()
		}
		if err := hear(ctx, scan); err != nil {
			cancel()
			<-done //nolint:errcheck // the session ended because we did it
			return heard, ends{own: err}
		}
		if scan.Readings != nil {
			select {
			case kept <- struct{}{}:
			case <-ctx.Done():
			}
		}
	}
}
