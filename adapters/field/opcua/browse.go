package opcua

import (
	"context"
	"fmt"
	"strconv"

	"github.com/gopcua/opcua"
	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"github.com/twinlog/twinlog/edge/acquire"
)

var _ acquire.Browser = (*Source)(nil)

// maxBrowsed bounds how many nodes one browse looks at.
const maxBrowsed = 1_000_000

// Browse walks the hierarchy below from, or below the Objects folder without
// the server's description of itself. Properties are read as what they say of
// their variable: range and unit.
func (s *Source) Browse(ctx context.Context, from string, found func(acquire.Node) error) error {
	c, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer hangUp(c, false)
	start := ua.NewNumericNodeID(0, id.ObjectsFolder)
	if from != "" {
		ref, err := parseNode(from)
		if err != nil {
			return err
		}
		if start, err = ref.resolve(c.Namespaces()); err != nil {
			return err
		}
	}
	w := walk{c: c, found: found, seen: map[string]bool{start.String(): true}}
	if from == "" {
		w.seen[ua.NewNumericNodeID(0, id.Server).String()] = true
	}
	return w.below(ctx, start, "")
}

type walk struct {
	c     *opcua.Client
	found func(acquire.Node) error
	seen  map[string]bool
}

func (w *walk) below(ctx context.Context, parent *ua.NodeID, name string) error {
	children, err := w.children(ctx, parent)
	if err != nil {
		return fmt.Errorf("browse %v: %w", parent, err)
	}
	for _, ref := range children {
		node := ref.NodeID.NodeID
		if node == nil || w.seen[node.String()] {
			continue
		}
		if w.seen[node.String()] = true; len(w.seen) > maxBrowsed {
			return fmt.Errorf("more than %d nodes, expected to browse from a node further down", maxBrowsed)
		}
		n := acquire.Node{ID: w.name(node), Parent: name, Name: ref.DisplayName.Text}
		switch ref.NodeClass { //nolint:exhaustive // types and views are no values
		case ua.NodeClassVariable:
			if ref.ReferenceTypeID != nil && ref.ReferenceTypeID.IntID() == id.HasProperty && ref.ReferenceTypeID.Namespace() == 0 {
				continue
			}
			n.Value, n.Tag = true, map[string]string{"node_id": n.ID}
			if err := w.describe(ctx, node, &n); err != nil {
				return err
			}
		case ua.NodeClassObject:
		case ua.NodeClassMethod:
			n.Type, n.Writable = "method", true
			n.Tag = map[string]string{"node_id": name, "method": n.ID}
		default:
			continue
		}
		if err := w.found(n); err != nil {
			return err
		}
		if ref.NodeClass == ua.NodeClassMethod {
			continue
		}
		if err := w.below(ctx, node, n.ID); err != nil {
			return err
		}
	}
	return nil
}

// children returns what the hierarchy has right below a node.
func (w *walk) children(ctx context.Context, node *ua.NodeID) ([]*ua.ReferenceDescription, error) {
	answer, err := w.c.Browse(ctx, &ua.BrowseRequest{NodesToBrowse: []*ua.BrowseDescription{{
		NodeID: node, BrowseDirection: ua.BrowseDirectionForward, IncludeSubtypes: true, ResultMask: uint32(ua.BrowseResultMaskAll),
		ReferenceTypeID: ua.NewNumericNodeID(0, id.HierarchicalReferences),
	}}})
	if err != nil {
		return nil, err
	}
	if len(answer.Results) != 1 {
		return nil, ua.StatusBadUnknownResponse
	}
	result := answer.Results[0]
	if result.StatusCode != ua.StatusOK {
		return nil, result.StatusCode
	}
	all := result.References
	for len(result.ContinuationPoint) > 0 {
		next, err := w.c.BrowseNext(ctx, &ua.BrowseNextRequest{ContinuationPoints: [][]byte{result.ContinuationPoint}})
		if err != nil {
			return nil, err
		}
		if len(next.Results) != 1 || len(all) > maxBrowsed {
			return nil, ua.StatusBadUnknownResponse
		}
		result = next.Results[0]
		all = append(all, result.References...)
	}
	return all, nil
}

// name writes a node with its namespace's name, which is the same after the
// server has been set up anew, where its number need not be.
func (w *walk) name(node *ua.NodeID) string {
	names := w.c.Namespaces()
	ns := int(node.Namespace())
	if ns == 0 || ns >= len(names) {
		return node.String()
	}
	prefix := "ns=" + strconv.Itoa(ns) + ";"
	return "nsu=" + names[ns] + ";" + node.String()[len(prefix):]
}

// describe reads type, access, range and unit of a variable.
func (w *walk) describe(ctx context.Context, node *ua.NodeID, n *acquire.Node) error {
	answer, err := w.c.Read(ctx, &ua.ReadRequest{NodesToRead: []*ua.ReadValueID{
		{NodeID: node, AttributeID: ua.AttributeIDDataType}, {NodeID: node, AttributeID: ua.AttributeIDUserAccessLevel},
	}})
	if err != nil {
		return err
	}
	if len(answer.Results) == 2 {
		if v := answer.Results[0].Value; v != nil {
			if t, ok := v.Value().(*ua.NodeID); ok && t != nil {
				n.Type = typeName(t)
			}
		}
		if v := answer.Results[1].Value; v != nil {
			if access, ok := v.Value().(uint8); ok {
				n.Writable = access&uint8(ua.AccessLevelTypeCurrentWrite) != 0
			}
		}
	}
	variable := w.c.Node(node)
	if x, ok := property(ctx, w.c, variable, "EURange").(*ua.Range); ok && x != nil {
		n.Low, n.High, n.Ranged = x.Low, x.High, true
	}
	if x, ok := property(ctx, w.c, variable, "EngineeringUnits").(*ua.EUInformation); ok && x != nil && x.DisplayName != nil {
		n.Unit = x.DisplayName.Text
	}
	return nil
}

// property returns the structure in a property, nil where there is none.
func property(ctx context.Context, c *opcua.Client, variable *opcua.Node, name string) any {
	node, err := variable.TranslateBrowsePathInNamespaceToNodeID(ctx, 0, name)
	if err != nil {
		return nil
	}
	v, err := c.Node(node).Value(ctx)
	if err != nil || v == nil {
		return nil
	}
	if x, ok := v.Value().(*ua.ExtensionObject); ok && x != nil {
		return x.Value
	}
	return nil
}

// typeName is a data type's name, or its node where it is the server's own.
func typeName(t *ua.NodeID) string {
	if name := id.Name(t.IntID()); t.Namespace() == 0 && name != "" {
		return name
	}
	return t.String()
}
