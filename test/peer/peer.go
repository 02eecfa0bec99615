// Package peer finds the independent programs that tests talk to: brokers,
// simulators and official clients that were not written here.
package peer

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Need returns the path of a program. Where it is missing the test fails in CI
// (CI is set there, and .ci/run installs it) and is skipped elsewhere.
func Need(tb testing.TB, program string) string {
	tb.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		Missing(tb, program+" is not installed; .ci/run installs it")
	}
	return path
}

// Node returns the folder test/peers, in which the npm packages of its
// package-lock.json are installed, ready for `node script.mjs` to be run there.
func Node(tb testing.TB) string {
	tb.Helper()
	Need(tb, "node")
	_, file, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(file), "..", "peers")
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		Missing(tb, "the npm peers are not installed; run make peers")
	}
	return dir
}

// Missing skips the test, or fails it in CI, for want of a peer.
func Missing(tb testing.TB, why string) {
	tb.Helper()
	if os.Getenv("CI") != "" {
		tb.Fatal(why)
	}
	tb.Skip(why)
}
