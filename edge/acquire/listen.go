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
func Listen(ctx context.Context, src Reporting, items int, tick time.Duration, retry Retry, log *slog.Logger, hear func(context.Context, Scan) error) error {
	all := make([]int, items)
	for i := range all {
		all[i] = i
	}
	for failures := 0; ; failures++ {
		heard, err := listenOnce(ctx, src, tick, hear)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err.own != nil {
			return err.own
		}
		if heard {
			failures = 0
		}
		log.LogAttrs(ctx, slog.LevelWarn, "session lost", slog.Any("error", err.session), slog.Int("attempt", failures+1))
		if err := hear(ctx, Silence(all, time.Now().UTC())); err != nil {
			return err
		}
		if err := sleep(ctx, retry.Wait(failures)); err != nil {
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
	done := make(chan error, 1)
	go func() {
		done <- src.Report(ctx, func(r []Reading) {
			select {
			case news <- r:
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
			heard, scan = true, stamp(r, time.Now().UTC())
		case now := <-ticker.C:
			scan.At = now.UTC()
		}
		if err := hear(ctx, scan); err != nil {
			cancel()
			<-done //nolint:errcheck // the session ended because we did it
			return heard, ends{own: err}
		}
	}
}
