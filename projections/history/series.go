package history

import (
	"cmp"
	"slices"
	"sort"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

func (s *series) reset() {
	s.times, s.positions, s.kinds, s.bits = s.times[:0], s.positions[:0], s.kinds[:0], s.bits[:0]
	s.texts, s.quality, s.identity, s.received = s.texts[:0], s.quality[:0], s.identity[:0], s.received[:0]
}

func (s *series) appendAll(t *series) {
	for i, k := range t.kinds {
		bits := t.bits[i]
		if k == telemetry.String {
			s.texts = append(s.texts, t.texts[bits])
			bits = uint64(len(s.texts) - 1)
		}
		s.bits = append(s.bits, bits)
		s.quality = append(s.quality, s.qualityNo(t.known[t.quality[i]]))
	}
	s.times, s.positions = append(s.times, t.times...), append(s.positions, t.positions...)
	s.kinds, s.identity = append(s.kinds, t.kinds...), append(s.identity, t.identity...)
}

// sort puts the samples in the order of (SourceTime, position).
func (s *series) sort() {
	order := make([]int, s.len())
	sorted := true
	for i := range order {
		order[i] = i
		sorted = sorted && (i == 0 || s.compare(i-1, i) < 0)
	}
	if sorted {
		return
	}
	slices.SortFunc(order, s.compare)
	s.times, s.positions = inOrder(s.times, order), inOrder(s.positions, order)
	s.kinds, s.bits, s.quality = inOrder(s.kinds, order), inOrder(s.bits, order), inOrder(s.quality, order)
	if len(s.identity) > 0 {
		s.identity = inOrder(s.identity, order)
	}
}

func (s *series) compare(a, b int) int {
	return cmp.Or(cmp.Compare(s.times[a], s.times[b]), cmp.Compare(s.positions[a], s.positions[b]))
}

func inOrder[T any](v []T, order []int) []T {
	out := make([]T, len(order))
	for i, k := range order {
		out[i] = v[k]
	}
	return out
}

// cut keeps the samples with SourceTime in [from, to] and position up to known.
func (s *series) cut(from, to int64, known eventlog.Position) {
	a := sort.Search(s.len(), func(i int) bool { return s.times[i] >= from })
	b := a + sort.Search(s.len()-a, func(i int) bool { return s.times[a+i] > to })
	if a > 0 || b < s.len() {
		s.keep(a, b)
	}
	late := false
	for _, p := range s.positions {
		late = late || p > known
	}
	if !late {
		return
	}
	k := 0
	for i, p := range s.positions {
		if p > known {
			continue
		}
		s.times[k], s.positions[k], s.kinds[k], s.bits[k], s.quality[k] = s.times[i], p, s.kinds[i], s.bits[i], s.quality[i]
		if len(s.identity) > 0 {
			s.identity[k] = s.identity[i]
		}
		k++
	}
	s.keep(0, k)
}

// keep keeps the samples [a, b).
func (s *series) keep(a, b int) {
	s.times, s.kinds, s.bits, s.quality = move(s.times, a, b), move(s.kinds, a, b), move(s.bits, a, b), move(s.quality, a, b)
	if len(s.positions) > 0 {
		s.positions = move(s.positions, a, b)
	}
	if len(s.identity) > 0 {
		s.identity = move(s.identity, a, b)
	}
}

// move keeps [a, b) at the front, so that the memory can be used again.
func move[T any](v []T, a, b int) []T {
	copy(v, v[a:b])
	return v[:b-a]
}

// only returns a series of the i-th sample alone, with memory of its own.
func (s *series) only(i int) series {
	o := series{
		times: []int64{s.times[i]}, positions: []eventlog.Position{s.positions[i]}, kinds: slices.Clone(s.kinds[i : i+1]),
		bits: []uint64{s.bits[i]}, known: []quality.Quality{s.known[s.quality[i]]}, quality: []uint32{0},
	}
	if s.kinds[i] == telemetry.String {
		o.texts, o.bits[0] = []string{s.texts[s.bits[i]]}, 0
	}
	if len(s.identity) > 0 {
		o.identity = []identity{s.identity[i]}
	}
	if w := s.was(i); w != nil {
		o.received = []was{{0, w.Shown}}
	}
	return o
}
