package station

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/simonvetter/modbus"

	"github.com/twinlog/twinlog/test/budget"
)

// TestSameSeedSamePlant: what the plant is at an instant does not depend on how
// often it was looked at before.
func TestSameSeedSamePlant(t *testing.T) {
	seed := budget.Seed(t)
	often, once := newPlant(seed, Failure{}.Standard()), newPlant(seed, Failure{}.Standard())
	for d := time.Duration(0); d <= 3*time.Minute; d += 37 * time.Millisecond {
		often.advance(d)
		_ = often.image()
	}
	once.advance(often.at)
	if diff := cmp.Diff(once.image(), often.image(), cmp.AllowUnexported(image{})); diff != "" {
		t.Errorf("looked at once (-) and often (+):\n%s", diff)
	}
	other := newPlant(seed+1, Failure{}.Standard())
	other.advance(often.at)
	if cmp.Equal(other.image(), often.image(), cmp.AllowUnexported(image{})) {
		t.Error("another seed gives the same plant")
	}
}

// TestPhysics runs a day: everything stays within what the instruments can say,
// water is neither made nor lost, and the plant is not a still picture.
func TestPhysics(t *testing.T) {
	p := newPlant(budget.Seed(t), Failure{})
	var stored, started, low, high float64
	low = math.Inf(1)
	for n := range 24 * 3600 * 10 {
		before := [2]float64{p.tanks[0].level, p.tanks[1].level}
		on := p.pumps[2].on
		p.advance(p.at + step)
		if p.pumps[2].on && !on {
			started++
		}
		net := p.inflow
		for i := range p.pumps {
			u := p.pumps[i]
			if i >= 3 {
				net -= u.flow
			}
			if n%100 == 0 {
				for k, v := range p.pumpValues(i) {
					if s := pumpSignals[k]; v < s.least || v > s.most {
						t.Fatalf("%v: pump %d shows %s %v", p.at, i, s.name, v)
					}
				}
			}
			if u.speed > 1960 && (u.flow < 10 || u.outlet <= u.suction) {
				t.Fatalf("%v: pump %d at %.0f rpm lifts %.1f m³/h from %.2f to %.2f bar", p.at, i, u.speed, u.flow, u.suction, u.outlet)
			}
			if u.temp < 0 || u.temp > 110 {
				t.Fatalf("%v: pump %d is %.1f °C warm", p.at, i, u.temp)
			}
			low, high = min(low, u.flow), max(high, u.flow)
		}
		for i := range p.tanks {
			if l := p.tanks[i].level; l < 0.5 || l > 5.5 {
				t.Fatalf("%v: tank %d stands at %.2f m", p.at, i, l)
			}
			stored += (p.tanks[i].level - before[i]) * p.tanks[i].area
		}
		stored -= net / 3600 * step.Seconds()
		if math.Abs(stored) > 1e-6 {
			t.Fatalf("%v: %v m³ came from nowhere", p.at, stored)
		}
	}
	if started < 2 || high < 150 || low > 1 {
		t.Errorf("the pump in reserve started %v times, flows went from %v to %v", started, low, high)
	}
}

// TestFailure: the current of the bad sensor lives, stands still, is gone, lives.
func TestFailure(t *testing.T) {
	f := Failure{}.Standard()
	p := newPlant(7, f)
	seen := map[string]map[uint16]bool{}
	for at := time.Duration(0); at < f.Every+f.Frozen; at += 500 * time.Millisecond {
		p.advance(at)
		name := "alive"
		switch phase := at % f.Every; {
		case phase >= f.Repaired:
		case phase >= f.Broken:
			name = "broken"
		case phase >= f.Frozen:
			name = "frozen"
		}
		if seen[name] == nil {
			seen[name] = map[uint16]bool{}
		}
		seen[name][p.image().input[failingPump*pumpStride+5]] = true
	}
	if len(seen["frozen"]) != 1 || len(seen["alive"]) < 50 {
		t.Errorf("frozen shows %d currents, alive %d", len(seen["frozen"]), len(seen["alive"]))
	}
	if diff := cmp.Diff(map[uint16]bool{0: true}, seen["broken"]); diff != "" {
		t.Errorf("broken (-want +got):\n%s", diff)
	}
	for mA := range seen["frozen"] {
		if mA < 4000 || mA > 20000 {
			t.Errorf("frozen at %d µA, which is no measurement", mA)
		}
	}
}

// client is an independent one (simonvetter/modbus).
func client(t *testing.T, address string) *modbus.ModbusClient {
	t.Helper()
	c, err := modbus.NewClient(&modbus.ClientConfiguration{URL: "tcp://" + address, Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// run starts a station that ends with the test.
func run(t *testing.T, config Config) *Station {
	t.Helper()
	s, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(t.Context()) }()
	t.Cleanup(func() {
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			t.Error("the station does not stop")
		}
	})
	return s
}

func TestServerAgainstAnotherClient(t *testing.T) {
	s := run(t, Config{Seed: 1})
	c := client(t, s.ModbusAddr())
	if err := c.SetEncoding(modbus.BIG_ENDIAN, modbus.LOW_WORD_FIRST); err != nil {
		t.Fatal(err)
	}
	flow, err := c.ReadFloat32(0, modbus.INPUT_REGISTER)
	if err != nil || flow < 0 || flow > 300 {
		t.Errorf("flow %v, %v", flow, err)
	}
	bits, err := c.ReadDiscreteInputs(0, 4)
	if diff := cmp.Diff([]bool{true, true, false, true}, bits); err != nil || diff != "" {
		t.Errorf("running: %v, (-want +got):\n%s", err, diff)
	}
	for _, tt := range []struct {
		name string
		do   func() error
		want error
	}{
		{"a register that is not there", func() error { _, err := c.ReadRegister(130, modbus.INPUT_REGISTER); return err }, modbus.ErrIllegalDataAddress},
		{"a block that ends beyond the last register", func() error { _, err := c.ReadRegisters(120, 11, modbus.INPUT_REGISTER); return err }, modbus.ErrIllegalDataAddress},
		{"a coil", func() error { _, err := c.ReadCoil(0); return err }, modbus.ErrIllegalDataAddress},
		{"a discrete input that is not there", func() error { _, err := c.ReadDiscreteInputs(3, 2); return err }, modbus.ErrIllegalDataAddress},
		{"a register that cannot be written", func() error { return c.WriteRegister(5, 1) }, modbus.ErrIllegalDataAddress},
		{"a command beyond 100 %", func() error { return c.WriteRegister(valveHold, 10001) }, modbus.ErrIllegalDataAddress},
		{"a coil that is written", func() error { return c.WriteCoil(0, true) }, modbus.ErrIllegalFunction},
		{"the last block", func() error { _, err := c.ReadRegisters(5, 125, modbus.INPUT_REGISTER); return err }, nil},
	} {
		if err := tt.do(); err != tt.want { //nolint:errorlint // the other client's own
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// TestValveFollowsItsCommand: the position goes where it was told at its own
// speed, and back when the controller has it again.
func TestValveFollowsItsCommand(t *testing.T) {
	s := run(t, Config{Seed: 1})
	c := client(t, s.ModbusAddr())
	read := func() (position, command uint16) {
		t.Helper()
		position, err := c.ReadRegister(valveBase, modbus.INPUT_REGISTER)
		if err != nil {
			t.Fatal(err)
		}
		command, err = c.ReadRegister(valveHold, modbus.HOLDING_REGISTER)
		if err != nil {
			t.Fatal(err)
		}
		return position, command
	}
	before, _ := read()
	if err := c.WriteRegister(valveHold, 1000); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	position, command := read()
	if command != 1000 {
		t.Errorf("command is %d, want 1000", command)
	}
	if moved := int(before) - int(position); moved < 200 || moved > 600 {
		t.Errorf("in a second the valve went from %d to %d, want about 400 less", before, position)
	}
	if err := c.WriteRegisters(valveManual, []uint16{0}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * step)
	if _, command := read(); command == 1000 {
		t.Error("the command still holds")
	}
}

// TestOutage: the controller falls silent and its links are cut, each for its
// own time.
func TestOutage(t *testing.T) {
	echo := run(t, Config{Seed: 2}) // somebody at the other end of the uplink
	up, err := NewLink("", echo.ModbusAddr())
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = up.Run(t.Context()) }()
	s := run(t, Config{Seed: 1, Outage: Outage{After: 500 * time.Millisecond, Machines: time.Second, Uplink: 2 * time.Second}, Uplinks: []*Link{up}})
	began := time.Now()
	lives := func(address string) bool {
		c, err := modbus.NewClient(&modbus.ClientConfiguration{URL: "tcp://" + address, Timeout: 150 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if c.Open() != nil {
			return false
		}
		defer c.Close() //nolint:errcheck // one question
		_, err = c.ReadRegister(0, modbus.INPUT_REGISTER)
		return err == nil
	}
	for _, tt := range []struct {
		at               time.Duration
		machines, uplink bool
	}{{0, true, true}, {time.Second, false, false}, {2 * time.Second, true, false}, {3 * time.Second, true, true}} {
		time.Sleep(time.Until(began.Add(tt.at)))
		if m, u := lives(s.ModbusAddr()), lives(up.Addr()); m != tt.machines || u != tt.uplink {
			t.Errorf("at %v machines answer: %v, uplink carries: %v; want %v, %v", tt.at, m, u, tt.machines, tt.uplink)
		}
	}
}

// FuzzAnswer holds the server to what clients count on: it never panics, and a
// reply is of the function asked, within the limit of a PDU, and as long as it
// says.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte{4, 0, 0, 0, 8})
	f.Add([]byte{2, 0, 0, 0, 4})
	f.Add([]byte{16, 0, 0, 0, 1, 2, 3, 0xe8})
	f.Add([]byte{0x2b, 0x0e, 1, 0})
	s, err := New(Config{Seed: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, pdu []byte) {
		if len(pdu) == 0 || len(pdu) > 253 {
			return
		}
		reply := s.server.answer(pdu)
		if len(reply) < 2 || len(reply) > 253 || reply[0]&0x7f != pdu[0]&0x7f {
			t.Fatalf("%x is answered %x", pdu, reply)
		}
		if reply[0]&0x80 != 0 && pdu[0]&0x80 == 0 {
			if len(reply) != 2 {
				t.Fatalf("exception %x", reply)
			}
			return
		}
		if pdu[0] >= 1 && pdu[0] <= 4 && int(reply[1]) != len(reply)-2 {
			t.Fatalf("%x is answered %x", pdu, reply)
		}
	})
}

// TestRequestsInPieces: the server takes a request byte by byte, and two in one.
func TestRequestsInPieces(t *testing.T) {
	s := run(t, Config{Seed: 1})
	conn, err := dial(t, s.ModbusAddr())
	if err != nil {
		t.Fatal(err)
	}
	request := []byte{0, 1, 0, 0, 0, 6, 1, 4, 0, 7, 0, 1}
	for i := range request {
		if _, err := conn.Write(request[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Write(append(request, request...)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		reply := make([]byte, 11)
		if err := readFull(conn, reply); err != nil {
			t.Fatal(err)
		}
		if n := binary.BigEndian.Uint16(reply[4:]); n != 5 || reply[7] != 4 || reply[8] != 2 {
			t.Errorf("reply %x", reply)
		}
	}
}
