package station

import "math"

// The controller's map. Input registers hold what is measured, from base: pumps
// at 0, 20, 40, 60, tanks at 100 and 110, the valve at 120. Discrete inputs 0 to
// 3 say which pumps run. Holding register 0 is the valve's command in 0.01 %,
// the one thing that can be written; holding register 1 is 1 while somebody's
// command holds, and writing 0 there gives the valve back to the controller.
//
// A pump, from its base:
//
//	+0  flow           float32, words CDAB  m³/h
//	+2  pressure_in    int16                0.001 bar
//	+3  pressure_out   uint16               0.001 bar
//	+4  motor_current  uint16               0.1 A
//	+5  motor_temp     uint16               µA of a 4–20 mA loop, 0 to 150 °C
//	+6  vibration      uint16               µA of a 4–20 mA loop, 0 to 20 mm/s
//	+7  speed          uint16               0.1 rpm
//
// A tank: +0 level, uint16, µA of a 4–20 mA loop, 0 to 8 m; +1 temperature,
// int16, 0.1 °C. The valve: +0 position, uint16, 0.01 %.
const (
	polledPumps = 4 // the others publish by themselves
	pumpStride  = 20
	tankBase    = 100
	tankStride  = 10
	valveBase   = 120
	valveHold   = 0
	valveManual = 1
)

// A bank is the memory of a controller.
type bank interface {
	// snapshot returns the registers and bits at one instant.
	snapshot() image
	// write sets a holding register; false means that it cannot be written.
	write(address, value uint16) bool
}

// An image is what a controller holds at one instant. What is not in it does
// not exist.
type image struct {
	input, holding map[uint16]uint16
	discrete       map[uint16]bool
}

func (s *Station) snapshot() (im image) {
	s.now(func(p *plant) { im = p.image() })
	return im
}

func (p *plant) image() image {
	im := image{input: map[uint16]uint16{}, holding: map[uint16]uint16{}, discrete: map[uint16]bool{}}
	for i := range polledPumps {
		base := uint16(i * pumpStride) //nolint:gosec // below 100
		v := p.pumpValues(i)
		bits := math.Float32bits(float32(v[0]))
		im.input[base], im.input[base+1] = uint16(bits), uint16(bits>>16) //nolint:gosec // the halves
		im.input[base+2] = signed(v[1] * 1000)
		im.input[base+3] = signed(v[2] * 1000)
		im.input[base+4] = signed(v[3] * 10)
		im.input[base+5] = loop(pumpSignals[4], v[4])
		im.input[base+6] = loop(pumpSignals[5], v[5])
		im.input[base+7] = signed(v[6] * 10)
		im.discrete[uint16(i)] = v[7] > 0 //nolint:gosec // below 4
	}
	im.input[failingPump*pumpStride+5] = p.failing()
	for i := range p.tanks {
		base := uint16(tankBase + i*tankStride) //nolint:gosec // below 120
		v := p.tankValues(i)
		im.input[base] = loop(tankSignals[0], v[0])
		im.input[base+1] = signed(v[1] * 10)
	}
	v := p.valveValues()
	im.input[valveBase] = signed(v[0] * 100)
	im.holding[valveHold] = signed(v[1] * 100)
	im.holding[valveManual] = 0
	if p.manual {
		im.holding[valveManual] = 1
	}
	return im
}

// signed rounds to a register of 16 bits, two's complement below zero.
func signed(x float64) uint16 {
	return uint16(int16(math.Round(clamp(x, math.MinInt16, math.MaxInt16)))) //nolint:gosec // two's complement
}

func (s *Station) write(address, value uint16) (ok bool) {
	s.now(func(p *plant) {
		switch {
		case address == valveHold && value <= 10000:
			p.command, p.manual, ok = float64(value)/100, true, true
		case address == valveManual && value == 0:
			p.manual, ok = false, true
		}
	})
	return ok
}
