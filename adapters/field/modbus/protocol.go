package modbus

import (
	"errors"
	"fmt"
	"time"

	"github.com/twinlog/twinlog/edge/protocol"
)

// Protocol is Modbus for the gateway: its keys and how to open a connection.
var Protocol = protocol.Protocol{
	Name: "modbus", Title: "Modbus", Keys: keys,
	Check: checkSource, CheckTag: checkTag, Open: openPorts,
}

var keys = []protocol.Key{
	{Name: "address", In: protocol.Source, Kind: protocol.HostPort, Help: "host:port of a Modbus TCP device, or of a serial server with framing rtu; 502 is the standard's port."},
	{Name: "serial", In: protocol.Source, Kind: protocol.Text, Help: "The device of a serial line, such as /dev/ttyUSB0, in place of an address; framing is rtu then."},
	{Name: "framing", In: protocol.Source, Kind: protocol.Word, Words: []string{"tcp", "rtu"}, Help: "How messages stand on the connection: tcp, or rtu (with a checksum) through a serial server that passes bytes."},
	{Name: "baud", In: protocol.Source, Kind: protocol.Int, Low: 300, High: 4_000_000, Standard: 19200, Help: "Bits a second of a serial line; with framing rtu over an address those behind the serial server."},
	{Name: "parity", In: protocol.Source, Kind: protocol.Word, Words: []string{"even", "odd", "none"}, Help: "Parity of a serial line; with none there are two stop bits."},
	{Name: "stop_bits", In: protocol.Source, Kind: protocol.Int, Low: 1, High: 2, Help: "Stop bits of a serial line, where they are not the standard's."},
	{Name: "unit_id", In: protocol.Source | protocol.Device | protocol.Tag, Kind: protocol.Int, Low: 0, High: 255, Standard: 1, Help: "The unit on the line or behind the address."},
	{Name: "timeout", In: protocol.Source, Kind: protocol.Duration, Low: int64(time.Millisecond), Standard: time.Second, Help: "How long one answer may take."},
	{Name: "tries", In: protocol.Source, Kind: protocol.Int, Low: 1, High: 100, Standard: 3, Help: "How often one request is made."},
	{Name: "pause", In: protocol.Source, Kind: protocol.Duration, Low: int64(time.Microsecond), Standard: 50 * time.Millisecond, Help: "The time between two tries."},
	{Name: "gap", In: protocol.Source, Kind: protocol.Int, Low: 0, High: 125, Standard: 16, Help: "Registers that nobody asked for and that are read to join two blocks; eightfold for bits."},
	{Name: "max_registers", In: protocol.Source, Kind: protocol.Int, Low: 4, High: 125, Standard: 125, Help: "The most registers in one request; small devices have less."},
	{Name: "relearn", In: protocol.Source, Kind: protocol.Duration, Low: int64(time.Second), Standard: 10 * time.Minute, Help: "How long a refused address is left out."},

	{Name: "register", In: protocol.Tag, Kind: protocol.Text, Help: "Reference notation, five or six digits: 40001 is holding register 0, 30010 input register 9, 10001 discrete input 0, \"00001\" coil 0."},
	{Name: "table", In: protocol.Tag, Kind: protocol.Word, Words: []string{"", "coil", "discrete", "holding", "input"}, Help: "The table, with address, as on the wire."},
	{Name: "address", In: protocol.Tag, Kind: protocol.Int, Low: 0, High: 65535, Help: "The address in the table, from 0."},
	{Name: "type", In: protocol.Tag, Kind: protocol.Text, Help: "bool, bit, bits, uint16, int16, uint32, int32, uint64, int64, float32, float64 or string; without it uint16 for a register, bool for a coil."},
	{Name: "order", In: protocol.Tag, Kind: protocol.Text, Help: "ABCD, CDAB, BADC or DCBA: where the device keeps the bytes of a number, A being the highest."},
	{Name: "bit", In: protocol.Tag, Kind: protocol.Int, Low: 0, High: 15, Help: "The bit of a register, 0 being the lowest; of type bits, the lowest of them."},
	{Name: "width", In: protocol.Tag, Kind: protocol.Int, Low: 1, High: 16, Help: "Of type bits: how many bits of the register are the number."},
	{Name: "length", In: protocol.Tag, Kind: protocol.Int, Low: 1, High: 125, Help: "Of type string: how many registers hold it, two bytes each."},
	{Name: "write", In: protocol.Tag, Kind: protocol.Word, Words: []string{"auto", "single", "multiple"}, Help: "Which functions write it: auto takes 5 and 6 for one address and 15 and 16 for more, multiple always the latter."},
}

func checkSource(s protocol.Settings) error {
	var errs []error
	switch address, serial := s.Given("address"), s.Given("serial"); {
	case address && serial:
		errs = append(errs, protocol.Wrong("serial", "is given beside address, expected one or the other"))
	case !address && !serial:
		errs = append(errs, protocol.Wrong("address", "is missing"))
	case s.Given("serial") && s.Text("serial") == "":
		errs = append(errs, protocol.Wrong("serial", "is empty, expected a device such as /dev/ttyUSB0"))
	case serial && s.Given("framing") && s.Text("framing") != "rtu":
		errs = append(errs, protocol.Wrong("framing", "%q on a serial line, expected rtu", s.Text("framing")))
	}
	return errors.Join(errs...)
}

func checkTag(source, tag protocol.Settings) error {
	item, err := readItem(tag)
	if err != nil {
		return err
	}
	return protocol.Wraps("unit_id", item.checkUnit(isRTU(source)))
}

// isRTU reports whether the source's frames are those of a serial line.
func isRTU(s protocol.Settings) bool { return s.Text("framing") == "rtu" || s.Given("serial") }

// readItem reads where a value is. A register in the reference notation names
// its table; table and address are as on the wire.
func readItem(s protocol.Settings) (Item, error) {
	item := Item{Unit: uint8(s.Int("unit_id"))} //nolint:gosec // 0 to 255
	var err error
	switch register, table, address := s.Given("register"), s.Given("table"), s.Given("address"); {
	case register && (table || address):
		return item, protocol.Wrong("register", "is given beside table or address, expected one or the other")
	case register:
		if item.Table, item.Address, err = ParseReference(s.Text("register")); err != nil {
			return item, protocol.Wraps("register", err)
		}
	case table && address:
		if item.Table, err = ParseTable(s.Text("table")); err != nil {
			return item, protocol.Wraps("table", err)
		}
		item.Address = uint16(s.Int("address")) //nolint:gosec // in range
	default:
		return item, errors.New("has no address, expected register (40001) or table and address (holding, 0)")
	}
	if item.Type, err = ParseType(typeName(s, item.Table)); err != nil {
		return item, protocol.Wraps("type", err)
	}
	if item.Order, err = ParseOrder(s.Text("order")); err != nil {
		return item, protocol.Wraps("order", err)
	}
	item.Bit = uint8(s.Int("bit"))       //nolint:gosec // in range
	item.Width = uint8(s.Int("width"))   //nolint:gosec // in range
	item.Length = uint8(s.Int("length")) //nolint:gosec // in range
	item.Multiple = s.Text("write") == "multiple"
	if err := item.Check(); err != nil {
		if s.Given("type") {
			return item, protocol.Wraps("type", err)
		}
		return item, err
	}
	return item, nil
}

// typeName is what the tag says, or the usual of its table.
func typeName(s protocol.Settings, table Table) string {
	switch {
	case s.Given("type"):
		return s.Text("type")
	case s.Given("width"):
		return Bits.String()
	case s.Given("bit"):
		return Bit.String()
	case s.Given("length"):
		return String.String()
	case table.bits():
		return Bool.String()
	}
	return Uint16.String()
}

func openPorts(c protocol.Connection) (protocol.Ports, error) {
	s := c.Settings
	config := Config{
		Address: s.Text("address"), Serial: s.Text("serial"), RTU: isRTU(s),
		Line:    Line{Baud: s.Int("baud"), Parity: s.Text("parity"), StopBits: s.Int("stop_bits")},
		Timeout: s.Duration("timeout"), Tries: s.Int("tries"), Pause: s.Duration("pause"),
		Gap: s.Int("gap"), Most: s.Int("max_registers"), Relearn: s.Duration("relearn"),
	}
	if config.Gap == 0 {
		config.Gap = -1 // "none": zero is this package's word for its standard
	}
	items := make([]Item, len(c.Tags))
	for i, tag := range c.Tags {
		var err error
		if items[i], err = readItem(tag); err != nil {
			return protocol.Ports{}, fmt.Errorf("tag %d: %w", i, err)
		}
	}
	source, err := New(config, items)
	if err != nil {
		return protocol.Ports{}, err
	}
	return protocol.Ports{Polled: source, Writer: source}, nil
}
