// Package timetravel holds the server to what package oracle answers: random
// histories are told to a real server, over its real API, and hundreds of
// questions about each are asked of both.
package timetravel

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/twinlog/twinlog/test/budget"
	"github.com/twinlog/twinlog/test/oracle"
)

// questions is how many are asked of a history, beside those on its way.
const questions = 300

// TestHistories tells random histories, with the server killed and started
// again in between, and asks about every kind of thing at random moments.
func TestHistories(t *testing.T) {
	seed, until := budget.Seed(t), time.Now().Add(budget.For(t))
	histories, asked, facts := 0, 0, map[string]int{}
	began := time.Now()
	for n := uint64(0); time.Now().Before(until) && !t.Failed(); n++ {
		setFlag(t, "rapid.checks", "5")
		setFlag(t, "rapid.seed", fmt.Sprint(seed%(1<<32)+n))
		setFlag(t, "rapid.nofailfile", "true")
		rapid.Check(t, func(r *rapid.T) {
			histories++
			n, err := tellOne(r, facts)
			if asked += n; err != nil {
				r.Fatal(err)
			}
		})
	}
	t.Logf("%d histories, %d questions in %v (seed %d); told: %v", histories, asked, time.Since(began).Round(time.Second), seed, facts)
	for _, typ := range typed {
		if facts[typ] == 0 && histories > 1000 {
			t.Errorf("%d histories never told %s", histories, typ)
		}
	}
}

func setFlag(t *testing.T, name, value string) {
	t.Helper()
	if err := flag.Set(name, value); err != nil {
		t.Fatal(err)
	}
}

// tellOne tells one history, counts its facts by type, and returns how many
// questions it asked and what was wrong.
func tellOne(r *rapid.T, facts map[string]int) (asked int, wrong error) {
	acts := rapid.IntRange(1, 60).Draw(r, "acts")
	s, err := newStory()
	if err != nil {
		return 0, err
	}
	p := &player{story: s, T: r}
	defer p.close()
	defer func() {
		switch end := recover().(type) {
		case nil:
		case broken:
			wrong = end.error
		default:
			panic(end)
		}
	}()
	p.must(p.ground())
	ask := func(n int) {
		p.must(p.lookUp())
		p.must(p.wait())
		a := newAsker(rapid.Uint64().Draw(r, "questions"), s)
		var list []oracle.Question
		for range n {
			list = append(list, a.question())
		}
		p.must(p.check(list))
		asked += n
	}
	for i := range acts {
		if p.act(); i%20 == 19 {
			ask(20) // also on the way, so that what is asked has no effect
		}
	}
	ask(questions)
	for _, e := range s.world.Entries {
		facts[e.Type]++
	}
	return asked, nil
}
