//go:build linux

package e2e

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// A rover is a device that knows several servers: whenever its connection ends
// it goes to the next one. A restless one also leaves by itself.
type rover struct {
	pipeliner
	restless bool
	rng      *rand.Rand

	server   atomic.Int64 // the one it is connected to, or tries
	sessions atomic.Int64
	before   atomic.Int64 // acknowledged when its session began
}

func (r *rover) run(ctx context.Context, servers []string) {
	for i := r.rng.IntN(len(servers)); ctx.Err() == nil; i++ {
		at := i % len(servers)
		r.before.Store(int64(len(r.acknowledged())))
		r.server.Store(int64(at))
		r.sessions.Add(1)
		session, cancel := ctx, context.CancelFunc(func() {})
		if r.restless {
			session, cancel = context.WithTimeout(ctx, time.Second+time.Duration(r.rng.Int64N(int64(4*time.Second))))
		}
		_ = r.session(session, servers[at])
		cancel()
		pause(ctx, 20*time.Millisecond+time.Duration(r.rng.Int64N(int64(100*time.Millisecond))))
	}
}

// resumed reports whether something was acknowledged in a session after this one.
func (r *rover) resumed(session int64) bool {
	return r.sessions.Load() > session && int64(len(r.acknowledged())) > r.before.Load()
}
