package badgerlog_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// oddRow makes a row of a device of a plant that has everything: what is
// usual most of the time, and what no column likes often enough.
func oddRow(rng *rand.Rand, seq uint64) []byte {
	odd := func(n int) bool { return rng.IntN(n) == 0 }
	k := rng.IntN(4)
	ts := time.UnixMilli(1_790_000_000_000 + int64(seq)*1000 + rng.Int64N(5)).UTC()
	r := telemetry.Row{
		Device: fmt.Sprintf("P-%03d", k), DeviceType: "pump", Firmware: "2.3.1", SchemaVersion: "2.1",
		HasSeq: true, Seq: seq, SourceTime: ts, ServerTime: ts.Add(time.Duration(rng.IntN(3)) * time.Millisecond),
		EdgeLatency: telemetry.NoLatency,
	}
	r.EdgeLatency = r.ServerTime.Sub(r.SourceTime)
	switch {
	case k == 1:
		r.MsgIDDerived, r.Gateway = true, "gw"
	case k == 2:
		r.MsgID = fmt.Sprintf("01J%023d", rng.Uint32()) // a ULID
	case odd(2):
		r.MsgID = fmt.Sprintf("%s/%d", r.Device, rng.Uint32())
	}
	if odd(10) {
		r.HasSeq, r.Seq = false, 0
	}
	switch rng.IntN(12) {
	case 0:
		r.Basis, r.SourceTime = telemetry.FromArrival, ts.Add(12345)
	case 1:
		r.SourceTime, r.EdgeLatency = ts.Add(777), telemetry.NoLatency
	case 2:
		r.ServerTime, r.Basis = time.Time{}, telemetry.FromTS
	case 3:
		r.EdgeLatency = 1234567
	case 4:
		r.ServerTime = ts.Add(-time.Hour)
	}
	n := 4 + k
	if odd(50) {
		n = rng.IntN(40)
	}
	bad := rng.IntN(20)
	for i := range n {
		q := quality.Quality{Scheme: quality.Scheme(1), Raw: 192}
		if i == bad {
			q = quality.Quality{Scheme: quality.Scheme(1), Raw: 68, Code: 0x40900000}
		}
		r.Samples = append(r.Samples, telemetry.Sample{Signal: fmt.Sprintf("signal_%d", i), Value: oddValue(rng, i), Quality: q})
	}
	return r.AppendBinary(nil)
}

func oddValue(rng *rand.Rand, i int) telemetry.Value {
	float := func(f float64) telemetry.Value {
		return telemetry.Value{Kind: telemetry.Float64, Bits: math.Float64bits(f)}
	}
	if rng.IntN(10) == 0 {
		i = rng.IntN(16)
	}
	switch i {
	case 0, 1, 2:
		return float(math.Round(200+20*rng.NormFloat64()) / 10)
	case 3:
		return telemetry.Value{Kind: telemetry.Bool, Bits: rng.Uint64() & 1}
	case 4:
		return telemetry.Value{Kind: telemetry.Int64, Bits: rng.Uint64() >> rng.IntN(64)}
	case 5:
		return float(rng.NormFloat64())
	case 6:
		return telemetry.StringValue([]string{"RUN", "STOP", "", "Süd\x00\xff"}[rng.IntN(4)])
	case 7:
		return telemetry.Value{Kind: telemetry.Null}
	case 8:
		return float(math.Copysign(0, -1))
	case 9:
		return telemetry.Value{Kind: telemetry.Float64, Bits: 0x7ff8_0000_dead_beef | rng.Uint64()&0x8000_0000_0000_0000}
	case 10:
		return float(math.Inf(1 - 2*rng.IntN(2)))
	case 11:
		return float(float64(rng.Int64N(1<<49)) / 1e9)
	case 12:
		return float(float64(rng.Int64N(1 << 51)))
	case 13:
		return float(float64(float32(rng.NormFloat64())))
	}
	return float(math.Float64frombits(rng.Uint64()))
}

// spoil makes of a row something that a reader must not take for one, or
// takes for one that another has written.
func spoil(rng *rand.Rand, row []byte) []byte {
	switch rng.IntN(4) {
	case 0:
		return row[:rng.IntN(len(row)+1)]
	case 1:
		return append(row, byte(rng.Uint32()))
	default:
		if len(row) > 0 {
			row[rng.IntN(len(row))] ^= 1 << rng.IntN(8)
		}
		return row
	}
}
