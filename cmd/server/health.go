package server

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/projections"
)

// healthy answers /healthz: is this process worth keeping? It is until the log
// has stopped, which nothing but a restart can mend.
func (s *Server) healthy(w http.ResponseWriter, _ *http.Request) {
	if err := s.stopped.Load(); err != nil {
		http.Error(w, "log stopped: "+(*err).Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}

// readyLag is how many positions a projection may be behind and still be
// called caught up: a second of a mid-size plant.
const readyLag = 1000

// ready answers /readyz: are answers up to date? It names what is behind.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	type view struct {
		Name    string `json:"name"`
		Version int    `json:"version"`
		Lag     uint64 `json:"lag"` // positions behind the log's end
	}
	answer := struct {
		Ready   bool     `json:"ready"`
		Reasons []string `json:"reasons,omitempty"` // what is not as it should be
		Views   []view   `json:"projections"`
	}{Ready: s.stopped.Load() == nil}
	if err := s.stopped.Load(); err != nil {
		answer.Reasons = append(answer.Reasons, "log stopped: "+(*err).Error())
	}
	if err := s.sealError(); err != nil { // answers are up to date all the same
		answer.Reasons = append(answer.Reasons, "log does not seal: "+err.Error())
	}
	for _, p := range s.runner.Status() {
		if !caughtUp(p) {
			answer.Ready = false
			answer.Reasons = append(answer.Reasons, fmt.Sprintf("%s is %d positions behind", p.Name, p.Lag))
		}
		answer.Views = append(answer.Views, view{p.Name, p.Version, p.Lag})
	}
	w.Header().Set("Content-Type", "application/json")
	if !answer.Ready {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// sealError is why the log does not seal telemetry, nil if it does or has none of its own.
func (s *Server) sealError() error {
	if l, ok := s.log.(*badgerlog.Log); ok {
		return l.SealError()
	}
	return nil
}

func caughtUp(p projections.Status) bool { return p.Lag <= readyLag }
