package modbus_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/field/fieldtest"
	"github.com/twinlog/twinlog/adapters/field/modbus"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge/acquire"
	"github.com/twinlog/twinlog/test/budget"
)

func float(f float64) telemetry.Value {
	return telemetry.Value{Kind: telemetry.Float64, Bits: math.Float64bits(f)}
}

func integer(i int64) telemetry.Value {
	return telemetry.Value{Kind: telemetry.Int64, Bits: uint64(i)}
}

func boolean(b bool) telemetry.Value {
	if b {
		return telemetry.Value{Kind: telemetry.Bool, Bits: 1}
	}
	return telemetry.Value{Kind: telemetry.Bool}
}

// open returns a connected source with short times.
func open(t *testing.T, config modbus.Config, items []modbus.Item) *modbus.Source {
	t.Helper()
	if config.Timeout == 0 {
		config.Timeout = 2 * time.Second
	}
	src, err := modbus.New(config, items)
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	return src
}

func all(items []modbus.Item) []int {
	out := make([]int, len(items))
	for i := range out {
		out[i] = i
	}
	return out
}

func read(t *testing.T, src *modbus.Source, items []int) []acquire.Reading {
	t.Helper()
	got, err := src.Read(t.Context(), items)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// random returns a value of a type as the peer is told it and as it is read.
func random(rng *rand.Rand, typ modbus.Type) (string, telemetry.Value) {
	bits := rng.Uint64()
	switch rng.IntN(8) {
	case 0:
		bits = 0
	case 1:
		bits = math.MaxUint64
	}
	signed := func(i int64) (string, telemetry.Value) { return strconv.FormatInt(i, 10), integer(i) }
	switch typ {
	case modbus.Uint16:
		return signed(int64(uint16(bits)))
	case modbus.Int16:
		return signed(int64(int16(bits)))
	case modbus.Uint32:
		return signed(int64(uint32(bits)))
	case modbus.Int32:
		return signed(int64(int32(bits)))
	case modbus.Uint64:
		return signed(int64(bits >> 1))
	case modbus.Int64:
		return signed(int64(bits))
	case modbus.Float32:
		f := float32(rng.NormFloat64() * math.Pow(10, float64(rng.IntN(60)-30)))
		return strconv.FormatFloat(float64(f), 'g', -1, 32), float(float64(f))
	case modbus.Float64:
		f := rng.NormFloat64() * math.Pow(10, float64(rng.IntN(600)-300))
		return strconv.FormatFloat(f, 'g', -1, 64), float(f)
	default:
		return strconv.FormatBool(bits&1 == 1), boolean(bits&1 == 1)
	}
}

// everyKind is one item of every type in every order in both register tables,
// and bits of both bit tables, close together but not touching.
func everyKind() []modbus.Item {
	var items []modbus.Item
	for _, table := range []modbus.Table{modbus.HoldingRegisters, modbus.InputRegisters} {
		address := uint16(10)
		for typ := modbus.Uint16; typ <= modbus.Float64; typ++ {
			for order := modbus.ABCD; order <= modbus.DCBA; order++ {
				items = append(items, modbus.Item{Unit: 1, Table: table, Address: address, Type: typ, Order: order})
				address += 5
			}
		}
	}
	for i := range 20 {
		items = append(items,
			modbus.Item{Unit: 1, Table: modbus.Coils, Address: uint16(3 * i)},
			modbus.Item{Unit: 1, Table: modbus.DiscreteInputs, Address: uint16(70 + 7*i)})
	}
	return items
}

func TestEveryTypeAndOrderAgainstPeer(t *testing.T) {
	peer := startPeer(t)
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	items := everyKind()
	src := open(t, modbus.Config{Address: peer.address}, items)
	for range 5 {
		want := make([]telemetry.Value, len(items))
		for i, item := range items {
			var said string
			said, want[i] = random(rng, item.Type)
			peer.set(item, said)
		}
		for i, r := range read(t, src, all(items)) {
			if r.Value != want[i] || r.Quality != quality.AssumedGood {
				t.Errorf("%v: got %+v, %v; want %+v, good as assumed", items[i], r.Value, r.Quality, want[i])
			}
		}
	}
}

func TestBitsOfARegister(t *testing.T) {
	peer := startPeer(t)
	peer.set(modbus.Item{Table: modbus.HoldingRegisters, Address: 4, Type: modbus.Uint16}, "33025") // 0x8101
	var items []modbus.Item
	for bit := range uint8(16) {
		items = append(items, modbus.Item{Table: modbus.HoldingRegisters, Address: 4, Type: modbus.Bit, Bit: bit})
	}
	src := open(t, modbus.Config{Address: peer.address}, items)
	for bit, r := range read(t, src, all(items)) {
		if want := boolean(bit == 0 || bit == 8 || bit == 15); r.Value != want {
			t.Errorf("bit %d of 0x8101 is %+v, want %+v", bit, r.Value, want)
		}
	}
	if n := peer.requests(); n != 1 {
		t.Errorf("16 bits of one register took %d requests, want 1", n)
	}
}

func TestUint64BeyondInt64IsRefused(t *testing.T) {
	peer := startPeer(t)
	items := []modbus.Item{{Table: modbus.HoldingRegisters, Type: modbus.Uint64}, {Table: modbus.HoldingRegisters, Address: 4, Type: modbus.Uint64}}
	peer.set(items[0], "9223372036854775808")
	peer.set(items[1], "9223372036854775807")
	got := read(t, open(t, modbus.Config{Address: peer.address}, items), all(items))
	if got[0].Quality.Code != quality.BadOutOfRange || got[0].Value != (telemetry.Value{}) {
		t.Errorf("2^63 is %+v, %v; want Null, BadOutOfRange", got[0].Value, got[0].Quality.Code)
	}
	if got[1].Value != integer(math.MaxInt64) {
		t.Errorf("2^63-1 is %+v", got[1].Value)
	}
}

// islands returns 200 tags in three islands: 67, 67 and 66 registers, each with
// small gaps.
func islands() []modbus.Item {
	var items []modbus.Item
	for i := range 200 {
		island, n := i/67, i%67
		items = append(items, modbus.Item{Unit: 1, Table: modbus.HoldingRegisters, Type: modbus.Uint16, Address: uint16(1000*island + n + n/10)})
	}
	return items
}

func TestThreeIslandsAreThreeRequests(t *testing.T) {
	peer := startPeer(t)
	items := islands()
	for i, item := range items {
		peer.set(item, strconv.Itoa(i))
	}
	src := open(t, modbus.Config{Address: peer.address}, items)
	order := rand.New(rand.NewPCG(budget.Seed(t), 0)).Perm(len(items))
	peer.requests()
	for cycle := range 3 {
		for i, r := range read(t, src, order) {
			if r.Item != order[i] || r.Value != integer(int64(order[i])) {
				t.Fatalf("item %d is %+v of item %d", order[i], r.Value, r.Item)
			}
		}
		if n := peer.requests(); n != 3 {
			t.Errorf("cycle %d of 200 tags in 3 islands took %d requests, want 3", cycle, n)
		}
	}
}

// TestOneIllegalAddress: the device's refusal costs one tag, and after it was
// found the cycle needs one request more, not a search every time.
func TestOneIllegalAddress(t *testing.T) {
	for _, where := range []int{67, 100, 133} { // first, middle and last of the second island
		t.Run(fmt.Sprintf("item %d", where), func(t *testing.T) {
			peer := startPeer(t)
			items := islands()
			for i, item := range items {
				peer.set(item, strconv.Itoa(i))
			}
			peer.refuse(modbus.HoldingRegisters, items[where].Address, modbus.IllegalAddress)
			src := open(t, modbus.Config{Address: peer.address}, items)
			for cycle := range 3 {
				peer.requests()
				for i, r := range read(t, src, all(items)) {
					code, value := quality.Good, integer(int64(i))
					if i == where {
						code, value = quality.BadConfigurationError, telemetry.Value{}
					}
					if r.Value != value || r.Quality.Code != code {
						t.Errorf("cycle %d: item %d is %+v, %v; want %+v, %v", cycle, i, r.Value, r.Quality.Code, value, code)
					}
				}
				if n, most := peer.requests(), 4; cycle > 0 && n > most {
					t.Errorf("cycle %d took %d requests, want at most %d", cycle, n, most)
				}
			}
		})
	}
}

// TestIllegalGap: what the device refuses may be what nobody asked for.
func TestIllegalGap(t *testing.T) {
	peer := startPeer(t)
	var items []modbus.Item
	for i := range 8 {
		item := modbus.Item{Table: modbus.InputRegisters, Type: modbus.Int16, Address: uint16(2 * i)}
		items = append(items, item)
		peer.set(item, strconv.Itoa(-i))
	}
	peer.refuse(modbus.InputRegisters, 9, modbus.IllegalAddress) // between items 4 and 5
	src := open(t, modbus.Config{Address: peer.address}, items)
	for cycle := range 3 {
		peer.requests()
		for i, r := range read(t, src, all(items)) {
			if r.Value != integer(int64(-i)) || r.Quality.Code != quality.Good {
				t.Errorf("cycle %d: item %d is %+v, %v", cycle, i, r.Value, r.Quality.Code)
			}
		}
		if n := peer.requests(); cycle > 0 && n != 2 {
			t.Errorf("cycle %d took %d requests, want 2: the device was asked again for what it had refused", cycle, n)
		}
	}
}

// TestRefusalsAreForgotten: a device may get the register it lacked.
func TestRefusalsAreForgotten(t *testing.T) {
	peer := startPeer(t)
	items := []modbus.Item{{Table: modbus.HoldingRegisters, Type: modbus.Uint16}, {Table: modbus.HoldingRegisters, Address: 1, Type: modbus.Uint16}}
	peer.refuse(modbus.HoldingRegisters, 1, modbus.IllegalAddress)
	src := open(t, modbus.Config{Address: peer.address, Relearn: time.Second}, items)
	read(t, src, all(items))
	peer.refuse(modbus.HoldingRegisters, 1, modbus.ServerFailure)
	if got := read(t, src, all(items)); got[1].Quality.Code != quality.BadConfigurationError {
		t.Errorf("at once the item is %v, want what was learnt", got[1].Quality.Code)
	}
	time.Sleep(1100 * time.Millisecond)
	if got := read(t, src, all(items)); got[1].Quality.Code != quality.BadDeviceFailure {
		t.Errorf("later the item is %v, want the device's new answer", got[1].Quality.Code)
	}
}

func TestExceptionsAreNamed(t *testing.T) {
	peer := startPeer(t)
	for _, tt := range []struct {
		exception modbus.Exception
		want      quality.Code
		name      string
		tries     int
	}{
		{modbus.IllegalFunction, quality.BadConfigurationError, "modbus exception 0x01, illegal function", 1},
		{modbus.IllegalAddress, quality.BadConfigurationError, "modbus exception 0x02, illegal data address", 1},
		{modbus.IllegalValue, quality.BadConfigurationError, "modbus exception 0x03, illegal data value", 1},
		{modbus.ServerFailure, quality.BadDeviceFailure, "modbus exception 0x04, server device failure", 1},
		{modbus.Acknowledge, quality.BadResourceUnavailable, "modbus exception 0x05, acknowledge", 3},
		{modbus.ServerBusy, quality.BadResourceUnavailable, "modbus exception 0x06, server device busy", 3},
		{modbus.MemoryParity, quality.BadDeviceFailure, "modbus exception 0x08, memory parity error", 1},
		{modbus.GatewayPath, quality.BadNoCommunication, "modbus exception 0x0a, gateway path unavailable", 1},
		{modbus.GatewayTargetSilent, quality.BadNoCommunication, "modbus exception 0x0b, gateway target device failed to respond", 1},
		{modbus.Exception(0x60), quality.BadDeviceFailure, "modbus exception 0x60, unknown code", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.exception.Error(); got != tt.name {
				t.Errorf("Error() = %q", got)
			}
			peer.refuse(modbus.HoldingRegisters, 50, tt.exception)
			items := []modbus.Item{{Table: modbus.HoldingRegisters, Address: 50, Type: modbus.Uint16}}
			src := open(t, modbus.Config{Address: peer.address, Pause: time.Millisecond}, items)
			peer.requests()
			if got := read(t, src, all(items)); got[0].Quality.Code != tt.want || got[0].Value != (telemetry.Value{}) {
				t.Errorf("got %+v, %v; want Null, %v", got[0].Value, got[0].Quality.Code, tt.want)
			}
			if n := peer.requests(); n != tt.tries {
				t.Errorf("%d requests, want %d", n, tt.tries)
			}
		})
	}
}

func TestSlowServer(t *testing.T) {
	peer := startPeer(t)
	items := []modbus.Item{{Table: modbus.HoldingRegisters, Type: modbus.Uint16}, {Table: modbus.Coils}}
	peer.set(items[0], "7")
	src := open(t, modbus.Config{Address: peer.address, Timeout: 150 * time.Millisecond}, items)
	peer.command(map[string]any{"slow": 60})
	if got := read(t, src, all(items)); got[0].Value != integer(7) {
		t.Errorf("a server that is slow but in time: %+v, %v", got[0].Value, got[0].Quality.Code)
	}
	peer.command(map[string]any{"slow": 400})
	peer.requests()
	began := time.Now()
	got, err := src.Read(t.Context(), []int{0})
	took := time.Since(began)
	if err == nil || got[0].Quality.Code != quality.BadCommunicationError || got[0].Value != (telemetry.Value{}) {
		t.Errorf("a server that is too slow: %+v, %v, %v", got[0].Value, got[0].Quality.Code, err)
	}
	// Three tries of 150 ms, 50 ms apart.
	if n := peer.requests(); n != 3 || took < 550*time.Millisecond || took > 3*time.Second {
		t.Errorf("%d requests in %v, want 3 in 550 ms and little more", n, took)
	}
}

// TestKit holds the source to the port's contract against the independent
// server on bad days.
func TestKit(t *testing.T) {
	peer := startPeer(t)
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	items := everyKind()
	refused := modbus.Item{Unit: 1, Table: modbus.HoldingRegisters, Address: 12, Type: modbus.Uint16}
	rig := fieldtest.Rig{Machine: peer.address, Timeout: 200 * time.Millisecond}
	for _, item := range items {
		said, value := random(rng, item.Type)
		peer.set(item, said)
		rig.Want, rig.Codes = append(rig.Want, value), append(rig.Codes, quality.Good)
	}
	peer.refuse(refused.Table, refused.Address, modbus.IllegalAddress)
	items = append(items, refused)
	rig.Want, rig.Codes = append(rig.Want, telemetry.Value{}), append(rig.Codes, quality.BadConfigurationError)
	rig.Open = func(tb testing.TB, address string) acquire.Polled {
		src, err := modbus.New(modbus.Config{Address: address, Timeout: rig.Timeout, Pause: 5 * time.Millisecond}, items)
		if err != nil {
			tb.Fatal(err)
		}
		return src
	}
	fieldtest.Run(t, rig)
}
