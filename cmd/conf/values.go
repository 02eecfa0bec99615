package conf

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// scalar returns the text of a scalar as it was written, without quotes.
func (n Node) scalar(expected string) (text string, ok bool) {
	switch x := n.resolve().(type) {
	case nil:
		if n.node != nil {
			n.Fault("is empty, expected %s", expected)
		}
		return "", false
	case *ast.StringNode:
		return x.Value, true
	case *ast.LiteralNode:
		return x.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return x.GetToken().Value, true
	}
	n.Fault("expected %s", expected)
	return "", false
}

// Text returns a text, "" for nothing.
func (n Node) Text() string {
	text, _ := n.scalar("a text")
	return text
}

// OneOf returns a text that is one of words, or the first of them for nothing.
func (n Node) OneOf(words ...string) string {
	text, ok := n.scalar("one of " + strings.Join(words, ", "))
	if !ok {
		return words[0]
	}
	if !slices.Contains(words, text) {
		n.Fault("%q, expected one of %s", text, strings.Join(words, ", "))
		return words[0]
	}
	return text
}

// Number returns a finite number, or standard for nothing.
func (n Node) Number(standard float64) float64 {
	text, ok := n.scalar("a number")
	if !ok {
		return standard
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(x, 0) || math.IsNaN(x) {
		n.Fault("%q, expected a finite number", text)
		return standard
	}
	return x
}

// Int returns a whole number from low to high, or standard for nothing.
func (n Node) Int(standard, low, high int) int {
	text, ok := n.scalar("a whole number")
	if !ok {
		return standard
	}
	i, err := strconv.Atoi(text)
	if err != nil || i < low || i > high {
		n.Fault("%q, expected a whole number from %d to %d", text, low, high)
		return standard
	}
	return i
}

// Bool returns true or false, or standard for nothing.
func (n Node) Bool(standard bool) bool {
	text, ok := n.scalar("true or false")
	if !ok {
		return standard
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		n.Fault("%q, expected true or false", text)
		return standard
	}
	return b
}

// Duration returns a duration of at least low, or standard for nothing.
func (n Node) Duration(standard, low time.Duration) time.Duration {
	text, ok := n.scalar("a duration such as 500ms, 10s or 5m")
	if !ok {
		return standard
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < low {
		n.Fault("%q, expected a duration of at least %v such as 500ms, 10s or 5m", text, low)
		return standard
	}
	return d
}

// sizes are the units of Bytes, binary and decimal.
var sizes = []struct {
	suffix string
	factor float64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"TiB", 1 << 40},
	{"kB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"TB", 1e12},
	{"B", 1},
}

// Bytes returns a size such as 512MiB or 2GB, or standard for nothing.
func (n Node) Bytes(standard int64) int64 {
	text, ok := n.scalar("a size such as 512MiB or 2GB")
	if !ok {
		return standard
	}
	for _, s := range sizes {
		number, found := strings.CutSuffix(text, s.suffix)
		if !found {
			continue
		}
		x, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if x *= s.factor; err == nil && x >= 1 && x < 1<<62 {
			return int64(x)
		}
		break
	}
	n.Fault("%q, expected a size such as 512MiB or 2GB", text)
	return standard
}
