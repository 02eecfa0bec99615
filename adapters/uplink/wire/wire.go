// Package wire is the uplink's language, both ways: the topic tree and the
// device-to-cloud JSON of docs/formats/uplink.md.
//
// Reading is lossless for the forms it accepts: every member that means
// something is in the Uplink, bit by bit, in the order in which it came; the
// others are counted. A message that means two things (a member twice, a
// device_id that is not the topic's) is refused, never guessed at.
//
// The usual shape is read by a scanner of its own; whatever that does not
// know goes to encoding/json. Both fill the same fields and share all that
// follows, and are fuzzed against each other.
package wire

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/twinlog/twinlog/domain/ingest"
	"github.com/twinlog/twinlog/domain/quality"
)

// The errors of a reader. The text around them is the reason that is stored.
var (
	// ErrUnreadable: the payload is no JSON object.
	ErrUnreadable = errors.New("payload is not readable")
	// ErrInvalid: it is readable, and breaks the form.
	ErrInvalid = errors.New("message is invalid")
)

// Config of a reader. The zero Config is good.
type Config struct {
	// Quality is the scheme of a q whose message does not name one; zero means
	// quality.OPCDA.
	Quality quality.Scheme
}

// NewReader returns the ingest.Reader of this language. It may be called
// concurrently.
func NewReader(cfg Config) ingest.Reader {
	if cfg.Quality == quality.Assumed {
		cfg.Quality = quality.OPCDA
	}
	return cfg.read
}

// maxMsgIDBytes bounds a msg_id, which events beside the rows repeat; a ULID
// has 26 and a UUID 36.
const maxMsgIDBytes = 200

func (c Config) read(m *ingest.Message, u *ingest.Uplink) error {
	topic, err := ParseTopic(m.Topic)
	if err != nil {
		return err
	}
	u.Device, u.DeviceType, u.Place = topic.Device, topic.DeviceType, topic.Place
	switch topic.Class {
	case Telemetry:
	case TelemetryTag:
		return c.readTag(m, topic, u)
	case Status:
		return c.readStatus(m, u)
	default:
		return fmt.Errorf("topic %.200q: its class is not for the log: %w", m.Topic, ErrInvalid)
	}
	// All strings of the message are parts of the payload, which nobody changes
	// while the message is on its way (ingest.Message). A copy would cost as much
	// as reading three samples.
	text := unsafe.String(unsafe.SliceData(m.Payload), len(m.Payload))
	f := fields{samples: u.Row.Samples[:0]}
	if f.scan(text, m.Payload) {
		return c.finish(&f, m, u)
	}
	return c.slow(text, m, u)
}

// slow is read for what the scanner does not know.
func (c Config) slow(text string, m *ingest.Message, u *ingest.Uplink) error {
	f := fields{samples: u.Row.Samples[:0]}
	if err := f.parse(text); err != nil {
		if errors.Is(err, ErrUnreadable) {
			f.salvage(text)
		}
		f.identify(u)
		return err
	}
	return c.finish(&f, m, u)
}
