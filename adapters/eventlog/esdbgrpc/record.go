package esdbgrpc

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"

	"github.com/twinlog/twinlog/adapters/eventlog/esdbwire"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// The system metadata of an event.
const (
	metaType        = "type"
	metaContentType = "content-type"
	metaCreated     = "created"
)

// ticks is a time as the protocol has it: units of 100 ns since 1970.
func ticks(t time.Time) int64 { return t.UnixNano() / 100 }

// uuidOf writes an id in the form that the client asked for.
func uuidOf(id eventlog.EventID, structured bool) *shared.UUID {
	if !structured {
		return &shared.UUID{Value: &shared.UUID_String_{String_: id.String()}}
	}
	return &shared.UUID{Value: &shared.UUID_Structured_{Structured: &shared.UUID_Structured{
		MostSignificantBits:  int64(binary.BigEndian.Uint64(id[:8])),
		LeastSignificantBits: int64(binary.BigEndian.Uint64(id[8:])),
	}}}
}

// idOf reads an id in either form.
func idOf(u *shared.UUID) (eventlog.EventID, error) {
	switch v := u.GetValue().(type) {
	case *shared.UUID_Structured_:
		var id eventlog.EventID
		binary.BigEndian.PutUint64(id[:8], uint64(v.Structured.GetMostSignificantBits()))
		binary.BigEndian.PutUint64(id[8:], uint64(v.Structured.GetLeastSignificantBits()))
		return id, nil
	case *shared.UUID_String_:
		return eventlog.ParseEventID(v.String_)
	}
	return eventlog.EventID{}, fmt.Errorf("event without id: %w", eventlog.ErrBadEvent)
}

// wireEvent is a record as both Read services carry it.
type wireEvent struct {
	id       *shared.UUID
	stream   *shared.StreamIdentifier
	metadata map[string]string
	custom   []byte
}

func wireOf(r eventlog.Record, structured bool) (wireEvent, error) {
	custom, contentType, err := esdbwire.Pack(r.ContentType, r.RawEnvelope)
	if err != nil {
		return wireEvent{}, fmt.Errorf("event %d of %s: %w", r.Revision, r.Stream, err)
	}
	return wireEvent{
		id: uuidOf(r.ID, structured), stream: identifier(string(r.Stream)), custom: custom,
		metadata: map[string]string{
			metaType: r.Type, metaContentType: contentType, metaCreated: strconv.FormatInt(ticks(r.Recorded), 10),
		},
	}, nil
}

func identifier(stream string) *shared.StreamIdentifier {
	return &shared.StreamIdentifier{StreamName: []byte(stream)}
}

// eventOf is a record as Streams.Read carries it.
func eventOf(r eventlog.Record, structured bool) (*streams.ReadResp, error) {
	w, err := wireOf(r, structured)
	if err != nil {
		return nil, err
	}
	return &streams.ReadResp{Content: &streams.ReadResp_Event{Event: &streams.ReadResp_ReadEvent{
		Event: &streams.ReadResp_ReadEvent_RecordedEvent{
			Id: w.id, StreamIdentifier: w.stream, StreamRevision: uint64(r.Revision),
			PreparePosition: uint64(r.Position), CommitPosition: uint64(r.Position),
			Metadata: w.metadata, CustomMetadata: w.custom, Data: r.Data,
		},
		Position: &streams.ReadResp_ReadEvent_CommitPosition{CommitPosition: uint64(r.Position)},
	}}}, nil
}

// linkType is the type of EventStoreDB's links, which this log does not have.
const linkType = "$>"

// newEvent is a client's event on its way into the log.
func newEvent(id *shared.UUID, metadata map[string]string, custom, data []byte) (eventlog.NewEvent, error) {
	e := eventlog.NewEvent{Type: metadata[metaType], Data: data}
	for _, name := range []string{metaType, metaContentType} {
		if metadata[name] == "" {
			return e, refuse(invalid, "missing-required-metadata-property", fmt.Sprintf("event without %s", name),
				"required-metadata-properties", metaType+","+metaContentType)
		}
	}
	if e.Type == linkType {
		return e, badRequest("event of type %s: this log has no links", linkType)
	}
	var err error
	if e.ID, err = idOf(id); err != nil {
		return e, err
	}
	e.RawEnvelope, e.ContentType = esdbwire.Unpack(custom, metadata[metaContentType])
	return e, e.Check()
}
