package wire

import (
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// SchemaVersion is what our own senders put into schema_version.
const SchemaVersion = "2.1"

// AppendRow appends the row as a message in the full form. incarnation is that
// of the gateway's outbox, "" for a device that publishes by itself; with one,
// a row without MsgID gets the msg_id that follows from (incarnation, seq).
// Reading it under the device's topic gives the same row.
func AppendRow(dst []byte, r *telemetry.Row, incarnation string) []byte {
	w := writer{dst}
	w.b = append(w.b, '{')
	w.text("schema_version", r.SchemaVersion)
	switch {
	case r.MsgID != "":
		w.text("msg_id", r.MsgID)
	case incarnation != "" && r.HasSeq:
		w.text("msg_id", telemetry.MsgID(incarnation, r.Seq))
	}
	w.text("device_id", r.Device)
	w.text("device_type", r.DeviceType)
	if !r.ServerTime.IsZero() {
		w.name("ts")
		w.millis(r.ServerTime.UnixNano())
	}
	if r.HasSeq {
		w.name("seq")
		w.b = strconv.AppendUint(w.b, r.Seq, 10)
	}
	scheme := messageScheme(r.Samples)
	w.name("d")
	w.b = append(w.b, '{')
	for i := range r.Samples {
		w.sample(&r.Samples[i], scheme)
	}
	w.b = append(w.b, '}')
	w.meta(r, incarnation, scheme)
	return append(w.b, '}')
}

// messageScheme is that of the first sample whose quality came from somewhere.
func messageScheme(samples []telemetry.Sample) quality.Scheme {
	for i := range samples {
		if s := samples[i].Quality.Scheme; s != quality.Assumed {
			return s
		}
	}
	return quality.OPCDA
}

// writer appends JSON members.
type writer struct{ b []byte }

func (w *writer) name(n string) {
	if last := w.b[len(w.b)-1]; last != '{' {
		w.b = append(w.b, ',')
	}
	w.string(n)
	w.b = append(w.b, ':')
}

// text writes a member unless it is empty.
func (w *writer) text(name, s string) {
	if s != "" {
		w.name(name)
		w.string(s)
	}
}

// millis writes nanoseconds as milliseconds with as many decimals as needed.
func (w *writer) millis(n int64) {
	whole, rest := n/int64(time.Millisecond), n%int64(time.Millisecond)
	if rest == 0 {
		w.b = strconv.AppendInt(w.b, whole, 10)
		return
	}
	if n < 0 {
		w.b = append(w.b, '-')
		whole, rest = -whole, -rest
	}
	w.b = strconv.AppendInt(w.b, whole, 10)
	w.b = fmt.Appendf(w.b, ".%06d", rest)
}

func (w *writer) meta(r *telemetry.Row, incarnation string, scheme quality.Scheme) {
	mark := len(w.b)
	w.name("meta")
	w.b = append(w.b, '{')
	empty := len(w.b)
	w.text("fw_version", r.Firmware)
	w.text("gw_id", r.Gateway)
	w.text("inc", incarnation)
	if r.Basis == telemetry.FromSourceTS {
		w.name("source_ts")
		w.millis(r.SourceTime.UnixNano())
	}
	if r.EdgeLatency != telemetry.NoLatency {
		w.name("edge_latency_ms")
		w.millis(int64(r.EdgeLatency))
	}
	if scheme != quality.OPCDA {
		w.text("q", scheme.String())
	}
	if len(w.b) == empty {
		w.b = w.b[:mark]
		return
	}
	w.b = append(w.b, '}')
}

// sample writes {"v":…,"q":…} and what else is needed to read it back alike.
func (w *writer) sample(s *telemetry.Sample, scheme quality.Scheme) {
	w.name(s.Signal)
	w.b = append(w.b, '{')
	w.name("v")
	kind := w.value(&s.Value)
	w.text("k", kind)
	q := s.Quality
	code := quality.FromRaw(q.Scheme, q.Raw).Code
	if q.Scheme == quality.Assumed {
		if s.Value.Kind == telemetry.Null {
			code = quality.BadNoData
		}
	} else {
		w.name("q")
		w.b = strconv.AppendUint(w.b, uint64(q.Raw), 10)
		if q.Scheme != scheme {
			w.text("qs", q.Scheme.String())
		}
	}
	if q.Code != code {
		w.name("c")
		w.b = strconv.AppendUint(w.b, uint64(q.Code), 10)
	}
	w.b = append(w.b, '}')
}

// value writes a value and returns the kind that must be named with it.
func (w *writer) value(v *telemetry.Value) (kind string) {
	switch v.Kind {
	case telemetry.Float64:
		return w.float(v.Bits)
	case telemetry.Int64:
		n := int64(v.Bits)
		w.b = strconv.AppendInt(w.b, n, 10)
		if n > maxExact || n < -maxExact {
			return ""
		}
		return kindInt64
	case telemetry.Bool:
		w.b = strconv.AppendBool(w.b, v.Bits != 0)
	case telemetry.String:
		w.string(v.Str)
		if stringValue(v.Str).Kind != telemetry.String {
			return kindString
		}
	default:
		w.b = append(w.b, "null"...)
	}
	return ""
}

func (w *writer) float(bits uint64) (kind string) {
	f := math.Float64frombits(bits)
	switch {
	case math.IsInf(f, 1):
		w.b = append(w.b, `"Infinity"`...)
	case math.IsInf(f, -1):
		w.b = append(w.b, `"-Infinity"`...)
	case bits == quietNaN:
		w.b = append(w.b, `"NaN"`...)
	case math.IsNaN(f):
		w.b = fmt.Appendf(w.b, `"0x%016x"`, bits)
		return kindFloat64
	case math.Abs(f) >= 1e-6 && math.Abs(f) <= maxExact || f == 0:
		w.b = strconv.AppendFloat(w.b, f, 'f', -1, 64)
	default: // with an exponent, an integer beyond 2^53 stays a float64
		w.b = strconv.AppendFloat(w.b, f, 'e', -1, 64)
	}
	return ""
}

const hexDigits = "0123456789abcdef"

// string quotes s; bytes that are not UTF-8 become U+FFFD.
func (w *writer) string(s string) {
	w.b = append(w.b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			w.b = append(w.b, '\\', c)
		case c < 0x20:
			w.b = append(w.b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c < utf8.RuneSelf:
			w.b = append(w.b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			w.b = utf8.AppendRune(w.b, r)
			i += n
			continue
		}
		i++
	}
	w.b = append(w.b, '"')
}
