// Package plant makes the telemetry of a plant that is always the same, for
// benchmarks and for tests of sizes.
package plant

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// Tags is how many signals a device sends in each message.
const Tags = 10

// Plant is devices that each send ten signals a second under one time, which
// is jittered by 2 ms: four slow temperatures, two pressures, flow, power, a
// set point and a state, all with one decimal; about one sample in a thousand
// is not good.
type Plant struct {
	rng     *rand.Rand
	devices []device
}

type device struct {
	name   string
	phase  int64 // milliseconds within the second
	values [Tags]float64
	bad    [Tags]int // seconds for which a signal is still not good
}

// New returns a plant of n devices.
func New(n int) *Plant {
	p := &Plant{rng: rand.New(rand.NewPCG(7, 7)), devices: make([]device, n)}
	for i := range p.devices {
		d := &p.devices[i]
		d.name, d.phase = fmt.Sprintf("pump-%04d", i), p.rng.Int64N(1000)
		for k := range d.values {
			d.values[k] = float64(10 + p.rng.IntN(900))
		}
		d.values[9] = 1
	}
	return p
}

// Device is the name of device i.
func (p *Plant) Device(i int) string { return p.devices[i].name }

var signals = [Tags]string{
	"temp_inlet_c", "temp_outlet_c", "temp_bearing_a_c", "temp_bearing_b_c", "pressure_inlet_bar", "pressure_outlet_bar",
	"flow_m3h", "power_kw", "speed_setpoint_rpm", "running",
}

// Row makes device i's message of a second, counted from a fixed day. With a
// gateway its msg_id follows from the sequence; without, it is a ULID of its own.
func (p *Plant) Row(i int, second int64, seq uint64, gateway string) *telemetry.Row {
	d := &p.devices[i]
	for k, sd := range [8]float64{0.05, 0.05, 0.05, 0.05, 0.3, 0.3, 1, 0.8} {
		d.values[k] += sd * p.rng.NormFloat64()
	}
	if p.rng.IntN(600) == 0 {
		d.values[8] = float64(10 + p.rng.IntN(900))
	}
	if p.rng.IntN(900) == 0 {
		d.values[9] = 1 - d.values[9]
	}
	ts := time.UnixMilli(1_790_000_000_000 + second*1000 + d.phase + int64(math.Round(2*p.rng.NormFloat64()))).UTC()
	r := &telemetry.Row{
		Device: d.name, DeviceType: "centrifugal_pump", Gateway: gateway, HasSeq: true, Seq: seq, SourceTime: ts, ServerTime: ts,
		Firmware: "2.3.1", SchemaVersion: "2.1", EdgeLatency: telemetry.NoLatency, Samples: make([]telemetry.Sample, Tags),
	}
	if gateway == "" {
		r.Basis, r.MsgID = telemetry.FromTS, p.ulid(uint64(ts.UnixMilli()))
	} else {
		r.MsgIDDerived, r.ServerTime = true, ts.Add(time.Duration(3+p.rng.IntN(2))*time.Millisecond)
	}
	for k := range r.Samples {
		r.Samples[k] = telemetry.Sample{
			Signal: signals[k], Value: telemetry.FloatValue(math.Round(d.values[k]*10) / 10), Quality: d.quality(p.rng, k),
		}
	}
	return r
}

func (d *device) quality(rng *rand.Rand, k int) quality.Quality {
	if d.bad[k] == 0 && rng.IntN(10_000) == 0 {
		d.bad[k] = 1 + rng.IntN(20)
	}
	if d.bad[k] == 0 {
		return quality.Quality{Scheme: 1, Raw: 192}
	}
	d.bad[k]--
	return quality.Quality{Scheme: 1, Raw: 68, Code: 0x40900000}
}

// ulid is a ULID of a time and 80 random bits.
func (p *Plant) ulid(ms uint64) string {
	const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	var b [26]byte
	for i := 9; i >= 0; i-- {
		b[i] = digits[ms&31]
		ms >>= 5
	}
	for i := 10; i < 26; i++ {
		b[i] = digits[p.rng.Uint32()&31]
	}
	return string(b[:])
}
