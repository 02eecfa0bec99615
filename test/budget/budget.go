// Package budget gives randomised tests their time and their seed, so that
// every suite runs as long as it may and can be run again.
package budget

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

const standard = 20 * time.Second

// For returns how long a randomised suite may run: TWINLOG_BUDGET, a Go
// duration, or 20 s; with -short a tenth of it.
func For(tb testing.TB) time.Duration {
	tb.Helper()
	d := standard
	if s := os.Getenv("TWINLOG_BUDGET"); s != "" {
		var err error
		if d, err = time.ParseDuration(s); err != nil || d <= 0 {
			tb.Fatalf("TWINLOG_BUDGET=%q: expected a duration such as 20s", s)
		}
	}
	if testing.Short() {
		d /= 10
	}
	return d
}

// Seed returns TWINLOG_SEED or a new seed, and prints it with the test's name.
func Seed(tb testing.TB) uint64 {
	tb.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("TWINLOG_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			tb.Fatalf("TWINLOG_SEED=%q: expected an unsigned decimal number", s)
		}
	}
	tb.Logf("seed %d (again with TWINLOG_SEED=%d)", seed, seed)
	return seed
}

// Count prints how many of what a suite has done, in the words that
// test/torture.sh adds up.
func Count(tb testing.TB, what string, n int) {
	tb.Helper()
	tb.Logf("count %s %s %d", tb.Name(), what, n)
}
