package importer

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// clock reads the times of a file.
type clock struct {
	layout string // "" for the usual forms
	zone   *time.Location
}

func newClock(o Options) (clock, error) {
	zone, err := time.LoadLocation(o.Zone)
	if err != nil {
		return clock{}, fmt.Errorf("zone %q, expected an IANA name such as Europe/Berlin: %w", o.Zone, errors.Join(ErrBadOptions, err))
	}
	return clock{o.TimeFormat, zone}, nil
}

// usual are the forms without a zone; those with one are RFC 3339.
var usual = []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006/01/02 15:04:05", "02.01.2006 15:04:05"}

const expectedTime = "RFC 3339, YYYY-MM-DD hh:mm:ss, or seconds, milliseconds, microseconds or nanoseconds since 1970"

// read returns the instant of a text in UTC, or what was expected. A local time
// that happens twice or never, when clocks are changed, is refused: guessing
// would put an hour of samples into the wrong place.
func (c clock) read(text string) (time.Time, string) {
	if c.layout != "" {
		if t, err := time.ParseInLocation(c.layout, text, c.zone); err == nil {
			return c.definite(t, c.layout, text)
		}
		return time.Time{}, "a time like " + c.layout
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t.UTC(), ""
	}
	for _, layout := range usual {
		if t, err := time.ParseInLocation(layout, text, c.zone); err == nil {
			return c.definite(t, layout, text)
		}
	}
	if t, ok := sinceEpoch(text); ok {
		return t, ""
	}
	return time.Time{}, expectedTime
}

// definite refuses a local time that is not one instant.
func (c clock) definite(t time.Time, layout, text string) (time.Time, string) {
	local := func(t time.Time) string { return t.In(c.zone).Format("2006-01-02 15:04:05") }
	want, err := time.Parse(layout, text)
	if err == nil && local(t) != want.Format("2006-01-02 15:04:05") {
		return time.Time{}, "a local time that exists in " + c.zone.String()
	}
	for _, shift := range []time.Duration{time.Hour, -time.Hour, 30 * time.Minute, -30 * time.Minute} {
		if local(t.Add(shift)) == local(t) {
			return time.Time{}, "a time with its offset: this local time happens twice in " + c.zone.String()
		}
	}
	return t.UTC(), ""
}

// sinceEpoch reads a number by its size: 2001 to 2286 in seconds has ten digits.
func sinceEpoch(text string) (time.Time, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	switch len(text) {
	case 10:
		return time.Unix(n, 0).UTC(), true
	case 13:
		return time.UnixMilli(n).UTC(), true
	case 16:
		return time.UnixMicro(n).UTC(), true
	case 19:
		return time.Unix(0, n).UTC(), true
	}
	return time.Time{}, false
}
