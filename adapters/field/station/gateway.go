package station

import (
	"fmt"
	"strings"

	"github.com/twinlog/twinlog/domain/asset"
)

// GatewayID is the gateway that GatewayConfig configures.
const GatewayID = "gw-riverside-01"

// GatewayConfig returns the configuration, in YAML, of a gateway that polls the
// controller at modbusAddr (host:port). Where the server is, it does not say.
func GatewayConfig(modbusAddr string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `# The gateway of the simulated pumping station.
gateway: %s
place: %s
sources:
  - name: plc-1
    every: 1s
    retry: {min: 500ms, max: 5s}
    modbus: {address: "%s", unit_id: 1, timeout: 300ms}
    devices:
`, GatewayID, Place, modbusAddr)
	for i := range polledPumps {
		pumpConfig(&b, i)
	}
	for i := range 2 {
		tankConfig(&b, i)
	}
	device(&b, valveName, valveType)
	tag(&b, valveSignals[0], "table: input, address: %d, type: uint16, scale: 0.01", valveBase)
	tag(&b, valveSignals[1], "table: holding, address: %d, type: uint16, scale: 0.01", valveHold)
	return []byte(b.String())
}

func pumpConfig(b *strings.Builder, i int) {
	device(b, pumpName(i), pumpType)
	for k, where := range []string{
		"table: input, address: %d, type: float32, order: CDAB, decimals: 2",
		"table: input, address: %d, type: int16, scale: 0.001, decimals: 3",
		"table: input, address: %d, type: uint16, scale: 0.001, decimals: 3",
		"table: input, address: %d, type: uint16, scale: 0.1, decimals: 1",
		"table: input, address: %d, type: uint16, scale: 0.001, loop: [0, 150], decimals: 2, frozen: 10s",
		"table: input, address: %d, type: uint16, scale: 0.001, loop: [0, 20], decimals: 3",
		"table: input, address: %d, type: uint16, scale: 0.1, decimals: 1",
		"table: discrete, address: %d",
	} {
		address := i*pumpStride + k
		switch {
		case pumpSignals[k].kind == asset.Bool:
			address = i
		case k > 0:
			address++ // the flow has two registers
		}
		tag(b, pumpSignals[k], where, address)
	}
}

func tankConfig(b *strings.Builder, i int) {
	device(b, tankName(i), tankType)
	base := tankBase + i*tankStride
	tag(b, tankSignals[0], "table: input, address: %d, type: uint16, scale: 0.001, loop: [0, 8], decimals: 3, max_rate: 0.5", base)
	tag(b, tankSignals[1], "table: input, address: %d, type: int16, scale: 0.1, decimals: 1", base+1)
}

func device(b *strings.Builder, id, typ string) {
	fmt.Fprintf(b, "      - id: %s\n        type: %s\n        tags:\n", id, typ)
}

// tag writes one tag with a deadband of a thousandth of its range.
func tag(b *strings.Builder, s signal, where string, address int) {
	fmt.Fprintf(b, "          - {name: %s, "+where, s.name, address)
	if s.kind == asset.Bool {
		b.WriteString(", deadband: {longest: 1m}}\n")
		return
	}
	fmt.Fprintf(b, ", range: [%v, %v], deadband: {percent: 0.1, longest: 1m}}\n", s.low, s.high)
}
