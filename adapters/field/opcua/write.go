package opcua

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/gopcua/opcua"
	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge/acquire"
)

var _ acquire.Writer = (*Source)(nil)

// Write writes a variable in the data type that it has, or calls the method of
// a method item, with the value as its argument if it takes one.
func (s *Source) Write(ctx context.Context, i int, v telemetry.Value) error {
	c, it, node, err := s.target(i)
	if err != nil {
		return err
	}
	if it.method != nil {
		return s.call(ctx, c, it, node, v)
	}
	typ, err := dataType(ctx, c, node)
	if err != nil {
		return failure(err, false)
	}
	variant, err := variantOf(typ, v)
	if err != nil {
		return err
	}
	request := &ua.WriteRequest{NodesToWrite: []*ua.WriteValue{{
		NodeID: node, AttributeID: ua.AttributeIDValue,
		Value: &ua.DataValue{EncodingMask: ua.DataValueValue, Value: variant},
	}}}
	if it.element >= 0 {
		request.NodesToWrite[0].IndexRange = fmt.Sprint(it.element)
		if variant, err = arrayOf(variant); err != nil {
			return err
		}
		request.NodesToWrite[0].Value.Value = variant
	}
	answer, err := c.Write(ctx, request)
	switch {
	case err != nil:
		return failure(err, true)
	case len(answer.Results) != 1:
		return failure(ua.StatusBadUnknownResponse, true)
	case bad(answer.Results[0]):
		return failure(answer.Results[0], false)
	}
	return nil
}

// target returns what a write is for.
func (s *Source) target(i int) (*opcua.Client, item, *ua.NodeID, error) {
	if i < 0 || i >= len(s.items) {
		return nil, item{}, nil, failure(ua.StatusBadNotFound, false)
	}
	c, err := s.session()
	if err != nil {
		return nil, item{}, nil, failure(err, false)
	}
	node, err := s.items[i].node.resolve(c.Namespaces())
	if err != nil {
		return nil, item{}, nil, &acquire.WriteError{Code: quality.BadNodeIDUnknown, Err: err}
	}
	return c, s.items[i], node, nil
}

// ReadBack reads a variable from the device behind the server, not from the
// server's memory.
func (s *Source) ReadBack(ctx context.Context, i int) (acquire.Reading, error) {
	c, it, node, err := s.target(i)
	if err != nil {
		return acquire.Reading{}, err
	}
	if it.method != nil || it.events {
		return acquire.Reading{}, acquire.ErrNoReadBack
	}
	answer, err := c.Read(ctx, &ua.ReadRequest{MaxAge: 0, TimestampsToReturn: ua.TimestampsToReturnBoth, NodesToRead: []*ua.ReadValueID{{NodeID: node, AttributeID: ua.AttributeIDValue}}})
	if err != nil {
		return acquire.Reading{}, err
	}
	if len(answer.Results) != 1 || answer.Results[0] == nil {
		return acquire.Reading{}, ua.StatusBadUnknownResponse
	}
	return s.reading(i, answer.Results[0]), nil
}

// failure is why a write was not confirmed. What the server answered is a
// refusal; silence after the request was sent leaves it open.
func failure(err error, sent bool) error {
	status, ok := errors.AsType[ua.StatusCode](err)
	switch {
	case !ok && sent:
		return &acquire.WriteError{Code: quality.BadTimeout, Unknown: true, Err: err}
	case !ok:
		return &acquire.WriteError{Code: quality.BadNoCommunication, Err: err}
	case sent && isOneOf(status, ua.StatusBadTimeout, ua.StatusBadConnectionClosed, ua.StatusBadUnknownResponse, ua.StatusBadSecureChannelClosed, ua.StatusBadRequestTimeout):
		return &acquire.WriteError{Code: quality.Code(status), Unknown: true, Err: err}
	}
	return &acquire.WriteError{Code: quality.Code(status), Err: err}
}

// dataType returns the built-in type of a variable (OPC 10000-6 §5.1.2): that of
// its value, or of its declaration where it has none yet.
func dataType(ctx context.Context, c *opcua.Client, node *ua.NodeID) (ua.TypeID, error) {
	answer, err := c.Read(ctx, &ua.ReadRequest{TimestampsToReturn: ua.TimestampsToReturnNeither, NodesToRead: []*ua.ReadValueID{
		{NodeID: node, AttributeID: ua.AttributeIDValue}, {NodeID: node, AttributeID: ua.AttributeIDDataType},
	}})
	if err != nil {
		return 0, err
	}
	if len(answer.Results) != 2 || answer.Results[0] == nil || answer.Results[1] == nil {
		return 0, ua.StatusBadUnknownResponse
	}
	if bad(answer.Results[1].Status) {
		return 0, answer.Results[1].Status
	}
	if v := answer.Results[0].Value; v != nil && v.Type() != ua.TypeIDNull {
		return v.Type(), nil
	}
	if v := answer.Results[1].Value; v != nil {
		if t, ok := v.Value().(*ua.NodeID); ok && t != nil && t.Namespace() == 0 && t.IntID() <= 25 {
			return ua.TypeID(t.IntID()), nil //nolint:gosec // at most 25
		}
	}
	return 0, ua.StatusBadTypeMismatch
}

// variantOf returns v as a built-in type. What the type does not hold is
// refused; a fraction becomes the nearest integer of an integer type.
func variantOf(typ ua.TypeID, v telemetry.Value) (*ua.Variant, error) {
	mismatch := func() (*ua.Variant, error) {
		return nil, &acquire.WriteError{Code: quality.BadTypeMismatch, Err: fmt.Errorf("no value for a type %d", typ)}
	}
	if typ == ua.TypeIDString || typ == ua.TypeIDLocalizedText {
		if v.Kind != telemetry.String {
			return mismatch()
		}
		if typ == ua.TypeIDLocalizedText {
			return ua.NewVariant(ua.NewLocalizedText(v.Str))
		}
		return ua.NewVariant(v.Str)
	}
	x, ok := v.Number()
	if !ok {
		return mismatch()
	}
	n := math.Round(x)
	if v.Kind == telemetry.Int64 {
		n = float64(int64(v.Bits)) //nolint:gosec // two's complement
	}
	outside := func(low, high float64) bool { return !(n >= low && n <= high) }
	refused := &acquire.WriteError{Code: quality.BadOutOfRange, Err: fmt.Errorf("%v, beyond type %d", x, typ)}
	var out any
	switch typ { //nolint:exhaustive // the others have no number
	case ua.TypeIDBoolean:
		if outside(0, 1) {
			return nil, refused
		}
		out = n == 1
	case ua.TypeIDSByte:
		if outside(math.MinInt8, math.MaxInt8) {
			return nil, refused
		}
		out = int8(n)
	case ua.TypeIDByte:
		if outside(0, math.MaxUint8) {
			return nil, refused
		}
		out = uint8(n)
	case ua.TypeIDInt16:
		if outside(math.MinInt16, math.MaxInt16) {
			return nil, refused
		}
		out = int16(n)
	case ua.TypeIDUint16:
		if outside(0, math.MaxUint16) {
			return nil, refused
		}
		out = uint16(n)
	case ua.TypeIDInt32:
		if outside(math.MinInt32, math.MaxInt32) {
			return nil, refused
		}
		out = int32(n)
	case ua.TypeIDUint32:
		if outside(0, math.MaxUint32) {
			return nil, refused
		}
		out = uint32(n)
	case ua.TypeIDInt64, ua.TypeIDUint64:
		return wide(typ, v, n, refused)
	case ua.TypeIDFloat:
		if math.Abs(x) > math.MaxFloat32 && !math.IsInf(x, 0) {
			return nil, refused
		}
		out = float32(x)
	case ua.TypeIDDouble:
		out = x
	default:
		return mismatch()
	}
	return ua.NewVariant(out)
}

// wide keeps 64 bits exact.
func wide(typ ua.TypeID, v telemetry.Value, n float64, refused error) (*ua.Variant, error) {
	whole := int64(v.Bits) //nolint:gosec // two's complement
	if v.Kind != telemetry.Int64 {
		if !(n >= -1<<63 && n < 1<<63) {
			return nil, refused
		}
		whole = int64(n)
	}
	if typ == ua.TypeIDInt64 {
		return ua.NewVariant(whole)
	}
	if whole < 0 {
		return nil, refused
	}
	return ua.NewVariant(uint64(whole))
}

// call calls the method of an item. A method without arguments is called by any
// value, Null included.
func (s *Source) call(ctx context.Context, c *opcua.Client, it item, object *ua.NodeID, v telemetry.Value) error {
	method, err := it.method.resolve(c.Namespaces())
	if err != nil {
		return &acquire.WriteError{Code: quality.BadNodeIDUnknown, Err: err}
	}
	request := &ua.CallMethodRequest{ObjectID: object, MethodID: method}
	arguments, err := inputs(ctx, c, method)
	if err != nil {
		return failure(err, false)
	}
	switch len(arguments) {
	case 0:
	case 1:
		variant, err := variantOf(arguments[0], v)
		if err != nil {
			return err
		}
		request.InputArguments = []*ua.Variant{variant}
	default:
		return &acquire.WriteError{Code: quality.BadNotSupported, Err: fmt.Errorf("the method takes %d arguments, expected at most one", len(arguments))}
	}
	result, err := c.Call(ctx, request)
	if err != nil {
		return failure(err, true)
	}
	if bad(result.StatusCode) {
		return failure(result.StatusCode, false)
	}
	return nil
}

// inputs returns the built-in types of a method's arguments.
func inputs(ctx context.Context, c *opcua.Client, method *ua.NodeID) ([]ua.TypeID, error) {
	property, err := c.Node(method).TranslateBrowsePathInNamespaceToNodeID(ctx, 0, "InputArguments")
	if err != nil {
		return nil, nil //nolint:nilerr // a method without arguments has no such property
	}
	v, err := c.Node(property).Value(ctx)
	if err != nil {
		return nil, err
	}
	list, _ := v.Value().([]*ua.ExtensionObject)
	var out []ua.TypeID
	for _, x := range list {
		a, ok := x.Value.(*ua.Argument)
		if !ok || a.DataType == nil || a.DataType.Namespace() != 0 || a.DataType.IntID() > id.DataValue {
			return nil, ua.StatusBadNotSupported
		}
		out = append(out, ua.TypeID(a.DataType.IntID())) //nolint:gosec // at most 23
	}
	return out, nil
}

// arrayOf returns an array of the one element.
func arrayOf(v *ua.Variant) (*ua.Variant, error) {
	switch x := v.Value().(type) {
	case bool:
		return ua.NewVariant([]bool{x})
	case int16:
		return ua.NewVariant([]int16{x})
	case uint16:
		return ua.NewVariant([]uint16{x})
	case int32:
		return ua.NewVariant([]int32{x})
	case uint32:
		return ua.NewVariant([]uint32{x})
	case int64:
		return ua.NewVariant([]int64{x})
	case uint64:
		return ua.NewVariant([]uint64{x})
	case float32:
		return ua.NewVariant([]float32{x})
	case float64:
		return ua.NewVariant([]float64{x})
	case string:
		return ua.NewVariant([]string{x})
	}
	return nil, &acquire.WriteError{Code: quality.BadTypeMismatch, Err: fmt.Errorf("an element of type %T", v.Value())}
}
