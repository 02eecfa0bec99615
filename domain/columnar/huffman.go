package columnar

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// A residual below direct is a symbol of its own. A larger one of L bits is the
// symbol direct + (L - 8), followed by its lower L - 1 bits. Huffman codes have
// at most maxLen bits, so that one table look-up decodes a symbol.
const (
	direct  = 128
	symbols = direct + 57
	maxLen  = 11
)

// How residuals are written. The numbers are on disk.
const (
	packed  = 0 // blocks of 128 with their own width in bits
	huffman = 1 // canonical Huffman codes and extra bits
)

const block = 128

// tokens codes residuals; scratch memory only.
type tokens struct {
	count   [symbols]uint32
	length  [symbols]uint8
	code    [symbols]uint16
	table   [1 << maxLen]uint16 // symbol << 4 | length
	weights []node
	queue   []node
}

type node struct {
	weight      uint32
	symbol      int16 // of a leaf
	left, right int16 // in the arena, of an inner node
}

func symbolOf(u uint64) (sym int, extra int) {
	if u < direct {
		return int(u), 0
	}
	n := bits.Len64(u)
	return direct + n - 8, n - 1
}

func (t *tokens) append(dst []byte, r []uint64) []byte {
	clear(t.count[:])
	extra, used := 0, 0
	for _, u := range r {
		s, e := symbolOf(u)
		t.count[s]++
		extra += e
	}
	for _, n := range t.count {
		if n > 0 {
			used++
		}
	}
	plain := packedSize(r)
	if used < 2 || len(r) < 24 {
		return appendPacked(append(dst, packed), r)
	}
	t.build()
	size := extra
	for s, n := range t.count {
		size += int(n) * int(t.length[s])
	}
	mark := len(dst)
	dst = t.appendLengths(append(dst, huffman))
	if len(dst)-mark+(size+7)/8 >= plain+1 {
		return appendPacked(append(dst[:mark], packed), r)
	}
	return t.appendCodes(dst, r)
}

// appendLengths writes the code lengths of the symbols up to the last used one:
// their number, then one nibble each, where 15 and a nibble k stand for k + 2
// unused symbols in a row.
func (t *tokens) appendLengths(dst []byte) []byte {
	last := symbols
	for t.length[last-1] == 0 {
		last--
	}
	dst = binary.AppendUvarint(dst, uint64(last))
	half, pending := false, byte(0)
	put := func(n byte) {
		if half {
			dst = append(dst, pending|n<<4)
		}
		half, pending = !half, n
	}
	for s := 0; s < last; {
		zeros := 0
		for s+zeros < last && t.length[s+zeros] == 0 && zeros < 17 {
			zeros++
		}
		if zeros >= 2 {
			put(15)
			put(byte(zeros - 2))
			s += zeros
			continue
		}
		put(t.length[s])
		s++
	}
	if half {
		dst = append(dst, pending)
	}
	return dst
}

func (t *tokens) appendCodes(dst []byte, r []uint64) []byte {
	t.assign()
	var acc uint64
	var n uint
	flush := func() {
		for n >= 8 {
			dst = append(dst, byte(acc))
			acc >>= 8
			n -= 8
		}
	}
	for _, u := range r {
		s, e := symbolOf(u)
		acc |= uint64(t.code[s]) << n
		n += uint(t.length[s])
		if n >= 32 {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(acc))
			acc >>= 32
			n -= 32
		}
		if e > 0 {
			low := u &^ (1 << e)
			for e > 0 { // in pieces: the accumulator has room for 32 bits
				k := min(e, 32)
				acc |= (low & (1<<k - 1)) << n
				n += uint(k)
				if n >= 32 {
					dst = binary.LittleEndian.AppendUint32(dst, uint32(acc))
					acc >>= 32
					n -= 32
				}
				low >>= k
				e -= k
			}
		}
	}
	flush()
	if n > 0 {
		dst = append(dst, byte(acc))
	}
	return dst
}

// assign gives canonical codes, shorter first, then by symbol, bit-reversed so
// that a reader sees the first bit lowest.
func (t *tokens) assign() {
	var perLength [maxLen + 1]int
	for _, l := range t.length {
		if l > 0 {
			perLength[l]++
		}
	}
	var next [maxLen + 2]int
	for l := 1; l <= maxLen; l++ {
		next[l+1] = (next[l] + perLength[l]) << 1
	}
	for s, l := range t.length {
		if l > 0 {
			t.code[s] = bits.Reverse16(uint16(next[l])) >> (16 - l)
			next[l]++
		}
	}
}

// build computes code lengths of at most maxLen bits from the counts.
func (t *tokens) build() {
	clear(t.length[:])
	leaves := t.weights[:0]
	for s, n := range t.count {
		if n > 0 {
			leaves = append(leaves, node{weight: n, symbol: int16(s)})
		}
	}
	slices.SortFunc(leaves, func(a, b node) int {
		if a.weight != b.weight {
			return int(a.weight) - int(b.weight)
		}
		return int(a.symbol) - int(b.symbol)
	})
	// Two queues: sorted leaves, and inner nodes, which come out sorted.
	n := len(leaves)
	arena := leaves
	leaf, inner := 0, n
	take := func() int16 {
		if inner >= len(arena) || leaf < n && arena[leaf].weight <= arena[inner].weight {
			leaf++
			return int16(leaf - 1)
		}
		inner++
		return int16(inner - 1)
	}
	for range n - 1 {
		a := take()
		b := take()
		arena = append(arena, node{weight: arena[a].weight + arena[b].weight, symbol: -1, left: a, right: b})
	}
	t.weights = arena
	var perDepth [symbols]int
	t.depths(arena, perDepth[:])
	limit(perDepth[:])
	depth := maxLen
	for i := range n { // the rarest symbols get the longest codes
		for perDepth[depth] == 0 {
			depth--
		}
		perDepth[depth]--
		t.length[arena[i].symbol] = uint8(depth)
	}
}

// depths counts the leaves at each depth of the tree whose root is last.
func (t *tokens) depths(arena []node, perDepth []int) {
	if cap(t.queue) < len(arena) {
		t.queue = make([]node, len(arena))
	}
	depth := t.queue[:len(arena)] // weight holds the depth here
	depth[len(arena)-1].weight = 0
	for i, n := range slices.Backward(arena) {
		d := depth[i].weight
		if n.symbol >= 0 {
			perDepth[d]++
			continue
		}
		depth[n.left].weight = d + 1
		depth[n.right].weight = d + 1
	}
}

// limit moves leaves up until none is deeper than maxLen, keeping a full tree:
// a pair from below becomes one leaf higher up, and a shallower leaf makes room.
func limit(perDepth []int) {
	for d := len(perDepth) - 1; d > maxLen; d-- {
		for perDepth[d] > 0 {
			up := d - 2
			for perDepth[up] == 0 {
				up--
			}
			perDepth[d] -= 2
			perDepth[d-1]++
			perDepth[up]--
			perDepth[up+1] += 2
		}
	}
}

func (t *tokens) decode(src []byte, r []uint64) ([]byte, error) {
	if len(src) == 0 {
		return nil, corrupt("no residuals")
	}
	switch kind := src[0]; kind {
	case packed:
		return decodePacked(src[1:], r)
	case huffman:
		src, err := t.readLengths(src[1:])
		if err != nil {
			return nil, err
		}
		return t.decodeCodes(src, r)
	}
	return nil, corrupt("unknown residual coding")
}

func (t *tokens) readLengths(src []byte) ([]byte, error) {
	last, src, err := uvarint(src)
	if err != nil {
		return nil, err
	}
	if last > symbols {
		return nil, corrupt("too many symbols")
	}
	clear(t.length[:])
	at := 0 // nibbles read
	next := func() (byte, bool) {
		if at/2 >= len(src) {
			return 0, false
		}
		n := src[at/2] >> (at % 2 * 4) & 15
		at++
		return n, true
	}
	kraft := 0
	for s := 0; s < int(last); s++ {
		n, ok := next()
		if ok && n == 15 {
			if n, ok = next(); ok {
				s += int(n) + 1
			}
		} else if ok {
			if n > maxLen {
				return nil, corrupt("code too long")
			}
			if t.length[s] = n; n > 0 {
				kraft += 1 << (maxLen - n)
			}
		}
		if !ok {
			return nil, corrupt("cut off in the code lengths")
		}
	}
	if kraft != 1<<maxLen {
		return nil, corrupt("code lengths do not make a full tree")
	}
	t.assign()
	for s, l := range t.length {
		if l == 0 {
			continue
		}
		for i := int(t.code[s]); i < 1<<maxLen; i += 1 << l {
			t.table[i] = uint16(s)<<4 | uint16(l)
		}
	}
	return src[(at+1)/2:], nil
}

// decodeCodes reads one code for each residual. The last bits of a column are
// read as if zeros followed.
func (t *tokens) decodeCodes(src []byte, r []uint64) ([]byte, error) {
	var acc uint64
	var n uint
	at := 0
	for i := range r {
		if n < maxLen+8 {
			if at+8 <= len(src) { // as many whole bytes as fit
				acc |= binary.LittleEndian.Uint64(src[at:]) << n
				k := (63 - n) >> 3
				at += int(k)
				n += k * 8
			} else {
				for n <= 56 && at < len(src) {
					acc |= uint64(src[at]) << n
					at++
					n += 8
				}
			}
		}
		entry := t.table[acc&(1<<maxLen-1)]
		l := uint(entry & 15)
		if l > n {
			return nil, corrupt("cut off in the codes")
		}
		acc >>= l
		n -= l
		s := int(entry >> 4)
		if s < direct {
			r[i] = uint64(s)
			continue
		}
		e := uint(s - direct + 7)
		u := uint64(1) << e
		for done := uint(0); done < e; {
			k := min(e-done, 32)
			for n < k && at < len(src) {
				acc |= uint64(src[at]) << n
				at++
				n += 8
			}
			if n < k {
				return nil, corrupt("cut off in the extra bits")
			}
			u |= acc & (1<<k - 1) << done
			acc >>= k
			n -= k
			done += k
		}
		r[i] = u
	}
	return src[at-int(n/8):], nil
}
