package esdbgrpc

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/twinlog/twinlog/domain/eventlog"
)

const invalid = codes.InvalidArgument

// The names under which all events of a category or of a type can be read: as
// EventStoreDB's projections and KurrentDB's secondary indexes call them. Here
// both are the log's own index, and no link stands between.
var indexes = []struct {
	prefix string
	filter func(name string) eventlog.Filter
}{
	{"$ce-", byCategory}, {"$idx-ce-", byCategory}, {"$et-", byType}, {"$idx-et-", byType},
}

func byCategory(name string) eventlog.Filter { return eventlog.Filter{Categories: []string{name}} }

func byType(name string) eventlog.Filter { return eventlog.Filter{Types: []string{name}} }

// indexOf returns the filter that an index's name stands for.
func indexOf(stream string) (eventlog.Filter, bool) {
	for _, i := range indexes {
		if name, ok := strings.CutPrefix(stream, i.prefix); ok && name != "" {
			return i.filter(name), true
		}
	}
	return eventlog.Filter{}, false
}

// sieve is a client's filter: what the log can leave out by itself, and the rest.
type sieve struct {
	log    eventlog.Filter
	passes func(eventlog.Record) bool // nil: all that the log gives
}

func (s sieve) pass(r eventlog.Record) bool { return s.passes == nil || s.passes(r) }

// expression is a filter of either service: prefixes or a regular expression,
// on stream names or on event types.
type expression struct {
	byType bool
	regex  string
	prefix []string
}

func (e expression) compile() (sieve, error) {
	name := func(r eventlog.Record) string { return string(r.Stream) }
	if e.byType {
		name = func(r eventlog.Record) string { return r.Type }
	}
	if e.regex != "" {
		match, err := compileRegex(e.regex)
		if err != nil {
			return sieve{}, err
		}
		f := eventlog.Filter{NoTelemetry: e.byType && !match(eventlog.TelemetryRecorded)}
		return sieve{f, func(r eventlog.Record) bool { return match(name(r)) }}, nil
	}
	if len(e.prefix) == 0 {
		return sieve{}, badRequest("filter without a regular expression or a prefix")
	}
	if len(e.prefix) == 1 && !e.byType {
		if f, ok := indexOf(e.prefix[0]); ok {
			return sieve{log: f}, nil
		}
	}
	prefixes := slices.Clone(e.prefix)
	s := sieve{passes: func(r eventlog.Record) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name(r), p) })
	}}
	if e.byType {
		s.log.NoTelemetry = !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(eventlog.TelemetryRecorded, p) })
		return s, nil
	}
	for _, p := range prefixes {
		category, _, whole := strings.Cut(p, "-")
		if !whole {
			s.log.Categories = nil // it may be the beginning of many categories
			break
		}
		if !slices.Contains(s.log.Categories, category) {
			s.log.Categories = append(s.log.Categories, category)
		}
	}
	return s, nil
}

// negation finds a look-ahead at the beginning of an expression, the one form
// of .NET's that clients use and that Go's engine does not have.
var negation = regexp.MustCompile(`^\^\(\?!((?:[^()\\]|\\.)*)\)(.*)$`)

func compileRegex(text string) (func(string) bool, error) {
	not, rest := "", text
	if m := negation.FindStringSubmatch(text); m != nil {
		not, rest = "^(?:"+m[1]+")", "^"+m[2]
	}
	yes, err := regexp.Compile(rest)
	if err != nil {
		return nil, badRequest("regular expression %q: %v (RE2 syntax, and one leading ^(?!…))", text, err)
	}
	if not == "" {
		return yes.MatchString, nil
	}
	no, err := regexp.Compile(not)
	if err != nil {
		return nil, badRequest("regular expression %q: %v", text, err)
	}
	return func(s string) bool { return !no.MatchString(s) && yes.MatchString(s) }, nil
}

// streamOf checks a client's stream name for an append.
func streamOf(name []byte) (eventlog.StreamID, error) {
	id := eventlog.StreamID(name)
	if strings.HasPrefix(string(name), "$$") {
		return "", refuse(codes.FailedPrecondition, "",
			fmt.Sprintf("metadata of %q: $maxAge, $maxCount, $tb and the rest cannot be set, because nothing is ever deleted from this log", name[2:]),
			"stream-name", string(name))
	}
	return id, id.Check()
}
