package logtool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/cmd/logurl"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// Verify walks the log of a data directory that no server has open.
func Verify(ctx context.Context, data string, p *Progress) (badgerlog.Report, error) {
	if err := notRunning(ctx, data); err != nil {
		return badgerlog.Report{}, err
	}
	dir := filepath.Join(data, "log")
	if err := mustExist(dir); err != nil {
		return badgerlog.Report{}, err
	}
	return badgerlog.VerifyDir(ctx, dir, logurl.Embedded(logurl.Config{}), func(at eventlog.Position) { p.Step(at, 0) })
}

// Stats measures the log of a data directory that no server has open.
func Stats(ctx context.Context, data string) (s badgerlog.Stats, err error) {
	if err := notRunning(ctx, data); err != nil {
		return s, err
	}
	dir := filepath.Join(data, "log")
	if err := mustExist(dir); err != nil {
		return s, err
	}
	l, err := badgerlog.Open(ctx, dir, logurl.Embedded(logurl.Config{}))
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	return l.Stats()
}

func notRunning(ctx context.Context, data string) error {
	if Running(ctx, data) {
		return fmt.Errorf("%s is in use: stop the server first", data)
	}
	return nil
}

// Repaired says what a repair kept and what is lost for good.
type Repaired struct {
	badgerlog.Salvaged
	Damaged string            // where the damaged log is now
	Opened  eventlog.Position // first event of the new epoch
}

// ErrNotAccepted is returned for a repair without consent to the loss.
var ErrNotAccepted = errors.New("a repair gives up what is lost for good: --accept-loss says that you know")

// Repair makes a log that can be opened from what is readable of a damaged one,
// declares the loss as the first event of a new epoch, and puts the damaged log
// aside. origin is needed where the log does not say its own any more.
func Repair(ctx context.Context, data, origin string, accept bool, p *Progress) (r Repaired, err error) {
	if !accept {
		return r, ErrNotAccepted
	}
	if err := notRunning(ctx, data); err != nil {
		return r, err
	}
	log, dir := filepath.Join(data, "log"), filepath.Join(data, repairing)
	if err := mustExist(log); err != nil {
		return r, err
	}
	if err := os.RemoveAll(dir); err != nil { // an earlier attempt's
		return r, err
	}
	cfg := logurl.Embedded(logurl.Config{Origin: origin})
	r.Salvaged, err = badgerlog.Salvage(ctx, log, dir, cfg, func(at eventlog.Position) { p.Step(at, 0) })
	if err != nil {
		return r, err
	}
	if r.Opened, err = declare(ctx, dir, r.Salvaged); err != nil {
		return r, err
	}
	r.Damaged, err = takePlace(dir, log)
	return r, err
}

// declare checks the new log and opens its epoch with the loss.
func declare(ctx context.Context, dir string, s badgerlog.Salvaged) (first eventlog.Position, err error) {
	l, err := badgerlog.Open(ctx, dir, logurl.Embedded(logurl.Config{}))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	report, err := l.Verify(ctx, nil)
	if err != nil {
		return 0, err
	}
	if report.Lost > 0 {
		return 0, fmt.Errorf("the repaired log is not whole: %v: %w", report.Losses[0], eventlog.ErrDamaged)
	}
	return newEpoch(ctx, l, max(s.Missing.Epoch, s.Last.Epoch()), "repair", append(s.Filled, s.Missing)...)
}
