package badgerlog

// partMemory is memory for decoded parts that is used again for the next ones,
// when nothing of these is needed any more. The nil one allocates.
type partMemory struct {
	rows   []row
	chunks [][]byte
	at     int // the chunk in use
	used   int // bytes of it
}

const partChunk = 4 << 20 // holds the bodies of some commits

func (m *partMemory) reset() {
	clear(m.rows)
	m.rows, m.at, m.used = m.rows[:0], 0, 0
}

// bytes returns n bytes, with anything in them.
func (m *partMemory) bytes(n int) []byte {
	if m == nil {
		return make([]byte, n)
	}
	for ; m.at < len(m.chunks); m.at, m.used = m.at+1, 0 {
		if c := m.chunks[m.at]; len(c)-m.used >= n {
			b := c[m.used : m.used+n : m.used+n]
			m.used += n
			return b
		}
	}
	m.chunks = append(m.chunks, make([]byte, max(n, partChunk)))
	m.used = n
	return m.chunks[m.at][:n:n]
}

// place returns room for n rows, with none in it.
func (m *partMemory) place(n int) []row {
	if m == nil {
		return make([]row, 0, n)
	}
	start := len(m.rows)
	if start+n > cap(m.rows) { // parts that were read before keep what they have
		m.rows = append(make([]row, 0, max(cap(m.rows)*5/4, start+n, 1<<15)), m.rows...)
	}
	m.rows = m.rows[:start+n]
	return m.rows[start : start : start+n]
}

// numberMemory is memory for columns that is used again for the next window.
// The nil one allocates.
type numberMemory struct {
	chunks [][]int64
	at     int // the chunk in use
	used   int // numbers of it
}

const numberChunk = 1 << 15

// use makes m use these numbers and forget others.
func (m *numberMemory) use(chunks [][]int64) { m.chunks, m.at, m.used = chunks, 0, 0 }

// numbers returns n numbers, with anything in them.
func (m *numberMemory) numbers(n int) []int64 {
	if m == nil {
		return make([]int64, n)
	}
	for ; m.at < len(m.chunks); m.at, m.used = m.at+1, 0 {
		if c := m.chunks[m.at]; len(c)-m.used >= n {
			v := c[m.used : m.used+n : m.used+n]
			m.used += n
			return v
		}
	}
	m.chunks = append(m.chunks, make([]int64, max(n, numberChunk)))
	m.used = n
	return m.chunks[m.at][:n:n]
}
