package station

import (
	"math"
	"time"

	"github.com/twinlog/twinlog/domain/asset"
)

// A signal is one thing that can be measured or read.
type signal struct {
	name        string
	unit        string  // UNECE Rec 20 common code, "" for none
	low, high   float64 // EURange: normal operation
	least, most float64 // InstrumentRange: what the sensor can say
	sigma       float64 // of the sensor's noise, in the unit
	kind        asset.DataType
	description string
}

// The signals of the machines, in the order of their registers.
var (
	pumpSignals = []signal{
		{"flow", "MQH", 0, 260, 0, 300, 0.6, asset.Float64, "Volume flow at the outlet"},
		{"pressure_in", "BAR", 0, 1, -1, 4, 0.002, asset.Float64, "Pressure at the inlet, gauge"},
		{"pressure_out", "BAR", 0, 5.5, 0, 10, 0.008, asset.Float64, "Pressure at the outlet, gauge"},
		{"motor_current", "AMP", 0, 75, 0, 120, 0.15, asset.Float64, "Current of one phase"},
		{"motor_temp", "CEL", 0, 110, 0, 150, 0.05, asset.Float64, "Temperature of the winding, 4-20 mA"},
		{"vibration", "C16", 0, 4.5, 0, 20, 0.03, asset.Float64, "Velocity at the bearing, RMS, 4-20 mA"},
		{"speed", "RPM", 0, 3100, 0, 4000, 1.5, asset.Float64, "Speed of the shaft"},
		{"running", "", 0, 1, 0, 1, 0, asset.Bool, "The contactor is closed"},
	}
	tankSignals = []signal{
		{"level", "MTR", 0.5, 5.5, 0, 8, 0.003, asset.Float64, "Level above the floor, 4-20 mA"},
		{"temperature", "CEL", 0, 40, -20, 80, 0.05, asset.Float64, "Temperature of the water"},
	}
	valveSignals = []signal{
		{"position", "P1", 0, 100, 0, 100, 0.05, asset.Float64, "Where the valve is, 100 is open"},
		{"command", "P1", 0, 100, 0, 100, 0, asset.Float64, "Where it was told to go"},
	}
)

// show is what the sensor of a signal says of a true value.
func (p *plant) show(channel int, s signal, truth float64) float64 {
	return clamp(truth+s.sigma*p.noise(channel), s.least, s.most)
}

// pumpValues are the eight signals of pump i.
func (p *plant) pumpValues(i int) [8]float64 {
	u := p.pumps[i]
	running := 0.0
	if u.on {
		running = 1
	}
	v := [8]float64{u.flow, u.suction, u.outlet, u.current, u.temp, u.shake, u.speed, running}
	for k, s := range pumpSignals {
		v[k] = p.show(100*i+k, s, v[k])
	}
	return v
}

// tankValues are the two signals of tank i.
func (p *plant) tankValues(i int) [2]float64 {
	v := [2]float64{p.tanks[i].level, p.tanks[i].temp}
	for k, s := range tankSignals {
		v[k] = p.show(1000+100*i+k, s, v[k])
	}
	return v
}

// valveValues are the two signals of the valve.
func (p *plant) valveValues() [2]float64 {
	v := [2]float64{p.valve, p.command}
	for k, s := range valveSignals {
		v[k] = p.show(2000+k, s, v[k])
	}
	return v
}

// loop is the current of a 4–20 mA transmitter, in µA.
func loop(s signal, value float64) uint16 {
	return uint16(math.Round(4000 + 16000*(value-s.least)/(s.most-s.least))) //nolint:gosec // show keeps the value within the instrument
}

// The failing sensor: the motor temperature of P-102.
const (
	failingPump   = 1
	failingSignal = 4
)

// failing is the current of the failing sensor, in µA.
func (p *plant) failing() uint16 {
	f, phase := p.failure, p.phase()
	truth := loop(pumpSignals[failingSignal], p.pumpValues(failingPump)[failingSignal])
	switch {
	case f.Repaired > 0 && phase >= f.Repaired:
		return truth
	case f.Broken > 0 && phase >= f.Broken:
		return 0
	case f.Frozen > 0 && phase >= f.Frozen:
		return p.stuck
	}
	return truth
}

// phase is the time since the failure's schedule began, the last time.
func (p *plant) phase() time.Duration {
	if p.failure.Every > 0 {
		return p.at % p.failure.Every
	}
	return p.at
}
