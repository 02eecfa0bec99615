package modbus

import (
	"cmp"
	"slices"
)

// A block is what one request reads: items of one unit and table whose
// addresses lie close together. Items are indices into the source's list,
// sorted by address.
type block struct {
	request
	items []int
}

// A region is one table of one unit.
type region struct {
	unit  uint8
	table Table
}

// lessons are what a device has taught by refusing: items whose addresses it
// does not have, and addresses before which a block has to end because it
// refuses to be read across.
type lessons struct {
	illegal map[int]bool // by item
	fences  map[region]map[int]bool
}

func (l *lessons) forget() { l.illegal, l.fences = map[int]bool{}, map[region]map[int]bool{} }

func (l *lessons) fence(r region, address int) {
	if l.fences[r] == nil {
		l.fences[r] = map[int]bool{}
	}
	l.fences[r][address] = true
}

// sorted returns items in the order of unit, table and address.
func (s *Source) sorted(items []int) []int {
	out := slices.Clone(items)
	slices.SortStableFunc(out, func(a, b int) int {
		x, y := s.items[a], s.items[b]
		return cmp.Or(cmp.Compare(x.Unit, y.Unit), cmp.Compare(x.Table, y.Table), cmp.Compare(x.Address, y.Address), cmp.Compare(x.end(), y.end()))
	})
	return out
}

// plan joins sorted items into blocks: a block grows as long as its gap, its
// size and what the device has taught allow. Illegal items are left out, and no
// block reads across one.
func (s *Source) plan(sorted []int) []block {
	var blocks []block
	apart := false // an illegal item lies between the last block and what comes
	for _, item := range sorted {
		it := s.items[item]
		r := region{it.Unit, it.Table}
		if s.taught.illegal[item] {
			apart = true
			continue
		}
		if n := len(blocks) - 1; n >= 0 && blocks[n].region() == r && !apart && s.joins(blocks[n], it) {
			blocks[n].grow(it, item)
			continue
		}
		apart = false
		blocks = append(blocks, block{items: []int{item}, request: request{
			unit: it.Unit, table: it.Table, start: it.Address, count: uint16(it.registers()), //nolint:gosec // 1 to 4
		}})
	}
	return blocks
}

// joins reports whether an item that starts at or after the block's start may
// be read with it.
func (s *Source) joins(b block, it Item) bool {
	gap, most := s.config.Gap, s.config.Most
	if it.Table.bits() {
		gap, most = 8*gap, it.Table.most()
	}
	if s.taught.fences[b.region()][int(it.Address)] {
		return false
	}
	return int(it.Address)-b.end() <= gap && max(it.end(), b.end())-int(b.start) <= most
}

func (b block) region() region { return region{b.unit, b.table} }

func (b block) end() int { return int(b.start) + int(b.count) }

func (b *block) grow(it Item, item int) {
	b.items = append(b.items, item)
	b.count = uint16(max(it.end(), b.end()) - int(b.start)) //nolint:gosec // at most 2000
}

// halves splits a block of two or more items in the middle of its items, and
// shrinks each half to what its own items need.
func (s *Source) halves(b block) (left, right block) {
	shrink := func(items []int) block {
		h := block{items: items, request: request{unit: b.unit, table: b.table, start: s.items[items[0]].Address}}
		for _, item := range items {
			h.count = uint16(max(int(h.count), s.items[item].end()-int(h.start))) //nolint:gosec // within b
		}
		return h
	}
	m := len(b.items) / 2
	return shrink(b.items[:m]), shrink(b.items[m:])
}
