package badgerlog

import (
	"slices"
	"sync"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// sealedCache keeps the windows read last, for readers that follow each other.
type sealedCache struct {
	// mu guards units, the newest last.
	mu    sync.Mutex
	units []*sealedUnit
}

// sealedCacheBytes holds about two windows of telemetry, decoded.
const sealedCacheBytes = 16 << 20

func (c *sealedCache) get(last eventlog.Position) *sealedUnit {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, u := range c.units {
		if u.seal.last == last {
			c.units = append(slices.Delete(c.units, i, i+1), u)
			return u
		}
	}
	return nil
}

func (c *sealedCache) put(u *sealedUnit) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.units = append(c.units, u)
	total := 0
	for i, u := range slices.Backward(c.units) {
		u.mu.Lock()
		total += u.size
		u.mu.Unlock()
		if total > sealedCacheBytes && i < len(c.units)-1 {
			c.units = slices.Delete(c.units, 0, i+1)
			return
		}
	}
}
