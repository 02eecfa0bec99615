package history

import (
	"testing"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
)

// chunks returns the rows of a small window, by kind.
func chunks(tb testing.TB) map[byte][]projections.Write {
	tb.Helper()
	p := New(nil)
	if err := p.Open(nothing{}, 0); err != nil {
		tb.Fatal(err)
	}
	var records []eventlog.Record
	for i := range 300 {
		row := telemetry.Row{
			Device: "D", SchemaVersion: "2.1", EdgeLatency: telemetry.NoLatency, SourceTime: nowhen(int64(i) * 1e9),
			Samples: []telemetry.Sample{
				{Signal: "a", Value: telemetry.FloatValue(float64(i%7) / 10)},
				{Signal: "b", Value: telemetry.StringValue("on"), Quality: quality.Of(quality.Uncertain)},
				{Signal: "c", Value: telemetry.IntValue(int64(i))},
			}[:1+i%3],
		}
		records = append(records, eventlog.Record{
			Stream: "telemetry-x.0", Revision: eventlog.Revision(i), Position: eventlog.Position(i + 1), Type: eventlog.TelemetryRecorded,
			Data: row.AppendBinary(nil), Recorded: nowhen(int64(i) * 1e9),
		})
	}
	var w projections.Writes
	if _, err := p.Fold(eventlog.Batch{Records: records, Through: 1 << windowBits}, &w); err != nil {
		tb.Fatal(err)
	}
	rows := map[byte][]projections.Write{}
	for _, r := range w.List() {
		rows[r.Key[0]] = append(rows[r.Key[0]], r)
	}
	return rows
}

// FuzzChunk: whatever the bytes of a row are, it is read or refused.
func FuzzChunk(f *testing.F) {
	rows := chunks(f)
	frame, part := rows[kindChunk][0], rows[kindChunk][1]
	for signal := range uint32(3) {
		f.Add(frame.Value, part.Value, signal)
	}
	f.Add(rows[kindSums][0].Value, rows[kindRecorded][0].Value, uint32(0))
	f.Fuzz(func(_ *testing.T, a, b []byte, signal uint32) {
		var d decoder
		if fr, err := readFrame(frame.Key, a); err == nil {
			var s series
			_ = d.read(&s, &fr, b, signal, true, true)
		}
		_, _ = readSums(a)
		_, _, _, _ = readExtent(b, signal)
		_, _ = d.readRecorded(b)
	})
}

// TestNothingIsHeldTwice: the rows that a device's memory is reused for begin
// empty.
func TestNothingIsHeldTwice(t *testing.T) {
	d := &dayRows{}
	d.addRow(row{numbers: []uint32{0}}, []measured{{kind: telemetry.String, text: []byte("x")}}, false)
	d.reset()
	if len(d.source) != 0 || len(d.shapes) != 0 || len(d.columns[0].bits) != 0 || len(d.columns[0].texts) != 0 || d.columns[0].kind.n != 0 {
		t.Fatalf("left over: %+v", d)
	}
}
