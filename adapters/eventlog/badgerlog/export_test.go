package badgerlog

import "context"

// WithMoment returns cfg with a function that is called at the named moments
// of sealing.
func WithMoment(cfg Config, f func(string)) Config {
	cfg.moment = f
	return cfg
}

// Sealed returns the position up to which telemetry is sealed.
func (l *Log) Sealed() uint64 { return l.sealed.Load() }

// Collect is what the log does from time to time.
func (l *Log) Collect(ctx context.Context) error { return l.collect(ctx, &pacer{}) }

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
