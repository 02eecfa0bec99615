// Package esdbwire says how an event's envelope and content type travel as the
// custom metadata of an EventStoreDB event, for the log that is served over
// that protocol and for the one that is kept on such a server.
//
// Its promise: nothing is lost either way. An envelope travels byte for byte;
// metadata that is no envelope is kept byte for byte too
// (docs/formats/esdb.md). It knows neither gRPC nor the client.
package esdbwire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Binary is the only content type beside eventlog.JSON that an EventStoreDB
// gives back.
const Binary = "application/octet-stream"

// The members that only this package writes. Each stands first, without white
// space, so that its presence can be told from the first bytes.
const (
	contentMember = `{"cty":`
	opaqueMember  = `{"xmd":`
)

// Pack returns an event's custom metadata and its content type on the wire.
// ErrBadEvent: the envelope begins like one that Pack makes.
func Pack(contentType string, envelope []byte) (custom []byte, wireType string, err error) {
	if contentType == "" {
		contentType = eventlog.JSON
	}
	if bytes.HasPrefix(envelope, []byte(contentMember)) {
		return nil, "", fmt.Errorf("envelope begins with %s: %w", contentMember, eventlog.ErrBadEvent)
	}
	if contentType == eventlog.JSON || contentType == Binary {
		if opaque, ok := opaqueBytes(envelope); ok {
			return opaque, contentType, nil
		}
		return envelope, contentType, nil
	}
	if len(envelope) < len("{}") || envelope[0] != '{' {
		return nil, "", fmt.Errorf("envelope %.20q, expected a JSON object: %w", envelope, eventlog.ErrBadEvent)
	}
	name, err := json.Marshal(contentType)
	if err != nil {
		return nil, "", fmt.Errorf("content type %q: %w", contentType, err)
	}
	custom = append([]byte(contentMember), name...)
	if envelope[1] != '}' {
		custom = append(custom, ',')
	}
	return append(custom, envelope[1:]...), Binary, nil
}

// Unpack is the way back: the envelope and the content type of an event with
// this custom metadata. What is no envelope becomes one that holds it, in
// base64, under "xmd".
func Unpack(custom []byte, wireType string) (envelope []byte, contentType string) {
	if envelope, contentType, ok := unpackTyped(custom); ok {
		return envelope, contentType
	}
	_, err := eventlog.ParseEnvelope(custom)
	if err != nil || !bytes.HasPrefix(custom, []byte("{")) ||
		bytes.HasPrefix(custom, []byte(contentMember)) || bytes.HasPrefix(custom, []byte(opaqueMember)) {
		envelope = append([]byte(opaqueMember), '"')
		envelope = base64.StdEncoding.AppendEncode(envelope, custom)
		return append(envelope, '"', '}'), wireType
	}
	return custom, wireType
}

// unpackTyped takes off the content type that Pack put in front.
func unpackTyped(custom []byte) (envelope []byte, contentType string, ok bool) {
	rest, ok := bytes.CutPrefix(custom, []byte(contentMember))
	if !ok {
		return nil, "", false
	}
	d := json.NewDecoder(bytes.NewReader(rest))
	if err := d.Decode(&contentType); err != nil {
		return nil, "", false
	}
	rest = rest[d.InputOffset():]
	envelope = append([]byte("{"), bytes.TrimPrefix(rest, []byte(","))...)
	// Only what Pack would make of it is its work; anything else is foreign.
	if _, err := eventlog.ParseEnvelope(envelope); err != nil {
		return nil, "", false
	}
	again, _, err := Pack(contentType, envelope)
	if err != nil || !bytes.Equal(again, custom) {
		return nil, "", false
	}
	return envelope, contentType, true
}

// opaqueBytes returns what an envelope made by Unpack holds.
func opaqueBytes(envelope []byte) ([]byte, bool) {
	text, ok := bytes.CutPrefix(envelope, []byte(opaqueMember+`"`))
	if !ok {
		return nil, false
	}
	if text, ok = bytes.CutSuffix(text, []byte(`"}`)); !ok {
		return nil, false
	}
	opaque, err := base64.StdEncoding.Strict().AppendDecode([]byte{}, text)
	if err != nil {
		return nil, false
	}
	return opaque, true
}
