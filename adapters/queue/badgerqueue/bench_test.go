package badgerqueue

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/twinlog/twinlog/edge/outbox"
)

// BenchmarkPut measures messages of 500 bytes that Put made durable, by how many
// callers there are at once, and prints the memory that is not the page cache's.
func BenchmarkPut(b *testing.B) {
	for _, callers := range []int{1, 4, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			store, err := Open(b.TempDir(), Config{})
			if err != nil {
				b.Fatal(err)
			}
			q, err := store.Lane("")
			if err != nil {
				b.Fatal(err)
			}
			box, err := outbox.Open(b.Context(), q, outbox.Config{Gateway: "gw", Topic: "t"})
			if err != nil {
				b.Fatal(err)
			}
			payload := bytes.Repeat([]byte(`{"v":72.4,"q":192},`), 26)
			var all sync.WaitGroup
			b.ResetTimer()
			for i := range callers {
				n := b.N / callers
				if i < b.N%callers {
					n++
				}
				all.Go(func() {
					for range n {
						body := outbox.Body{Topic: "e/s/a/l/pump/P-1/telemetry", Samples: 26, Encode: func(outbox.Number) ([]byte, error) { return payload, nil }}
						if _, err := box.Put(context.Background(), body); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			b.ReportMetric(anonymousMB(), "RssAnon-MB")
			if err := box.Close(); err != nil {
				b.Error(err)
			}
			if err := q.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}

func anonymousMB() (mb float64) {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "RssAnon:") {
			_, _ = fmt.Sscanf(line, "RssAnon: %f", &mb)
		}
	}
	return mb / 1024
}
