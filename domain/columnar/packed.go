package columnar

import (
	"encoding/binary"
	"math/bits"
)

func width(r []uint64) uint {
	var all uint64
	for _, u := range r {
		all |= u
	}
	return uint(bits.Len64(all))
}

func packedSize(r []uint64) int {
	size := 0
	for len(r) > 0 {
		n := min(block, len(r))
		size += 1 + (n*int(width(r[:n]))+7)/8
		r = r[n:]
	}
	return size
}

// appendPacked writes blocks of up to 128 residuals: the width in bits (0..64),
// then every residual in so many bits, lowest bit first.
func appendPacked(dst []byte, r []uint64) []byte {
	for len(r) > 0 {
		n := min(block, len(r))
		w := width(r[:n])
		dst = append(dst, byte(w))
		var acc uint64
		var have uint
		for _, u := range r[:n] {
			acc |= u << have
			have += w
			if have >= 64 {
				dst = binary.LittleEndian.AppendUint64(dst, acc)
				have -= 64
				acc = 0
				if have > 0 {
					acc = u >> (w - have)
				}
			}
		}
		for ; have > 0; have -= min(8, have) {
			dst = append(dst, byte(acc))
			acc >>= 8
		}
		r = r[n:]
	}
	return dst
}

func decodePacked(src []byte, r []uint64) ([]byte, error) {
	for len(r) > 0 {
		n := min(block, len(r))
		if len(src) == 0 {
			return nil, corrupt("cut off before a block")
		}
		w := uint(src[0])
		size := (n*int(w) + 7) / 8
		if w > 64 || len(src)-1 < size {
			return nil, corrupt("cut off in a block")
		}
		unpack(src[1:1+size], r[:n], w)
		src, r = src[1+size:], r[n:]
	}
	return src, nil
}

func unpack(src []byte, r []uint64, w uint) {
	if w == 0 {
		clear(r)
		return
	}
	mask := ^uint64(0) >> (64 - w)
	for i := range r {
		bit := uint(i) * w
		at, shift := int(bit/8), bit%8
		var u uint64
		if at+8 <= len(src) {
			u = binary.LittleEndian.Uint64(src[at:]) >> shift
			if shift+w > 64 {
				u |= uint64(src[at+8]) << (64 - shift)
			}
		} else {
			for k := at; k < len(src); k++ {
				if d := uint(k-at) * 8; d < shift {
					u |= uint64(src[k]) >> shift
				} else {
					u |= uint64(src[k]) << (d - shift)
				}
			}
		}
		r[i] = u & mask
	}
}
