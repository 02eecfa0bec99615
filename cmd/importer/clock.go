package importer

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// clock reads the times of a file.
type clock struct {
	layout string // "" for the usual forms
	zone   *time.Location
}

func newClock(o Options) (clock, error) {
	zone, err := time.LoadLocation(o.Zone)
	if err == nil && o.Zone == "Local" {
		err = errors.New("that depends on the machine")
	}
	if err != nil {
		return clock{}, fmt.Errorf("zone %q, expected an IANA name such as Europe/Berlin: %w", o.Zone, errors.Join(ErrBadOptions, err))
	}
	if strings.Contains(o.TimeFormat, "MST") {
		return clock{}, fmt.Errorf("time format %q, expected no MST: the abbreviation of a zone is not one zone; give --zone: %w", o.TimeFormat, ErrBadOptions)
	}
	return clock{o.TimeFormat, zone}, nil
}

// usual are the forms without a zone; those with one are RFC 3339.
var usual = []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006/01/02 15:04:05", "02.01.2006 15:04:05"}

const expectedTime = "RFC 3339, YYYY-MM-DD hh:mm:ss, or seconds, milliseconds, microseconds or nanoseconds since 1970"

// The years between which nanoseconds since 1970 fit into 64 bits, as everything
// that reads the log counts them.
const firstYear, lastYear = 1700, 2200

// read returns the instant of a text, or what was expected.
func (c clock) read(text string) (time.Time, string) {
	t, expected := c.parse(text)
	if y := t.Year(); expected == "" && (y < firstYear || y > lastYear) {
		return t, fmt.Sprintf("a year from %d to %d", firstYear, lastYear)
	}
	return t, expected
}

// parse returns the instant of a text in UTC, or what was expected. A local time
// that happens twice or never, when clocks are changed, is refused: guessing
// would put an hour of samples into the wrong place.
func (c clock) parse(text string) (time.Time, string) {
	if c.layout != "" {
		if _, err := time.Parse(c.layout, text); err == nil {
			return c.definite(c.layout, text)
		}
		return time.Time{}, "a time like " + c.layout
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t.UTC(), ""
	}
	for _, layout := range usual {
		if _, err := time.Parse(layout, text); err == nil {
			return c.definite(layout, text)
		}
	}
	if t, ok := sinceEpoch(text); ok {
		return t, ""
	}
	return time.Time{}, expectedTime
}

// around is more than any zone has shifted its clocks by, and less than the time
// between two shifts.
const around = 26 * time.Hour

// definite refuses a local time that is not one instant. A text with an offset of
// its own is.
func (c clock) definite(layout, text string) (time.Time, string) {
	want, err := time.Parse(layout, text)
	if err != nil {
		return time.Time{}, "a time like " + layout
	}
	if elsewhere, err := time.ParseInLocation(layout, text, time.FixedZone("", 3600)); err == nil && elsewhere.Equal(want) {
		return want.UTC(), ""
	}
	// Every offset that the zone has around then gives an instant that may show
	// this local time.
	wall := func(t time.Time) time.Time {
		_, offset := t.In(c.zone).Zone()
		return t.Add(time.Duration(offset) * time.Second)
	}
	var instants []time.Time
	for _, near := range []time.Duration{-around, around} {
		_, offset := want.Add(near).In(c.zone).Zone()
		instant := want.Add(-time.Duration(offset) * time.Second)
		if wall(instant).Equal(want) && (len(instants) == 0 || !instants[0].Equal(instant)) {
			instants = append(instants, instant)
		}
	}
	switch len(instants) {
	case 0:
		return time.Time{}, "a local time that exists in " + c.zone.String()
	case 1:
		return instants[0].UTC(), ""
	}
	return time.Time{}, "a time with its offset: this local time happens twice in " + c.zone.String()
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
