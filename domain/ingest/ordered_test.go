package ingest_test

import (
	"strings"
	"testing"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// TestOrderedSource: given what a gateway's stream holds, when more comes, then
// what is answered and what the stream holds.
func TestOrderedSource(t *testing.T) {
	lines := func(s ...string) string { return strings.Join(s, "\n     ") }
	for _, c := range []struct {
		name   string
		given  []delivery
		when   []delivery
		then   string
		stream string
		of     eventlog.StreamID
	}{
		{
			name:   "an outbox begins with its start",
			when:   []delivery{started(incA, ""), sample(incA, 2, 20), sample(incA, 3, 30)},
			then:   "stored, stored, stored",
			stream: lines("source.started seq=1", "row 2 derived x=20", "row 3 derived x=30"),
		},
		{
			name:   "a repeat is acknowledged and not stored",
			given:  []delivery{started(incA, ""), sample(incA, 2, 20), sample(incA, 3, 30)},
			when:   []delivery{started(incA, ""), sample(incA, 2, 20), sample(incA, 3, 30), sample(incA, 4, 40)},
			then:   "duplicate, duplicate, duplicate, stored",
			stream: lines("source.started seq=1", "row 2 derived x=20", "row 3 derived x=30", "row 4 derived x=40"),
		},
		{
			name:   "a repeat within one batch too",
			when:   []delivery{started(incA, ""), sample(incA, 2, 20), sample(incA, 2, 20), started(incA, "")},
			then:   "stored, stored, duplicate, duplicate",
			stream: lines("source.started seq=1", "row 2 derived x=20"),
		},
		{
			name:   "one that is ahead is not taken, nor what follows it",
			given:  []delivery{started(incA, ""), sample(incA, 2, 20)},
			when:   []delivery{sample(incA, 4, 40), sample(incA, 5, 50), sample(incA, 3, 30), sample(incA, 4, 40)},
			then:   "expected 3, expected 3, stored, stored",
			stream: lines("source.started seq=1", "row 2 derived x=20", "row 3 derived x=30", "row 4 derived x=40"),
		},
		{
			name:   "a message that breaks its form uses up its number",
			given:  []delivery{started(incA, "")},
			when:   []delivery{broken(incA, 2), sample(incA, 3, 30), broken(incA, 2)},
			then:   "refused, stored, duplicate",
			stream: lines("source.started seq=1", "refused seq=2", "row 3 derived x=30"),
		},
		{
			name:   "one that can no longer be read is a repeat of what could be",
			given:  []delivery{started(incA, ""), sample(incA, 2, 20)},
			when:   []delivery{broken(incA, 2), sample(incA, 3, 30)},
			then:   "duplicate, stored",
			stream: lines("source.started seq=1", "row 2 derived x=20", "row 3 derived x=30"),
		},
		{
			name:   "a loss stands for all its numbers",
			given:  []delivery{started(incA, "")},
			when:   []delivery{lost(incA, 2, 90), sample(incA, 91, 1), lost(incA, 2, 90), sample(incA, 91, 1)},
			then:   "stored, stored, duplicate, duplicate",
			stream: lines("source.started seq=1", "lost from=2 to=90", "row 91 derived x=1"),
		},
		{
			name:   "of a loss that begins with what is there, the rest is stored",
			given:  []delivery{started(incA, ""), lost(incA, 2, 5)},
			when:   []delivery{lost(incA, 2, 5), lost(incA, 6, 9), sample(incA, 10, 1)},
			then:   "duplicate, stored, stored",
			stream: lines("source.started seq=1", "lost from=2 to=5", "lost from=6 to=9", "row 10 derived x=1"),
		},
		{
			name:   "the same number with other content is a copied box, recorded once and never acknowledged",
			given:  []delivery{started(incA, ""), sample(incA, 2, 20)},
			when:   []delivery{sample(incA, 2, 21), sample(incA, 2, 21), sample(incA, 3, 30), sample(incA, 2, 22)},
			then:   "not stored, not stored, stored, not stored",
			stream: lines("source.started seq=1", "row 2 derived x=20", "source.cloned seq=2", "row 3 derived x=30", "source.cloned seq=2"),
		},
		{
			name:   "a new box whose first message is no start has lost its outbox",
			given:  []delivery{started(incA, ""), sample(incA, 2, 20)},
			when:   []delivery{sample(incB, 1, 10), sample(incB, 2, 20)},
			then:   "stored, stored",
			stream: lines("gap previous=aaaaaaaaaaaaaaaa outbox lost", "row 1 derived x=10", "row 2 derived x=20"),
			of:     streamB,
		},
		{
			name:   "a replaced outbox is not a repeat: its numbers are its own",
			given:  []delivery{started(incA, ""), sample(incA, 2, 20), sample(incA, 3, 30)},
			when:   []delivery{started(incB, incA), sample(incB, 2, 20)},
			then:   "stored, stored",
			stream: lines("source.started seq=1 previous=aaaaaaaaaaaaaaaa", "gap previous=aaaaaaaaaaaaaaaa outbox lost", "row 2 derived x=20"),
			of:     streamB,
		},
		{
			name:   "a log that never met the gateway takes it from where it is",
			when:   []delivery{sample(incA, 500, 1), sample(incA, 501, 2), sample(incA, 499, 3)},
			then:   "stored, stored, refused",
			stream: lines("gap from=1 to=499 outbox lost", "row 500 derived x=1", "row 501 derived x=2"),
		},
		{
			name:   "on a new connection, what is ahead was answered once and is forgotten here",
			given:  []delivery{started(incA, "").on(1), sample(incA, 2, 20).on(1)},
			when:   []delivery{sample(incA, 9, 1).on(1), sample(incA, 9, 1).on(2), sample(incA, 11, 1).on(2), sample(incA, 10, 1).on(2)},
			then:   "expected 3, stored, expected 10, stored",
			stream: lines("source.started seq=1", "row 2 derived x=20", "gap from=3 to=8 forgotten", "row 9 derived x=1", "row 10 derived x=1"),
		},
	} {
		for _, restart := range []bool{false, true} {
			p := newPlant(t)
			p.send(c.given...)
			if restart {
				p.restart()
			}
			if restart && strings.Contains(c.name, "new connection") {
				p.g.Close()
				continue // a restarted server meets only new connections
			}
			p.expect(t, c.name+": answers", answers(p.send(c.when...)), c.then)
			of := c.of
			if of == "" {
				of = streamA
			}
			p.expect(t, c.name+": stream", lines(p.stream(of)...), c.stream)
			p.g.Close()
		}
	}
}

func (d delivery) on(connection uint64) delivery {
	d.connection = connection
	return d
}

// TestSourceStream: an ordered source's incarnations are listed.
func TestSourceStream(t *testing.T) {
	p := newPlant(t)
	p.send(started(incA, ""))
	p.send(started(incB, incA), started(incA, ""))
	p.restart()
	p.send(sample(incB, 2, 2), sample(incA, 2, 2))
	p.expect(t, "source-gw-1", strings.Join(p.stream("source-gw-1"), "; "),
		"source.opened incarnation=aaaaaaaaaaaaaaaa; source.opened incarnation=bbbbbbbbbbbbbbbb")
	p.g.Close()
}

// TestOldRepeats: repeats of any age are told from clones by what the log has.
func TestOldRepeats(t *testing.T) {
	const n = 6000
	p := newPlant(t)
	all := []delivery{started(incA, "")}
	for seq := 2; seq <= n; seq++ {
		switch {
		case seq%97 == 0:
			all = append(all, broken(incA, seq))
		case seq%101 == 0:
			all = append(all, lost(incA, seq, seq+3))
			seq += 3
		default:
			all = append(all, sample(incA, seq, seq))
		}
	}
	p.send(all...)
	before := len(p.stream(streamA))
	for _, restart := range []bool{false, true} {
		if restart {
			p.restart()
		}
		// All again, as a gateway that lost its place; then some at random places.
		again := append(append([]delivery(nil), all...), all[5], all[5000], all[70], all[4000], all[1])
		for i, o := range p.send(again...) {
			if !o.Duplicate {
				t.Fatalf("restart %v: repeat %d is %s (%v)", restart, i, answer(o), o.Err)
			}
		}
	}
	if after := len(p.stream(streamA)); after != before {
		t.Errorf("%d events after the repeats, %d before", after, before)
	}
	// 300 is a plain row, 97 a refused one, 102 inside a loss.
	got := answers(p.send(sample(incA, 300, -1), sample(incA, 97, 97), sample(incA, 102, 102)))
	p.expect(t, "other content", got, "not stored, not stored, not stored")
	p.g.Close()
}
