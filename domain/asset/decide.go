package asset

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Ordered is a command with what it is decided against beside the structure.
type Ordered struct {
	Command    Command
	IfRevision *eventlog.Revision // of the asset, as Service says it
	Nameplates uint64             // facts in the asset's own stream, which its revision counts too
	Classes    Classes
}

// Decider is the behaviour of the structure stream.
func Decider() eventlog.Decider[*Structure, Ordered] {
	return eventlog.Decider[*Structure, Ordered]{
		Decode: Decode,
		Decide: decide,
		Evolve: func(s *Structure, e eventlog.Event) *Structure {
			if s == nil {
				s = NewStructure()
			}
			// Between facts of one stream their order is all that positions say.
			s.facts++
			s.Apply(e, eventlog.Position(s.facts))
			return s
		},
	}
}

// all is beyond every position: rules look at everything that is known.
const all = eventlog.End

func decide(s *Structure, o Ordered) ([]eventlog.Event, error) {
	if s == nil {
		s = NewStructure()
	}
	if err := checkTime(o.Command.effective()); err != nil {
		return nil, fmt.Errorf("asset %s: %w", o.Command.about(), err)
	}
	if r, ok := o.Command.(Register); ok {
		return s.decideRegister(r, o.Classes)
	}
	n, err := s.known(o.Command.about())
	if err != nil {
		return nil, err
	}
	actual := eventlog.Revision(uint64(len(n.Facts)) + o.Nameplates - 1)
	if o.IfRevision != nil && *o.IfRevision != actual {
		return nil, &eventlog.MovedError{What: "asset " + n.ID, Given: *o.IfRevision, Actual: actual}
	}
	t := o.Command.effective().UnixNano()
	if !n.Alive(t, all) {
		return nil, n.notThen(o.Command.effective())
	}
	switch c := o.Command.(type) {
	case Move:
		return s.decideMove(n, c, t)
	case Rename:
		return s.decideRename(n, c, t)
	case Retire:
		return s.decideRetire(n, c, t)
	case Relate:
		return s.decideRelate(n, Edge{c.Type, c.To}, true, c.Effective)
	case Unrelate:
		return s.decideRelate(n, Edge{c.Type, c.To}, false, c.Effective)
	case BindTag:
		return n.decideBind(c, o.Classes)
	case UnbindTag:
		return n.decideUnbind(c)
	}
	panic(fmt.Sprintf("asset: no rule for %T", o.Command)) // Command is sealed
}

func (s *Structure) known(id string) (*Node, error) {
	n := s.nodes[id]
	if n == nil || n.Known == 0 {
		return nil, fmt.Errorf("asset %q: %w", id, ErrNoAsset)
	}
	return n, nil
}

func (n *Node) notThen(t time.Time) error {
	life := "from " + instant(n.Born)
	if end := n.End(all); end != Forever {
		life += " to " + instant(end)
	}
	return fmt.Errorf("asset %s at %s: it exists %s: %w", n.ID, instant(t.UnixNano()), life, ErrNotThen)
}

func instant(t int64) string { return time.Unix(0, t).UTC().Format(time.RFC3339Nano) }

func (s *Structure) decideRegister(c Register, classes Classes) ([]eventlog.Event, error) {
	if s.nodes[c.Asset] != nil {
		return nil, fmt.Errorf("asset %s: its id is taken: %w", c.Asset, ErrDuplicate)
	}
	if err := checkName("name", c.Name); err != nil {
		return nil, err
	}
	if c.Level.rank() < 0 {
		return nil, fmt.Errorf("asset %q: level %q, expected one of %v: %w", c.Name, c.Level, levels, ErrLevel)
	}
	if c.Class != "" && !classes.has(c.Class, c.ClassVersion) {
		return nil, fmt.Errorf("asset %q: class %q version %d: %w", c.Name, c.Class, c.ClassVersion, ErrNoClass)
	}
	if c.Class == "" && c.ClassVersion != 0 {
		return nil, fmt.Errorf("asset %q: version %d of no class: %w", c.Name, c.ClassVersion, ErrNoClass)
	}
	var plate json.RawMessage
	if len(c.Nameplate) > 0 {
		var err error
		if plate, err = checkObject(c.Nameplate); err != nil {
			return nil, fmt.Errorf("asset %q: nameplate: %w", c.Name, err)
		}
	}
	t := c.Effective.UnixNano()
	n := &Node{ID: c.Asset, Level: c.Level}
	if err := s.checkParent(n, c.Parent, t, Forever); err != nil {
		return nil, err
	}
	if err := s.checkName(n, c.Parent, c.Name, t, Forever); err != nil {
		return nil, err
	}
	return []eventlog.Event{Registered{
		Asset: c.Asset, Class: c.Class, ClassVersion: c.ClassVersion, Effective: c.Effective.UTC(),
		Level: c.Level, Name: c.Name, Nameplate: plate, Parent: c.Parent,
	}}, nil
}

func (s *Structure) decideMove(n *Node, c Move, t int64) ([]eventlog.Event, error) {
	if f, _ := n.Parent.At(t, all); f.Value == c.Parent {
		return nil, nil
	}
	// The move holds until the next one that is already known, or to the end
	// of the asset's life.
	to := min(n.Parent.next(t), n.End(all))
	if err := s.checkParent(n, c.Parent, t, to); err != nil {
		return nil, err
	}
	if err := s.checkCycle(n, c.Parent, t, to); err != nil {
		return nil, err
	}
	for name := range n.Name.Spans(t, to, all) {
		if err := s.checkName(n, c.Parent, name.Value, name.From, name.To); err != nil {
			return nil, err
		}
	}
	return []eventlog.Event{Moved{Asset: n.ID, Effective: c.Effective.UTC(), Parent: c.Parent}}, nil
}

func (s *Structure) decideRename(n *Node, c Rename, t int64) ([]eventlog.Event, error) {
	if err := checkName("name", c.Name); err != nil {
		return nil, fmt.Errorf("asset %s: %w", n.ID, err)
	}
	if f, _ := n.Name.At(t, all); f.Value == c.Name {
		return nil, nil
	}
	for parent := range n.Parent.Spans(t, min(n.Name.next(t), n.End(all)), all) {
		if err := s.checkName(n, parent.Value, c.Name, parent.From, parent.To); err != nil {
			return nil, err
		}
	}
	return []eventlog.Event{Renamed{Asset: n.ID, Effective: c.Effective.UTC(), Name: c.Name}}, nil
}

func (s *Structure) decideRetire(n *Node, c Retire, t int64) ([]eventlog.Event, error) {
	if t == n.Born {
		return nil, fmt.Errorf("asset %s: retired when it begins: %w", n.ID, ErrBadTime)
	}
	for id := range s.children[n.ID] {
		child := s.nodes[id]
		for p := range child.Parent.Spans(max(t, child.Born), child.End(all), all) {
			if p.Value == n.ID {
				return nil, fmt.Errorf("asset %s: %s lies in it at %s: %w", n.ID, id, instant(p.From), ErrHasChildren)
			}
		}
	}
	return []eventlog.Event{Retired{Asset: n.ID, Effective: c.Effective.UTC()}}, nil
}

// checkParent holds the parent to being there all the time, at a level above.
func (s *Structure) checkParent(n *Node, parent string, from, to int64) error {
	if parent == "" {
		if n.Level != Enterprise {
			return fmt.Errorf("asset %s: %s without a parent, only %s may be at the top: %w", n.ID, n.Level, Enterprise, ErrLevel)
		}
		return nil
	}
	p, err := s.known(parent)
	if err != nil {
		return fmt.Errorf("parent: %w", err)
	}
	if !n.Level.fits(p.Level) {
		return fmt.Errorf("asset %s: %s in %s, expected a lower level than its parent's: %w", n.ID, n.Level, p.Level, ErrLevel)
	}
	if p.Born > from || p.End(all) < to {
		return fmt.Errorf("parent: %w", p.notThen(time.Unix(0, max(from, min(p.End(all), to)))))
	}
	return nil
}

// checkCycle walks up from the parent through every instant of [from, to).
func (s *Structure) checkCycle(n *Node, parent string, from, to int64) error {
	if parent == n.ID {
		return fmt.Errorf("asset %s at %s: %w", n.ID, instant(from), ErrCycle)
	}
	p := s.nodes[parent]
	if p == nil {
		return nil // the top
	}
	for up := range p.Parent.Spans(from, to, all) {
		if err := s.checkCycle(n, up.Value, up.From, up.To); err != nil {
			return err
		}
	}
	return nil
}

// checkName holds that no sibling has the name at any instant of [from, to).
func (s *Structure) checkName(n *Node, parent, name string, from, to int64) error {
	for id := range s.slots[slot{parent, name}] {
		if id == n.ID {
			continue
		}
		other := s.nodes[id]
		for p := range other.Parent.Spans(max(from, other.Born), min(to, other.End(all)), all) {
			if p.Value != parent {
				continue
			}
			for nm := range other.Name.Spans(p.From, p.To, all) {
				if nm.Value == name {
					return fmt.Errorf("asset %s: %q is %s at %s: %w", n.ID, name, id, instant(nm.From), ErrDuplicate)
				}
			}
		}
	}
	return nil
}

func (s *Structure) decideRelate(n *Node, e Edge, on bool, when time.Time) ([]eventlog.Event, error) {
	if err := checkName("relationship type", e.Type); err != nil {
		return nil, fmt.Errorf("asset %s: %w", n.ID, err)
	}
	to, err := s.known(e.To)
	if err != nil {
		return nil, fmt.Errorf("relationship %s: %w", e.Type, err)
	}
	if !to.Alive(when.UnixNano(), all) {
		return nil, fmt.Errorf("relationship %s: %w", e.Type, to.notThen(when))
	}
	now := false
	if line := n.Out[e]; line != nil {
		f, _ := line.At(when.UnixNano(), all)
		now = f.Value
	}
	switch {
	case now == on:
		return nil, nil
	case on:
		return []eventlog.Event{Related{Effective: when.UTC(), From: n.ID, To: e.To, Type: e.Type}}, nil
	}
	return []eventlog.Event{Unrelated{Effective: when.UTC(), From: n.ID, To: e.To, Type: e.Type}}, nil
}

func (n *Node) decideBind(c BindTag, classes Classes) ([]eventlog.Event, error) {
	if err := checkName("tag", c.Tag); err != nil {
		return nil, fmt.Errorf("asset %s: %w", n.ID, err)
	}
	if n.Class != "" && !classes.hasTag(n.Class, n.ClassVersion, c.Tag) {
		return nil, fmt.Errorf("asset %s: class %q has no tag %q: %w", n.ID, n.Class, c.Tag, ErrNoTag)
	}
	if c.Device == "" || c.Signal == "" || len(c.Device) > maxPoint || len(c.Signal) > maxPoint {
		return nil, fmt.Errorf("tag %s: device %q, signal %q, expected 1 to %d bytes each: %w",
			TagID(n.ID, c.Tag), c.Device, c.Signal, maxPoint, ErrBadPoint)
	}
	p := Point{c.Device, c.Signal}
	if n.pointAt(c.Tag, c.Effective) == p {
		return nil, nil
	}
	return []eventlog.Event{TagBound{Asset: n.ID, Device: p.Device, Effective: c.Effective.UTC(), Signal: p.Signal, Tag: c.Tag}}, nil
}

// maxPoint is what a stream's name can hold of a device's.
const maxPoint = 200

func (n *Node) decideUnbind(c UnbindTag) ([]eventlog.Event, error) {
	if n.Tags[c.Tag] == nil {
		return nil, fmt.Errorf("tag %s was never bound: %w", TagID(n.ID, c.Tag), ErrNoTag)
	}
	if n.pointAt(c.Tag, c.Effective) == (Point{}) {
		return nil, nil
	}
	return []eventlog.Event{TagUnbound{Asset: n.ID, Effective: c.Effective.UTC(), Tag: c.Tag}}, nil
}

func (n *Node) pointAt(tag string, t time.Time) Point {
	line := n.Tags[tag]
	if line == nil {
		return Point{}
	}
	f, _ := line.At(t.UnixNano(), all)
	return f.Value
}
