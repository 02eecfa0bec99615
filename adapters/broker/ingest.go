package broker

import (
	"github.com/twinlog/twinlog/domain/ingest"
)

// Into returns the Handler that gives every message to an Ingester: the
// acknowledgement follows the log.
func Into(g *ingest.Ingester) Handler {
	return func(p Publish, ack func(Ack)) <-chan struct{} {
		// Retained stays false: the flag asks for a message to be kept, and this
		// one is of now.
		m := ingest.Message{
			Topic: p.Topic, Client: p.Client, Payload: p.Payload, Arrived: p.Received, Connection: p.Connection,
		}
		return g.Submit(m, func(o ingest.Outcome) { ack(answer(o)) })
	}
}

// answer says what an outcome means to the client. A message without an
// acknowledgement always ends the connection: the client would wait for it.
func answer(o ingest.Outcome) Ack {
	if !o.Ack || o.Disconnect {
		return Ack{Disconnect: true, Expected: o.Expected}
	}
	if o.Refused != nil {
		return Ack{Refused: o.Refused.String()}
	}
	return Ack{}
}
