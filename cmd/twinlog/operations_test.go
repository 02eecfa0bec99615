package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOperationsPage runs every command of docs/operations.md, in its order, on
// a plant with some samples.
func TestOperationsPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	var text strings.Builder
	text.WriteString("time,flow\n")
	for i := range 60 {
		fmt.Fprintf(&text, "2026-01-01 00:00:%02d,%d\n", i, i)
	}
	if _, _, err := command(t, "import", "samples", write(t, "pump.csv", text.String()), "--device", "P-7", "--data", "plant"); err != nil {
		t.Fatal(err)
	}
	ran := 0
	for i, block := range strings.Split(string(page), "```") {
		lines, ok := strings.CutPrefix(block, "sh\n")
		if i%2 == 0 || !ok {
			continue
		}
		for line := range strings.Lines(lines) {
			args := strings.Fields(line)
			if args[0] != "twinlog" {
				t.Fatalf("%q is no command of twinlog", line)
			}
			out, _, err := command(t, args[1:]...)
			if err != nil || out == "" {
				t.Fatalf("%s: %q, %v", line, out, err)
			}
			ran++
		}
	}
	if ran < 7 {
		t.Errorf("%d commands ran", ran)
	}
}
