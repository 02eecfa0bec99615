package ingest_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/ingest"
)

// A golden file is written once (-update, only if absent) and then only read.
// A failure means old logs would read differently: add a new version.
var update = flag.Bool("update", false, "write golden files that do not exist")

func TestGoldenEvents(t *testing.T) {
	for _, ev := range []eventlog.Event{
		ingest.Started{Seq: 1, At: time.UnixMilli(1710844800123).UTC(), Previous: incA, LastAcked: 77, Reason: "replaced"},
		ingest.Opened{Incarnation: incB},
		ingest.Cloned{Seq: 7, Topic: pumpTopic, Client: "gw-1", Payload: []byte(`{"d":{}}`)},
		ingest.DeadLettered{Topic: pumpTopic, Client: "c", Reason: "payload is not readable", Payload: []byte{0, 255}, Bytes: 900_000, SHA256: bytes.Repeat([]byte{1}, 32)},
	} {
		data, err := eventlog.CanonicalJSON(ev)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata/events", ev.EventType()+".json")
		if _, err := os.Stat(file); os.IsNotExist(err) && *update {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data, want) {
			t.Errorf("%s is\n%s, want\n%s", ev.EventType(), data, want)
		}
	}
}
