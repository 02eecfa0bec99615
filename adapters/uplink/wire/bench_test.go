package wire

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/twinlog/twinlog/domain/ingest"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// tenSamples is the message of the benchmarks: 10 samples with quality, about
// 400 bytes, of which 304 are the samples.
func tenSamples() []byte {
	var b strings.Builder
	b.WriteString(`{"schema_version":"2.1","msg_id":"01HSB2X5T3QJ8Z9W7V6R4N2M1K","device_id":"P-007","device_type":"pump","ts":1710844800123,"seq":48291,"d":{`)
	for i := range 10 {
		fmt.Fprintf(&b, `"signal_%02d":{"v":%d.%d,"q":192},`, i, 20+7*i, i)
	}
	return []byte(strings.TrimSuffix(b.String(), ",") + `},"meta":{"fw_version":"2.3.1","source_ts":1710844799980}}`)
}

func BenchmarkRead(b *testing.B) {
	payload := tenSamples()
	read := NewReader(Config{})
	m := ingest.Message{Topic: pumpTopic, Payload: payload, Arrived: arrived}
	var u ingest.Uplink
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		u.Reset()
		if err := read(&m, &u); err != nil || len(u.Row.Samples) != 10 {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10, "ns/sample")
}

// BenchmarkEncodingJSON is the yardstick: the usual structs, without any of the
// meaning that the reader adds.
func BenchmarkEncodingJSON(b *testing.B) {
	payload := tenSamples()
	type value struct {
		V any    `json:"v"`
		Q uint32 `json:"q"`
	}
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		var m struct {
			SchemaVersion string           `json:"schema_version"`
			MsgID         string           `json:"msg_id"`
			DeviceID      string           `json:"device_id"`
			DeviceType    string           `json:"device_type"`
			TS            int64            `json:"ts"`
			Seq           uint64           `json:"seq"`
			D             map[string]value `json:"d"`
			Meta          map[string]any   `json:"meta"`
		}
		if err := json.Unmarshal(payload, &m); err != nil || len(m.D) != 10 {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10, "ns/sample")
}

func BenchmarkAppendRow(b *testing.B) {
	var u ingest.Uplink
	m := ingest.Message{Topic: pumpTopic, Payload: tenSamples(), Arrived: arrived}
	if err := NewReader(Config{})(&m, &u); err != nil {
		b.Fatal(err)
	}
	u.Row.EdgeLatency = telemetry.NoLatency
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendRow(buf[:0], &u.Row, "")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10, "ns/sample")
}
