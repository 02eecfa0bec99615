package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
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

// metrics returns the values of /metrics by name; of names with labels, the
// largest.
func (a api) metrics(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.addr+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // it has been read
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, _, _ = strings.Cut(name, "{")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			all[name] = max(all[name], v)
		}
	}
	return all, nil
}

// What the benchmarks read of /metrics.
const (
	metricLag      = "twinlog_projection_lag"
	metricRecorded = "twinlog_ingest_recorded_total"
	metricSlow     = "twinlog_graphql_slow_consumers_total"
)
