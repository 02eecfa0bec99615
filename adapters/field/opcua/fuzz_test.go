package opcua

import (
	"encoding/json"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// FuzzReading holds what is ours of the decoding, from the library's values to
// readings, to these promises: nothing panics, a StatusCode is kept whole, what
// is Bad has no value, an array is JSON, and a value that can be written in its
// type is read again as it was. The bytes are the library's to decode; its
// limits are told in docs/protocols/opcua.md.
func FuzzReading(f *testing.F) {
	f.Add(uint8(ua.TypeIDDouble), uint64(0x4029000000000000), "x", uint32(0), int64(1), uint8(3))
	f.Add(uint8(ua.TypeIDInt64), uint64(math.MaxUint64), "", uint32(ua.StatusUncertainSubNormal)|0x480, int64(0), uint8(0))
	f.Add(uint8(ua.TypeIDString), uint64(7), "Süd\xff", uint32(ua.StatusBadSensorFailure), int64(-1), uint8(9))
	f.Fuzz(func(t *testing.T, typ uint8, bits uint64, text string, status uint32, at int64, element uint8) {
		s := &Source{items: []item{{element: -1}, {element: int(element)}}, log: slog.New(slog.DiscardHandler)}
		s.forget()
		for _, v := range []telemetry.Value{telemetry.IntValue(int64(bits)), telemetry.FloatValue(math.Float64frombits(bits)), telemetry.BoolValue(bits&1 == 1), telemetry.StringValue(text)} {
			variant, err := variantOf(ua.TypeID(typ), v)
			if err != nil {
				continue
			}
			for i := range s.items {
				r := s.reading(i, &ua.DataValue{Value: variant, Status: ua.StatusCode(status), SourceTimestamp: time.Unix(at, 0)})
				if r.Quality.Code.Status() == quality.IsBad && r.Value != (telemetry.Value{}) {
					t.Fatalf("%v with %+v", r.Quality.Code, r.Value)
				}
				if i == 0 && (r.Quality.Raw != status || uint32(r.Quality.Code) != status) {
					t.Fatalf("status %#x became %+v", status, r.Quality)
				}
			}
			if back, err := s.items[0].value(variant); err != nil || v.Kind == telemetry.Int64 && typ == uint8(ua.TypeIDInt64) && back != v {
				t.Fatalf("%+v as type %d came back as %+v, %v", v, typ, back, err)
			}
			if array, err := arrayOf(variant); err == nil {
				got, err := s.items[0].value(array)
				if err != nil || !json.Valid([]byte(got.Str)) {
					t.Fatalf("array of %+v: %q, %v", v, got.Str, err)
				}
			}
		}
		fields := make([]*ua.Variant, len(eventFields))
		for i := range fields {
			if i%3 != int(element)%3 {
				fields[i] = ua.MustVariant(text)
			}
		}
		for _, r := range s.eventsOf(&ua.EventNotificationList{Events: []*ua.EventFieldList{{EventFields: fields}, nil, {ClientHandle: math.MaxUint32}}}) {
			if !json.Valid([]byte(r.Value.Str)) {
				t.Fatalf("%q is no JSON", r.Value.Str)
			}
		}
	})
}

// FuzzNode holds the reading of node names to not panicking, and to giving back
// what it has accepted.
func FuzzNode(f *testing.F) {
	for _, s := range []string{"ns=2;s=Pump.Flow", "i=2253", "nsu=http://example.org/;s=a;b", "nsu=x;", "ns=70000;i=1", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := parseNode(s)
		if err != nil {
			return
		}
		if _, err := ref.resolve([]string{"http://opcfoundation.org/UA/", ref.uri}); err != nil {
			t.Fatalf("%q was accepted and is no node: %v", s, err)
		}
	})
}
