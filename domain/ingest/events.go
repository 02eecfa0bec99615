package ingest

import "time"

// Started records that an incarnation of an ordered source began: the first
// message of every outbox.
type Started struct {
	Seq       uint64    `json:"seq"`                  // 1
	At        time.Time `json:"at,omitzero"`          // by the source's clock, UTC
	Previous  string    `json:"previous,omitempty"`   // the incarnation before, "" if the source knows none
	LastAcked uint64    `json:"last_acked,omitempty"` // of the previous one: the last seq that was acknowledged to it
	Reason    string    `json:"reason"`               // why it began
}

// EventType is the name on disk.
func (Started) EventType() string { return "source.started.v1" }

// Opened records, in source-<source>, that an ordered source has another
// incarnation: the list of its telemetry streams.
type Opened struct {
	Incarnation string `json:"incarnation"`
}

// EventType is the name on disk.
func (Opened) EventType() string { return "source.opened.v1" }

// Cloned records a message that has the number of another one and says
// something else: two boxes speak as one. It is kept here and nowhere else, and
// is never acknowledged.
type Cloned struct {
	Seq     uint64 `json:"seq"`
	Topic   string `json:"topic"`
	Client  string `json:"client"` // MQTT client id
	Payload []byte `json:"payload"`
}

// EventType is the name on disk.
func (Cloned) EventType() string { return "source.cloned.v1" }

// DeadLettered records bytes that could not be read as any message of the
// source that sent them.
type DeadLettered struct {
	Topic   string `json:"topic"`
	Client  string `json:"client"` // MQTT client id
	Reason  string `json:"reason"` // a sentence for a person
	Payload []byte `json:"payload"`
	// Bytes and SHA256 are there when Payload is only the beginning.
	Bytes  int    `json:"bytes,omitempty"`
	SHA256 []byte `json:"sha256,omitempty"`
}

// EventType is the name on disk.
func (DeadLettered) EventType() string { return "telemetry.deadlettered.v1" }
