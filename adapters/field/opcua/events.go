package opcua

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/gopcua/opcua"
	"github.com/gopcua/opcua/id"
	"github.com/gopcua/opcua/ua"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge/acquire"
)

// eventFields are what is asked for of each event, with the name that its text
// gives it (OPC 10000-5 §6.4, OPC 10000-9 §5.5 to §5.8). "conditionId" is the
// NodeId of the condition itself.
var eventFields = []struct {
	name string
	typ  uint32
	path []string
}{
	{"eventId", id.BaseEventType, []string{"EventId"}},
	{"eventType", id.BaseEventType, []string{"EventType"}},
	{"source", id.BaseEventType, []string{"SourceName"}},
	{"sourceNode", id.BaseEventType, []string{"SourceNode"}},
	{"time", id.BaseEventType, []string{"Time"}},
	{"receiveTime", id.BaseEventType, []string{"ReceiveTime"}},
	{"message", id.BaseEventType, []string{"Message"}},
	{"severity", id.BaseEventType, []string{"Severity"}},
	{"condition", id.ConditionType, []string{"ConditionName"}},
	{"retain", id.ConditionType, []string{"Retain"}},
	{"active", id.AlarmConditionType, []string{"ActiveState", "Id"}},
	{"acknowledged", id.AcknowledgeableConditionType, []string{"AckedState", "Id"}},
	{"confirmed", id.AcknowledgeableConditionType, []string{"ConfirmedState", "Id"}},
	{"suppressed", id.AlarmConditionType, []string{"SuppressedState", "Id"}},
	{"conditionId", id.ConditionType, nil},
}

const (
	fieldEventID   = 0
	fieldEventType = 1
	fieldTime      = 4
	maxSeen        = 10_000 // events whose ids are remembered
)

func eventFilter() *ua.EventFilter {
	f := &ua.EventFilter{WhereClause: &ua.ContentFilter{}}
	for _, field := range eventFields {
		o := &ua.SimpleAttributeOperand{TypeDefinitionID: ua.NewNumericNodeID(0, field.typ), AttributeID: ua.AttributeIDValue}
		for _, name := range field.path {
			o.BrowsePath = append(o.BrowsePath, &ua.QualifiedName{Name: name})
		}
		if field.path == nil {
			o.AttributeID = ua.AttributeIDNodeID
		}
		f.SelectClauses = append(f.SelectClauses, o)
	}
	return f
}

// eventsOf returns a reading for each event: a text in JSON under the event's
// own time. Of a refresh, which repeats the conditions that still matter, what
// has been heard before is left out.
func (s *Source) eventsOf(n *ua.EventNotificationList) []acquire.Reading {
	var out []acquire.Reading
	for _, e := range n.Events {
		if e == nil || int(e.ClientHandle) >= len(s.items) || !s.items[e.ClientHandle].events || len(e.EventFields) != len(eventFields) {
			continue
		}
		if isRefresh(e.EventFields[fieldEventType]) {
			continue
		}
		text, at := eventText(e.EventFields)
		key := string(rune(e.ClientHandle)) + text
		if eventID, ok := bytesOf(e.EventFields[fieldEventID]); ok {
			key = string(rune(e.ClientHandle)) + hex.EncodeToString(eventID)
		}
		if !s.remember(key) {
			continue
		}
		out = append(out, acquire.Reading{Item: int(e.ClientHandle), Value: telemetry.StringValue(text), Quality: quality.Of(quality.Good), SourceTime: at, At: time.Now().UTC()})
	}
	return out
}

// remember reports whether an event is new.
func (s *Source) remember(key string) bool {
	if s.seen[key] {
		return false
	}
	s.seen[key] = true
	if s.seenOrder = append(s.seenOrder, key); len(s.seenOrder) > maxSeen {
		delete(s.seen, s.seenOrder[0])
		s.seenOrder = s.seenOrder[1:]
	}
	return true
}

// eventText is an event in JSON; fields that it does not have are left out.
func eventText(fields []*ua.Variant) (text string, at time.Time) {
	out := map[string]any{}
	for i, field := range eventFields {
		v, err := item{element: -1}.value(fields[i])
		if p := plain(v); err == nil && p != nil {
			out[field.name] = p
		}
	}
	if v := fields[fieldTime]; v != nil {
		if t, ok := v.Value().(time.Time); ok {
			at = utc(t)
		}
	}
	b, err := json.Marshal(out)
	if err != nil {
		return "{}", at
	}
	return string(b), at
}

func bytesOf(v *ua.Variant) ([]byte, bool) {
	if v == nil {
		return nil, false
	}
	b, ok := v.Value().([]byte)
	return b, ok && len(b) > 0
}

// isRefresh reports whether an event only frames a refresh (OPC 10000-9 §5.11).
func isRefresh(v *ua.Variant) bool {
	if v == nil {
		return false
	}
	t, ok := v.Value().(*ua.NodeID)
	return ok && t != nil && t.Namespace() == 0 && (t.IntID() == id.RefreshStartEventType || t.IntID() == id.RefreshEndEventType)
}

// refresh asks for the conditions that still matter (OPC 10000-9 §5.5.7). A
// server without conditions refuses, and there is nothing to refresh then.
func (s *Source) refresh(ctx context.Context, c *opcua.Client) error {
	any := false
	for i, it := range s.items {
		any = any || it.events && s.monitored[i] == ua.StatusOK
	}
	if !any {
		return nil
	}
	result, err := c.Call(ctx, &ua.CallMethodRequest{
		ObjectID: ua.NewNumericNodeID(0, id.ConditionType), MethodID: ua.NewNumericNodeID(0, id.ConditionType_ConditionRefresh),
		InputArguments: []*ua.Variant{ua.MustVariant(s.subscription)},
	})
	if err == nil && result.StatusCode != ua.StatusOK {
		s.log.LogAttrs(ctx, slog.LevelDebug, "no refresh of conditions", slog.Any("error", result.StatusCode))
	}
	return err
}
