package wire

import (
	"fmt"
	"time"

	"github.com/twinlog/twinlog/domain/ingest"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// readTag reads a message for one signal, …/telemetry/{tag}: a plain value, or
// a sample's object that may have a ts.
func (c Config) readTag(m *ingest.Message, topic Topic, u *ingest.Uplink) error {
	root, err := parseNode(string(m.Payload))
	if err != nil {
		return err
	}
	r := reader{fields: &fields{has: hasD}}
	r.identify(u)
	if ts := root.member("ts"); ts != nil {
		r.number(&namedNode{"ts", *ts}, hasTS, &r.ts)
		r.ignored-- // sample counts it as a member without meaning
	}
	r.sample(&namedNode{topic.Arg, root})
	if r.err != nil {
		return r.err
	}
	return c.finish(r.fields, m, u)
}

// readStatus reads {"online":bool,"reason":text,"ts":milliseconds}, which a
// device publishes retained and leaves as its will.
func (c Config) readStatus(m *ingest.Message, u *ingest.Uplink) error {
	root, err := parseNode(string(m.Payload))
	if err != nil {
		return err
	}
	u.Kind, u.Source, u.Incarnation = ingest.Status, u.Device, telemetry.Unordered
	u.At = m.Arrived.UTC()
	r := reader{fields: &fields{}}
	r.unique("status", root.members)
	online := false
	for i := range root.members {
		e := &root.members[i]
		switch e.name {
		case "online":
			if online = e.kind == boolean; online {
				u.Online = e.text == "true"
			}
		case "reason":
			r.text(e, hasReason, &u.Reason)
		case "ts":
			r.number(e, hasTS, &r.ts)
		default:
			r.ignored++
		}
	}
	u.Ignored = r.ignored
	if !online {
		r.fail(fmt.Errorf("status without online true or false: %w", ErrInvalid))
	}
	if r.err == nil && r.has&hasTS != 0 {
		d, err := nanoseconds(r.ts)
		if err != nil {
			return fmt.Errorf("ts %.40s: %w: %w", r.ts, err, ErrInvalid)
		}
		u.At = time.Unix(0, d).UTC()
	}
	return r.err
}
