package aggregate

import (
	"errors"
	"fmt"
)

// ErrFunction means a name that is no aggregate function here.
var ErrFunction = errors.New("unknown aggregate function")

// Function is one aggregate of OPC 10000-13 §5.4.3.
type Function uint8

// The functions, named as in the GraphQL schema.
const (
	Interpolative               Function = iota // §5.4.3.4: the value at the interval's start
	Average                                     // §5.4.3.5: of the Good raw values
	TimeAverage                                 // §5.4.3.6: area under sloped lines / length
	Minimum                                     // §5.4.3.10
	Maximum                                     // §5.4.3.11
	Range                                       // §5.4.3.14
	Count                                       // §5.4.3.21
	Total                                       // §5.4.3.8: TimeAverage × seconds
	Start                                       // §5.4.3.25: first raw value, whatever its quality
	End                                         // §5.4.3.26: last raw value, whatever its quality
	Delta                                       // §5.4.3.27: last minus first Good value
	StandardDeviationSample                     // §5.4.3.37: divisor n-1
	StandardDeviationPopulation                 // §5.4.3.39: divisor n
	PercentGood                                 // §5.4.3.33: DurationGood / interval, in percent
	PercentBad                                  // §5.4.3.34
	WorstQuality                                // §5.4.3.35: a StatusCode as Int64
	DurationGood                                // §5.4.3.31: milliseconds
	DurationBad                                 // §5.4.3.32: milliseconds
	functions                                   // how many there are
)

// String returns the name in the GraphQL schema.
func (f Function) String() string {
	names := [functions]string{
		"INTERPOLATIVE", "AVERAGE", "TIME_AVERAGE", "MINIMUM", "MAXIMUM", "RANGE", "COUNT", "TOTAL", "START", "END",
		"DELTA", "STANDARD_DEVIATION_SAMPLE", "STANDARD_DEVIATION_POPULATION", "PERCENT_GOOD", "PERCENT_BAD",
		"WORST_QUALITY", "DURATION_GOOD", "DURATION_BAD",
	}
	if f < functions {
		return names[f]
	}
	return fmt.Sprintf("Function(%d)", uint8(f))
}

// Parse returns the function of a name as in the GraphQL schema.
func Parse(name string) (Function, error) {
	for f := range functions {
		if f.String() == name {
			return f, nil
		}
	}
	return 0, fmt.Errorf("%q: %w", name, ErrFunction)
}
