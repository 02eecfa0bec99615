package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/twinlog/twinlog/domain/ingest"
	"github.com/twinlog/twinlog/domain/lease"
)

// newHolder names this process among all servers that ever used the log.
func newHolder() string { return strings.ToLower(rand.Text()) }

// own takes the lease of a source that has sent something here.
func (s *Server) own(ctx context.Context, source string) error {
	err := s.leases.Claim(ctx, lease.Source(source))
	if errors.Is(err, lease.ErrHeld) {
		return fmt.Errorf("%w: %w", ingest.ErrElsewhere, err)
	}
	return err
}

// alone runs a duty that only one of several servers on a log may do.
func (s *Server) alone(ctx context.Context, duty string, run func(context.Context) error) error {
	if s.leases == nil {
		return run(ctx)
	}
	return s.leases.Hold(ctx, duty, run)
}
