package history

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/twinlog/twinlog/domain/columnar"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/settings"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
)

// The first byte of a key says what the row is (docs/formats/history.md).
const (
	kindChunk    = 'c' // device, part, day, window, block
	kindDevice   = 'd' // device
	kindMade     = 'k' // position of a correction
	kindNoSums   = 'n' // device, group, day, window
	kindOrigin   = 'o' // origin
	kindRecorded = 'r' // window, first position
	kindSums     = 's' // device, signal, day, window
	kindStream   = 't' // stream
	kindSettings = 'x'
)

// group is how many neighbouring signals of a device share a chunk part: one
// signal is read without those of a device that has hundreds.
const group = 16

// blockRows bounds the rows of a chunk part, so that a short stretch of a busy
// day is read without the rest of it.
const blockRows = 4096

// framePart holds what the rows of a block have in common; part 1 + n holds the
// values of group n.
const framePart = 0

func chunkKey(device uint32, part uint32, day int32, window eventlog.Position, block int) []byte {
	return binary.BigEndian.AppendUint16(partKey(kindChunk, device, part, day, window), uint16(block))
}

// dayFrom is the first key that a row of the day can have.
func dayFrom(kind byte, device, part uint32, day int32) []byte {
	k := binary.BigEndian.AppendUint32(append(make([]byte, 0, 24), kind), device)
	k = binary.BigEndian.AppendUint32(k, part)
	return binary.BigEndian.AppendUint32(k, uint32(day)^1<<31)
}

// dayTo is the first key behind all rows of the day.
func dayTo(kind byte, device, part uint32, day int32) []byte {
	return dayFrom(kind, device, part, day+1) // days are far from the largest int32
}

// partKey is the key of what a window has of a device's part and day.
func partKey(kind byte, device, part uint32, day int32, window eventlog.Position) []byte {
	return projections.AppendPosition(dayFrom(kind, device, part, day), window)
}

// cutKey takes day and window, and the block of a chunk, from a key.
func cutKey(k []byte) (day int32, window eventlog.Position, block int) {
	day = int32(binary.BigEndian.Uint32(k[9:]) ^ 1<<31)
	window = eventlog.Position(binary.BigEndian.Uint64(k[13:]))
	if len(k) > 21 {
		block = int(binary.BigEndian.Uint16(k[21:]))
	}
	return day, window, block
}

func deviceKey(id uint32) []byte { return binary.BigEndian.AppendUint32([]byte{kindDevice}, id) }
func streamKey(id uint32) []byte { return binary.BigEndian.AppendUint32([]byte{kindStream}, id) }
func originKey(id uint32) []byte { return binary.BigEndian.AppendUint32([]byte{kindOrigin}, id) }
func settingsKey() []byte        { return []byte{kindSettings} }

// recordedKey is the key of a row of times of recording; first is relative to
// the window.
func recordedKey(window eventlog.Position, first uint32) []byte {
	return binary.BigEndian.AppendUint32(projections.AppendPosition([]byte{kindRecorded}, window), first)
}

// appendDevice writes the name of the device and its signals in the order of
// their numbers.
func appendDevice(dst []byte, d *device) []byte {
	dst = columnar.AppendString(dst, d.name)
	for _, s := range d.signals {
		dst = columnar.AppendString(dst, s)
	}
	return dst
}

func appendSettings(dst []byte, s settings.Settings) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // two numbers
	}
	return append(dst, b...)
}

// readDictionary restores what numbers stand for.
func (p *Projection) readDictionary(s projections.Snapshot) error {
	for w, err := range s.Scan([]byte{kindDevice}, []byte{kindDevice + 1}, false) {
		if err != nil {
			return err
		}
		name, rest, err := columnar.ReadString(w.Value)
		for signal := ""; err == nil && len(rest) > 0; {
			if signal, rest, err = columnar.ReadString(rest); err == nil {
				p.points.Number(telemetry.Point{Device: name, Signal: signal})
				p.place(telemetry.Point{Device: name, Signal: signal})
			}
		}
		if err != nil {
			return fmt.Errorf("device row %x: %w", w.Key, err)
		}
	}
	for w, err := range s.Scan([]byte{kindStream}, []byte{kindStream + 1}, false) {
		if err != nil {
			return err
		}
		p.stream(eventlog.StreamID(w.Value))
	}
	for w, err := range s.Scan([]byte{kindOrigin}, []byte{kindOrigin + 1}, false) {
		if err != nil {
			return err
		}
		p.originNo[string(w.Value)] = uint32(len(p.origins))
		p.origins = append(p.origins, string(w.Value))
	}
	if err := p.readCorrections(s); err != nil {
		return err
	}
	if b, err := s.Get(settingsKey()); err != nil {
		return err
	} else if b != nil {
		if err := json.Unmarshal(b, &p.settings); err != nil {
			return fmt.Errorf("settings row: %w", err)
		}
	}
	for _, d := range p.devices {
		d.changed = false
	}
	p.dirty = nil
	return nil
}
