package modbus

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"
)

// TestDecodePDU starts from the worked examples of V1.1b3.
func TestDecodePDU(t *testing.T) {
	registers := request{table: HoldingRegisters, start: 107, count: 3}
	coils := request{table: Coils, start: 19, count: 19}
	for _, tt := range []struct {
		name string
		r    request
		pdu  []byte
		want []byte
		err  error
	}{
		{name: "three registers (§6.3)", r: registers, pdu: []byte{3, 6, 2, 0x2b, 0, 0, 0, 0x64}, want: []byte{2, 0x2b, 0, 0, 0, 0x64}},
		{
			name: "nineteen coils (§6.1)", r: coils, pdu: []byte{1, 3, 0xcd, 0x6b, 5},
			want: []byte{1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1},
		},
		{name: "exception", r: registers, pdu: []byte{0x83, 2}, err: IllegalAddress},
		{name: "exception of another function", r: registers, pdu: []byte{0x84, 2}, err: ErrReply},
		{name: "exception with more after it", r: registers, pdu: []byte{0x83, 2, 0}, err: ErrReply},
		{name: "another function", r: registers, pdu: []byte{4, 6, 0, 0, 0, 0, 0, 0}, err: ErrReply},
		{name: "fewer registers than asked for", r: registers, pdu: []byte{3, 4, 0, 0, 0, 0}, err: ErrReply},
		{name: "more registers than asked for", r: registers, pdu: []byte{3, 8, 0, 0, 0, 0, 0, 0, 0, 0}, err: ErrReply},
		{name: "byte count above the bytes", r: registers, pdu: []byte{3, 6, 0, 0, 0, 0}, err: ErrReply},
		{name: "bytes above the byte count", r: registers, pdu: []byte{3, 6, 0, 0, 0, 0, 0, 0, 0}, err: ErrReply},
		{name: "one byte", r: registers, pdu: []byte{3}, err: ErrReply},
		{name: "empty", r: registers, err: ErrReply},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.r.decodePDU(tt.pdu)
			if !errors.Is(err, tt.err) || !bytes.Equal(got, tt.want) {
				t.Errorf("got %x, %v; want %x, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

// TestFramesThatAreNone: after them nobody knows where the next one begins.
func TestFramesThatAreNone(t *testing.T) {
	for name, b := range map[string][]byte{
		"another protocol":       {0, 1, 0, 1, 0, 5, 1, 3, 2, 0, 0},
		"a unit without a PDU":   {0, 1, 0, 0, 0, 1, 1, 3, 2, 0, 0},
		"no length at all":       {0, 1, 0, 0, 0, 0, 1, 3, 2, 0, 0},
		"longer than a PDU is":   append([]byte{0, 1, 0, 0, 0, 255, 1, 3}, make([]byte, 300)...),
		"longer than the buffer": append([]byte{0, 1, 0, 0, 8, 0, 1, 3}, make([]byte, 3000)...),
	} {
		if _, err := readFrame(bufio.NewReaderSize(bytes.NewReader(b), 2*maxFrameBytes)); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: error %v, want ErrFrame", name, err)
		}
	}
	if _, err := readFrame(bufio.NewReader(bytes.NewReader([]byte{0, 1, 0, 0, 0, 5, 1}))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half a frame: error %v, want an unexpected end", err)
	}
}

// FuzzPDU holds the decoder to four promises: it never panics, it returns as
// much as was asked for or nothing, its error is an exception or ErrReply, and
// what it accepts encodes back to the bytes that it read (the unused bits of
// the last byte of coils aside).
func FuzzPDU(f *testing.F) {
	f.Add(uint8(3), uint16(3), []byte{3, 6, 2, 0x2b, 0, 0, 0, 0x64})
	f.Add(uint8(1), uint16(19), []byte{1, 3, 0xcd, 0x6b, 5})
	f.Add(uint8(4), uint16(1), []byte{0x84, 0x0b})
	f.Fuzz(func(t *testing.T, table uint8, count uint16, pdu []byte) {
		r := request{table: Table(table%4 + 1), count: count}
		r.count = min(max(r.count, 1), uint16(r.table.most()))
		data, err := r.decodePDU(pdu)
		if err != nil {
			var exception Exception
			if data != nil || (!errors.Is(err, ErrReply) && !errors.As(err, &exception)) {
				t.Fatalf("%x and %v", data, err)
			}
			return
		}
		again := []byte{byte(r.table), 0}
		if r.table.bits() {
			if len(data) != int(r.count) {
				t.Fatalf("%d bits of %d", len(data), r.count)
			}
			again = append(again, make([]byte, (r.count+7)/8)...)
			for i, bit := range data {
				again[2+i/8] |= bit << (i % 8)
			}
			if n := r.count % 8; n > 0 {
				pdu = slices.Clone(pdu)
				pdu[len(pdu)-1] &= 1<<n - 1
			}
		} else {
			if len(data) != 2*int(r.count) {
				t.Fatalf("%d bytes of %d registers", len(data), r.count)
			}
			again = append(again, data...)
		}
		again[1] = byte(len(again) - 2)
		if !bytes.Equal(again, pdu) {
			t.Fatalf("%x encodes back to %x", pdu, again)
		}
	})
}

// FuzzFrames holds the framing to three promises: it never panics, how the
// bytes were cut on their way changes nothing, and the frames that it returns
// are the bytes that it read.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 0, 5, 1, 3, 2, 0, 0x2a, 0, 2, 0, 0, 0, 3, 1, 0x83, 2})
	f.Add([]byte{0, 1, 0, 0, 0, 5, 1, 3})
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, err := frames(bytes.NewReader(b))
		pieces, err2 := frames(iotest.OneByteReader(bytes.NewReader(b)))
		if !bytes.Equal(whole, pieces) || err.Error() != err2.Error() {
			t.Fatalf("whole: %x, %v\nbyte by byte: %x, %v", whole, err, pieces, err2)
		}
		if !bytes.HasPrefix(b, whole) {
			t.Fatalf("read %x, returned %x", b, whole)
		}
		if errors.Is(err, io.EOF) != (len(whole) == len(b)) {
			t.Fatalf("%v after %d of %d bytes", err, len(whole), len(b))
		}
	})
}

// frames reads all frames, writes them again and returns the error that ended
// them.
func frames(r io.Reader) ([]byte, error) {
	in := bufio.NewReaderSize(r, 2*maxFrameBytes)
	var out []byte
	for {
		f, err := readFrame(in)
		if err != nil {
			return out, err
		}
		out = binary.BigEndian.AppendUint16(out, f.transaction)
		out = binary.BigEndian.AppendUint32(out, uint32(1+len(f.pdu)))
		out = append(append(out, f.unit), f.pdu...)
	}
}

// scripted serves one connection: for the n-th request it sends what answer
// returns.
func scripted(t *testing.T, answer func(n int, request []byte) []byte) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // loopback
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close() //nolint:errcheck // the test is over
		for n := 0; ; n++ {
			b := make([]byte, 12)
			if _, err := io.ReadFull(conn, b); err != nil {
				return
			}
			if _, err := conn.Write(answer(n, b)); err != nil {
				return
			}
		}
	}()
	return listener.Addr().String()
}

// reply is the frame of one register for a request, with its header changed.
func reply(request []byte, value uint16, change func([]byte)) []byte {
	b := []byte{request[0], request[1], 0, 0, 0, 5, request[6], 3, 2, byte(value >> 8), byte(value)}
	if change != nil {
		change(b)
	}
	return b
}

func TestForeignAnswersAreDropped(t *testing.T) {
	address := scripted(t, func(n int, request []byte) []byte {
		// An answer to an earlier question, one of another unit, then ours.
		b := reply(request, 666, func(b []byte) { b[1]-- })
		b = append(b, reply(request, 667, func(b []byte) { b[6]++ })...)
		return append(b, reply(request, uint16(n), nil)...)
	})
	c := client{config: Config{Address: address}.withDefaults()}
	defer c.close()
	for n := range 3 {
		data, err := c.ask(t.Context(), request{unit: 9, table: HoldingRegisters, count: 1}, 1)
		if err != nil || !bytes.Equal(data, []byte{0, byte(n)}) {
			t.Fatalf("question %d: %x, %v", n, data, err)
		}
	}
	if c.strays != 6 {
		t.Errorf("%d strays counted, want 6", c.strays)
	}
}

// TestAnswerInTwoPieces: a frame that is cut by the end of its time is not lost
// track of. Its other half must not be read as the beginning of the next.
func TestAnswerInTwoPieces(t *testing.T) {
	var held []byte
	address := scripted(t, func(n int, request []byte) []byte {
		if n == 0 {
			b := reply(request, 666, nil)
			held = b[9:]
			return b[:9]
		}
		return append(held, reply(request, 7, nil)...)
	})
	c := client{config: Config{Address: address, Timeout: 50 * time.Millisecond}.withDefaults()}
	defer c.close()
	r := request{unit: 9, table: HoldingRegisters, count: 1}
	if _, err := c.ask(t.Context(), r, 1); !errors.Is(err, errSilence) {
		t.Fatalf("half an answer: %v", err)
	}
	data, err := c.ask(t.Context(), r, 1)
	if err != nil || !bytes.Equal(data, []byte{0, 7}) {
		t.Fatalf("got %x, %v; want 0007", data, err)
	}
}

func TestAskEndsWithItsContext(t *testing.T) {
	address := scripted(t, func(int, []byte) []byte { return nil })
	c := client{config: Config{Address: address, Timeout: time.Minute}.withDefaults()}
	defer c.close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.ask(ctx, request{table: Coils, count: 1}, 3); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the context's", err)
	}
}

// TestPlan: whatever items there are and whatever a device has taught, each is
// read exactly once, no request asks for more than allowed, no block has a
// larger gap than allowed, and none reads across an illegal item or a fence.
func TestPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &Source{config: Config{
			Gap:  rapid.IntRange(-1, 20).Draw(t, "gap"),
			Most: rapid.IntRange(4, 125).Draw(t, "most"),
		}.withDefaults()}
		s.taught.forget()
		n := rapid.IntRange(1, 60).Draw(t, "items")
		var order []int
		for i := range n {
			it := Item{
				Unit:    rapid.Uint8Range(1, 2).Draw(t, "unit"),
				Table:   Table(rapid.Uint8Range(1, 4).Draw(t, "table")),
				Address: rapid.Uint16Range(0, 500).Draw(t, "address"),
				Type:    Type(rapid.Uint8Range(uint8(Bit), uint8(Float64)).Draw(t, "type")),
			}
			if it.Table.bits() {
				it.Type = Bool
			}
			s.items = append(s.items, it)
			order = append(order, i)
			if rapid.IntRange(0, 9).Draw(t, "illegal") == 0 {
				s.taught.illegal[i] = true
			}
			if rapid.IntRange(0, 9).Draw(t, "fence") == 0 {
				s.taught.fence(region{it.Unit, it.Table}, int(it.Address))
			}
		}
		seen := map[int]int{}
		for _, b := range s.plan(s.sorted(order)) {
			most, gap := s.config.Most, s.config.Gap
			if b.table.bits() {
				most, gap = 2000, 8*gap
			}
			if b.count == 0 || int(b.count) > most {
				t.Fatalf("a request for %d of %v, at most %d", b.count, b.table, most)
			}
			end := int(b.start)
			for _, item := range b.items {
				it := s.items[item]
				seen[item]++
				if it.Unit != b.unit || it.Table != b.table || it.Address < b.start || it.end() > b.end() {
					t.Fatalf("%+v is not inside %+v", it, b)
				}
				if int(it.Address)-end > gap {
					t.Fatalf("a gap of %d before %+v, at most %d", int(it.Address)-end, it, gap)
				}
				if it.Address > b.start && s.taught.fences[b.region()][int(it.Address)] {
					t.Fatalf("%+v reads across a fence at %d", b, it.Address)
				}
				end = max(end, it.end())
			}
			if end != b.end() {
				t.Fatalf("%+v asks for more than its items need, %d", b, end)
			}
		}
		for i := range n {
			want := 1
			if s.taught.illegal[i] {
				want = 0
			}
			if seen[i] != want {
				t.Fatalf("item %d is read %d times, want %d", i, seen[i], want)
			}
		}
	})
}
