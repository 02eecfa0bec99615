package wire

import (
	"strconv"

	"github.com/twinlog/twinlog/domain/telemetry"
)

// scan reads the usual shape; raw are the bytes of text. It returns false for
// everything that it does not know, right or wrong: parse then decides.
func (f *fields) scan(text string, raw []byte) bool {
	p := scanner{s: text, b: raw}
	if !p.sign('{') {
		return false
	}
	for first := true; ; first = false {
		key, ok := p.key()
		if !ok {
			return false
		}
		if first && key == "v" {
			return f.scanShort(&p)
		}
		if !f.scanMember(&p, key) {
			return false
		}
		if !p.sign(',') {
			return p.sign('}') && p.end()
		}
	}
}

func (f *fields) scanMember(p *scanner, key string) bool {
	switch key {
	case "schema_version":
		return f.once(hasSchema) && p.text(&f.schema)
	case "msg_id":
		return f.once(hasMsgID) && p.text(&f.msgID)
	case "device_id":
		return f.once(hasDevice) && p.text(&f.device)
	case "device_type":
		return f.once(hasDeviceType) && p.text(&f.deviceType)
	case "ts":
		return f.once(hasTS) && p.number(&f.ts)
	case "seq":
		return f.once(hasSeq) && p.number(&f.seq)
	case "d":
		return f.once(hasD) && f.scanSamples(p)
	case "meta":
		return f.once(hasMeta) && f.scanMeta(p)
	default:
		return false
	}
}

func (f *fields) once(m member) bool {
	before := f.has
	f.has |= m
	return before&m == 0
}

func (f *fields) scanMeta(p *scanner) bool {
	if !p.sign('{') {
		return false
	}
	if p.sign('}') {
		return true
	}
	for {
		key, ok := p.key()
		if !ok {
			return false
		}
		switch key {
		case "fw_version":
			ok = f.once(hasFirmware) && p.text(&f.firmware)
		case "gw_id":
			ok = f.once(hasGateway) && p.text(&f.gateway)
		case "inc":
			ok = f.once(hasIncarnation) && p.text(&f.incarnation)
		case "source_ts":
			ok = f.once(hasSourceTS) && p.number(&f.sourceTS)
		case "edge_latency_ms":
			ok = f.once(hasLatency) && p.number(&f.latency)
		case "q":
			ok = f.once(hasScheme) && p.text(&f.scheme)
		default:
			return false
		}
		if !ok {
			return false
		}
		if !p.sign(',') {
			return p.sign('}')
		}
	}
}

func (f *fields) scanSamples(p *scanner) bool {
	if !p.sign('{') {
		return false
	}
	if p.sign('}') {
		return true
	}
	for {
		if !f.scanUsual(p) {
			key, ok := p.key()
			if !ok || !f.scanSample(p, key) {
				return false
			}
		}
		if !p.sign(',') {
			return p.sign('}')
		}
	}
}

// scanShort reads the short form behind its first key, "v".
func (f *fields) scanShort(p *scanner) bool {
	f.short = true
	if !f.once(hasSchema) || !p.text(&f.schema) {
		return false
	}
	for p.sign(',') {
		key, ok := p.key()
		if !ok {
			return false
		}
		switch key {
		case "id":
			ok = f.once(hasDevice) && p.text(&f.device)
		case "t":
			ok = f.once(hasTS) && p.number(&f.ts)
		case "v", "d", "event":
			return false
		default:
			ok = f.scanSample(p, key)
		}
		if !ok {
			return false
		}
	}
	return p.sign('}') && p.end()
}

// scanSample reads what stands behind a signal's name.
func (f *fields) scanSample(p *scanner, signal string) bool {
	f.samples = append(f.samples, telemetry.Sample{Signal: signal})
	s := &f.samples[len(f.samples)-1]
	if !p.sign('{') {
		_, ok := p.value(&s.Value)
		return ok
	}
	from := p.i
	if p.word(`"v":`) && p.simple(s) {
		return true
	}
	p.i = from
	return p.sampleObject(s)
}

// simple reads what nearly all samples are, from the value on.
func (p *scanner) simple(s *telemetry.Sample) bool {
	if _, ok := p.value(&s.Value); !ok || !p.word(`,"q":`) || !p.quality(&s.Quality.Raw) {
		return false
	}
	s.Quality.Scheme = byMessage
	return p.sign('}')
}

// sampleObject reads the members of a sample in any order.
func (p *scanner) sampleObject(s *telemetry.Sample) bool {
	*s = telemetry.Sample{Signal: s.Signal}
	hasV, hasQ, asInt := false, false, false
	text := ""
	for {
		key, ok := p.key()
		if !ok {
			return false
		}
		switch {
		case key == "v" && !hasV:
			text, ok = p.value(&s.Value)
			hasV = true
		case key == "q" && !hasQ:
			ok = p.quality(&s.Quality.Raw)
			s.Quality.Scheme = byMessage
			hasQ = true
		case key == "k" && !asInt:
			var kind string
			asInt = true
			ok = p.text(&kind) && kind == kindInt64
		default:
			return false
		}
		if !ok {
			return false
		}
		if !p.sign(',') {
			break
		}
	}
	if asInt {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || text == "-0" {
			return false
		}
		s.Value = telemetry.IntValue(n)
	}
	return hasV && p.sign('}')
}
