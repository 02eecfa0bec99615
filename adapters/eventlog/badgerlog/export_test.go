package badgerlog

// Sealed returns the position up to which telemetry is sealed.
func (l *Log) Sealed() uint64 { return l.sealed.Load() }

// LeftBehind counts blocks that are sealed and still there.
func (l *Log) LeftBehind() (n int) {
	v := l.ownView()
	defer v.close()
	it := v.iterator([]byte{telemetryKey}, false)
	for it.Rewind(); it.Valid() && keyNumber(it.Item().Key()[:9]) <= uint64(v.sealed); it.Next() {
		n++
	}
	return n
}
