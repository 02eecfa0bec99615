package esdbgrpc

import (
	"hash/maphash"
	"sync"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// maxRecentIDs bounds the memory of ids for appends without an exact revision,
// about 8 MiB as in EventStoreDB.
const maxRecentIDs = 1 << 16

// recentIDs remembers where the newest events of this server are, so that an
// append without an exact revision can be tried again. It is a cache: what it
// has forgotten, or a restart made it forget, is written again.
type recentIDs struct {
	// mu guards the rest; it is never held while another lock is taken.
	mu   sync.Mutex
	at   map[recentKey]recentPlace
	ring []recentKey // the oldest is at next
	next int
}

type recentKey struct {
	stream eventlog.StreamID
	id     eventlog.EventID
}

type recentPlace struct {
	revision eventlog.Revision
	last     eventlog.Position // of its append
}

func newRecentIDs(most int) *recentIDs {
	return &recentIDs{at: map[recentKey]recentPlace{}, ring: make([]recentKey, most)}
}

func (c *recentIDs) add(id eventlog.StreamID, events []eventlog.NewEvent, a eventlog.Appended) {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := a.Revision - eventlog.Revision(len(events)-1)
	for i, e := range events {
		delete(c.at, c.ring[c.next])
		key := recentKey{id, e.ID}
		c.ring[c.next], c.at[key] = key, recentPlace{first + eventlog.Revision(i), a.Last}
		c.next = (c.next + 1) % len(c.ring)
	}
}

// find returns where all of these events are in a row, if they are, and how
// many of them are known from the first on.
func (c *recentIDs) find(id eventlog.StreamID, events []eventlog.NewEvent) (last recentPlace, known int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, e := range events {
		p, ok := c.at[recentKey{id, e.ID}]
		if !ok || i > 0 && p.revision != last.revision+1 {
			return last, known
		}
		last, known = p, known+1
	}
	return last, known
}

// stripes are locks by stream: appends that find the head themselves take
// turns. Two streams may share one, which costs only time.
type stripes struct {
	seed  maphash.Seed
	once  sync.Once
	locks [256]sync.Mutex
}

func (s *stripes) of(id eventlog.StreamID) *sync.Mutex {
	s.once.Do(func() { s.seed = maphash.MakeSeed() })
	return &s.locks[maphash.String(s.seed, string(id))%uint64(len(s.locks))]
}
