package eventlog

import (
	"bytes"
	"time"
)

// SplitEnvelope takes an envelope apart into what a log had been given and the
// stamp that it had put in, so that a copy is stored as the original was. Where
// the two would not give the same bytes back, or the stamp is not of recorded,
// the envelope stays whole (Fixed) and the stamp is empty.
func SplitEnvelope(raw []byte, recorded time.Time) (Stencil, Stamp) {
	var stamp Stamp
	s := Stencil{Text: append(make([]byte, 0, len(raw)), '{'), Clk: -1, Rec: -1}
	for at := 1; at < len(raw); {
		end := memberEnd(raw, at)
		m := raw[at:end]
		name, _, ok := bytes.Cut(m[min(1, len(m)):], []byte{'"'})
		if !ok {
			break
		}
		if s.Clk < 0 && string(name) >= "clk" { // members are sorted
			s.Clk = len(s.Text)
		}
		if s.Rec < 0 && string(name) >= "rec" {
			s.Rec = len(s.Text)
		}
		switch string(name) {
		case "clk":
			stamp.Clk = m
		case "rec":
			stamp.Rec = m
		default:
			if len(s.Text) > 1 {
				s.Text = append(s.Text, ',')
			}
			s.Text = append(s.Text, m...)
		}
		at = end + 1
	}
	s.Text = append(s.Text, '}')
	if s.Rec < 0 || !bytes.Equal(NewStamp(recorded, ClockState{}).Rec, stamp.Rec) || !bytes.Equal(s.Append(nil, stamp), raw) {
		return Fixed(raw), Stamp{}
	}
	return s, stamp
}

// memberEnd returns where the member that starts at from ends: at the comma or
// bracket behind it.
func memberEnd(text []byte, from int) int {
	depth, quoted := 0, false
	for i := from; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case depth == 0 && (c == ',' || c == '}' || c == ']'):
			return i
		case c == '}' || c == ']':
			depth--
		}
	}
	return len(text)
}
