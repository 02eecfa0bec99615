package opcua_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/adapters/field/opcua"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge/acquire"
	"github.com/twinlog/twinlog/edge/protocol"
)

// A session is a source that reports until the test ends.
type session struct {
	t     *testing.T
	heard chan acquire.Reading
	end   chan error
	stop  context.CancelFunc
}

func report(t *testing.T, ports protocol.Ports) *session {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &session{t: t, heard: make(chan acquire.Reading, 100_000), end: make(chan error, 1), stop: cancel}
	go func() {
		s.end <- ports.Reporting.Report(ctx, func(readings []acquire.Reading) {
			for _, r := range readings {
				s.heard <- r
			}
		})
	}()
	t.Cleanup(cancel)
	return s
}

// until returns the next reading that fits.
func (s *session) until(what string, fits func(acquire.Reading) bool) acquire.Reading {
	s.t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case r := <-s.heard:
			if fits(r) {
				return r
			}
		case err := <-s.end:
			s.t.Fatalf("waiting for %s the session ended: %v", what, err)
		case <-limit:
			s.t.Fatalf("nothing came that is %s", what)
		}
	}
}

func (s *session) item(i int) acquire.Reading {
	s.t.Helper()
	return s.until(fmt.Sprintf("item %d", i), func(r acquire.Reading) bool { return r.Item == i })
}

func tag(name string) map[string]any { return map[string]any{"node_id": "ns=1;s=" + name} }

func TestEveryType(t *testing.T) {
	s := startServer(t) // the others change its values
	float, integer, text := telemetry.FloatValue, telemetry.IntValue, telemetry.StringValue
	tests := []struct {
		name string
		want telemetry.Value
	}{
		{"Boolean", telemetry.BoolValue(true)},
		{"SByte", integer(-8)},
		{"Byte", integer(200)},
		{"Int16", integer(-32768)},
		{"UInt16", integer(65535)},
		{"Int32", integer(math.MinInt32)},
		{"UInt32", integer(math.MaxUint32)},
		{"Int64", integer(-9007199254740993)},
		{"UInt64", integer(9007199254740993)},
		{"Float", float(0.5)},
		{"Double", float(0.1)},
		{"Inf", float(math.Inf(1))},
		{"String", text("Süd")},
		{"DateTime", text("2026-11-24T10:00:00Z")},
		{"Guid", text("72962B91-FA75-4AE6-8D28-B404DC7DAF63")},
		{"ByteString", text("00ff10")},
		{"LocalizedText", text("running")},
		{"Array", text("[1,2.5,-3]")},
		{"NaN", float(math.NaN())},
	}
	var tags []map[string]any
	for _, tt := range tests {
		tags = append(tags, tag(tt.name))
	}
	element := tag("Array")
	element["element"] = 1
	tags = append(tags, element, tag("Nowhere"), map[string]any{"node_id": "nsu=" + s.namespace + ";s=Flow"}, map[string]any{"node_id": "nsu=urn:nobody;s=Flow"})
	live := report(t, open(t, map[string]any{"url": s.url()}, tags...))
	got := make([]acquire.Reading, len(tags))
	for seen := map[int]bool{}; len(seen) < len(tags); {
		r := live.until("a first value", func(acquire.Reading) bool { return true })
		got[r.Item], seen[r.Item] = r, true
	}
	for i, tt := range tests {
		r := got[i]
		same := r.Value == tt.want || tt.name == "NaN" && math.IsNaN(math.Float64frombits(r.Value.Bits)) ||
			tt.name == "Guid" && strings.EqualFold(r.Value.Str, tt.want.Str)
		if !same || r.Quality.Code != quality.Good || r.Quality.Scheme != quality.OPCUA || r.Cause != acquire.Snapshot {
			t.Errorf("%s: %+v, %v, %v; want %+v", tt.name, r.Value, r.Quality.Code, r.Cause, tt.want)
		}
	}
	n := len(tests)
	if got[n].Value != float(2.5) {
		t.Errorf("element 1: %+v", got[n].Value)
	}
	if got[n+1].Quality.Code != quality.BadNodeIDUnknown || got[n+3].Quality.Code != quality.BadNodeIDUnknown {
		t.Errorf("nodes that are not there: %v, %v", got[n+1].Quality.Code, got[n+3].Quality.Code)
	}
	if got[n+2].Value != float(10) {
		t.Errorf("by the namespace's name: %+v, %v", got[n+2].Value, got[n+2].Quality.Code)
	}
}

// TestStatusAndTimes: a StatusCode is kept whole, and the source's time is not
// the server's.
func TestStatusAndTimes(t *testing.T) {
	s := shared(t)
	live := report(t, open(t, map[string]any{"url": s.url()}, tag("Double")))
	live.item(0)
	t.Cleanup(func() { s.set("Double", 1, "Good", time.Now()) }) // the server is every test's
	at := time.UnixMilli(time.Now().Add(-time.Hour).UnixMilli()).UTC()
	for i, name := range []string{"UncertainSensorNotAccurate", "BadSensorFailure", "GoodLocalOverride", "BadOutOfService", "UncertainEngineeringUnitsExceeded"} {
		at = at.Add(time.Second)
		s.set("Double", float64(i)+0.5, name, at)
		r := live.item(0)
		if r.Quality.Code.Name() != name || r.Quality.Raw != uint32(r.Quality.Code) || r.Cause != acquire.Current {
			t.Errorf("%s: got %v, raw %#x, %v", name, r.Quality.Code, r.Quality.Raw, r.Cause)
		}
		if !r.SourceTime.Equal(at) || r.ServerTime.IsZero() || r.At.Before(at.Add(time.Minute)) {
			t.Errorf("%s: source %v, server %v, arrival %v; want source %v", name, r.SourceTime, r.ServerTime, r.At, at)
		}
		want := telemetry.FloatValue(float64(i) + 0.5)
		if r.Quality.Code.Status() == quality.IsBad {
			want = telemetry.Value{}
		}
		if r.Value != want {
			t.Errorf("%s: value %+v, want %+v", name, r.Value, want)
		}
	}
}

func TestServerDeadband(t *testing.T) {
	s := shared(t)
	percent, absolute, refused := tag("Flow"), tag("Double"), tag("Int32")
	percent["server_deadband"], absolute["server_deadband"], refused["server_deadband"] = "10%", "5", "10%"
	live := report(t, open(t, map[string]any{"url": s.url()}, percent, absolute, refused))
	first := map[int]acquire.Reading{}
	for len(first) < 3 {
		r := live.until("a first value", func(acquire.Reading) bool { return true })
		first[r.Item] = r
	}
	// A percent deadband needs an EURange, which an Int32 of the peer has not.
	if first[2].Quality.Code.Status() != quality.IsBad || first[2].Quality.Code == quality.BadNoCommunication {
		t.Errorf("a percent deadband without EURange: %v", first[2].Quality.Code)
	}
	now := time.Now()
	for i, v := range []float64{15, 29, 31} { // the range is 0 to 200, so 10 % are 20
		s.set("Flow", v, "Good", now.Add(time.Duration(i)*time.Second))
	}
	if r := live.item(0); r.Value != telemetry.FloatValue(31) {
		t.Errorf("past 10 %% of 200 from 10: %+v, want 31", r.Value)
	}
	for i, v := range []float64{3, 5.05, 7} {
		s.set("Double", v, "Good", now.Add(time.Duration(i)*time.Second))
	}
	if r := live.item(1); r.Value != telemetry.FloatValue(7) {
		t.Errorf("past 5 from 0.1: %+v, want 7", r.Value)
	}
}

// TestNothingIsLostBetweenTwoPublishings: the queue holds what changes faster
// than it is told.
func TestNothingIsLostBetweenTwoPublishings(t *testing.T) {
	s := shared(t)
	every := tag("Double")
	every["sampling"] = time.Duration(0)
	live := report(t, open(t, map[string]any{"url": s.url(), "publishing": time.Second}, every))
	live.item(0)
	for i := range 50 {
		s.set("Double", 100+i, "Good", time.Now())
	}
	for i := range 50 {
		if r := live.item(0); r.Value != telemetry.FloatValue(float64(100+i)) {
			t.Fatalf("change %d is %+v, want %d", i, r.Value, 100+i)
		}
	}
}

func TestWriteReadBackAndMethods(t *testing.T) {
	s := shared(t)
	tags := []map[string]any{
		tag("Setpoint"), tag("Boolean"), tag("Int16"), tag("UInt64"), tag("String"), tag("Locked"), tag("Nowhere"),
		{"node_id": "ns=1;s=Pump", "method": "ns=1;s=Start"},
	}
	element := tag("Array")
	element["element"] = 2
	tags = append(tags, element)
	ports := open(t, map[string]any{"url": s.url()}, tags...)
	if err := ports.Writer.Write(t.Context(), 0, telemetry.IntValue(1)); err == nil {
		t.Error("a write without a session was confirmed")
	}
	live := report(t, ports)
	live.item(0)
	for _, tt := range []struct {
		item  int
		value telemetry.Value
		code  quality.Code // Good: it is written and read back
	}{
		{0, telemetry.FloatValue(42.5), quality.Good},
		{1, telemetry.BoolValue(false), quality.Good},
		{2, telemetry.IntValue(-5), quality.Good},
		{3, telemetry.IntValue(9007199254740995), quality.Good},
		{4, telemetry.StringValue("Nord"), quality.Good},
		{8, telemetry.FloatValue(7.25), quality.Good},
		{2, telemetry.IntValue(40000), quality.BadOutOfRange},
		{3, telemetry.IntValue(-1), quality.BadOutOfRange},
		{4, telemetry.IntValue(1), quality.BadTypeMismatch},
		{5, telemetry.FloatValue(2), quality.BadNotWritable},
		{6, telemetry.FloatValue(2), quality.BadNodeIDUnknown},
		{7, telemetry.IntValue(1450), quality.Good},
		{7, telemetry.IntValue(9999), quality.BadOutOfRange},
	} {
		err := ports.Writer.Write(t.Context(), tt.item, tt.value)
		refused, _ := errors.AsType[*acquire.WriteError](err)
		switch {
		case tt.code != quality.Good && (refused == nil || refused.Code.Base() != tt.code || refused.Unknown):
			t.Errorf("item %d := %+v: %v, want %v", tt.item, tt.value, err, tt.code)
		case tt.code == quality.Good && err != nil:
			t.Errorf("item %d := %+v: %v", tt.item, tt.value, err)
		case tt.code == quality.Good && tt.item != 7:
			if back, err := ports.Writer.ReadBack(t.Context(), tt.item); err != nil || back.Value != tt.value {
				t.Errorf("item %d read back: %+v, %v; want %+v", tt.item, back, err, tt.value)
			}
		}
	}
	if got := s.command(map[string]any{"get": "Setpoint"}).Value; got != 42.5 {
		t.Errorf("the peer holds %v", got)
	}
	if diff := cmp.Diff([]float64{1450, 9999}, s.command(map[string]any{"calls": true}).Calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// TestAlarms: conditions come as texts under their own time, and a refresh after
// a new session tells only those that had not been heard.
func TestAlarms(t *testing.T) {
	s := shared(t)
	live := report(t, open(t, map[string]any{"url": s.url()}, map[string]any{"node_id": "i=2253", "events": true}))
	if r := live.item(0); r.Quality.Code != quality.GoodNoData || r.Value != (telemetry.Value{}) {
		t.Errorf("before anything happened: %+v, %v", r.Value, r.Quality.Code)
	}
	type alarm struct {
		Condition, Source string
		Active            bool
		Severity          float64
		Time              time.Time
	}
	next := func() alarm {
		t.Helper()
		for {
			r := live.item(0)
			var a alarm
			if err := json.Unmarshal([]byte(r.Value.Str), &a); err != nil {
				t.Fatalf("%q: %v", r.Value.Str, err)
			}
			if a.Condition == "" {
				continue // an event of the server's own
			}
			if d := r.SourceTime.Sub(a.Time); d > time.Millisecond || d < -time.Millisecond {
				t.Errorf("the text says %v, the reading %v", a.Time, r.SourceTime)
			}
			return a
		}
	}
	s.command(map[string]any{"level": 95})
	if a := next(); !a.Active || !strings.HasSuffix(a.Source, "Level") || a.Severity == 0 {
		t.Errorf("raised: %+v", a)
	}
	s.command(map[string]any{"level": 50})
	for a := next(); a.Active; a = next() {
	}
}

// own is the gateway's certificate, made once: keys take their time.
var own = sync.OnceValues(func() (certificate, key []byte) {
	certificate, key, err := opcua.NewCertificate("urn:test:twinlog:gateway", []string{"127.0.0.1"}, time.Now())
	if err != nil {
		panic(err)
	}
	return certificate, key
})

// secured are the settings of a secure source.
func secured(t *testing.T, s *server, policy, mode string) map[string]any {
	t.Helper()
	certificate, key := own()
	return map[string]any{
		"url": s.url(), "security": policy, "mode": mode, "trust": []string{s.certificate},
		"certificate": s.write("own.pem", certificate), "key": s.write("own.key", key),
	}
}

func TestSecurityAndLogins(t *testing.T) {
	s := shared(t)
	for _, policy := range []string{"none", "basic256sha256", "aes128sha256", "aes256sha256"} {
		for _, mode := range []string{"sign", "sign-encrypt"} {
			for _, login := range []string{"nobody", "password", "certificate"} {
				if policy == "none" && mode == "sign" {
					continue
				}
				t.Run(policy+" "+mode+" "+login, func(t *testing.T) {
					source := secured(t, s, policy, mode)
					switch login {
					case "password":
						source["user"], source["password_file"] = "operator", s.write("password", []byte("secret\n"))
					case "certificate":
						source["user_certificate"], source["user_key"] = source["certificate"], source["key"]
					}
					live := report(t, open(t, source, tag("Double")))
					if r := live.item(0); r.Quality.Code != quality.Good {
						t.Errorf("%v", r.Quality.Code)
					}
				})
			}
		}
	}
}

// TestRefusals: each is an error in words that say what to do.
func TestRefusals(t *testing.T) {
	s := shared(t)
	strange, _, err := opcua.NewCertificate("urn:strange:server", nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change map[string]any
		want   string
	}{
		"a server that is not in the list": {map[string]any{"trust": []string{s.write("strange.pem", strange)}}, "server certificate is not trusted"},
		"a wrong password":                 {map[string]any{"user": "operator", "password_file": s.write("wrong", []byte("guess"))}, "the server refuses the login"},
		"a policy that is not offered":     {map[string]any{"security": "basic256"}, "no endpoint with security basic256 sign-encrypt, the server offers"},
		"a list that is not there":         {map[string]any{"trust": []string{filepath.Join(s.dir, "nowhere")}}, "no such file"},
		"a certificate that is none":       {map[string]any{"certificate": s.write("junk.pem", []byte("junk"))}, "junk.pem"},
	} {
		t.Run(name, func(t *testing.T) {
			source := secured(t, s, "basic256sha256", "sign-encrypt")
			maps.Copy(source, tt.change)
			err := open(t, source, tag("Double")).Reporting.Report(t.Context(), func([]acquire.Reading) { t.Error("something was heard") })
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
	t.Run("a server that does not know the gateway", func(t *testing.T) {
		s := startServer(t, "strict")
		err := open(t, secured(t, s, "basic256sha256", "sign-encrypt"), tag("Double")).Reporting.Report(t.Context(), func([]acquire.Reading) {})
		if err == nil {
			t.Error("it was let in")
		}
		t.Log(err)
	})
	t.Run("a list by fingerprint and by folder", func(t *testing.T) {
		source := secured(t, s, "aes256sha256", "sign-encrypt")
		folder := t.TempDir()
		pem, err := os.ReadFile(s.certificate)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "a.pem"), pem, 0o600); err != nil {
			t.Fatal(err)
		}
		source["trust"] = []string{folder}
		report(t, open(t, source, tag("Double"))).item(0)
	})
}

func TestBrowse(t *testing.T) {
	s := shared(t)
	nodes := map[string]acquire.Node{}
	err := open(t, map[string]any{"url": s.url()}).Browser.Browse(t.Context(), "", func(n acquire.Node) error {
		if n.Parent != "" && nodes[n.Parent].ID == "" {
			t.Errorf("%s came before its parent %s", n.ID, n.Parent)
		}
		nodes[n.ID] = n
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	prefix := "nsu=" + s.namespace + ";s="
	want := acquire.Node{
		ID: prefix + "Flow", Parent: prefix + "Pump", Name: "Flow", Value: true, Type: "Double", Unit: "m³/h", High: 200, Ranged: true, Writable: true,
		Tag: map[string]string{"node_id": prefix + "Flow"},
	}
	if diff := cmp.Diff(want, nodes[prefix+"Flow"]); diff != "" {
		t.Errorf("Flow (-want +got):\n%s", diff)
	}
	if n := nodes[prefix+"Locked"]; n.Writable || !n.Value {
		t.Errorf("Locked: %+v", n)
	}
	if n := nodes[prefix+"Start"]; n.Tag["method"] != prefix+"Start" || n.Tag["node_id"] != prefix+"Pump" {
		t.Errorf("Start: %+v", n)
	}
}

func TestDiscover(t *testing.T) {
	s := shared(t)
	secure := map[string]bool{}
	err := opcua.Protocol.Discover(t.Context(), settings(map[string]any{"url": s.url()}), func(f protocol.Found) error {
		secure[f.Settings["security"]+" "+f.Settings["mode"]] = true
		return nil
	})
	if err != nil || !secure["none "] || !secure["aes256sha256 sign-encrypt"] {
		t.Errorf("found %v, %v", secure, err)
	}
}
