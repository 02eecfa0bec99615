package modbus

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/quality"
)

// TestADeadUnitBesideALivingOne: behind one address, the unit that is silent is
// Bad alone, costs three tries once and one from then on, and is asked for one
// of its blocks; when it answers again, everything is as before.
func TestADeadUnitBesideALivingOne(t *testing.T) {
	var mu sync.Mutex // guards asked and dead: the machine and the test
	asked := map[byte]int{}
	dead := true
	address := scripted(t, func(_ int, request []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		asked[request[6]]++
		if request[6] == 2 && dead {
			return nil
		}
		return reply(request, 7, nil)
	})
	items := []Item{
		{Unit: 1, Table: HoldingRegisters, Type: Uint16},
		{Unit: 2, Table: HoldingRegisters, Type: Uint16},
		{Unit: 2, Table: HoldingRegisters, Address: 1000, Type: Uint16},
		{Unit: 3, Table: HoldingRegisters, Type: Uint16},
	}
	src, err := New(Config{Address: address, Timeout: 150 * time.Millisecond, Pause: time.Millisecond}, items)
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer src.Close() //nolint:errcheck // the test is over
	good, lost := quality.Good, quality.BadCommunicationError
	for cycle, tt := range []struct {
		dead  bool
		codes []quality.Code
		asked []int // of units 1, 2 and 3
	}{
		{true, []quality.Code{good, lost, lost, good}, []int{1, 3, 1}},
		{true, []quality.Code{good, lost, lost, good}, []int{1, 1, 1}},
		{false, []quality.Code{good, good, good, good}, []int{1, 2, 1}},
		{true, []quality.Code{good, lost, lost, good}, []int{1, 3, 1}},
	} {
		mu.Lock()
		clear(asked)
		dead = tt.dead
		mu.Unlock()
		got, err := src.Read(t.Context(), []int{0, 1, 2, 3})
		if err != nil {
			t.Errorf("cycle %d: %v, though somebody answered", cycle, err)
		}
		var codes []quality.Code
		for _, r := range got {
			codes = append(codes, r.Quality.Code)
		}
		if !slices.Equal(codes, tt.codes) {
			t.Errorf("cycle %d: %v, want %v", cycle, codes, tt.codes)
		}
		mu.Lock()
		if n := []int{asked[1], asked[2], asked[3]}; !slices.Equal(n, tt.asked) {
			t.Errorf("cycle %d: units were asked %v times, want %v", cycle, n, tt.asked)
		}
		mu.Unlock()
	}
}
