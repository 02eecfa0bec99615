package acquire

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twinlog/twinlog/domain/quality"
)

// A State is how a source is.
type State uint8

// The states of a source.
const (
	Idle       State = iota // not started
	Connecting              // a session is being opened
	Online                  // a session stands and every item of the last scan had a value
	Degraded                // a session stands and some items, or all, are Bad
	Waiting                 // there is no session; the next attempt has its time
	Stopped                 // the gateway has ended it
)

var stateNames = [...]string{"idle", "connecting", "online", "degraded", "waiting", "stopped"}

// String returns the state in lower case.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// MarshalText writes the state as String does.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Health is the state of one source, with the reason in words.
type Health struct {
	State    State     `json:"state"`
	Since    time.Time `json:"since"`    // when it became State
	Reason   string    `json:"reason"`   // "" for Online and Idle
	Failures int       `json:"failures"` // attempts in a row without a session
	Next     time.Time `json:"next"`     // Waiting: when the next attempt is made
	Heard    time.Time `json:"heard"`    // the last time that a session was known to stand
}

// Vitals keeps the health of one source. Its zero value is ready: an Idle
// source. It is written by the source's own goroutine and read by any.
type Vitals struct {
	mu    sync.Mutex // guards what follows; nothing is called with it but the logger
	now   Health
	log   *slog.Logger
	items map[int]quality.Code // what is Bad, of the items heard
}

// Health returns the present state.
func (v *Vitals) Health() Health {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.now
}

// become notes a state. A reason that changes in the same state does not
// restart Since.
func (v *Vitals) become(state State, reason string) {
	if v.now.State == state && v.now.Reason == reason {
		return
	}
	if v.now.State != state {
		v.now.Since = time.Now().UTC()
		level := slog.LevelInfo
		if state == Degraded || state == Waiting {
			level = slog.LevelWarn
		}
		if v.log != nil {
			v.log.LogAttrs(context.Background(), level, "source changed", slog.String("is", state.String()), slog.String("was", v.now.State.String()), slog.String("reason", reason))
		}
	}
	v.now.State, v.now.Reason = state, reason
}

func (v *Vitals) begin(log *slog.Logger) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.log, v.items, v.now.Failures = log, map[int]quality.Code{}, 0
}

// connecting: an attempt to open a session begins.
func (v *Vitals) connecting() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now.Next = time.Time{}
	if v.now.State != Waiting { // what was wrong is worth more until it is right
		v.become(Connecting, "")
	}
}

// heard: the session stands and brought readings.
func (v *Vitals) heard(readings []Reading, of int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now.Failures, v.now.Next, v.now.Heard = 0, time.Time{}, time.Now().UTC()
	for _, r := range readings {
		switch {
		case r.Cause == Historic:
		case r.Quality.Code.Status() == quality.IsBad:
			v.items[r.Item] = r.Quality.Code
		default:
			delete(v.items, r.Item)
		}
	}
	if len(v.items) == 0 {
		v.become(Online, "")
		return
	}
	v.become(Degraded, v.complaint(of))
}

// complaint names the most frequent code of what is Bad: "3 of 40 items are
// Bad, 2 of them BadConfigurationError".
func (v *Vitals) complaint(of int) string {
	counts := map[quality.Code]int{}
	var most quality.Code
	for _, code := range v.items {
		code = code.Base()
		counts[code]++
		if n := counts[code]; n > counts[most] || n == counts[most] && code < most {
			most = code
		}
	}
	verb := "items are"
	if of == 1 {
		verb = "item is"
	}
	return fmt.Sprintf("%d of %d %s Bad, %d of them %s", len(v.items), of, verb, counts[most], most.Name())
}

// lost: there is no session, because of err; the next attempt comes after wait.
func (v *Vitals) lost(err error, failures int, wait time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now.Failures, v.now.Next = failures, time.Now().Add(wait).UTC()
	v.become(Waiting, err.Error())
}

// stopped: ctx has ended, or the pipeline has failed.
func (v *Vitals) stopped(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now.Next = time.Time{}
	v.become(Stopped, err.Error())
}
