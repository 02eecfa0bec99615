package importer

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
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

// id is what the row says, in 128 bits of SHA-256.
func (r *row) id() ulid.ULID {
	h := sha256.New()
	text := func(s string) {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	text(r.device)
	text(strconv.FormatInt(r.at.UnixNano(), 10))
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

// value reads a cell: a number, true or false, or a text. A number is a Float64
// unless that would change it (an integer beyond 2^53), as on the uplink.
func value(cell string) telemetry.Value {
	if f, err := strconv.ParseFloat(cell, 64); err == nil {
		if i, err := strconv.ParseInt(cell, 10, 64); err == nil && math.Abs(f) >= 1<<53 && int64(f) != i {
			return telemetry.IntValue(i)
		}
		return telemetry.FloatValue(f)
	}
	switch strings.ToLower(cell) {
	case "true":
		return telemetry.BoolValue(true)
	case "false":
		return telemetry.BoolValue(false)
	}
	return telemetry.StringValue(cell)
}

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
