package crash

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// streamOf gives half of the writers a gateway's stream, half an asset's.
func streamOf(w int) eventlog.StreamID {
	if w%2 == 0 {
		return telemetry.Stream(fmt.Sprintf("gw-%d", w), fmt.Sprintf("%016x", w))
	}
	return eventlog.StreamID(fmt.Sprintf("asset-%d", w))
}

// fact is the event at a revision of a stream: it follows from both, so who
// reads it can say whether it is the right one.
func fact(id eventlog.StreamID, rev uint64) eventlog.NewEvent {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(id), rev))
	e := eventlog.NewEvent{ID: eventlog.EventID(sum[:16]), Type: "asset.moved.v1", Data: sum[:]}
	more := make([]byte, int(sum[17])%40*40) // up to 1,560 bytes, which do not pack
	_, _ = rand.NewChaCha8(sum).Read(more)
	e.Data = append(e.Data, more...)
	if id.Category() != eventlog.TelemetryCategory || sum[18]%16 == 0 {
		return e
	}
	e.Type, e.ContentType = eventlog.TelemetryRecorded, telemetry.ContentType
	if sum[18]%16 == 1 {
		return e // a row that is none: sealed verbatim
	}
	r := telemetry.Row{
		Seq: rev + 1, HasSeq: true, MsgID: fmt.Sprintf("%x", sum[:4]), Device: fmt.Sprintf("P-%d", sum[19]%5),
		SourceTime:  time.UnixMilli(1_700_000_000_000 + int64(rev)*1000 + int64(sum[20])).UTC(),
		EdgeLatency: telemetry.NoLatency,
	}
	for i := range 3 {
		r.Samples = append(r.Samples, telemetry.Sample{
			Signal: fmt.Sprintf("t%d", i), Value: telemetry.FloatValue(float64(sum[21+i]) / 10), Quality: quality.AssumedGood,
		})
	}
	e.Data = r.AppendBinary(nil)
	return e
}

func facts(id eventlog.StreamID, from, n uint64) []eventlog.NewEvent {
	out := make([]eventlog.NewEvent, n)
	for i := range out {
		out[i] = fact(id, from+uint64(i))
	}
	return out
}

func expect(next uint64) eventlog.Expected {
	if next == 0 {
		return eventlog.NoStream
	}
	return eventlog.At(eventlog.Revision(next - 1))
}
