package gateway

import (
	"time"

	"github.com/twinlog/twinlog/edge/protocol"
)

// The keys of the file that are the same for every protocol. Mappings below a
// key are lists of their own; schema.go says which.
var (
	topKeys = []protocol.Key{
		{Name: "gateway", Need: true, Help: "The gateway's name: gw_id in messages, and its MQTT client id."},
		{Name: "place", Need: true, Help: "Where it stands, enterprise/site/area/line: the first four levels of every topic."},
		{Name: "uplink", Help: "The server."},
		{Name: "outbox", Help: "What is kept while the server is away."},
		{Name: "sources", Need: true, Help: "One connection each, with its devices and their tags."},
	}
	uplinkKeys = []protocol.Key{
		{Name: "url", Help: "mqtt://host:port, or mqtts://host:port for TLS."},
		{Name: "username", Help: "The user at the broker, apart from the url."},
		{Name: "password_file", Help: "The file that holds the password, so that this one can be shown."},
		{Name: "keep_alive", Kind: protocol.Duration, Low: int64(time.Second), Help: "How often the link says that it lives."},
	}
	outboxKeys = []protocol.Key{
		{Name: "max_bytes", Help: "A size such as 512MiB or 2GB, for all lanes together; beyond it when_full applies, and a loss event says how many and whose."},
		{Name: "when_full", Help: "drop oldest, of the lowest priority first; or stop, which takes nothing new."},
		{Name: "backlog_rate", Kind: protocol.Int, Low: 1, High: 1_000_000, Help: "How many messages a second leave a backlog, so that what is new is not drowned."},
	}
	sourceKeys = []protocol.Key{
		{Name: "name", Need: true, Help: "The source's name in logs and faults."},
		{Name: "every", Kind: protocol.Duration, Low: int64(shortestEvery), Help: "The period in which its tags are read."},
		{Name: "retry", Help: "The wait before a lost session is opened again: doubled each time, shortened by up to half at random."},
		{Name: "devices", Need: true, Help: "The machines that it reads."},
	}
	retryKeys = []protocol.Key{
		{Name: "min", Kind: protocol.Duration, Low: int64(time.Millisecond), Help: "The first wait."},
		{Name: "max", Kind: protocol.Duration, Low: int64(time.Millisecond), Help: "The longest wait."},
	}
	deviceKeys = []protocol.Key{
		{Name: "id", Need: true, Help: "device_id, and the sixth level of its topic."},
		{Name: "type", Need: true, Help: "The fifth level of its topic."},
		{Name: "place", Help: "Where it stands, if not where the gateway does."},
		{Name: "every", Kind: protocol.Duration, Low: int64(shortestEvery), Help: "The period in which its tags are read."},
		{Name: "tags", Need: true, Help: "Its signals."},
	}
	tagKeys = []protocol.Key{
		{Name: "name", Need: true, Help: "The signal's name in the message."},
		{Name: "every", Kind: protocol.Duration, Low: int64(shortestEvery), Help: "The period in which it is read."},
		{Name: "scale", Kind: protocol.Number, Help: "value = raw · scale + offset."},
		{Name: "offset", Kind: protocol.Number, Help: "value = raw · scale + offset."},
		{Name: "loop", Help: "A 4–20 mA loop: raw · scale + offset is the current in mA; the values at 4 and at 20 mA."},
		{Name: "decimals", Kind: protocol.Int, Low: 0, High: 12, Help: "Round to so many places behind the point."},
		{Name: "range", Help: "EURange: the values of normal operation, [low, high]."},
		{Name: "frozen", Kind: protocol.Duration, Low: int64(time.Millisecond), Help: "The same raw value for so long is a frozen sensor."},
		{Name: "stale", Kind: protocol.Duration, Low: int64(time.Millisecond), Help: "Not heard for so long is no value; for sources that speak by themselves."},
		{Name: "max_rate", Kind: protocol.Number, Help: "The fastest the process can move, units per second."},
		{Name: "deadband", Help: "What says nothing new."},
		{Name: "priority", Help: "low, normal or high: how long its samples are kept when not all can be."},
	}
	deadbandKeys = []protocol.Key{
		{Name: "absolute", Kind: protocol.Number, Help: "In the tag's unit, from the last value sent."},
		{Name: "percent", Kind: protocol.Number, Help: "Of the tag's range."},
		{Name: "longest", Kind: protocol.Duration, Low: int64(time.Millisecond), Help: "A sample is sent at least so often."},
	}
)
