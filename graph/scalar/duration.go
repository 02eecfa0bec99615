package scalar

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"github.com/twinlog/twinlog/graph/fault"
)

// MarshalDuration writes ISO 8601.
func MarshalDuration(d time.Duration) graphql.Marshaler { return raw(`"` + FormatDuration(d) + `"`) }

// UnmarshalDuration reads ISO 8601.
func UnmarshalDuration(v any) (time.Duration, error) {
	s, ok := v.(string)
	if !ok {
		return 0, fmt.Errorf("duration %v: expected ISO 8601 text, e.g. PT5M: %w", v, fault.ErrBadInput)
	}
	return ParseDuration(s)
}

// FormatDuration returns d in ISO 8601, in hours at most (a day is not always
// 24 of them on a wall clock).
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "PT0S"
	}
	var b []byte
	n := uint64(d)
	if d < 0 {
		b, n = append(b, '-'), -n // also right for the smallest Duration
	}
	b = append(b, "PT"...)
	for _, unit := range []struct {
		size   uint64
		letter byte
	}{{uint64(time.Hour), 'H'}, {uint64(time.Minute), 'M'}} {
		if n >= unit.size {
			b = append(strconv.AppendUint(b, n/unit.size, 10), unit.letter)
			n %= unit.size
		}
	}
	if n > 0 {
		b = strconv.AppendUint(b, n/uint64(time.Second), 10)
		if part := n % uint64(time.Second); part > 0 {
			b = append(b, strings.TrimRight(fmt.Sprintf(".%09d", part), "0")...)
		}
		b = append(b, 'S')
	}
	return string(b)
}

// durationUnits are the designators in the order in which ISO 8601 wants them.
var durationUnits = []struct {
	letter byte
	time   bool // stands after the T
	size   time.Duration
}{
	{'W', false, 7 * 24 * time.Hour},
	{'D', false, 24 * time.Hour},
	{'H', true, time.Hour},
	{'M', true, time.Minute},
	{'S', true, time.Second},
}

// ParseDuration reads ISO 8601 weeks, days, hours, minutes and seconds, each of
// them once and in this order; only the last may have decimals.
func ParseDuration(s string) (time.Duration, error) {
	bad := func(expected string) (time.Duration, error) {
		return 0, fmt.Errorf("duration %.40q: expected %s: %w", s, expected, fault.ErrBadInput)
	}
	const form = "ISO 8601 of days, hours, minutes and seconds, e.g. PT5M"
	rest, negative := strings.CutPrefix(s, "-")
	rest, ok := strings.CutPrefix(rest, "P")
	if !ok || rest == "" || strings.HasSuffix(rest, "T") {
		return bad(form)
	}
	var sum time.Duration
	inTime, next := false, 0
	for rest != "" {
		if rest[0] == 'T' && !inTime {
			inTime, rest = true, rest[1:]
			continue
		}
		n := strings.IndexFunc(rest, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
		if n <= 0 {
			return bad(form)
		}
		unit := next
		for unit < len(durationUnits) && (durationUnits[unit].letter != rest[n] || durationUnits[unit].time != inTime) {
			unit++
		}
		if unit == len(durationUnits) {
			return bad(form)
		}
		part, err := parsePart(rest[:n], durationUnits[unit].size)
		if err != nil || (strings.Contains(rest[:n], ".") && n+1 < len(rest)) {
			return bad(form)
		}
		if sum += part; sum < 0 { // neither was negative, so it ran over
			return bad("less than 292 years")
		}
		rest, next = rest[n+1:], unit+1
	}
	if negative {
		sum = -sum
	}
	return sum, nil
}

// parsePart reads a decimal count of units, to the nanosecond.
func parsePart(text string, unit time.Duration) (time.Duration, error) {
	whole, decimals, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n > math.MaxInt64/int64(unit) {
		return 0, strconv.ErrRange
	}
	d := time.Duration(n) * unit
	if decimals != "" {
		f, err := strconv.ParseFloat("0."+decimals, 64)
		if err != nil {
			return 0, err
		}
		if d += time.Duration(math.Round(f * float64(unit))); d < 0 {
			return 0, strconv.ErrRange
		}
	}
	return d, nil
}
