package wire

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrBadTopic says that a topic is not in the tree.
var ErrBadTopic = errors.New("topic is not in the tree")

// Class is the part of a topic behind the device: what a message is for.
type Class uint8

// The classes. The comment is the topic's end.
const (
	Telemetry        Class = iota // telemetry
	TelemetryTag                  // telemetry/{tag}
	Status                        // status
	Command                       // commands/{command_id}
	CommandAck                    // commands/{command_id}/ack
	ConfigDesired                 // config/desired
	ConfigReported                // config/reported
	OTANotification               // ota/notification
	OTAStatus                     // ota/status
	Diagnostics                   // diagnostics/{operation}
	WaveformChunk                 // waveform/{upload_id}/chunk/{i}
	WaveformComplete              // waveform/{upload_id}/complete
)

// Topic is a place in the tree
// {enterprise}/{site}/{area}/{line}/{device_type}/{device_id}/{class}; with
// several tenants, the enterprise is the tenant.
type Topic struct {
	Place      string // the first four levels, with the slashes between them
	DeviceType string
	Device     string
	Class      Class
	Arg        string // tag, command id, operation or upload id, as Class says
	Chunk      int    // WaveformChunk only, from 0
}

// maxTopicBytes bounds a topic; MQTT allows 65,535.
const maxTopicBytes = 1024

// ParseTopic reads a topic. What it returns is part of s.
func ParseTopic(s string) (Topic, error) {
	t, err := parseTopic(s)
	if err != nil {
		return Topic{}, fmt.Errorf("topic %.200q: %w: %w", s, err, ErrBadTopic)
	}
	return t, nil
}

func parseTopic(s string) (t Topic, err error) {
	if len(s) > maxTopicBytes {
		return t, fmt.Errorf("%d bytes, expected at most %d", len(s), maxTopicBytes)
	}
	if strings.HasPrefix(s, "$") {
		return t, errors.New("begins with $, which belongs to the broker (MQTT 5 §4.7.2)")
	}
	from, level, high := 0, 0, byte(0)
	for i := range len(s) {
		c := s[i]
		if high |= c; !plain[c] {
			return t, fmt.Errorf("wildcard or control character %#02x at %d", c, i)
		}
		if c != '/' || level == 6 {
			continue
		}
		if i == from {
			return t, fmt.Errorf("level %d is empty", level+1)
		}
		switch level {
		case 3:
			t.Place = s[:i]
		case 4:
			t.DeviceType = s[from:i]
		case 5:
			t.Device = s[from:i]
		}
		from, level = i+1, level+1
	}
	if high >= utf8.RuneSelf && !utf8.ValidString(s) {
		return t, errors.New("is not UTF-8")
	}
	if level < 6 {
		return t, fmt.Errorf("%d levels, expected six before the class", level)
	}
	return t, t.class(s[from:])
}

// plain are the bytes that a topic name may hold: no wildcards (MQTT 5 §4.7.1)
// and no control characters (§1.5.4).
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 0x20 && c != 0x7F && c != '+' && c != '#'
	}
	return t
}()

// fixed are the classes without an argument.
var fixed = map[string]Class{
	"telemetry": Telemetry, "status": Status,
	"config/desired": ConfigDesired, "config/reported": ConfigReported,
	"ota/notification": OTANotification, "ota/status": OTAStatus,
}

func (t *Topic) class(s string) error {
	if s == "telemetry" { // nearly all of them
		return nil
	}
	if c, ok := fixed[s]; ok {
		t.Class = c
		return nil
	}
	name, rest, _ := strings.Cut(s, "/")
	arg, tail, more := strings.Cut(rest, "/")
	t.Arg = arg
	switch {
	case arg == "":
	case name == "telemetry" && !more:
		t.Class = TelemetryTag
		return nil
	case name == "commands" && !more:
		t.Class = Command
		return nil
	case name == "commands" && tail == "ack":
		t.Class = CommandAck
		return nil
	case name == "diagnostics" && !more:
		t.Class = Diagnostics
		return nil
	case name == "waveform" && tail == "complete":
		t.Class = WaveformComplete
		return nil
	case name == "waveform" && strings.HasPrefix(tail, "chunk/"):
		digits := strings.TrimPrefix(tail, "chunk/")
		n, err := strconv.ParseUint(digits, 10, 31)
		if err == nil && digits == strconv.FormatUint(n, 10) {
			t.Class, t.Chunk = WaveformChunk, int(n)
			return nil
		}
	}
	return fmt.Errorf("class %.60q is none", s)
}

// String returns the topic's text.
func (t Topic) String() string {
	s := t.Place + "/" + t.DeviceType + "/" + t.Device + "/"
	switch t.Class {
	case Telemetry:
		return s + "telemetry"
	case TelemetryTag:
		return s + "telemetry/" + t.Arg
	case Status:
		return s + "status"
	case Command:
		return s + "commands/" + t.Arg
	case CommandAck:
		return s + "commands/" + t.Arg + "/ack"
	case ConfigDesired:
		return s + "config/desired"
	case ConfigReported:
		return s + "config/reported"
	case OTANotification:
		return s + "ota/notification"
	case OTAStatus:
		return s + "ota/status"
	case Diagnostics:
		return s + "diagnostics/" + t.Arg
	case WaveformChunk:
		return s + "waveform/" + t.Arg + "/chunk/" + strconv.Itoa(t.Chunk)
	default:
		return s + "waveform/" + t.Arg + "/complete"
	}
}
