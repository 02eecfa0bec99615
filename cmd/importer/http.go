package importer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// header must be on every request: a page of another origin can't send it
// without asking first, and nobody answers it.
const header = "X-Twinlog-Import"

// said is one line of the answer: a fault, progress, or how it ended.
type said struct {
	Fault    *Fault    `json:"fault,omitempty"`
	Progress *Progress `json:"progress,omitempty"`
	Done     *Progress `json:"done,omitempty"`
	Error    string    `json:"error,omitempty"`
}

// Who returns the actor for an operator's name, "" for nobody.
type Who func(ctx context.Context, operator string) (eventlog.Actor, error)

// Handler takes imports by POST: the file is the body, ?what=assets or samples
// and ?options= hold the rest, and the answer is NDJSON that tells of progress
// while the body is read. It lets a running server, which alone may write its
// log, import.
func Handler(log eventlog.Log, who Who) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var o Options
		switch {
		case r.Method != http.MethodPost:
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "expected POST", http.StatusMethodNotAllowed)
			return
		case r.Header.Get(header) == "":
			http.Error(w, "expected the header "+header+": 1", http.StatusForbidden)
			return
		}
		if err := json.Unmarshal([]byte(r.URL.Query().Get("options")), &o); err != nil {
			http.Error(w, "options: "+err.Error(), http.StatusBadRequest)
			return
		}
		actor, err := who(r.Context(), o.Operator)
		if err != nil {
			http.Error(w, "operator: "+err.Error(), http.StatusBadRequest)
			return
		}
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex() // else HTTP/1.1 reads the whole body before the first line of the answer
		w.Header().Set("Content-Type", "application/x-ndjson")
		out := json.NewEncoder(w)
		hooks := Hooks{
			Progress: func(p Progress) { _ = out.Encode(said{Progress: &p}); _ = rc.Flush() },
			Fault:    func(f Fault) { _ = out.Encode(said{Fault: &f}) },
		}
		done, err := Here(r.Context(), r.URL.Query().Get("what"), Log{log, actor}, r.Body, o, hooks)
		last := said{Done: &done}
		if err != nil {
			last.Error = err.Error()
		}
		_ = out.Encode(last)
	})
}

// What can be imported.
const (
	WhatAssets  = "assets"
	WhatSamples = "samples"
)

// Here imports into a log that this process has open.
func Here(ctx context.Context, what string, log Log, file io.Reader, o Options, hooks Hooks) (Progress, error) {
	switch what {
	case WhatAssets:
		return Assets(ctx, log, file, o, time.Now().UTC().Truncate(time.Second), hooks)
	case WhatSamples:
		return Samples(ctx, log, file, o, hooks)
	}
	return Progress{}, fmt.Errorf("import %q, expected %s or %s: %w", what, WhatAssets, WhatSamples, ErrBadOptions)
}

// ErrServer is returned when a server did not do what it was asked.
var ErrServer = errors.New("server did not import")

// There imports through a running server, http://host:port.
func There(ctx context.Context, server, what string, file io.Reader, o Options, hooks Hooks) (Progress, error) {
	options, err := json.Marshal(o)
	if err != nil {
		return Progress{}, err
	}
	query := url.Values{"what": {what}, "options": {string(options)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(server, "/")+"/import?"+query.Encode(), file)
	if err != nil {
		return Progress{}, err
	}
	req.Header.Set(header, "1")
	req.Header.Set("Expect", "100-continue") // a refusal comes before the file goes
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return Progress{}, err
	}
	defer resp.Body.Close() //nolint:errcheck // it has been read
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return Progress{}, fmt.Errorf("%w: %s: %s", ErrServer, resp.Status, strings.TrimSpace(string(text)))
	}
	for dec := json.NewDecoder(resp.Body); ; {
		var s said
		if err := dec.Decode(&s); err != nil {
			return Progress{}, fmt.Errorf("%w: the answer broke off: %w", ErrServer, err)
		}
		switch {
		case s.Fault != nil && hooks.Fault != nil:
			hooks.Fault(*s.Fault)
		case s.Progress != nil && hooks.Progress != nil:
			hooks.Progress(*s.Progress)
		case s.Done != nil && s.Error != "":
			return *s.Done, fmt.Errorf("%w: %s", ErrServer, s.Error)
		case s.Done != nil:
			return *s.Done, nil
		}
	}
}
