package oracle

// extreme is MINIMUM, MAXIMUM or RANGE of the good samples. What cannot be
// trusted makes it uncertain: a Bad sample, or a doubtful one beyond it.
func (a *aggregator) extreme(fn string, goods []point) result {
	pick := func(sign int) (best point, multi bool) {
		best = goods[0]
		for _, p := range goods[1:] {
			switch order := sign * exactly(p.v).Cmp(exactly(best.v)); {
			case order > 0:
				best, multi = p, false
			case order == 0:
				multi = true
			}
		}
		return best, multi
	}
	least, leastMulti := pick(-1)
	most, mostMulti := pick(1)
	distrust := len(a.of(2)) > 0 || a.TreatUncertainAsBad && len(a.of(1)) > 0
	lower, higher := distrust, distrust
	for _, p := range a.of(1) {
		lower = lower || exactly(p.v).Cmp(exactly(least.v)) < 0
		higher = higher || exactly(p.v).Cmp(exactly(most.v)) > 0
	}
	one := func(p point, multi, uncertain bool) result {
		info := calculated
		if p.t == a.start && !uncertain {
			info = 0 // raw
		}
		if multi {
			info |= multiBit
		}
		return result{p.v, a.status(uncertain, info)}
	}
	switch fn {
	case "MINIMUM":
		return one(least, leastMulti, lower)
	case "MAXIMUM":
		return one(most, mostMulti, higher)
	}
	return result{minus(most, least), a.status(lower || higher, calculated)}
}

// edge is the first or the last raw sample, whatever its quality.
func (a *aggregator) edge(fn string) result {
	in := a.in()
	if len(in) == 0 {
		return noData
	}
	p := in[0]
	if fn == "END" {
		p = in[len(in)-1]
	}
	if a.partial() {
		p.code |= partialBit
	}
	return result{p.v, p.code}
}

// worst is the first code of the worst severity.
func (a *aggregator) worst() result {
	in := a.in()
	if len(in) == 0 {
		return noData
	}
	code, info := in[0].code, calculated
	for _, p := range in[1:] {
		switch {
		case severity(p.code) > severity(code):
			code, info = p.code, calculated
		case severity(p.code) == severity(code) && p.code != code:
			info |= multiBit
		}
	}
	return result{int64(code), a.status(false, info)}
}

// duration is how long the interval was good or bad: each sample counts until
// the next, the last of all for a millisecond.
func (a *aggregator) duration(fn string) result {
	in := a.in()
	previous, earlier := a.before(a.start, anyPoint)
	_, later := a.after(a.end, anyPoint)
	if len(in) == 0 && (!earlier || !later) {
		return noData
	}
	end := a.end
	if !later {
		end = min(end, in[len(in)-1].t+1e6)
	}
	head := 2
	if earlier {
		head = severity(previous.code)
	}
	var nanos [3]int64
	at := a.start
	for _, p := range in {
		nanos[head] += p.t - at
		head, at = severity(p.code), p.t
	}
	nanos[head] += end - at
	goods, bads := nanos[0], nanos[2]
	if a.TreatUncertainAsBad {
		bads += nanos[1]
	} else {
		goods += nanos[1]
	}
	length := float64(end - a.start)
	var v float64
	switch fn {
	case "DURATION_GOOD":
		v = float64(goods) / 1e6
	case "DURATION_BAD":
		v = float64(bads) / 1e6
	case "PERCENT_GOOD":
		v = share(goods, length)
	default:
		v = share(bads, length)
	}
	return result{v, a.status(false, calculated)}
}

func share(part int64, of float64) float64 {
	if of <= 0 {
		return 0
	}
	return float64(float64(part)*100) / of
}
