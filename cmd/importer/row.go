package importer

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// row is one line of a file: samples of one device at one time.
type row struct {
	line    int
	device  string
	at      time.Time
	samples []telemetry.Sample
}

// id is what the row says, in 128 bits of SHA-256. The order of its samples says
// nothing: order puts them into the order of their signals.
func (r *row) id() ulid.ULID {
	h := sha256.New()
	text := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	text(r.device)
	text(strconv.FormatInt(r.at.Unix(), 10))
	text(strconv.Itoa(r.at.Nanosecond()))
	for _, s := range r.samples {
		text(s.Signal)
		text(strconv.Itoa(int(s.Value.Kind)))
		text(strconv.FormatUint(s.Value.Bits, 16))
		text(s.Value.Str)
		text(strconv.Itoa(int(s.Quality.Scheme)))
		text(strconv.FormatUint(uint64(s.Quality.Raw), 16))
	}
	var id ulid.ULID
	copy(id[:], h.Sum(nil))
	return id
}

// order sorts the samples, so that a file with its columns in another order says
// the same.
func (r *row) order() {
	slices.SortFunc(r.samples, func(a, b telemetry.Sample) int { return strings.Compare(a.Signal, b.Signal) })
}

// value reads a cell: a number, true or false, or a text; or says what was
// expected. A number is a Float64 unless that would change it (an integer beyond
// 2^53), as on the uplink.
func value(cell string, comma bool) (telemetry.Value, string) {
	text := cell
	if strings.Contains(cell, ",") && strings.Trim(cell, "+-0123456789.,eE") == "" && strings.ContainsAny(cell, "0123456789") {
		if !comma {
			return telemetry.Value{}, "a number with a decimal point; --decimal-comma reads 1,5"
		}
		text = strings.Replace(cell, ",", ".", 1)
		if _, err := strconv.ParseFloat(text, 64); err != nil {
			return telemetry.Value{}, "a number without separators of thousands"
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if errors.Is(err, strconv.ErrRange) {
		return telemetry.Value{}, "a number of at most 1.8e308"
	}
	if err == nil {
		if i, err := strconv.ParseInt(text, 10, 64); err == nil && !exact(f, i) {
			return telemetry.IntValue(i), ""
		}
		return telemetry.FloatValue(f), ""
	}
	switch strings.ToLower(cell) {
	case "true":
		return telemetry.BoolValue(true), ""
	case "false":
		return telemetry.BoolValue(false), ""
	}
	return telemetry.StringValue(cell), ""
}

// exact reports whether f is i. Beyond int64 the conversion back would depend on
// the processor.
func exact(f float64, i int64) bool { return math.Abs(f) < 1<<63 && int64(f) == i }

// bad reports whether a value of this quality may be missing.
func bad(q quality.Quality) bool { return q.Code.Status() == quality.IsBad }

const expectedQuality = "an OPC DA quality, 0 to 255"

// assumed is the quality of a value that came without one.
var assumed = quality.Quality{Code: quality.Good, Scheme: quality.Assumed}

// judged reads a quality cell: an OPC DA byte (OPC DA 3.0 §6.8).
func judged(cell string) (quality.Quality, bool) {
	if cell == "" {
		return assumed, true
	}
	n, err := strconv.ParseUint(cell, 10, 8)
	if err != nil {
		return quality.Quality{}, false
	}
	return quality.FromRaw(quality.OPCDA, uint32(n)), true
}
