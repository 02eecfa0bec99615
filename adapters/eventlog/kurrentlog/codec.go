package kurrentlog

import (
	"strconv"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// The client ends the process (log.Fatalf) when an event has no numeric time
// of creation, and has no place where one could step in but the codec that all
// of grpc shares, which grpc wants registered before main. This one is the
// standard codec, and completes such events while they are read.
func init() { encoding.RegisterCodecV2(codec{encoding.GetCodecV2(proto.Name)}) }

type codec struct{ encoding.CodecV2 }

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if err := c.CodecV2.Unmarshal(data, v); err != nil {
		return err
	}
	if r, ok := v.(*streams.ReadResp); ok {
		complete(r.GetEvent().GetEvent())
		complete(r.GetEvent().GetLink())
	}
	return nil
}

const created = "created"

func complete(e *streams.ReadResp_ReadEvent_RecordedEvent) {
	if e == nil {
		return
	}
	if _, err := strconv.ParseInt(e.Metadata[created], 10, 64); err == nil {
		return
	}
	if e.Metadata == nil {
		e.Metadata = map[string]string{}
	}
	e.Metadata[created] = "0"
}
