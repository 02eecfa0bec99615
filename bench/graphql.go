package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// api asks a server's /graphql.
type api struct{ addr string }

var errAnswer = errors.New("unexpected answer")

// ask returns data of an answer, the time from request to last byte, and fails
// on any error in it.
func (a api) ask(ctx context.Context, query string, vars map[string]any) (json.RawMessage, time.Duration, error) {
	body, err := json.Marshal(map[string]any{"query": query, "variables": vars})
	if err != nil {
		return nil, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+a.addr+"/graphql", bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Twinlog-Operator", "bench")
	began := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // it has been read
	text, err := io.ReadAll(resp.Body)
	took := time.Since(began)
	if err != nil {
		return nil, 0, err
	}
	var answer struct {
		Data   json.RawMessage `json:"data"`
		Errors json.RawMessage `json:"errors"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, 0, fmt.Errorf("%w: %d %.200s", errAnswer, resp.StatusCode, text)
	}
	if answer.Errors != nil {
		return nil, 0, fmt.Errorf("%w: %.400s", errAnswer, answer.Errors)
	}
	return answer.Data, took, nil
}

// lag returns the largest projection lag in positions, and how many messages
// have been recorded, from /metrics.
func (a api) lag(ctx context.Context) (lag, recorded float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.addr+"/metrics", nil)
	if err != nil {
		return 0, 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // it has been read
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		var v float64
		if _, err := fmt.Sscan(value, &v); err != nil {
			continue
		}
		switch {
		case strings.HasPrefix(name, "twinlog_projection_lag{"):
			lag = max(lag, v)
		case name == "twinlog_ingest_recorded_total":
			recorded = v
		}
	}
	return lag, recorded, nil
}
