package broker

import (
	"testing"
)

// FuzzFraming: however a stream is cut, the packets end at the same places, and
// the plain reading of lengths agrees.
func FuzzFraming(f *testing.F) {
	f.Add([]byte{0xC0, 0, 0x30, 5, 0, 1, 'a', 'x', 'y'}, uint8(3))
	f.Add([]byte{0x30, 0x80, 0x80, 0x80, 0x01}, uint8(1))
	f.Add([]byte{0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF}, uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		var whole, cut framing
		whole.pass(data)
		for rest := data; len(rest) > 0; {
			n := min(len(rest), int(step)+1)
			cut.pass(rest[:n])
			rest = rest[n:]
		}
		if whole.whole() != cut.whole() || whole.left != cut.left || whole.n != cut.n {
			t.Fatalf("at once %+v, in steps of %d %+v", whole, int(step)+1, cut)
		}
		left := data
		for len(left) > 0 {
			size := frameSize(left)
			if size <= 0 || size > len(left) {
				break
			}
			left = left[size:]
		}
		if got, want := whole.whole(), len(left) == 0; got != want {
			t.Fatalf("whole %v, but %d bytes are left", got, len(left))
		}
	})
}
