package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twinlog/twinlog/web"
)

// TestConsoleExamplesAreAnswered asks a real server what the console offers.
func TestConsoleExamplesAreAnswered(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	var text strings.Builder
	text.WriteString("time,flow\n")
	for i := range 30 { // an example looks back to the 20th fact
		fmt.Fprintf(&text, "2026-01-01 00:00:%02d,%d\n", i, i)
	}
	if _, _, err := command(t, "import", "samples", write(t, "pump.csv", text.String()), "--device", "P-7", "--data", data); err != nil {
		t.Fatal(err)
	}
	srv := serveData(t, data)
	asked := 0
	for _, e := range web.Examples() {
		if !strings.HasPrefix(strings.TrimSpace(e.Query), "query") {
			continue // a change, or a subscription, which the browser's tests ask
		}
		asked++
		var answer map[string]json.RawMessage
		srv.ask(t, e.Query, &answer)
		for field, value := range answer {
			if string(value) == "null" {
				t.Errorf("%s: %s is null", e.Title, field)
			}
		}
	}
	if asked < 3 {
		t.Errorf("%d examples asked, expected at least 3", asked)
	}
}
