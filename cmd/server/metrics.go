package server

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
)

// metrics returns the registry behind /metrics: everything is read when it is
// asked for, so counting costs the hot paths nothing more.
func (s *Server) metrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), lag{s})
	counter := func(name, help string, value func() uint64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value()) }))
	}
	gauge := func(name, help string, value func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	in := s.ingester.Counters()
	for _, c := range []struct {
		name, help string
		value      *atomic.Uint64
	}{
		{"twinlog_ingest_messages_total", "Messages submitted.", &in.Messages},
		{"twinlog_ingest_bytes_total", "Bytes of their payloads.", &in.Bytes},
		{"twinlog_ingest_recorded_total", "Telemetry messages stored.", &in.Recorded},
		{"twinlog_ingest_samples_total", "Samples stored.", &in.Samples},
		{"twinlog_ingest_duplicates_total", "Messages acknowledged and not stored again.", &in.Duplicates},
		{"twinlog_ingest_possible_duplicates_total", "Messages stored that are older than what is remembered of their source.", &in.PossibleDuplicates},
		{"twinlog_ingest_gaps_total", "Gaps found in the numbers of sources.", &in.Gaps},
		{"twinlog_ingest_lost_total", "Messages that sources said they dropped.", &in.Lost},
		{"twinlog_ingest_refused_total", "Messages stored as refused.", &in.Refused},
		{"twinlog_ingest_dead_letters_total", "Messages that nothing could read.", &in.DeadLetters},
		{"twinlog_ingest_cloned_total", "Deliveries that say something else under a known number.", &in.Cloned},
		{"twinlog_ingest_ahead_total", "Messages not acknowledged because one before them is missing.", &in.Ahead},
		{"twinlog_ingest_retries_total", "Appends tried again because the log could not take them.", &in.Retries},
	} {
		counter(c.name, c.help, c.value.Load)
	}
	gauge("twinlog_ingest_sources", "Sources remembered right now.", func() float64 { return float64(s.ingester.Sources()) })
	if l, ok := s.log.(*badgerlog.Log); ok {
		counter("twinlog_log_commits_total", "Group commits of the log, each with one sync.", func() uint64 { return l.Counters().Commits })
		counter("twinlog_log_block_bytes_total", "Bytes of blocks written to the log.", func() uint64 { return l.Counters().Bytes })
		counter("twinlog_log_sealed_rows_total", "Telemetry rows sealed into columns.", func() uint64 { return l.Counters().SealedRows })
		counter("twinlog_log_sealed_bytes_total", "Bytes of sealed windows written.", func() uint64 { return l.Counters().SealedBytes })
		gauge("twinlog_log_unsealed_windows", "Full windows of telemetry that wait to be sealed.", func() float64 { return float64(l.UnsealedWindows()) })
		gauge("twinlog_log_sealing_fails", "1 while sealing fails; /readyz says why.", func() float64 {
			if l.SealError() != nil {
				return 1
			}
			return 0
		})
		counter("twinlog_log_telemetry_blocks_read_total", "Telemetry blocks read.", func() uint64 { return l.Counters().TelemetryBlocks })
		counter("twinlog_log_other_blocks_read_total", "Other blocks read.", func() uint64 { return l.Counters().OtherBlocks })
	}
	g := s.graph.Counters()
	counter("twinlog_graphql_requests_total", "GraphQL operations.", func() uint64 { return uint64(g.Requests.Load()) })
	counter("twinlog_graphql_slow_consumers_total", "Subscribers closed because they did not read.", func() uint64 { return uint64(g.SlowConsumers.Load()) })
	counter("twinlog_graphql_internal_errors_total", "Errors that nobody foresaw.", func() uint64 { return uint64(g.Internal.Load()) })
	gauge("twinlog_graphql_sockets", "WebSockets open.", func() float64 { return float64(g.Sockets.Load()) })
	gauge("twinlog_graphql_subscriptions", "Subscriptions open.", func() float64 { return float64(g.Subscriptions.Load()) })
	return r
}

// lag collects how far each projection is behind.
type lag struct{ s *Server }

var (
	lagDesc      = prometheus.NewDesc("twinlog_projection_lag", "Positions between a projection and the log's end.", []string{"projection"}, nil)
	positionDesc = prometheus.NewDesc("twinlog_projection_position", "Position up to which a projection has folded.", []string{"projection"}, nil)
)

// Describe implements prometheus.Collector.
func (lag) Describe(ch chan<- *prometheus.Desc) { ch <- lagDesc; ch <- positionDesc }

// Collect implements prometheus.Collector.
func (l lag) Collect(ch chan<- prometheus.Metric) {
	for _, p := range l.s.runner.Status() {
		ch <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, float64(p.Lag), p.Name)
		ch <- prometheus.MustNewConstMetric(positionDesc, prometheus.GaugeValue, float64(p.Position), p.Name)
	}
}
