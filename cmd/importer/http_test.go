package importer

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// serving returns a server that imports into a new log.
func serving(t *testing.T) (string, eventlog.Log) {
	t.Helper()
	log := memlog.New("o", time.Now)
	who := func(_ context.Context, operator string) (eventlog.Actor, error) {
		if operator == "nobody" {
			return eventlog.Actor{}, errors.New("nobody is not a name")
		}
		return eventlog.Actor{Subject: "s-" + operator, Kind: eventlog.Human}, nil
	}
	s := httptest.NewServer(Handler(log, who))
	t.Cleanup(s.Close)
	return s.URL, log
}

// TestProgressWhileReading sends half a file, and the other half only when the
// server has spoken of the first.
func TestProgressWhileReading(t *testing.T) {
	url, log := serving(t)
	body, pen := io.Pipe()
	spoke := make(chan Progress, 100)
	go func() {
		_, _ = io.WriteString(pen, "time,a\n"+strings.Repeat("2026-01-01 00:00:00,1\n", 2000)+"yesterday,1\n")
		time.Sleep(2 * progressEvery) // a row later it is time to speak again
		_, _ = io.WriteString(pen, strings.Repeat("2026-01-01 00:00:00,1\n", 2000))
		select {
		case <-spoke:
			_, _ = io.WriteString(pen, "2026-01-01 00:00:01,2\n")
			_ = pen.Close()
		case <-time.After(10 * time.Second):
			_ = pen.CloseWithError(errors.New("no word of progress while the file was read"))
		}
	}()
	var faults []Fault
	done, err := There(t.Context(), url+"/", WhatSamples, body, Options{Name: "x", Format: "csv", Device: "P", Operator: "ada"}, Hooks{
		Fault: func(f Fault) { faults = append(faults, f) }, Progress: func(p Progress) { spoke <- p },
	})
	if err != nil || done.Rows != 4002 || done.Stored != 2 || done.Known != 3999 || len(faults) != 1 || faults[0].Line != 2002 {
		t.Errorf("%+v, %v, %v", done, err, faults)
	}
	for rec, err := range log.Read(t.Context(), stream("P"), 0, eventlog.Forwards) {
		if err != nil {
			t.Fatal(err)
		}
		if e, err := rec.Envelope(); err != nil || e.Actor.Subject != "s-ada" {
			t.Errorf("%+v, %v", e.Actor, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	url, log := serving(t)
	ask := func(method, query string, headers ...string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, url+"/import?"+query, strings.NewReader("time,a\n2026-01-01 00:00:00,1\n"))
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range headers {
			req.Header.Set(h, "1")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text)
	}
	const fine = "what=samples&options=%7B%22format%22%3A%22csv%22%2C%22device%22%3A%22P%22%7D"
	if code, text := ask("POST", fine); code != http.StatusForbidden || !strings.Contains(text, header) {
		t.Errorf("without the header: %d %s", code, text)
	}
	if code, _ := ask("GET", fine, header); code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", code)
	}
	if code, text := ask("POST", "what=samples&options=no", header); code != http.StatusBadRequest || !strings.Contains(text, "options") {
		t.Errorf("options: %d %s", code, text)
	}
	if _, err := There(t.Context(), url, WhatSamples, strings.NewReader("time"), Options{Operator: "nobody"}, Hooks{}); !errors.Is(err, ErrServer) || !strings.Contains(err.Error(), "not a name") {
		t.Errorf("operator: %v", err)
	}
	if _, err := There(t.Context(), url, "tea", strings.NewReader("time"), Options{}, Hooks{}); !errors.Is(err, ErrServer) || !strings.Contains(err.Error(), "assets or samples") {
		t.Errorf("what: %v", err)
	}
	if head, _, _ := log.Head(t.Context()); head != 0 {
		t.Fatalf("something was stored, up to %d", head)
	}
	if code, text := ask("POST", fine, header); code != http.StatusOK || !strings.Contains(text, `"stored":1`) {
		t.Errorf("what is allowed: %d %s", code, text)
	}
}

// TestBrokenOff ends the connection in the middle of a row: the half is no row,
// and the same file again goes on from what was stored.
func TestBrokenOff(t *testing.T) {
	log, ended := memlog.New("o", time.Now), make(chan struct{}, 2)
	handler := Handler(log, func(context.Context, string) (eventlog.Actor, error) { return eventlog.Actor{}, nil })
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r)
		ended <- struct{}{}
	}))
	defer s.Close()
	url := s.URL
	o := Options{Name: "x", Format: "csv", Device: "P"}
	body, pen := io.Pipe()
	go func() {
		_, _ = io.WriteString(pen, "time,a\n"+strings.Repeat("2026-01-01 00:00:00,1\n", 5000)+"2026-01-01 00:00:01,2")
		time.Sleep(100 * time.Millisecond)
		_ = pen.CloseWithError(errBroken)
	}()
	if done, err := There(t.Context(), url, WhatSamples, body, o, Hooks{}); err == nil {
		t.Fatalf("%+v and no error", done)
	}
	<-ended
	whole := strings.NewReader("time,a\n" + strings.Repeat("2026-01-01 00:00:00,1\n", 5000) + "2026-01-01 00:00:01,25\n")
	done, err := There(t.Context(), url, WhatSamples, whole, o, Hooks{})
	if err != nil || done.Stored+done.Known != 5001 {
		t.Errorf("%+v, %v", done, err)
	}
	want := "2026-01-01T00:00:00Z P a=1/Good\n2026-01-01T00:00:01Z P a=25/Good\n"
	if got := rows(t, log); got != want {
		t.Errorf("got %swant %s", got, want)
	}
}

// TestServerGone answers half an answer.
func TestServerGone(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"progress":{"rows":1}}`+"\n"+`{"do`)
	}))
	defer s.Close()
	if _, err := There(t.Context(), s.URL, WhatSamples, strings.NewReader("x"), Options{}, Hooks{}); !errors.Is(err, ErrServer) || !strings.Contains(err.Error(), "broke off") {
		t.Errorf("got %v", err)
	}
}
