//go:build !race

package kurrentlog_test

const underRaceDetector = false
