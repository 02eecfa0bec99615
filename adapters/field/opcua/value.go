package opcua

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge/acquire"
)

// reading returns what a DataValue says of an item. The StatusCode is kept
// whole, limit and overflow bits included.
func (s *Source) reading(i int, dv *ua.DataValue) acquire.Reading {
	r := acquire.Reading{Item: i, Quality: quality.FromRaw(quality.OPCUA, uint32(dv.Status)), At: time.Now().UTC()}
	r.SourceTime, r.ServerTime = utc(dv.SourceTimestamp), utc(dv.ServerTimestamp)
	if r.SourceTime.IsZero() {
		r.SourceTime = r.ServerTime // of a server that has no better one
	}
	if r.Quality.Code.Status() == quality.IsBad {
		return r // a value that comes with Bad is not fresh
	}
	var err error
	if r.Value, err = s.items[i].value(dv.Value); err != nil {
		r.Value, r.Quality = telemetry.Value{}, quality.Of(quality.BadDataEncodingInvalid)
	}
	return r
}

// utc returns a time of OPC UA; its zero, 1601, is none.
func utc(t time.Time) time.Time {
	if t.Year() <= 1601 {
		return time.Time{}
	}
	return t.UTC()
}

// value returns what a Variant holds, or one element of it.
func (it item) value(v *ua.Variant) (telemetry.Value, error) {
	if v == nil || v.Value() == nil {
		return telemetry.Value{}, nil
	}
	x := v.Value()
	if rv := reflect.ValueOf(x); v.Has(ua.VariantArrayValues) && rv.Kind() == reflect.Slice {
		if it.element < 0 {
			return arrayText(rv)
		}
		if it.element >= rv.Len() {
			return telemetry.Value{}, fmt.Errorf("element %d of %d", it.element, rv.Len())
		}
		x = rv.Index(it.element).Interface()
	} else if it.element > 0 {
		return telemetry.Value{}, fmt.Errorf("element %d of a scalar", it.element)
	}
	return scalar(x)
}

// scalar returns a built-in type's value: numbers as numbers, all others as
// texts.
func scalar(x any) (telemetry.Value, error) {
	switch x := x.(type) {
	case bool:
		return telemetry.BoolValue(x), nil
	case float32:
		return telemetry.FloatValue(float64(x)), nil
	case float64:
		return telemetry.FloatValue(x), nil
	case string:
		return telemetry.StringValue(x), nil
	case ua.XMLElement:
		return telemetry.StringValue(string(x)), nil
	case time.Time:
		return telemetry.StringValue(x.UTC().Format(time.RFC3339Nano)), nil
	case []byte:
		return telemetry.StringValue(hex.EncodeToString(x)), nil
	case ua.ByteArray:
		return telemetry.StringValue(hex.EncodeToString(x)), nil
	case ua.StatusCode:
		return telemetry.StringValue(quality.Code(x).Name()), nil
	case *ua.LocalizedText:
		if x != nil {
			return telemetry.StringValue(x.Text), nil
		}
	case *ua.QualifiedName:
		if x != nil {
			return telemetry.StringValue(x.Name), nil
		}
	case *ua.GUID, *ua.NodeID, *ua.ExpandedNodeID:
		if !reflect.ValueOf(x).IsNil() {
			return telemetry.StringValue(fmt.Sprint(x)), nil
		}
	case *ua.Variant:
		return item{element: -1}.value(x)
	case *ua.ExtensionObject:
		return structure(x)
	}
	switch rv := reflect.ValueOf(x); rv.Kind() { //nolint:exhaustive // integers by their kind
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return telemetry.IntValue(rv.Int()), nil
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if rv.Uint() <= math.MaxInt64 {
			return telemetry.IntValue(int64(rv.Uint())), nil //nolint:gosec // in range
		}
	}
	return telemetry.Value{}, fmt.Errorf("a %T has no value here", x)
}

// structure is a text in JSON, of the structures that the library knows.
func structure(x *ua.ExtensionObject) (telemetry.Value, error) {
	if x == nil || x.Value == nil {
		return telemetry.Value{}, fmt.Errorf("a structure of an unknown type")
	}
	b, err := json.Marshal(x.Value)
	return telemetry.StringValue(string(b)), err
}

// arrayText is an array as a text in JSON.
func arrayText(rv reflect.Value) (telemetry.Value, error) {
	out := make([]any, rv.Len())
	for i := range out {
		v, err := scalar(rv.Index(i).Interface())
		if err != nil {
			return telemetry.Value{}, err
		}
		out[i] = plain(v)
	}
	b, err := json.Marshal(out)
	return telemetry.StringValue(string(b)), err
}

// plain is a value as encoding/json takes it; what JSON has no number for is
// null.
func plain(v telemetry.Value) any {
	switch v.Kind {
	case telemetry.Bool:
		return v.Bits == 1
	case telemetry.Int64:
		return int64(v.Bits) //nolint:gosec // two's complement
	case telemetry.Float64:
		if f := math.Float64frombits(v.Bits); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
	case telemetry.String:
		return v.Str
	case telemetry.Null:
	}
	return nil
}
