package telemetry

import (
	"math"
	"time"
)

// Nanos returns nanoseconds since 1970 UTC, as read models keep times. What lies
// outside of 1678 to 2262 is kept at that end.
func Nanos(t time.Time) int64 {
	switch s := t.Unix(); {
	case s < math.MinInt64/int64(time.Second)+1:
		return math.MinInt64
	case s > math.MaxInt64/int64(time.Second)-1:
		return math.MaxInt64
	}
	return t.UnixNano()
}
