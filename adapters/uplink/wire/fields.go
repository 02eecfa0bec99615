package wire

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/twinlog/twinlog/domain/ingest"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// fields is a message before anything has been made of it. Numbers are texts;
// has says which members came.
type fields struct {
	has     member
	short   bool // the short form
	ignored int

	schema, msgID, device, deviceType string
	ts, seq                           string
	firmware, gateway, incarnation    string
	sourceTS, latency, scheme         string

	event, previous, reason string
	lastAcked, from, to     string
	messages, lost, bytes   string
	oldest, newest          string
	tags                    []telemetry.LostTag

	// samples hold the values as they are; Quality.Scheme is Assumed where no q
	// came, byMessage where the message's own scheme applies, and Raw the q.
	// Code is valid where codes says so.
	samples []telemetry.Sample
	codes   []bool // nil: no sample came with a canonical code of its own
}

// byMessage stands in for the scheme until the whole message has been read:
// meta may come after d.
const byMessage quality.Scheme = 255

// member is a set of the members of a message.
type member uint32

const (
	hasSchema member = 1 << iota
	hasMsgID
	hasDevice
	hasDeviceType
	hasTS
	hasSeq
	hasD
	hasMeta
	hasFirmware
	hasGateway
	hasIncarnation
	hasSourceTS
	hasLatency
	hasScheme
	hasEvent
	hasPrevious
	hasReason
	hasLastAcked
	hasFrom
	hasTo
	hasCounts
	hasMessages
	hasLost
	hasBytes
	hasOldest
	hasNewest
	hasTags
)

// identify tells what is known of the source, also of a message that cannot be
// taken.
func (f *fields) identify(u *ingest.Uplink) {
	u.Row.Gateway = f.gateway
	if f.incarnation != "" {
		u.Source, u.Incarnation = f.gateway, f.incarnation
	} else {
		u.Source, u.Incarnation = u.Device, telemetry.Unordered
	}
	if len(f.msgID) <= maxMsgIDBytes {
		u.Row.MsgID = f.msgID
	}
	if seq, err := strconv.ParseUint(f.seq, 10, 64); err == nil {
		u.Row.Seq, u.Row.HasSeq = seq, true
	}
	u.Ignored = f.ignored
	if f.has == 0 { // nothing could be read, so that nobody is known to have said it
		u.Source, u.Incarnation = "", ""
	}
}

// finish makes the uplink message of the fields.
func (c Config) finish(f *fields, m *ingest.Message, u *ingest.Uplink) error {
	f.identify(u)
	r := &u.Row
	r.Samples = f.samples
	switch {
	case f.has&hasDevice != 0 && f.device != u.Device:
		return fmt.Errorf("device_id %.100q under the topic of %.100q: %w", f.device, u.Device, ErrInvalid)
	case f.has&hasSeq != 0 && !r.HasSeq:
		return fmt.Errorf("seq %.40s, expected an integer from 0: %w", f.seq, ErrInvalid)
	case len(f.msgID) > maxMsgIDBytes:
		return fmt.Errorf("msg_id of %d bytes, expected at most %d: %w", len(f.msgID), maxMsgIDBytes, ErrInvalid)
	case f.has&hasIncarnation != 0 && (f.gateway == "" || !telemetry.ValidIncarnation(f.incarnation)):
		return fmt.Errorf("gw_id %.100q with inc %.40q, expected a name and 16 hexadecimal digits: %w", f.gateway, f.incarnation, ErrInvalid)
	}
	r.Device, r.DeviceType = u.Device, f.deviceType
	if f.has&hasDeviceType == 0 {
		r.DeviceType = u.DeviceType
	}
	r.Firmware, r.SchemaVersion = f.firmware, f.schema
	if err := f.times(m, r); err != nil {
		return err
	}
	if f.has&hasEvent != 0 {
		return f.own(u)
	}
	if f.has&hasD == 0 && !f.short {
		return fmt.Errorf("neither d nor the short form: %w", ErrInvalid)
	}
	u.Kind = ingest.Telemetry
	if err := c.qualities(f); err != nil {
		return err
	}
	if err := telemetry.CheckSignals(f.samples); err != nil {
		return fmt.Errorf("%w: %w", err, ErrInvalid)
	}
	return nil
}

// times sets the times of the row. SourceTime is source_ts, else ts, else arrival.
func (f *fields) times(m *ingest.Message, r *telemetry.Row) error {
	r.EdgeLatency = telemetry.NoLatency
	if f.has&hasLatency != 0 {
		d, err := nanoseconds(f.latency)
		if err != nil {
			return fmt.Errorf("edge_latency_ms %.40s: %w: %w", f.latency, err, ErrInvalid)
		}
		r.EdgeLatency = time.Duration(d)
		if r.EdgeLatency == telemetry.NoLatency {
			r.EdgeLatency = 0 // -1 ns, which stands for none
		}
	}
	if f.has&hasTS != 0 {
		d, err := nanoseconds(f.ts)
		if err != nil {
			return fmt.Errorf("ts %.40s: %w: %w", f.ts, err, ErrInvalid)
		}
		r.ServerTime = time.Unix(0, d).UTC()
		r.SourceTime, r.Basis = r.ServerTime, telemetry.FromTS
	}
	if f.has&hasSourceTS != 0 {
		d, err := nanoseconds(f.sourceTS)
		if err != nil {
			return fmt.Errorf("source_ts %.40s: %w: %w", f.sourceTS, err, ErrInvalid)
		}
		r.SourceTime, r.Basis = time.Unix(0, d).UTC(), telemetry.FromSourceTS
	}
	if f.has&(hasTS|hasSourceTS) == 0 {
		r.SourceTime, r.Basis = m.Arrived.UTC(), telemetry.FromArrival
	}
	return nil
}

var errNotMillis = errors.New("expected milliseconds within 292 years of 1970")

// nanoseconds reads a number of milliseconds. A fraction counts down to the
// nanosecond; what is finer is cut off.
func nanoseconds(text string) (int64, error) {
	const perMilli = int64(time.Millisecond)
	if n, ok := digits(text); ok {
		return n * perMilli, nil
	}
	whole, fraction, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || strings.ContainsAny(fraction, "eE") {
		f, err := strconv.ParseFloat(text, 64)
		if f *= float64(perMilli); err != nil || !(math.Abs(f) < math.MaxInt64/2) {
			return 0, errNotMillis
		}
		return int64(math.RoundToEven(f)), nil
	}
	if n > math.MaxInt64/perMilli-1 || n < math.MinInt64/perMilli+1 {
		return 0, errNotMillis
	}
	n *= perMilli
	if fraction == "" {
		return n, nil
	}
	part, err := strconv.ParseUint((fraction + "000000")[:6], 10, 64)
	if err != nil {
		return 0, errNotMillis
	}
	if strings.HasPrefix(text, "-") {
		return n - int64(part), nil
	}
	return n + int64(part), nil
}

// digits reads an integer of up to 13 digits and no sign, the usual time.
func digits(text string) (n int64, ok bool) {
	if len(text) == 0 || len(text) > 13 {
		return 0, false
	}
	for i := range len(text) {
		c := text[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + int64(c)
	}
	return n, n < math.MaxInt64/int64(time.Millisecond)
}

// qualities settles what q means, now that the message's scheme is known.
func (c Config) qualities(f *fields) error {
	scheme := c.Quality
	if f.has&hasScheme != 0 {
		var ok bool
		if scheme, ok = quality.ParseScheme(f.scheme); !ok {
			return fmt.Errorf("meta.q %.40q names no quality scheme: %w", f.scheme, ErrInvalid)
		}
	}
	var last quality.Quality // nearly all samples of a message have the same
	known := false
	for i := range f.samples {
		q := &f.samples[i].Quality
		if q.Scheme == byMessage {
			q.Scheme = scheme
		}
		if f.codes != nil && f.codes[i] {
			continue
		}
		if !known || q.Scheme != last.Scheme || q.Raw != last.Raw {
			last, known = quality.FromRaw(q.Scheme, q.Raw), true
		}
		q.Code = last.Code
		if q.Scheme == quality.Assumed && f.samples[i].Value.Kind == telemetry.Null {
			q.Code = quality.BadNoData // a value that is not there is not assumed to be good
		}
	}
	return nil
}

// own reads the outbox's own messages.
func (f *fields) own(u *ingest.Uplink) error {
	if f.incarnation == "" || !u.Row.HasSeq {
		return fmt.Errorf("event %.40q without inc or seq: %w", f.event, ErrInvalid)
	}
	if len(f.samples) > 0 {
		return fmt.Errorf("event %.40q with %d samples, expected none: %w", f.event, len(f.samples), ErrInvalid)
	}
	at := u.Row.ServerTime
	switch f.event {
	case "source.started":
		acked, err := count("last_acked", f.lastAcked)
		if err != nil {
			return err
		}
		if f.previous != "" && !telemetry.ValidIncarnation(f.previous) {
			return fmt.Errorf("previous %.40q, expected 16 hexadecimal digits: %w", f.previous, ErrInvalid)
		}
		u.Kind = ingest.Start
		u.Started = ingest.Started{Seq: u.Row.Seq, At: at, Previous: f.previous, LastAcked: acked, Reason: f.reason}
		return nil
	case "telemetry.lost":
		u.Kind = ingest.Loss
		return f.loss(&u.Lost, at)
	default:
		return fmt.Errorf("event %.40q, expected source.started or telemetry.lost: %w", f.event, ErrInvalid)
	}
}

func (f *fields) loss(l *telemetry.Lost, at time.Time) (err error) {
	*l = telemetry.Lost{At: at, Reason: f.reason, Tags: f.tags}
	for _, n := range []struct {
		name, text string
		to         *uint64
	}{
		{"from", f.from, &l.From},
		{"to", f.to, &l.To},
		{"counts.messages", f.messages, &l.Counts.Messages},
		{"counts.samples", f.lost, &l.Counts.Samples},
		{"counts.bytes", f.bytes, &l.Counts.Bytes},
	} {
		if *n.to, err = count(n.name, n.text); err != nil {
			return err
		}
	}
	for _, n := range []struct {
		has        member
		name, text string
		to         *time.Time
	}{{hasOldest, "oldest", f.oldest, &l.Oldest}, {hasNewest, "newest", f.newest, &l.Newest}} {
		if f.has&n.has == 0 {
			continue
		}
		d, err := nanoseconds(n.text)
		if err != nil {
			return fmt.Errorf("%s %.40s: %w: %w", n.name, n.text, err, ErrInvalid)
		}
		*n.to = time.Unix(0, d).UTC()
	}
	return nil
}

// count reads a number of things; "" is none.
func count(name, text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 53)
	if err != nil {
		return 0, fmt.Errorf("%s %.40s, expected an integer from 0 below 2^53: %w", name, text, ErrInvalid)
	}
	return n, nil
}

// salvage looks for a gateway's identity in text that is not JSON, so that the
// message uses up its number and those behind it are not held up for ever.
func (f *fields) salvage(text string) {
	gateway := after(text, `"gw_id":"`, `"`)
	incarnation := after(text, `"inc":"`, `"`)
	seq := after(text, `"seq":`, ",}")
	if _, err := strconv.ParseUint(seq, 10, 53); err != nil || gateway == "" || !telemetry.ValidIncarnation(incarnation) {
		*f = fields{}
		return
	}
	*f = fields{has: hasGateway, gateway: gateway, incarnation: incarnation, seq: seq}
}

// after returns what stands between the first start and the next of the ends.
func after(text, start, ends string) string {
	i := strings.Index(text, start)
	if i < 0 {
		return ""
	}
	text = text[i+len(start):]
	if i = strings.IndexAny(text, ends); i < 0 {
		return ""
	}
	return text[:i]
}
