package badgerlog

import "time"

// gather takes what else is waiting, up to a commit's size, and after a commit
// of many requests waits a moment for as many again. It does not wait
// otherwise: while a commit syncs, the next one gathers by itself.
func (l *Log) gather(batch []*request) []*request {
	c := &l.committer
	var late <-chan time.Time // nil: do not wait
	if c.before >= siblings {
		timer := time.NewTimer(gatherWait)
		defer timer.Stop()
		late = timer.C
	}
	for size := batch[0].texts + batch[0].data; len(batch) < maxRequests && size < gatherBytes; {
		r := l.another(late, len(batch) < c.before)
		if r == nil {
			break
		}
		if !sameCommit(batch[0], r) {
			c.held = r
			break
		}
		batch = append(batch, r)
		size += r.texts + r.data
	}
	c.before = len(batch)
	return batch
}

// another returns a request that is waiting, or nil. If wait is set it gives
// one until late to come.
func (l *Log) another(late <-chan time.Time, wait bool) *request {
	select {
	case r := <-l.queue:
		return r
	default:
	}
	if late == nil || !wait {
		return nil
	}
	select {
	case r := <-l.queue:
		return r
	case <-late:
		return nil
	}
}
