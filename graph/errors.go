package graph

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/errcode"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/twinlog/twinlog/domain/access"
	"github.com/twinlog/twinlog/domain/alarm"
	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/settings"
	"github.com/twinlog/twinlog/graph/fault"
)

// The codes that are used by name elsewhere.
const (
	CodeInternal     = "INTERNAL"
	CodeSlowConsumer = "SLOW_CONSUMER"
)

// errPersistedNotFound has the words that Apollo's client looks for.
var errPersistedNotFound = errors.New("PersistedQueryNotFound")

// Code is one line of the table: what a client can rely on.
type Code struct {
	Code string
	// Retryable: the same request, sent again later, may succeed. For a
	// mutation: with the same idempotencyKey.
	Retryable bool
	When, Do  string // whole sentences, for docs/errors.md
	// Is are the sentinels that have this code.
	Is []error
}

// Codes returns the one table from sentinel to extensions.code. The first line
// that fits decides.
func Codes() []Code {
	return []Code{
		{"UNAUTHENTICATED", false, "Nobody said who asks, where somebody must.", "Name the operator in the header " + OperatorHeader + ".", []error{fault.ErrUnauthenticated}},
		{"FORBIDDEN", false, "The asker may not do this, or the page that asks is another site's.", "Ask somebody who may.", []error{fault.ErrForbidden}},
		{"REASON_REQUIRED", false, "A mutation came without a reason in words.", "Ask the person, and send reason.text.", []error{fault.ErrReasonRequired}},
		{"CURSOR_CUT_MISMATCH", false, "A cursor came from a page that was asked at another moment, or of another list.", "Ask with the moment of the first page, or start again without the cursor.", []error{fault.ErrCursorCut}},
		{"WAIT_TIMEOUT", true, "The position that was waited for is not folded into the read models yet.", "Ask again, or wait longer with waitAtMost.", []error{fault.ErrWaitTimeout}},
		{"READ_LAG", true, "It is written and durable, at the position given; only reading it back lags.", "Never send the mutation again for this: query with minPosition.", []error{fault.ErrReadLag}},
		{"SLOW_CONSUMER", true, "A subscriber took too long over a frame.", "Subscribe again after the position given; nothing is lost.", []error{fault.ErrSlowConsumer}},
		{"TOO_COMPLEX", false, "The document is too long, too deep or asks for too much.", "Ask for less at once.", []error{fault.ErrTooComplex}},
		{"TOO_MANY_ROWS", false, "The answer would have more rows than allowed.", "Ask for a shorter range, a longer interval or a smaller page.", []error{fault.ErrTooManyRows}},
		{"RATE_LIMITED", true, "Too much at once from one connection.", "Wait for an answer before the next question.", []error{fault.ErrRateLimited}},
		{"BAD_INPUT", false, "Arguments that can't be meant; problems lists all of them.", "Correct them.", []error{
			fault.ErrBadInput, eventlog.ErrBadEvent, eventlog.ErrTooLarge, eventlog.ErrBadPosition, eventlog.ErrNotCanonical,
			access.ErrBadName, asset.ErrBadName, asset.ErrBadTime, asset.ErrBadClass, asset.ErrBadPatch, asset.ErrBadPoint, settings.ErrBadSetting,
			correction.ErrBadCorrection, correction.ErrBadValue, alarm.ErrBadTime,
		}},
		{"CONFLICT", false, "Somebody else was faster: the thing is not at ifRevision any more.", "Read it again, and decide again.", []error{eventlog.ErrMoved, eventlog.ErrConflict}},
		{"DUPLICATE_NAME", false, "A sibling has this name already.", "Choose another name.", []error{asset.ErrDuplicate}},
		{"ILLEGAL_STATE", false, "The rules of the plant refuse it in this state; the message says which.", "Read it again, and decide again.", []error{asset.ErrLevel, asset.ErrCycle, asset.ErrNotThen, asset.ErrHasChildren, correction.ErrSuperseded, alarm.ErrNothing}},
		{"IMPACT_CHANGED", false, "A correction would change something else than what was shown.", "Look at the impact again.", []error{fault.ErrImpactChanged}},
		{"NOT_FOUND", false, "An id or path names nothing at this moment.", "Check the id, and the moment.", []error{fault.ErrNotFound, asset.ErrNoAsset, asset.ErrNoClass, asset.ErrNoTag, correction.ErrNoCorrection, alarm.ErrNotRaised}},
		{"POSITION_LOST", false, "A position of a closed epoch, or beyond the end of the log.", "Start again without the position.", []error{eventlog.ErrPositionLost}},
		{"STORAGE_FULL", true, "The server's disk is nearly full: it reads and does not write.", "Make room on the server.", []error{eventlog.ErrStorageFull}},
		{"DAMAGED", false, "The store can't give back what it once acknowledged.", "Restore it; see the server's log.", []error{eventlog.ErrDamaged}},
		{"UNAVAILABLE", true, "A part that is needed does not answer in time, or is stopping.", "Try again.", []error{fault.ErrUnavailable, eventlog.ErrClosed, context.DeadlineExceeded, context.Canceled}},
		{"PERSISTED_QUERY_NOT_FOUND", true, "The hash of a document that the server has not seen, or has forgotten.", "Send the document with it.", []error{errPersistedNotFound}},
		{errcode.ParseFailed, false, "The document is not GraphQL.", "Correct it.", nil},
		{errcode.ValidationFailed, false, "The document or its variables do not fit the schema.", "Correct them.", nil},
		{CodeInternal, false, "Something that nobody foresaw; the message has a reference into the server's log.", "Tell whoever runs the server.", nil},
	}
}

// codeOf finds the line for an error.
func codeOf(err error) (Code, bool) {
	for _, c := range Codes() {
		for _, sentinel := range c.Is {
			if errors.Is(err, sentinel) {
				return c, true
			}
		}
	}
	return Code{}, false
}

// present gives every error its extensions, and keeps what nobody foresaw to
// the server's log.
func (h *Handler) present(ctx context.Context, err error) *gqlerror.Error {
	out := &gqlerror.Error{Message: err.Error(), Path: graphql.GetPath(ctx)}
	var g *gqlerror.Error
	if errors.As(err, &g) {
		out.Message, out.Locations = g.Message, g.Locations
		if g.Path != nil {
			out.Path = g.Path
		}
		if g.Err != nil {
			err = g.Err
			out.Message = err.Error()
		}
	}
	if code, ok := protocolCode(g); ok && g.Err == nil {
		out.Extensions = map[string]any{"code": code, "retryable": false}
		return out
	}
	code, ok := codeOf(err)
	if !ok && g != nil && g.Err == nil {
		// gqlgen's own words about the request: an argument that a scalar
		// refuses, an operation that is not there.
		code, ok = Code{Code: "BAD_INPUT"}, true
	}
	if !ok {
		h.count.Internal.Add(1)
		reference := newReference()
		h.log.LogAttrs(ctx, slog.LevelError, "unforeseen error in a request",
			slog.String("reference", reference), slog.Any("path", out.Path), slog.Any("error", err))
		out.Message, code.Code = "internal error, reference "+reference, CodeInternal
	}
	out.Extensions = extensions(code, err)
	return out
}

func extensions(code Code, err error) map[string]any {
	x := map[string]any{"code": code.Code, "retryable": code.Retryable}
	if placed, ok := errors.AsType[*fault.Placed](err); ok {
		x["position"] = placed.Position.String()
	}
	if problems := problemsOf(err); len(problems) > 0 {
		x["problems"] = problems
	}
	return x
}

// problemsOf says what is wrong where: as the graph found it, or from what the
// domain says, one problem for each of the errors that it joined.
func problemsOf(err error) []fault.Problem {
	if in, ok := errors.AsType[*fault.Input](err); ok {
		return in.Problems
	}
	if coded, ok := errors.AsType[*fault.Coded](err); ok {
		return coded.Problems
	}
	if moved, ok := errors.AsType[*eventlog.MovedError](err); ok {
		return []fault.Problem{{
			Path:  []string{"input", "ifRevision"},
			Given: strconv.FormatUint(uint64(moved.Given), 10), Expected: strconv.FormatUint(uint64(moved.Actual), 10),
		}}
	}
	var problems []fault.Problem
	for _, leaf := range leaves(err) {
		for _, w := range where {
			if errors.Is(leaf, w.sentinel) {
				problems = append(problems, fault.Problem{Path: []string{"input", w.field}, Expected: leaf.Error()})
				break
			}
		}
	}
	return problems
}

// where says which field of an input the domain's words are about.
var where = []struct {
	sentinel error
	field    string
}{
	{asset.ErrBadName, "name"},
	{asset.ErrDuplicate, "name"},
	{asset.ErrBadTime, "effective"},
	{asset.ErrNotThen, "effective"},
	{asset.ErrBadClass, "tags"},
	{asset.ErrNoClass, "class"},
	{asset.ErrBadPatch, "patch"},
	{asset.ErrBadPoint, "signal"},
	{settings.ErrBadSetting, "settings"},
	{correction.ErrBadCorrection, "action"},
	{correction.ErrNoCorrection, "supersedes"},
	{correction.ErrSuperseded, "supersedes"},
	{asset.ErrLevel, "level"},
	{asset.ErrNoTag, "tag"},
}

// leaves takes joined errors apart.
func leaves(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // it looks for the join itself
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, leaves(e)...)
		}
		return all
	}
	return []error{err}
}

// protocolCode is the code that gqlgen gave by itself.
func protocolCode(g *gqlerror.Error) (string, bool) {
	if g == nil {
		return "", false
	}
	code, _ := g.Extensions["code"].(string)
	return code, code == errcode.ParseFailed || code == errcode.ValidationFailed
}

// recovered turns a panic of a resolver into an error that nobody foresaw.
func (h *Handler) recovered(_ context.Context, p any) error {
	return fmt.Errorf("panic: %v\n%s", p, debug.Stack())
}

// newReference finds an error again in the server's log.
func newReference() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // it never fails (crypto/rand, since Go 1.24)
	return hex.EncodeToString(b[:])
}
