package modbus

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/telemetry"
)

// TestRTUFrame starts from a frame of the literature: unit 17 is asked for
// holding registers 107 to 109, CRC 0x8776.
func TestRTUFrame(t *testing.T) {
	got := appendRTU(nil, request{unit: 17, table: HoldingRegisters, start: 107, count: 3})
	if want := []byte{0x11, 0x03, 0x00, 0x6B, 0x00, 0x03, 0x76, 0x87}; !bytes.Equal(got, want) {
		t.Errorf("% x, want % x", got, want)
	}
	reply := []byte{0x11, 0x03, 0x06, 0xAE, 0x41, 0x56, 0x52, 0x43, 0x40}
	reply = binary.LittleEndian.AppendUint16(reply, crc16(reply))
	f, err := readRTU(bufio.NewReader(bytes.NewReader(reply)))
	if err != nil || f.unit != 17 || !bytes.Equal(f.pdu, reply[1:9]) {
		t.Errorf("%+v, %v", f, err)
	}
	for i := range reply {
		broken := bytes.Clone(reply)
		broken[i] ^= 0x10
		if f, err := readRTU(bufio.NewReader(bytes.NewReader(broken))); err == nil {
			t.Errorf("a bit of byte %d turned over: %+v", i, f)
		}
	}
}

func TestSilenceOfALine(t *testing.T) {
	for baud, want := range map[int]time.Duration{0: 2005 * time.Microsecond, 9600: 4010 * time.Microsecond, 115200: 1750 * time.Microsecond} {
		if got := (Line{Baud: baud}).silence().Round(5 * time.Microsecond); got != want {
			t.Errorf("%d baud: %v, want %v", baud, got, want)
		}
	}
}

// FuzzRTU holds the framing to three promises: it never panics, it never
// returns a frame whose checksum is wrong, and how the bytes were cut on their
// way changes nothing.
func FuzzRTU(f *testing.F) {
	good := []byte{0x11, 0x03, 0x02, 0xAE, 0x41}
	good = binary.LittleEndian.AppendUint16(good, crc16(good))
	f.Add(good, uint8(1))
	f.Add(append([]byte{0x00, 0x55}, good...), uint8(3))
	f.Add([]byte{1, 0x83, 2, 0xC0, 0xF1}, uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		whole := bufio.NewReaderSize(bytes.NewReader(b), 2*maxFrameBytes)
		cut := bufio.NewReaderSize(&pieces{b, int(piece%16) + 1}, 2*maxFrameBytes)
		for {
			x, errX := readRTU(whole)
			y, errY := readRTU(cut)
			if (errX == nil) != (errY == nil) || x.unit != y.unit || !bytes.Equal(x.pdu, y.pdu) {
				t.Fatalf("whole: %+v, %v; in pieces: %+v, %v", x, errX, y, errY)
			}
			if errX != nil {
				if errors.Is(errX, ErrFrame) != errors.Is(errY, ErrFrame) {
					t.Fatalf("whole: %v; in pieces: %v", errX, errY)
				}
				return
			}
			frame := append([]byte{x.unit}, x.pdu...)
			frame = binary.LittleEndian.AppendUint16(frame, crc16(frame))
			if !bytes.Contains(b, frame) {
				t.Fatalf("% x is not in % x", frame, b)
			}
		}
	})
}

// pieces gives its bytes out a few at a time.
type pieces struct {
	b []byte
	n int
}

func (p *pieces) Read(b []byte) (int, error) {
	n := copy(b, p.b[:min(p.n, len(p.b))])
	p.b = p.b[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// FuzzValue holds encode and decode to each other: what a device would be
// given, it would be read as, for every type, order and value.
func FuzzValue(f *testing.F) {
	f.Add(uint8(Uint16), uint8(ABCD), uint8(3), uint8(4), uint64(7), "")
	f.Add(uint8(Float32), uint8(CDAB), uint8(0), uint8(0), uint64(0x4029000000000000), "")
	f.Add(uint8(String), uint8(BADC), uint8(3), uint8(0), uint64(0), "Süd 1")
	f.Fuzz(func(t *testing.T, typ, order, a, b uint8, bits uint64, str string) {
		it := Item{Table: HoldingRegisters, Type: Type(typ % 12), Order: Order(order % 4)}
		switch it.Type {
		case Bool:
			it.Table = Coils
		case Bit:
			it.Bit = a % 16
		case Bits:
			it.Bit, it.Width = a%16, b%16+1
		case String:
			it.Length = a
		default:
		}
		if it.Check() != nil {
			return
		}
		values := []telemetry.Value{telemetry.IntValue(int64(bits)), {Kind: telemetry.Float64, Bits: bits}, telemetry.BoolValue(bits&1 == 1), telemetry.StringValue(str)}
		for _, v := range values {
			data, err := it.encode(v)
			if err != nil {
				continue
			}
			if it.Type == Bit || it.Type == Bits {
				word := it.Order.word(binary.BigEndian.Uint16(data) << it.Bit)
				data = binary.BigEndian.AppendUint16(nil, word)
			}
			back, ok := it.decode(data)
			if !ok {
				t.Fatalf("%+v: %+v was encoded as % x and not decoded", it, v, data)
			}
			again, err := it.encode(back)
			if it.Type == Bit || it.Type == Bits || it.Type == String {
				continue // blanks at the end, and bits, are compared by the peer tests
			}
			if err != nil || !bytes.Equal(again, data) {
				t.Fatalf("%+v: %+v, % x, %+v, % x, %v", it, v, data, back, again, err)
			}
			if x, _ := v.Number(); it.Type != Float32 && v.Kind == telemetry.Int64 && x == float64(int64(x)) && it.Type != Float64 && back != v && it.Type != Bool {
				t.Fatalf("%+v: %+v came back as %+v", it, v, back)
			}
		}
	})
}
