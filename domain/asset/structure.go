package asset

import (
	"encoding/json"
	"slices"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Structure is everything that the structure stream says, on both clocks. It
// is the state that commands are decided against, and the index from which the
// assets projection answers.
type Structure struct {
	nodes    map[string]*Node
	children map[string]map[string]bool // parent to every child it ever had
	slots    map[slot]map[string]bool   // a place in the hierarchy to all that were ever in it
	points   map[Point]map[string]bool  // a point to the ids of all tags that it ever fed
	incoming map[string]map[string]bool // asset to all that were ever related to it
	facts    uint64                     // in the order decided, where positions are not known
}

type slot struct{ parent, name string }

// Point names a device's signal. The zero Point is none.
type Point struct{ Device, Signal string }

// Node is one asset with its whole past.
type Node struct {
	ID           string
	Level        Level
	Class        string
	ClassVersion int // 0: whichever is in force
	Nameplate    json.RawMessage
	Known        eventlog.Position // of its registration; 0 if there was none
	Born         int64             // effective

	Life   Timeline[bool] // true from Born, false from its retirement
	Parent Timeline[string]
	Name   Timeline[string]
	Tags   map[string]*Timeline[Point] // by the tag's name
	Out    map[Edge]*Timeline[bool]
	Facts  []eventlog.Position // of every fact about it, rising
}

// Edge is one relationship of an asset, seen from it.
type Edge struct{ Type, To string }

// NewStructure returns an empty structure.
func NewStructure() *Structure {
	return &Structure{
		nodes: map[string]*Node{}, children: map[string]map[string]bool{}, slots: map[slot]map[string]bool{},
		points: map[Point]map[string]bool{}, incoming: map[string]map[string]bool{},
	}
}

// Node returns an asset that is or was, or nil.
func (s *Structure) Node(id string) *Node { return s.nodes[id] }

// Nodes returns all assets that are or were, in no order.
func (s *Structure) Nodes() map[string]*Node { return s.nodes }

// Children returns all assets that ever lay in a parent, in no order.
func (s *Structure) Children(parent string) map[string]bool { return s.children[parent] }

// InSlot returns all assets that ever had that name and, at some time, that parent.
func (s *Structure) InSlot(parent, name string) map[string]bool { return s.slots[slot{parent, name}] }

// TagsOf returns the ids of all tags that a point ever fed.
func (s *Structure) TagsOf(p Point) map[string]bool { return s.points[p] }

// Incoming returns all assets that ever had a relationship to this one.
func (s *Structure) Incoming(asset string) map[string]bool { return s.incoming[asset] }

// Apply adds the fact of an event at a position. It never refuses: an event
// about an asset that was never registered stays without effect.
func (s *Structure) Apply(event eventlog.Event, at eventlog.Position) {
	switch e := event.(type) {
	case Registered:
		s.register(e, at)
	case Moved:
		n := s.fact(e.Asset, at)
		n.Parent.Add(Fact[string]{e.Effective.UnixNano(), at, e.Parent})
		s.place(n)
	case Renamed:
		n := s.fact(e.Asset, at)
		n.Name.Add(Fact[string]{e.Effective.UnixNano(), at, e.Name})
		s.place(n)
	case Retired:
		s.fact(e.Asset, at).Life.Add(Fact[bool]{e.Effective.UnixNano(), at, false})
	case Related:
		s.relate(e.From, Edge{e.Type, e.To}, Fact[bool]{e.Effective.UnixNano(), at, true})
	case Unrelated:
		s.relate(e.From, Edge{e.Type, e.To}, Fact[bool]{e.Effective.UnixNano(), at, false})
	case TagBound:
		s.bind(e.Asset, e.Tag, Fact[Point]{e.Effective.UnixNano(), at, Point{e.Device, e.Signal}})
	case TagUnbound:
		s.bind(e.Asset, e.Tag, Fact[Point]{e.Effective.UnixNano(), at, Point{}})
	}
}

// Count counts a fact about an asset that another stream holds: its nameplate's.
func (s *Structure) Count(id string, at eventlog.Position) { s.fact(id, at) }

// fact counts a fact about an asset and returns its node.
func (s *Structure) fact(id string, at eventlog.Position) *Node {
	n := s.nodes[id]
	if n == nil {
		n = &Node{ID: id}
		s.nodes[id] = n
	}
	i, _ := slices.BinarySearch(n.Facts, at)
	n.Facts = slices.Insert(n.Facts, i, at)
	return n
}

func (s *Structure) register(e Registered, at eventlog.Position) {
	n := s.fact(e.Asset, at)
	if n.Known != 0 && n.Known <= at {
		return // a second registration says nothing
	}
	from := e.Effective.UnixNano()
	n.Level, n.Class, n.ClassVersion, n.Nameplate = e.Level, e.Class, e.ClassVersion, e.Nameplate
	n.Known, n.Born = at, from
	n.Life.Add(Fact[bool]{from, at, true})
	n.Parent.Add(Fact[string]{from, at, e.Parent})
	n.Name.Add(Fact[string]{from, at, e.Name})
	s.place(n)
}

// place puts the node under every parent, and into every slot, that it ever had.
func (s *Structure) place(n *Node) {
	for _, p := range n.Parent.facts {
		add(s.children, p.Value, n.ID)
		for _, name := range n.Name.facts {
			add(s.slots, slot{p.Value, name.Value}, n.ID)
		}
	}
}

func add[K comparable](index map[K]map[string]bool, key K, id string) {
	set := index[key]
	if set == nil {
		set = map[string]bool{}
		index[key] = set
	}
	set[id] = true
}

func (s *Structure) relate(from string, e Edge, f Fact[bool]) {
	n := s.fact(from, f.Known)
	if n.Out == nil {
		n.Out = map[Edge]*Timeline[bool]{}
	}
	if n.Out[e] == nil {
		n.Out[e] = &Timeline[bool]{}
	}
	n.Out[e].Add(f)
	add(s.incoming, e.To, from)
}

func (s *Structure) bind(id, tag string, f Fact[Point]) {
	n := s.fact(id, f.Known)
	if n.Tags == nil {
		n.Tags = map[string]*Timeline[Point]{}
	}
	if n.Tags[tag] == nil {
		n.Tags[tag] = &Timeline[Point]{}
	}
	n.Tags[tag].Add(f)
	if f.Value != (Point{}) {
		add(s.points, f.Value, TagID(id, tag))
	}
}

// Alive reports whether the asset is in its role at t, as known at a position.
func (n *Node) Alive(t int64, known eventlog.Position) bool {
	f, ok := n.Life.At(t, known)
	return ok && f.Value
}

// End returns when the asset is retired, as known at a position; Forever if it
// is not.
func (n *Node) End(known eventlog.Position) int64 {
	for sp := range n.Life.Spans(n.Born, Forever, known) {
		if !sp.Value {
			return sp.From
		}
	}
	return Forever
}

// FactsBy counts the facts about the asset that are known at a position.
func (n *Node) FactsBy(known eventlog.Position) int {
	i, _ := slices.BinarySearchFunc(n.Facts, known, func(a, b eventlog.Position) int {
		if a <= b {
			return -1
		}
		return 1
	})
	return i
}
