package telemetry

import "time"

// ContentType is that of telemetry.recorded.v1, the only event that is not JSON.
const ContentType = "application/vnd.twinlog.row"

// Refused records a message of a known source whose body could not be taken.
// It keeps the bytes and uses up the message's place in the source's sequence.
type Refused struct {
	Seq     uint64 `json:"seq,omitempty"`    // 0: the message had none
	MsgID   string `json:"msg_id,omitempty"` // as it came
	Reason  string `json:"reason"`           // a sentence for a person
	Topic   string `json:"topic"`
	Client  string `json:"client"` // MQTT client id
	Payload []byte `json:"payload"`
	// Bytes and SHA256 are there when Payload is only the beginning.
	Bytes  int    `json:"bytes,omitempty"`
	SHA256 []byte `json:"sha256,omitempty"`
}

// EventType is the name on disk.
func (Refused) EventType() string { return "telemetry.refused.v1" }

// Lost records that a source dropped a range of its messages, by its own
// account. It stands for every sequence number from From to To.
type Lost struct {
	From   uint64    `json:"from"` // first seq that will never come
	To     uint64    `json:"to"`   // last one, at least From
	Counts Counts    `json:"counts"`
	Oldest time.Time `json:"oldest,omitzero"` // when the first of them was made, UTC
	Newest time.Time `json:"newest,omitzero"` // when the last of them was made, UTC
	At     time.Time `json:"at,omitzero"`     // when the source knew, UTC
	Reason string    `json:"reason"`
	// Tags says whose samples they were, as far as the source knew.
	Tags []LostTag `json:"tags,omitempty"`
}

// LostTag is what was lost of one signal: so many samples, of source times from
// From to To, both included, UTC.
type LostTag struct {
	Device  string    `json:"device"`
	Signal  string    `json:"signal"`
	Samples uint64    `json:"samples"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
}

// Counts says how much was lost.
type Counts struct {
	Messages uint64 `json:"messages"`
	Samples  uint64 `json:"samples"`
	Bytes    uint64 `json:"bytes,omitempty"` // of their payloads
}

// EventType is the name on disk.
func (Lost) EventType() string { return "telemetry.lost.v1" }

// The reasons of a Gap.
const (
	GapMissing    = "missing"     // sequence numbers were skipped
	GapRestarted  = "restarted"   // the device began to count anew
	GapForgotten  = "forgotten"   // the source was answered, and this log does not have it: it was restored
	GapOutboxLost = "outbox lost" // a new incarnation began; what the old one held is unknown
)

// Gap records that messages of a source may be missing. A late message that
// fills it is stored as any other, followed by Reordered.
type Gap struct {
	Reason   string `json:"reason"`             // one of the Gap constants
	From     uint64 `json:"from,omitempty"`     // first seq that did not come; 0 if not known
	To       uint64 `json:"to,omitempty"`       // last one; 0 if not known
	Previous string `json:"previous,omitempty"` // the incarnation that fell silent, if known
	LastSeq  uint64 `json:"last_seq,omitempty"` // the last seq that came before, if any
}

// EventType is the name on disk.
func (Gap) EventType() string { return "telemetry.gap.v1" }

// Reordered records that a message came after one with a higher sequence
// number. It follows the row itself.
type Reordered struct {
	Seq     uint64 `json:"seq"`
	Highest uint64 `json:"highest"` // the highest seq that had come before it
	Closes  bool   `json:"closes"`  // it was missing, as a Gap had said
}

// EventType is the name on disk.
func (Reordered) EventType() string { return "telemetry.reordered.v1" }
