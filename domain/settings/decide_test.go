package settings_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/settings"
)

func TestChange(t *testing.T) {
	skew := func(d time.Duration) *time.Duration { return &d }
	stale := func(f float64) *float64 { return &f }
	ms := func(n int64) *int64 { return &n }
	at := func(r eventlog.Revision) *eventlog.Revision { return &r }
	once := []eventlog.Event{settings.Changed{AllowedSkewMS: ms(1000)}}
	for _, c := range []struct {
		name  string
		given []eventlog.Event
		when  settings.Change
		then  []eventlog.Event
		err   error
	}{
		{name: "only what is other than the standard is said", when: settings.Change{AllowedSkew: skew(time.Second), StaleMultiple: stale(5)}, then: once},
		{name: "the standard again changes nothing", when: settings.Change{AllowedSkew: skew(time.Minute)}},
		{name: "what was changed can be changed back", given: once, when: settings.Change{AllowedSkew: skew(time.Minute)}, then: []eventlog.Event{settings.Changed{AllowedSkewMS: ms(60_000)}}},
		{name: "nothing changes nothing", given: once},
		{name: "no skew at all", when: settings.Change{AllowedSkew: skew(0)}, then: []eventlog.Event{settings.Changed{AllowedSkewMS: ms(0)}}},
		{name: "a clock behind is no skew", when: settings.Change{AllowedSkew: skew(-time.Second)}, err: settings.ErrBadSetting},
		{name: "more than a day", when: settings.Change{AllowedSkew: skew(25 * time.Hour)}, err: settings.ErrBadSetting},
		{name: "part of a millisecond", when: settings.Change{AllowedSkew: skew(time.Microsecond)}, err: settings.ErrBadSetting},
		{name: "stale before it is due", when: settings.Change{StaleMultiple: stale(0.5)}, err: settings.ErrBadSetting},
		{name: "not a number", when: settings.Change{StaleMultiple: stale(math.NaN())}, err: settings.ErrBadSetting},
		{name: "the revision that it is at", given: once, when: settings.Change{StaleMultiple: stale(3), IfRevision: at(0)}, then: []eventlog.Event{settings.Changed{StaleMultiple: stale(3)}}},
		{name: "another revision", given: once, when: settings.Change{StaleMultiple: stale(3), IfRevision: at(1)}, err: eventlog.ErrMoved},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s settings.State
			for _, e := range c.given {
				s = settings.Decider.Evolve(s, e)
			}
			got, err := settings.Decider.Decide(s, c.when)
			if diff := cmp.Diff(c.then, got); diff != "" || !errors.Is(err, c.err) {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}
