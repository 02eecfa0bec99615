package ingest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/ingest"
)

// TestUnorderedSource: given what a device's stream holds, when more comes,
// then what is answered and what the stream holds.
func TestUnorderedSource(t *testing.T) {
	lines := func(s ...string) string { return strings.Join(s, "\n     ") }
	for _, c := range []struct {
		name        string
		given, when []delivery
		then        string
		stream      string
		count       func(*ingest.Counters) uint64
		counted     uint64
	}{
		{
			name:   "a msg_id is stored once",
			given:  []delivery{own("a", 1, 1000, 1), own("b", 2, 2000, 2)},
			when:   []delivery{own("a", 1, 1000, 1), own("b", 2, 2000, 2), own("c", 3, 3000, 3), own("c", 3, 3000, 3)},
			then:   "duplicate, duplicate, stored, duplicate",
			stream: lines("row 1 a x=1", "row 2 b x=2", "row 3 c x=3"),
			count:  func(c *ingest.Counters) uint64 { return c.Duplicates.Load() }, counted: 3,
		},
		{
			name:   "a msg_id with other content is refused, once",
			given:  []delivery{own("a", 1, 1000, 1)},
			when:   []delivery{own("a", 1, 1000, 7), own("a", 1, 1000, 7), own("a", 1, 1000, 1), own("a", 2, 2000, 8)},
			then:   "refused, duplicate, duplicate, refused",
			stream: lines("row 1 a x=1", "refused msg_id=a", "refused msg_id=a"),
			count:  func(c *ingest.Counters) uint64 { return c.Refused.Load() }, counted: 2,
		},
		{
			name:   "without a msg_id everything is stored",
			given:  []delivery{own("", -1, 1000, 1)},
			when:   []delivery{own("", -1, 1000, 1), own("", -1, 0, 2), own("", -1, 0, 2)},
			then:   "stored, stored, stored",
			stream: lines("row x=1", "row x=1", "row x=2", "row x=2"),
			count:  func(c *ingest.Counters) uint64 { return c.WithoutID.Load() }, counted: 4,
		},
		{
			name:   "without a time the arrival stands in, and a repeat is a repeat all the same",
			given:  []delivery{own("a", -1, 0, 1)},
			when:   []delivery{own("a", -1, 0, 1)},
			then:   "duplicate",
			stream: lines("row a x=1"),
		},
		{
			name:  "skipped numbers are a gap, and a late one closes it",
			given: []delivery{own("a", 5, 1000, 1)},
			when:  []delivery{own("b", 9, 2000, 2), own("c", 7, 1500, 3), own("d", 10, 3000, 4), own("e", 6, 1200, 5), own("f", 8, 1900, 6)},
			then:  "stored, stored, stored, stored, stored",
			stream: lines("row 5 a x=1", "gap from=6 to=8 missing", "row 9 b x=2", "row 7 c x=3", "reordered seq=7 highest=9 closes=true",
				"row 10 d x=4", "row 6 e x=5", "reordered seq=6 highest=10 closes=true", "row 8 f x=6", "reordered seq=8 highest=10 closes=true"),
			count: func(c *ingest.Counters) uint64 { return c.Reordered.Load() }, counted: 3,
		},
		{
			name:   "a lower number in a later message is a device that counts anew",
			given:  []delivery{own("a", 500, 1000, 1)},
			when:   []delivery{own("b", 1, 2000, 2), own("c", 2, 3000, 3)},
			then:   "stored, stored",
			stream: lines("row 500 a x=1", "gap restarted", "row 1 b x=2", "row 2 c x=3"),
		},
		{
			name:   "a counter that runs over is no gap",
			given:  []delivery{own("a", 65535, 1000, 1)},
			when:   []delivery{own("b", 0, 2000, 2), own("c", 1, 3000, 3)},
			then:   "stored, stored",
			stream: lines("row 65535 a x=1", "row 0 b x=2", "row 1 c x=3"),
		},
		{
			name:   "an older number that was not missing, in an older message, is stored as out of order",
			given:  []delivery{own("", 5, 5000, 1), own("", 6, 6000, 1)},
			when:   []delivery{own("", 5, 5000, 1)},
			then:   "stored",
			stream: lines("row 5 x=1", "row 6 x=1", "row 5 x=1", "reordered seq=5 highest=6 closes=false"),
			count:  func(c *ingest.Counters) uint64 { return c.PossibleDuplicates.Load() }, counted: 1,
		},
		{
			name:   "an invalid body is refused under its msg_id",
			when:   []delivery{{topic: pumpTopic, payload: `{"msg_id":"a","d":{"x":[]}}`}, {topic: pumpTopic, payload: `{"msg_id":"a","d":{"x":[]}}`}},
			then:   "refused, duplicate",
			stream: lines("refused msg_id=a"),
		},
		{
			name:   "an invalid body under the msg_id of a stored message is kept",
			given:  []delivery{own("a", 1, 1000, 1)},
			when:   []delivery{{topic: pumpTopic, payload: `{"msg_id":"a","d":{"x":[]}}`}, own("a", 1, 1000, 1)},
			then:   "refused, duplicate",
			stream: lines("row 1 a x=1", "refused msg_id=a"),
		},
	} {
		for _, restart := range []bool{false, true} {
			p := newPlant(t)
			p.send(c.given...)
			if restart {
				p.restart()
			}
			p.wait(time.Second)
			p.expect(t, c.name+": answers", answers(p.send(c.when...)), c.then)
			p.expect(t, c.name+": stream", lines(p.stream(streamP)...), c.stream)
			if c.count != nil && !restart && c.count(p.g.Counters()) != c.counted {
				t.Errorf("%s: counted %d, want %d", c.name, c.count(p.g.Counters()), c.counted)
			}
			p.g.Close()
		}
	}
}

// TestWindow holds the documented promise: a repeat within 100,000 messages and
// 24 hours is found, also after a restart; beyond it, it is stored and counted.
func TestWindow(t *testing.T) {
	windowDay(t, 100_000, 0, 0, false, func(*plant) int64 { return 0 })
}

// TestSmallWindow is the same for devices with clocks of all sorts.
func TestSmallWindow(t *testing.T) {
	for name, at := range map[string]func(*plant) int64{
		"a good clock":              func(p *plant) int64 { return p.clock().UnixMilli() },
		"none":                      func(*plant) int64 { return 0 },
		"a clock ahead":             func(p *plant) int64 { return p.clock().Add(time.Hour).UnixMilli() },
		"a clock behind":            func(p *plant) int64 { return p.clock().Add(-time.Hour).UnixMilli() },
		"a clock that stands still": func(*plant) int64 { return 1710844800000 },
		"a clock that runs back":    func(p *plant) int64 { return 4e12 - p.clock().UnixMilli() },
	} {
		for _, shallow := range []int{64, 100, 1000} {
			t.Run(fmt.Sprint(name, " and ", shallow), func(t *testing.T) {
				windowDay(t, 2000, 2000, shallow, name != "none" && !strings.Contains(name, "back"), at)
			})
		}
	}
}

// windowDay plays it. counted: the device's times rise, by which a repeat from
// beyond the window can be told.
func windowDay(t *testing.T, window, whole, shallow int, counted bool, at func(*plant) int64) {
	p := newPlant(t)
	p.whole, p.shallow = whole, shallow
	p.restart()
	defer func() { p.g.Close() }()
	var all []delivery
	add := func(n int) {
		t.Helper()
		batch := make([]delivery, 0, n)
		for range n {
			d := own(fmt.Sprintf("m-%d", len(all)), -1, at(p), len(all))
			p.wait(100 * time.Millisecond)
			all = append(all, d)
			batch = append(batch, d)
		}
		for from := 0; from < len(batch); from += 500 {
			for i, o := range p.send(batch[from:min(from+500, len(batch))]...) {
				if !o.Ack || o.Duplicate {
					t.Fatalf("new message %d is %s", i, answer(o))
				}
			}
		}
	}
	one := func(what string, n int, want string) {
		t.Helper()
		p.expect(t, what, answer(p.send(all[n])[0]), want)
	}
	add(window)
	one("the oldest in the window", 0, "duplicate")
	one("the newest in the window", window-1, "duplicate")
	one("one in the middle", window/2, "duplicate")
	p.restart()
	one("the oldest in the window, after a restart", 0, "duplicate")
	add(1)
	one("the second oldest", 1, "duplicate")
	p.restart()
	p.wait(23 * time.Hour)
	one("23 hours later, after a restart", 10, "duplicate")
	one("23 hours later, the newest", window-1, "duplicate")
	p.wait(2 * time.Hour)
	one("25 hours later", window-1, "stored")
	add(window)
	before := p.g.Counters().PossibleDuplicates.Load()
	one("a window of messages and a day later", 5, "stored")
	if got := p.g.Counters().PossibleDuplicates.Load() - before; got != 1 && counted {
		t.Errorf("counted %d possible duplicates, want 1", got)
	}
}

// TestClockThatWasAhead: times ahead of the server's clock prove nothing, not
// even when the server's clock has reached them.
func TestClockThatWasAhead(t *testing.T) {
	p := newPlant(t)
	p.whole, p.shallow = 2000, 64
	p.restart()
	defer func() { p.g.Close() }()
	var all []delivery
	for i := range 300 {
		all = append(all, own(fmt.Sprintf("m-%d", i), -1, p.clock().Add(time.Hour).UnixMilli(), i))
		p.send(all[i])
		p.wait(100 * time.Millisecond)
	}
	p.restart()
	p.wait(time.Hour - time.Minute)
	p.expect(t, "an hour later", answers(p.send(all[0], all[299], all[150])), "duplicate, duplicate, duplicate")
}

// TestGoodClocksCostNoReads: a device whose messages come in the order of their
// times needs neither the whole window in memory nor the log, also after a restart.
func TestGoodClocksCostNoReads(t *testing.T) {
	p := newPlant(t)
	defer func() { p.g.Close() }()
	n := 0
	run := func(count int) {
		for range count / 100 {
			var batch []delivery
			for range 100 {
				batch = append(batch, own(fmt.Sprintf("m-%d", n), n, p.clock().UnixMilli(), n))
				n++
				p.wait(time.Second)
			}
			p.send(batch...)
		}
	}
	run(10_000)
	p.restart()
	run(10_000)
	if deep := p.g.Counters().Deep.Load(); deep != 0 {
		t.Errorf("the whole window was read %d times, want none", deep)
	}
	if got := len(p.stream(streamP)); got != n {
		t.Errorf("%d events of %d messages", got, n)
	}
}

func TestStatusAndRegistration(t *testing.T) {
	p := newPlant(t)
	defer func() { p.g.Close() }()
	status := func(text string) delivery {
		return delivery{topic: "acme/s/a/l/pump/P-1/status", client: "P-1", payload: text}
	}
	p.expect(t, "answers", answers(p.send(
		own("a", 1, 1000, 1), status(`{"online":true}`), status(`{"online":true}`),
		status(`{"online":false,"reason":"conn_lost"}`), status(`{"online":false}`), status(`{"online":true,"ts":5000}`), status(`{"up":1}`),
	)), "stored, stored, stored, stored, stored, stored, refused")
	p.restart()
	p.send(status(`{"online":true}`), own("b", 2, 2000, 2), sample(incA, 1, 1))
	got := p.stream("device-P-1")
	p.expect(t, "device-P-1", strings.Join(got, "; "), "device.registered; device.online; device.offline; device.online")
	if n := p.g.Counters().Registered.Load(); n != 0 {
		t.Errorf("registered %d devices again", n)
	}
	p.expect(t, "deadletter-P-1", strings.Join(p.stream("deadletter-P-1"), "; "), "deadlettered")
	// The device is in the log before what it measured.
	var order []string
	for rec, err := range p.log.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		order = append(order, rec.Type)
	}
	registered := slices.Index(order, "device.registered.v1")
	if measured := slices.Index(order, eventlog.TelemetryRecorded); registered < 0 || registered > measured {
		t.Errorf("registered at %d, measured at %d: %v", registered, measured, order)
	}
}

func TestDeadLetters(t *testing.T) {
	p := newPlant(t)
	defer func() { p.g.Close() }()
	long := strings.Repeat("x", 700<<10)
	for _, c := range []struct {
		d      delivery
		stream eventlog.StreamID
	}{
		{delivery{topic: pumpTopic, client: "c 1", payload: "\x00\xff"}, "deadletter-P-1"},
		{delivery{topic: "nowhere", client: "c 1", payload: "x"}, "deadletter-c%201"},
		{delivery{topic: "no\xff", client: "\xff", payload: ""}, "deadletter-%FF"},
		{delivery{topic: "nowhere", client: strings.Repeat("c", 60000), payload: long}, "deadletter-unknown"},
		{delivery{topic: "a/b/c/d/e/" + strings.Repeat("é", 100) + "/telemetry", client: "c", payload: `{"d":{"x":1}}`}, "deadletter-unknown"},
	} {
		before := len(p.stream(c.stream))
		out := p.send(c.d)[0]
		if got := p.stream(c.stream); len(got) != before+1 || got[before] != "deadlettered" || out.Refused == nil || out.Refused.Stream != c.stream || !out.Ack {
			t.Errorf("topic %.20q: %s (%+v), stream %v", c.d.topic, answer(out), out, got)
		}
	}
	// A gateway's message that is no JSON uses up its number if it can be found.
	p.send(started(incA, ""))
	torn := sample(incA, 2, 2)
	torn.payload = strings.TrimSuffix(torn.payload, "}")
	p.expect(t, "torn", answers(p.send(torn, sample(incA, 3, 3), torn)), "refused, stored, duplicate")
	big := sample(incA, 4, 4)
	big.payload = strings.Replace(big.payload, `"d"`, `"pad":"`+strings.Repeat("x", 800<<10)+`","d"`, 1)
	p.expect(t, "too large", answers(p.send(big, sample(incA, 5, 5), big)), "refused, stored, duplicate")
}
