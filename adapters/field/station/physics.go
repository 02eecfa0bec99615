package station

import (
	"math"
	"time"
)

// step is how finely the plant is integrated: a tenth of its fastest time
// constant.
const step = 100 * time.Millisecond

// A pump is a centrifugal pump with its motor.
type pump struct {
	on      bool
	speed   float64 // rpm
	flow    float64 // m³/h
	suction float64 // bar
	outlet  float64 // bar
	current float64 // A
	temp    float64 // °C, of the motor
	shake   float64 // mm/s RMS, of the bearing
	wear    float64 // 1 is new
}

// A tank is upright, with an open top.
type tank struct {
	level float64 // m
	temp  float64 // °C
	area  float64 // m²
}

// A plant is the state of the station at one instant. Raw water flows through
// valve V-301 into tank T-201; pumps P-101 to P-103 lift it into T-202, and
// P-104 to P-106 push it into the town, which draws more or less of it.
type plant struct {
	seed    uint64
	failure Failure
	at      time.Duration // since the start, a multiple of step

	pumps   [6]pump
	tanks   [2]tank
	valve   float64 // %, where it is
	command float64 // %, where it should be; held when manual
	manual  bool    // somebody wrote the command
	inflow  float64 // m³/h
	demand  float64 // m³/h

	stuck uint16 // the current at which the failing sensor froze, µA
}

// Data of the machines, all alike.
const (
	ratedSpeed   = 2960.0 // rpm
	ratedFlow    = 220.0  // m³/h
	shutoffHead  = 48.0   // m at rated speed and no flow
	headLoss     = 18.0   // m of the pump's own, at rated flow
	pipeLoss     = 12.0   // m of the pipe, at rated flow
	staticHead   = 16.0   // m from tank to tank
	ratedCurrent = 58.0   // A
	ambient      = 21.0   // °C
	ramp         = 220.0  // rpm a second
	travel       = 4.0    // % a second, of the valve
	tankHeight   = 6.0    // m
	motorTau     = 150.0  // s
)

func newPlant(seed uint64, failure Failure) *plant {
	p := &plant{seed: seed, failure: failure, valve: 55, command: 55}
	p.tanks = [2]tank{{level: 3.4, temp: 12.5, area: 46}, {level: 3.0, temp: 14, area: 52}}
	for i := range p.pumps {
		u := &p.pumps[i]
		u.on = i != 2 && i != 5 // two on duty and one in reserve, on either side
		u.temp, u.wear = ambient+20*uniform(seed, uint64(i), 1), 1+0.5*uniform(seed, uint64(i), 2)
		if u.on {
			u.speed = 0.9 * ratedSpeed
		}
	}
	return p
}

// advance moves the plant to a time since the start. Going back is standing
// still.
func (p *plant) advance(to time.Duration) {
	for p.at+step <= to {
		p.at += step
		p.move(step.Seconds())
		if f := p.failure.Frozen; f > 0 && p.phase() < f {
			p.stuck = p.failing()
		}
	}
}

// move integrates one step of dt seconds.
func (p *plant) move(dt float64) {
	t := p.at.Seconds()
	p.control(t)
	p.valve += clamp(p.command-p.valve, -travel*dt, travel*dt)
	p.inflow = 900 * p.valve / 100 * math.Sqrt(max(0, (tankHeight+1-p.tanks[0].level)/tankHeight))

	var lifted, sent float64
	for i := range p.pumps {
		source := &p.tanks[i/3]
		p.pumps[i].move(dt, source.level, t)
		if i < 3 {
			lifted += p.pumps[i].flow
		} else {
			sent += p.pumps[i].flow
		}
	}
	p.tanks[0].fill(p.inflow-lifted, dt)
	p.tanks[1].fill(lifted-sent, dt)
	river := 12.5 + 1.5*math.Sin(2*math.Pi*t/3600)
	p.tanks[0].temp += (river - p.tanks[0].temp) * dt / 900
	p.tanks[1].temp += (p.tanks[0].temp + 1 - p.tanks[1].temp) * dt / 1200
}

// fill adds what flows in and not out, in m³/h.
func (t *tank) fill(net, dt float64) {
	t.level = clamp(t.level+net/3600*dt/t.area, 0, tankHeight)
}

// control is the station's own: levels by valve and by the pump in reserve,
// and the speed of the town's pumps by what it draws.
func (p *plant) control(t float64) {
	p.demand = 380 + 110*math.Sin(2*math.Pi*t/600) + 30*math.Sin(2*math.Pi*t/97)
	if !p.manual {
		p.command = clamp(55+60*(3.4-p.tanks[0].level), 0, 100)
	}
	reserve := func(u *pump, low, high bool) {
		switch {
		case low:
			u.on = true
		case high:
			u.on = false
		}
	}
	reserve(&p.pumps[2], p.tanks[1].level < 3.0, p.tanks[1].level > 3.15)
	reserve(&p.pumps[5], p.demand > 450, p.demand < 400)
	running := 2.0
	if p.pumps[5].on {
		running = 3
	}
	for i := range p.pumps {
		target := 0.86 + 0.25*(3.2-p.tanks[1].level)
		if i >= 3 {
			target = 0.62 + 0.38*p.demand/running/ratedFlow
		}
		if !p.pumps[i].on {
			target = 0
		}
		u := &p.pumps[i]
		want := ratedSpeed * clamp(target, 0, 1.02)
		if target > 0 {
			want = max(want, 0.66*ratedSpeed)
		}
		u.speed += clamp(want-u.speed, -ramp*step.Seconds(), ramp*step.Seconds())
	}
}

// move gives a pump the point at which its curve meets the pipe's.
func (u *pump) move(dt, level, t float64) {
	s := u.speed / ratedSpeed
	q := 0.0
	if head := shutoffHead*s*s - staticHead; head > 0 {
		q = ratedFlow * math.Sqrt(head/(headLoss+pipeLoss))
	}
	u.flow += (q - u.flow) * dt / 0.8 // the water has mass
	u.suction = (level - 0.4*u.flow*u.flow/ratedFlow/ratedFlow) / 10.2
	u.outlet = u.suction
	if u.speed > 1 {
		u.outlet += max(0, shutoffHead*s*s-headLoss*u.flow*u.flow/ratedFlow/ratedFlow) / 10.2
	}
	load := 0.0
	if u.speed > 1 {
		load = 0.28*s + 0.72*s*s*(0.4+0.6*u.flow/ratedFlow)
	}
	u.current = ratedCurrent * load
	u.temp += (ambient + 62*load*load - u.temp) * dt / motorTau
	u.shake = s * s * u.wear * (1.6 + 0.3*math.Sin(2*math.Pi*t/41)) * (1 + 0.4*math.Abs(u.flow/ratedFlow-0.8))
}

func clamp(x, low, high float64) float64 { return min(max(x, low), high) }

// uniform is a number in [0, 1) that depends on its arguments alone: noise that
// is the same whoever looks, in whatever order (SplitMix64).
func uniform(parts ...uint64) float64 {
	var x uint64
	for _, p := range parts {
		x += p + 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
	}
	return float64(x>>11) / (1 << 53)
}

// noise is about normal with mean 0 and deviation 1: four uniform numbers.
func (p *plant) noise(channel int) float64 {
	sum := -2.0
	for i := range uint64(4) {
		sum += uniform(p.seed, uint64(p.at/step), uint64(channel), i) //nolint:gosec // at and channel are not negative
	}
	return sum * math.Sqrt(3)
}
