package modbus_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/adapters/field/fieldtest"
	"github.com/twinlog/twinlog/adapters/field/modbus"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge/acquire"
	"github.com/twinlog/twinlog/test/budget"
)

// registersOf is one item of each type, with the registers that hold its value.
func registersOf() (items []modbus.Item, registers [][]int, want []telemetry.Value) {
	add := func(item modbus.Item, value telemetry.Value, words ...int) {
		item.Unit, item.Table, item.Address = 1, modbus.HoldingRegisters, uint16(10*len(items)+5)
		items, registers, want = append(items, item), append(registers, words), append(want, value)
	}
	add(modbus.Item{Type: modbus.Uint16}, integer(0xABCD), 0xABCD)
	add(modbus.Item{Type: modbus.Int16, Order: modbus.BADC}, integer(-2), 0xFEFF)
	add(modbus.Item{Type: modbus.Uint32, Order: modbus.CDAB}, integer(0x01020304), 0x0304, 0x0102)
	add(modbus.Item{Type: modbus.Int32, Order: modbus.DCBA}, integer(-3), 0xFDFF, 0xFFFF)
	add(modbus.Item{Type: modbus.Int64}, integer(math.MinInt64), 0x8000, 0, 0, 0)
	add(modbus.Item{Type: modbus.Float32, Order: modbus.CDAB}, float(-12.5), 0x0000, 0xC148)
	add(modbus.Item{Type: modbus.Float64}, float(1.5), 0x3FF8, 0, 0, 0)
	add(modbus.Item{Type: modbus.Bit, Bit: 9}, boolean(true), 0x0200)
	add(modbus.Item{Type: modbus.Bits, Bit: 4, Width: 3}, integer(5), 0xFFDF)
	add(modbus.Item{Type: modbus.String, Length: 4}, telemetry.StringValue("PUMP 7"), 0x5055, 0x4D50, 0x2037, 0x2020)
	add(modbus.Item{Type: modbus.String, Length: 3, Order: modbus.BADC}, telemetry.StringValue("Süd"), 0xFC53, 0x0064, 0x5858)
	return items, registers, want
}

// TestKitOverRTU holds RTU over TCP to the port's contract.
func TestKitOverRTU(t *testing.T) {
	units := startUnits(t, "tcp")
	items, registers, want := registersOf()
	rig := fieldtest.Rig{Machine: units.address(), Timeout: 250 * time.Millisecond, Want: want, Codes: make([]quality.Code, len(want))}
	for i, words := range registers {
		units.set(1, int(items[i].Address), words...)
	}
	items = append(items, modbus.Item{Unit: 1, Table: modbus.InputRegisters, Address: 500, Type: modbus.Uint16})
	rig.Want, rig.Codes = append(rig.Want, telemetry.Value{}), append(rig.Codes, quality.BadConfigurationError)
	rig.Open = func(tb testing.TB, address string) acquire.Polled {
		src, err := modbus.New(modbus.Config{Address: address, RTU: true, Timeout: rig.Timeout, Pause: 5 * time.Millisecond}, items)
		if err != nil {
			tb.Fatal(err)
		}
		return src
	}
	fieldtest.Run(t, rig)
}

// TestSerialLine reads three units and one that is silent on one serial line,
// while the line is noisy and answers come too late.
func TestSerialLine(t *testing.T) {
	l := newLine(t)
	units := startUnits(t, l.far, "38400")
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	var items []modbus.Item
	var want []telemetry.Value
	for unit := 1; unit <= 3; unit++ {
		for address := range 20 {
			v := rng.IntN(1 << 16)
			units.set(unit, address, v)
			items = append(items, modbus.Item{Unit: uint8(unit), Table: modbus.HoldingRegisters, Address: uint16(address), Type: modbus.Uint16})
			want = append(want, integer(int64(v)))
		}
	}
	silent := len(items)
	items = append(items, modbus.Item{Unit: 9, Table: modbus.HoldingRegisters, Type: modbus.Uint16})
	src := open(t, modbus.Config{Serial: l.near, Line: modbus.Line{Baud: 38400, Parity: "none"}, Timeout: 300 * time.Millisecond, Tries: 3, Pause: 5 * time.Millisecond}, items)
	good := func(when string) {
		t.Helper()
		for i, r := range read(t, src, all(items)) {
			switch {
			case i == silent:
				if r.Quality.Code != quality.BadCommunicationError || r.Value != (telemetry.Value{}) {
					t.Errorf("%s: the silent unit is %+v, %v", when, r.Value, r.Quality.Code)
				}
			case r.Value != want[i] || r.Quality != quality.AssumedGood:
				t.Errorf("%s: item %d is %+v, %v; want %+v", when, i, r.Value, r.Quality.Code, want[i])
			}
		}
	}
	good("a quiet line")
	for range 5 {
		l.noise <- noise(rng, 1+rng.IntN(40))
		good("noise before an answer")
	}
	l.eat <- struct{}{}
	good("an answer lost")

	// The answer to a question for one register comes after its time, when a
	// gateway that did not wait for it would have asked for another register.
	late := make(chan bool)
	l.hold <- late
	single := open(t, modbus.Config{Serial: l.near, Line: modbus.Line{Baud: 38400, Parity: "none"}, Timeout: time.Second, Tries: 1}, items)
	if got, err := single.Read(t.Context(), []int{0}); err == nil || got[0].Quality.Code != quality.BadCommunicationError {
		t.Errorf("an answer that is held back: %+v, %v", got[0].Value, err)
	}
	time.AfterFunc(300*time.Millisecond, func() { close(late) })
	got, err := single.Read(t.Context(), []int{7})
	if err != nil || got[0].Value != want[7] {
		t.Errorf("after a late answer item 7 is %+v, %v; want %+v and not item 0's %+v", got[0].Value, err, want[7], want[0])
	}
}

// TestWrite writes every type with the functions that fit, and finds at the
// peer what was written.
func TestWrite(t *testing.T) {
	units := startUnits(t, "tcp")
	items, registers, values := registersOf()
	for _, multiple := range []bool{false, true} {
		for i := range items {
			items[i].Multiple = multiple
			units.set(1, int(items[i].Address), make([]int, len(registers[i]))...)
		}
		src := open(t, modbus.Config{Address: units.address(), RTU: true}, items)
		for i, item := range items {
			want := slices.Clone(registers[i])
			switch item.Type {
			case modbus.Bits:
				units.set(1, int(item.Address), 0xFF8F) // the other bits of the register are not ours
			case modbus.String:
				want[len(want)-1] &= 0x00FF // the text ends with NUL and not with what was there
				if item.Order == modbus.ABCD {
					want[len(want)-1] = 0
				} else {
					want = []int{0xC353, 0x64BC, 0}
				}
			default:
			}
			if err := src.Write(t.Context(), i, values[i]); err != nil {
				t.Errorf("%v: %v", item, err)
				continue
			}
			if diff := cmp.Diff(want, units.get(1, 3, int(item.Address), len(want))); diff != "" {
				t.Errorf("%v at the peer (-want +got):\n%s", item, diff)
			}
			back, err := src.ReadBack(t.Context(), i)
			if err != nil || back.Item != i || back.Value != values[i] {
				t.Errorf("%v read back: %+v, %v", item, back, err)
			}
		}
	}
}

func TestWriteCoils(t *testing.T) {
	units := startUnits(t, "tcp")
	for _, multiple := range []bool{false, true} {
		src := open(t, modbus.Config{Address: units.address(), RTU: true}, []modbus.Item{{Unit: 2, Table: modbus.Coils, Address: 3, Multiple: multiple}})
		for _, on := range []bool{true, false} {
			if err := src.Write(t.Context(), 0, boolean(on)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]int{0, 0, 0, int(boolean(on).Bits), 0}, units.get(2, 1, 0, 5)); diff != "" {
				t.Errorf("coils (-want +got):\n%s", diff)
			}
		}
	}
}

// TestRefusedWrites: what cannot be written is refused with its reason, and
// nothing of it reaches the device.
func TestRefusedWrites(t *testing.T) {
	units := startUnits(t, "tcp")
	holding := func(typ modbus.Type, address uint16) modbus.Item {
		return modbus.Item{Unit: 1, Table: modbus.HoldingRegisters, Address: address, Type: typ}
	}
	for _, tt := range []struct {
		item  modbus.Item
		value telemetry.Value
		want  quality.Code
	}{
		{holding(modbus.Uint16, 0), integer(-1), quality.BadOutOfRange},
		{holding(modbus.Uint16, 0), float(65535.6), quality.BadOutOfRange},
		{holding(modbus.Int16, 0), integer(32768), quality.BadOutOfRange},
		{holding(modbus.Int32, 0), float(math.NaN()), quality.BadOutOfRange},
		{holding(modbus.Float32, 0), float(1e300), quality.BadOutOfRange},
		{holding(modbus.Float64, 0), float(math.Inf(1)), quality.BadOutOfRange},
		{holding(modbus.Uint64, 0), integer(-1), quality.BadOutOfRange},
		{holding(modbus.Bit, 0), integer(2), quality.BadOutOfRange},
		{holding(modbus.Int16, 0), telemetry.StringValue("7"), quality.BadTypeMismatch},
		{modbus.Item{Unit: 1, Table: modbus.HoldingRegisters, Type: modbus.String, Length: 1}, telemetry.StringValue("abc"), quality.BadTypeMismatch},
		{modbus.Item{Unit: 1, Table: modbus.InputRegisters, Type: modbus.Int16}, integer(1), quality.BadNotWritable},
		{modbus.Item{Unit: 1, Table: modbus.DiscreteInputs}, boolean(true), quality.BadNotWritable},
		{holding(modbus.Int16, 900), integer(1), quality.BadNotWritable},
	} {
		src := open(t, modbus.Config{Address: units.address(), RTU: true}, []modbus.Item{tt.item})
		err := src.Write(t.Context(), 0, tt.value)
		if refused, ok := errors.AsType[*acquire.WriteError](err); !ok || refused.Code != tt.want || refused.Unknown {
			t.Errorf("%v := %+v: %v, want %v", tt.item, tt.value, err, tt.want)
		}
	}
	if diff := cmp.Diff([]int{0, 0, 0, 0}, units.get(1, 3, 0, 4)); diff != "" {
		t.Errorf("registers (-want +got):\n%s", diff)
	}
}

// TestWriteThatNobodyAnswers: it is not said to have failed, and it is sent once.
func TestWriteThatNobodyAnswers(t *testing.T) {
	units := startUnits(t, "tcp")
	chaos := fieldtest.NewChaos(t, units.address())
	src := open(t, modbus.Config{Address: chaos.Address(), RTU: true, Timeout: 200 * time.Millisecond}, []modbus.Item{{Unit: 1, Table: modbus.HoldingRegisters, Type: modbus.Uint16}})
	read(t, src, []int{0}) // the connection stands and has been counted
	chaos.Mute()
	dials := chaos.Dials()
	err := src.Write(t.Context(), 0, integer(7))
	if e, ok := errors.AsType[*acquire.WriteError](err); !ok || !e.Unknown {
		t.Errorf("got %v, want a write that may have been carried out", err)
	}
	if diff := cmp.Diff([]int{7}, units.get(1, 3, 0, 1)); diff != "" {
		t.Errorf("the peer took it (-want +got):\n%s", diff)
	}
	if chaos.Dials() != dials {
		t.Error("it was sent again")
	}
	nobody, err := modbus.New(modbus.Config{Address: "127.0.0.1:1"}, []modbus.Item{{Table: modbus.HoldingRegisters, Type: modbus.Uint16}})
	if err != nil {
		t.Fatal(err)
	}
	err = nobody.Write(t.Context(), 0, integer(8))
	if e, ok := errors.AsType[*acquire.WriteError](err); !ok || e.Unknown || e.Code != quality.BadNoCommunication {
		t.Errorf("without a connection: %v, want that it was not sent", err)
	}
}
