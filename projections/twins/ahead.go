package twins

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/settings"
)

// maxWaiting bounds the samples of a point that wait for their time: a clock
// that is a year ahead would fill the memory. When there are more, they are
// thinned out, so that the value still moves, in coarser steps.
const maxWaiting = 16

// due says when a point's first waiting sample comes. One that is no longer true
// does no harm.
type due struct {
	source int64
	point  uint32
}

// dues is a heap of them, the first to come at the front.
type dues []due

func (h dues) Len() int           { return len(h) }
func (h dues) Less(a, b int) bool { return h[a].source < h[b].source }
func (h dues) Swap(a, b int)      { h[a], h[b] = h[b], h[a] }
func (h *dues) Push(x any)        { *h = append(*h, x.(due)) }
func (h *dues) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}

// wait keeps a sample whose time has not come.
func (p *Projection) wait(n uint32, r *reading) {
	r.quality = settings.Doubted(r.quality)
	s := &p.slots[n]
	at, _ := slices.BinarySearchFunc(s.waiting, r, func(a reading, b *reading) int {
		return cmp.Or(cmp.Compare(a.source, b.source), cmp.Compare(a.position, b.position))
	})
	s.waiting = slices.Insert(s.waiting, at, *r)
	if at == 0 {
		heap.Push(&p.ahead, due{r.source, n})
	}
	if len(s.waiting) > maxWaiting {
		s.thin()
	}
	p.touch(s)
}

// thin removes the waiting sample whose neighbours are closest together, but
// neither the first nor the last.
func (s *slot) thin() {
	gap := func(i int) uint64 { return uint64(s.waiting[i+1].source) - uint64(s.waiting[i-1].source) }
	best := 1
	for i := 2; i+1 < len(s.waiting); i++ {
		if gap(i) < gap(best) {
			best = i
		}
	}
	s.waiting = slices.Delete(s.waiting, best, best+1)
}

// comeDue makes the samples current whose time has come.
func (p *Projection) comeDue(pos eventlog.Position) {
	limit := p.recorded + int64(p.settings.AllowedSkew)
	for len(p.ahead) > 0 && p.ahead[0].source <= limit {
		s := &p.slots[heap.Pop(&p.ahead).(due).point]
		n := 0
		for n < len(s.waiting) && s.waiting[n].source <= limit {
			n++
		}
		if n == 0 {
			continue
		}
		// The last of them counts; those before it were current for no time.
		if r := &s.waiting[n-1]; !s.ok || r.source > s.source || r.source == s.source && r.position > s.position {
			p.set(s, r, pos)
		}
		s.waiting = slices.Delete(s.waiting, 0, n)
		if len(s.waiting) > 0 {
			heap.Push(&p.ahead, due{s.waiting[0].source, s.number})
		}
		p.touch(s)
	}
}
