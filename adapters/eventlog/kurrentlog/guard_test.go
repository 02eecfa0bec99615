package kurrentlog_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"

	"github.com/twinlog/twinlog/adapters/eventlog/kurrentlog"
	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
)

// system is an event that a genuine server writes by itself.
type system struct{ stream, typ, data string }

// TestGuard lets a server tell of limits, deletions and scavenges.
func TestGuard(t *testing.T) {
	tb := func(stream, data string) system { return system{"$$" + stream, "$metadata", data} }
	scavenge := system{"$scavenges-1", "$scavengeStarted", "{}"}
	for name, c := range map[string]struct {
		events []system
		want   []string // in the error; none: it may start
	}{
		"nothing is set":       {},
		"an access list alone": {events: []system{tb("p~asset-1", `{"$acl":{"$r":"$all"}}`)}},
		"another's limits":     {events: []system{tb("asset-1", `{"$maxAge":5}`), tb("q~asset-1", `{"$tb":9}`), scavenge}},
		"an age":               {events: []system{tb("p~asset-1", `{"$maxAge":3600}`)}, want: []string{"stream asset-1 has $maxAge=3600"}},
		"a count and a beginning, on two streams": {
			events: []system{tb("p~asset-1", `{"$maxCount":5}`), tb("p~telemetry-gw.1", `{"$tb":9223372036854775807}`)},
			want:   []string{"stream asset-1 has $maxCount=5", "stream telemetry-gw.1 has $tb=9223372036854775807"},
		},
		"a limit that was lifted":              {events: []system{tb("p~asset-1", `{"$maxCount":5}`), tb("p~asset-1", `{"$maxCount":null}`)}},
		"a scavenge alone":                     {events: []system{scavenge}},
		"a scavenge before the limit":          {events: []system{scavenge, tb("p~asset-1", `{"$tb":3}`), tb("p~asset-1", `{}`)}},
		"a scavenge before a limit was lifted": {events: []system{tb("p~asset-1", `{"$tb":3}`), scavenge, scavenge, tb("p~asset-1", `{}`)}, want: []string{"stream asset-1: a scavenge ($scavenges-1@1) ran while it has $tb=3"}},
		"a tombstone":                          {events: []system{{"p~asset-1", "$streamDeleted", ""}}, want: []string{"stream asset-1 is deleted"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{read: func(req *streams.ReadReq, st streams.Streams_ReadServer) error {
				if got := req.GetOptions().GetFilter().GetEventType().GetPrefix(); len(got) != 3 {
					t.Errorf("asked for %q", got)
				}
				if err := st.Send(&streams.ReadResp{Content: &streams.ReadResp_Confirmation{Confirmation: &streams.ReadResp_SubscriptionConfirmation{}}}); err != nil {
					return err
				}
				for i, e := range c.events {
					m := named(e.stream, e.data)
					r := m.GetEvent().GetEvent()
					r.Metadata["type"], r.CommitPosition, r.PreparePosition, r.StreamRevision = e.typ, uint64(i+1), uint64(i+1), uint64(i)
					r.StreamIdentifier = &shared.StreamIdentifier{StreamName: []byte(e.stream)}
					if err := st.Send(m); err != nil {
						return err
					}
				}
				if err := st.Send(&streams.ReadResp{Content: &streams.ReadResp_CaughtUp_{CaughtUp: &streams.ReadResp_CaughtUp{}}}); err != nil {
					return err
				}
				<-st.Context().Done()
				return nil
			}}
			l := open(t, f.start(t), func(c *kurrentlog.Config) { c.Prefix = "p~" })
			err := l.Guard(t.Context())
			if (err != nil) != (len(c.want) > 0) || err != nil && !errors.Is(err, kurrentlog.ErrForgets) {
				t.Fatalf("%v, want %q", err, c.want)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v\ndoes not say %q", err, w)
				}
			}
			if err != nil && strings.Count(err.Error(), "stream ") != len(c.want) {
				t.Errorf("%v, want %d streams", err, len(c.want))
			}
		})
	}
}

// TestGuardOfAServedLog: a log that is served by a twinlog forgets nothing.
func TestGuardOfAServedLog(t *testing.T) {
	address, _ := serve(t, memlog.New("served", time.Now), "")
	l := open(t, address)
	if _, err := l.Append(t.Context(), "asset-1", at(0), fact(0)); err != nil {
		t.Fatal(err)
	}
	if err := l.Guard(t.Context()); err != nil {
		t.Error(err)
	}
}
